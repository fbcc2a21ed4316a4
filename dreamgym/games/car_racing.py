"""Gymnasium's CarRacing under the rule of 2017, as *World Models* (2018) played it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dreamgym.games.game import Game, Play
from dreamgym.games.recipe import Round
from dreamgym.games.rules import Lap

CAUCHY = 0.01
"""Largest scale of a random controller's weights (the paper's carracing/extract.py)."""
TROUBLE = Round(
    250, 0, 300_000, 7500, 30, games=20, chance=0.015, hold=30, timesteps=3_000_000, anywhere=0.7,
    short=200,
)  # fmt: skip
"""A round whose games are disturbed for long, and after which an agent learns."""
DRIVES = replace(TROUBLE, episodes=110, steps=450, frames=0, updates=3000, chance=0.002, hold=15)
"""A round of the agent's own games, up to where it has mostly left the road."""
LAST = Round(
    100, 0, 0, 3000, 60, rollouts=32, validate=4, games=20, chance=0.003, hold=15,
    timesteps=9_000_000, falling=1.5e-4, anywhere=0.7, short=200, evolved=True,
)  # fmt: skip
"""The last round: an agent learns for long, ever more slowly, and C evolves beside it, anew."""


def steered(rng: np.random.Generator) -> Play:
    """Play by a linear controller with Cauchy-distributed weights (the paper's extract.py).

    Each episode draws its own scale of the weights ~ U(0, 0.01). The controller sees 32 fresh
    standard normal numbers in each frame, as the z of an untrained V, and nothing from M.
    """
    scale = rng.uniform(0, CAUCHY)
    weights = scale * rng.standard_cauchy((3, 32))
    bias = scale * rng.standard_cauchy(3)
    return lambda: np.tanh(weights @ rng.standard_normal(32) + bias).astype(np.float32)


def on_grass(pictures: np.ndarray) -> np.ndarray:
    """Return in which pictures (N, 64, 64, 3) uint8 the car is off the road with all wheels.

    It is if the grass covers most of what lies around the car. This agrees with the wheels in 96 %
    of real frames and in 95 % of V's pictures of them (2,400 frames of six disturbed drives).
    """
    around = pictures[:, 46:, 28:36].astype(np.int64)  # rows and columns around the car
    green = around[..., 1] - around[..., 0] > 40  # the road is grey, the car red
    return np.asarray(green.mean((1, 2)) > 0.6)


GAME = Game(
    name="car_racing",
    title="CarRacing",
    called="Gymnasium's CarRacing",
    real="dreamgym.envs.car_racing:CarRacing",
    many="dreamgym.envs.car_racing:CarRacingVectorEnv",
    rules=Lap(
        lap=1000,  # this, the cost and the fall: Gymnasium's CarRacing-v3
        cost=0.1,
        fall=100,
        pace=1.75,  # tiles are 3.5 units apart, Box2D moves nothing more than 2 units a frame
        fewest=220,  # of 600 tracks
        limit=1000,  # Gymnasium's
    ),
    low=(-1.0, 0.0, 0.0),  # steering, gas, brake
    high=(1.0, 1.0, 1.0),
    moves={
        "nothing": (0.0, 0.0, 0.0),
        "right": (0.6, 0.0, 0.0),
        "left": (-0.6, 0.0, 0.0),
        "gas": (0.0, 0.2, 0.0),
        "brake": (0.0, 0.0, 0.8),
    },  # Gymnasium's CarRacing-v3
    explore=steered,
    max_steps=1000,  # Gymnasium's
    stretched=(1,),  # the paper's model.py: gas = (a + 1) / 2, brake = clip(a, 0, 1)
    continuous=True,
    threshold=900,
    fps=50,
    observation="zh",  # 32 + 256 inputs and a bias for each of 3 outputs, 867 weights
    temperature=1.0,
    z_size=32,
    hidden=256,
    bias=True,
    mean_length=950,
    test_games=100,  # as many as the paper drove
    engines=(("CarRacing-v3", "CarRacing-v3"),),
    telling=("speed", "spin"),
    lost=on_grass,
    recipe=(
        Round(600, 300, 300_000, 3000, 30, games=20),
        Round(120, 500, 200_000, 3000, 30, anew=True, games=20),
        Round(120, 500, 0, 2000, 30, games=20),
        Round(80, 500, 0, 1500, 24, validate=12, games=20),
        Round(80, 0, 0, 3000, 24, validate=12, games=20),
        TROUBLE,
        *(DRIVES,) * 5,
        LAST,
    ),
    stories={
        0.1: "one road for ever",
        0.5: "a calm road",
        1.0: "as M learned it",
        1.3: "roads break off",
    },
    keys={
        "ArrowLeft": (-1.0, 0.0, 0.0),
        "ArrowRight": (1.0, 0.0, 0.0),
        "ArrowUp": (0.0, 1.0, 0.0),
        "ArrowDown": (0.0, 0.0, 0.8),
    },
    learning={
        "ppo": {
            "n_steps": 64,
            "batch_size": 2048,
            "gamma": 0.998,  # with 0.99 it hurries, and leaves the road (`training/LOG.md`)
            "gae_lambda": 0.97,
            "policy_kwargs": {"log_std_init": -1.0, "net_arch": [128, 128]},
        },
        "a2c": {"gamma": 0.99, "learning_rate": 5e-4},
        "ppo_lstm": {"gamma": 0.99},
    },
)

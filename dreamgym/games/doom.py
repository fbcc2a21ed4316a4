"""ViZDoom's Take Cover, as *World Models* (2018) played it."""

from __future__ import annotations

import numpy as np

from dreamgym.games.game import Game, Play
from dreamgym.games.recipe import Round
from dreamgym.games.rules import Survival

HEALTH = 100.0
"""The player's health at the start."""
HOLD = 10
"""Most frames for which a random action is held; 1 to 10 in the paper's doomrnn/extract.py."""
NEAR = 4.0
"""The least width of a near fireball, in pixels of the frame."""
LATE = Round(
    600, 0, 150_000, 1000, 50, even=True, rarity=0.5, rate=1e-3, timesteps=15_500_000,
    falling=3e-4, imitated=4_000_000,
)  # fmt: skip
"""The last round: an agent shows V and M late games, and learns for long."""


def held(rng: np.random.Generator) -> Play:
    """Play at random: each output ~ U(-1, 1) is held for 1 to `HOLD` frames."""
    left, action = 0, np.zeros(1, np.float32)

    def act() -> np.ndarray:
        nonlocal left, action
        if left == 0:
            left = int(rng.integers(1, HOLD + 1))
            action = np.array([rng.uniform(-1, 1)], np.float32)
        left -= 1
        return action

    return act


def kind(name: str, width: float) -> str:
    """Return the kind of one of ViZDoom's objects, see `Game.objects`."""
    if name == "DoomImpBall":
        return "near_fireball" if width >= NEAR else "far_fireball"
    return "monster" if name == "DoomImp" else ""


GAME = Game(
    name="doom",
    title="Doom",
    called="ViZDoom's Take Cover",
    real="dreamgym.envs.take_cover:TakeCover",
    many="dreamgym.envs.take_cover:TakeCoverVectorEnv",
    rules=Survival(damage=21, faces=8),  # 3,000 hits all took 21 times 1 to 8, equally often
    low=(-1.0,),
    high=(1.0,),
    moves={"left": (-1.0,), "stay": (0.0,), "right": (1.0,)},
    explore=held,
    max_steps=2100,  # episode_timeout of gym-doom's take_cover.cfg
    deadband=1 / 3,  # the paper's doomreal.py
    threshold=750,  # gym-doom's "solved"
    fps=35,  # Doom's tic rate
    observation="zhc",  # [z, c, h] in the paper's code, 64 + 2·512 = 1088 weights
    temperature=1.15,  # World Models, table 2: the τ that transferred best
    z_size=64,
    hidden=512,
    bias=False,
    mean_length=310,
    test_games=1000,  # scores vary by 500
    engines=(("ViZDoom at 160 × 120, unscaled", "dreamgym.envs.take_cover:bare"),),
    objects=kind,
    recipe=(
        Round(10_000, 0, 3_000_000, 3000, 30),
        Round(700, 0, 0, 6000, 50, anew=True, timesteps=2_200_000),
        LATE,
    ),
    published={
        0.10: (2086, 193),
        0.50: (2060, 196),
        1.00: (1145, 868),
        1.15: (918, 1092),
        1.30: (732, 753),
    },
    stories={
        0.1: "fireballs vanish",
        1.0: "as M learned it",
        1.15: "the paper's best",
        1.3: "harder than real",
    },
    keys={"ArrowLeft": (-1.0,), "ArrowRight": (1.0,)},
    learning={
        "ppo": {"n_steps": 128, "gamma": 0.997, "ent_coef": 0.01},
        "a2c": {"gamma": 0.997, "ent_coef": 0.01, "learning_rate": 7e-4},
        "ppo_lstm": {"gamma": 0.997, "ent_coef": 0.01},
    },
)

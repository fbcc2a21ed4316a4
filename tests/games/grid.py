"""A third game, all that is known of it: a walk along a row of eight fields to the goal at its end.

Nothing else in the house knows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from dreamgym.envs import actions
from dreamgym.games.game import Game
from dreamgym.games.rules import Rules

FIELDS, FUEL = 8, 20.0


@dataclass(frozen=True)
class Walk(Rules):
    """A step takes fuel and costs a tenth. The goal pays 10 and ends the walk, as no fuel does."""

    heads = ("goal",)
    counts = ("fuel",)

    def outcomes(self, episode):
        return (episode.rewards > 0)[:, None]

    def settle(self, counts, odds, draws, step):
        goal, fuel = draws[:, 0] < odds[:, 0], counts - 1
        return fuel, 10 * goal - 0.1, goal | (fuel[:, 0] <= 0)


class Grid(gym.Env):
    """Shows a white field on a row that is red at its end."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, continuous: bool = False, render_mode: None = None):
        self.game, self.continuous, self.render_mode = GAME, continuous, render_mode
        self.observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        self.action_space = actions.space(GAME, continuous)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.field, self.fuel = int(self.np_random.integers(FIELDS - 1)), FUEL
        return self._frame(), {"fuel": self.fuel}

    def step(self, action: Any):
        (move,) = actions.to_vectors([action], GAME, self.continuous)[0]
        self.field, self.fuel = max(0, self.field + int(move)), self.fuel - 1
        goal = self.field == FIELDS - 1
        over = goal or self.fuel <= 0
        return self._frame(), 10.0 * goal - 0.1, over, False, {"fuel": self.fuel}

    def _frame(self) -> np.ndarray:
        frame = np.zeros((64, 64, 3), np.uint8)
        frame[:, -8:, 0] = 255
        frame[:, 8 * self.field : 8 * self.field + 8] = 255
        return frame


def wander(rng: np.random.Generator):
    """Explore by steps to either side."""
    return lambda: rng.uniform(-1, 1, 1).astype(np.float32)


GAME = Game(
    name="grid",
    title="Grid",
    called="a walk along eight fields",
    real="tests.games.grid:Grid",
    rules=Walk(),
    low=(-1.0,),
    high=(1.0,),
    moves={"left": (-1.0,), "right": (1.0,)},
    explore=wander,
    max_steps=50,
    deadband=1e-6,
    z_size=4,
    hidden=16,
)

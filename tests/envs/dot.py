"""A user's own game of pictures for the tests: a dot on a line, each picture of which shows all.

`gym.make("tests.envs.dot:Dot-v0")` imports this module, which registers it.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

LIMIT = 20
"""Steps of an episode."""
PLACES = 8
"""Places on the line, and the height and width of a picture."""
GOAL = 5
"""To be here pays."""
PAY = 10.0


def column(place: int) -> np.ndarray:
    """The picture (8, 8, 3) uint8 of the dot at a place: a white column on black."""
    picture = np.zeros((PLACES, PLACES, 3), np.uint8)
    picture[:, place] = 255
    return picture


class Dot(gym.Env[np.ndarray, Any]):
    """Moves left, not, or right; at place 0 it falls. `render()` shows the dot in red."""

    observation_space = gym.spaces.Box(0, 255, (PLACES, PLACES, 3), np.uint8)
    action_space = gym.spaces.Discrete(3)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None):
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(1, PLACES))
        return column(self.place), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.place = min(self.place + int(action) - 1, PLACES - 1)
        paid = PAY * (self.place == GOAL)
        return column(self.place), paid, self.place == 0, False, {}

    def render(self) -> np.ndarray | None:
        return column(self.place) * np.array([1, 0, 0], np.uint8) if self.render_mode else None


gym.register(id="Dot-v0", entry_point=Dot, max_episode_steps=LIMIT)

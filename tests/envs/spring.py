"""A user's own ten-line game for the tests: a mass on a spring, whose motion is known exactly.

`gym.make("tests.envs.spring:Spring-v0")` imports this module, which registers it.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from dreamgym.games.rules import Known

LIMIT = 40
"""Steps of an episode."""
WIDE = 3.0
"""The game ends when the mass is further away than this."""


class Spring(gym.Env[np.ndarray, Any]):
    """Position and velocity of a mass; a force of -1 to 1 pushes it; to be still pays the most."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gym.spaces.Box(-2.0, 2.0, (1,))
    metadata = {"render_modes": [], "render_fps": 10}  # noqa: RUF012

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.at.copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        place, speed = self.at
        speed = speed + 0.2 * (float(action[0]) - place)
        self.at = np.array([place + 0.2 * speed, speed], np.float32)
        return self.at.copy(), -100 * float(place**2), bool(abs(self.at[0]) > WIDE), False, {}


gym.register(id="Spring-v0", entry_point=Spring, max_episode_steps=LIMIT)


class SpringRules(Known):
    """What the spring pays and where it ends, exactly."""

    def reward(self, before: np.ndarray, action: np.ndarray, after: np.ndarray) -> np.ndarray:
        return -100 * before[:, 0] ** 2

    def over(self, before: np.ndarray, action: np.ndarray, after: np.ndarray) -> np.ndarray:
        return np.abs(after[:, 0]) > WIDE

"""What the real games share: frames that an agent sees are also what `render()` shows."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle

from dreamgym.games import Game


class PixelGame(gym.Env[np.ndarray, Any], EzPickle):
    """A real game whose last frame (64, 64, 3) uint8 is `_frame`, None before the first reset.

    A pickle is a game made with the same arguments, as Gymnasium has it, not yet reset.
    """

    game: Game
    """What is known of the game."""
    _frame: np.ndarray | None = None

    def __deepcopy__(self, _: dict[int, Any]) -> PixelGame:
        if self._frame is not None:
            raise TypeError(
                "a real game that is under way cannot be copied: make another, reset it with the "
                "same seed and take the same actions; dreams can be copied"
            )
        return type(self)(*self._ezpickle_args, **self._ezpickle_kwargs)

    def render(self) -> np.ndarray | None:
        if self.render_mode is None:
            gym.logger.warn("render() without render_mode: pass render_mode='rgb_array' to make()")
            return None
        if self._frame is None:
            raise gym.error.ResetNeeded("render() before reset(): call reset() first")
        return self._frame.copy()

"""What the real games share: frames that an agent sees are also what `render()` shows."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np


class PixelGame(gym.Env[np.ndarray, Any]):
    """A real game whose last frame (64, 64, 3) uint8 is `_frame`, None before the first reset."""

    _frame: np.ndarray | None = None

    def render(self) -> np.ndarray | None:
        if self.render_mode is None:
            gym.logger.warn("render() without render_mode: pass render_mode='rgb_array' to make()")
            return None
        if self._frame is None:
            raise gym.error.ResetNeeded("render() before reset(): call reset() first")
        return self._frame.copy()

"""What the real games share: how one is made, its frames, `render()`, copies and pickles."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.utils import EzPickle

from dreamgym.envs.arguments import check_real
from dreamgym.games import Game


class PixelGame(gym.Env[np.ndarray, Any], EzPickle):
    """Base class of a real game. `render()` shows the frame (64, 64, 3) uint8 that an agent sees.

    A subclass keeps its last frame in `_frame`, which is None before the first `reset()`. A pickle
    holds the constructor's arguments alone (Gymnasium's `EzPickle`), so an unpickled game is a new
    one that has not been reset.
    """

    game: Game
    """The facts about the game."""
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


def real(game: Game, **arguments: Any) -> gym.Env[Any, Any]:
    """Return a real game without a limit of steps: `gym.make` adds the registered one.

    Raises:
        ValueError: if an argument is one of a dream's.
    """
    check_real(arguments)
    make: Any = load_env_creator(game.real)
    env: gym.Env[Any, Any] = make(**(game.arguments | arguments))
    return env


def frame_space(game: Game) -> gym.spaces.Box:
    """Return the space of a game's frames, which V sees."""
    if game.pictures:
        return gym.spaces.Box(0, 255, game.frame, np.uint8)
    return gym.spaces.Box(-np.inf, np.inf, game.frame)

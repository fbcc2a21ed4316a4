"""A user's own game behind the frames that V sees: its observation and reward as one vector."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces.utils import flatten, flatten_space

from dreamgym import games
from dreamgym.envs import actions
from dreamgym.envs.pixels import frame_space
from dreamgym.games import own
from dreamgym.games.game import Game

MOST = 1000
"""Most numbers in an observation: M's head has 15 outputs for each of them."""


def describe(id: str) -> Game:
    """Return the game of which an environment of Gymnasium is the real one.

    Args:
        id: such as `CartPole-v1`, or `module:Mine-v0`, for which the module is imported first.

    Raises:
        LookupError: if Gymnasium knows no such environment.
        ValueError: if the environment cannot be made, or V or M cannot take its spaces.
    """
    spec = _spec(id)
    try:
        env = gym.make(id, disable_env_checker=True)
    except Exception as error:  # it is the user's own code
        raise ValueError(f"{id} cannot be made: {type(error).__name__}: {error}") from error
    try:
        return own.game(_facts(id, env, spec))
    finally:
        env.close()


def _spec(id: str) -> EnvSpec:
    module, _, name = id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        return gym.spec(name)
    except gym.error.Error as error:
        raise LookupError(str(error)) from error
    except Exception as error:  # the module may be the user's own code
        raise ValueError(f"{id} needs a module that cannot be imported: {error}") from error


def _facts(id: str, env: gym.Env[Any, Any], spec: EnvSpec) -> own.Facts:
    """Return what is known of an environment.

    Raises:
        ValueError: if V or M cannot take its spaces.
    """
    seen = env.observation_space
    if isinstance(seen, gym.spaces.Box) and len(seen.shape) == 3:
        raise ValueError(f"{id} shows pictures {seen.shape}: only vectors can be learned so far")
    if not seen.is_np_flattenable:
        raise ValueError(f"{id} shows {seen}, which cannot be flattened to numbers")
    action, fps = env.action_space, env.metadata.get("render_fps") or own.Facts.fps
    moves, low, high = 0, (), ()
    if isinstance(action, gym.spaces.Discrete):
        moves = int(action.n)
    elif isinstance(action, gym.spaces.Box):
        if not np.isfinite((action.low, action.high)).all():
            raise ValueError(f"{id} acts by {action}: give it finite ends, by a wrapper")
        low, high = tuple(action.low.ravel().tolist()), tuple(action.high.ravel().tolist())
    else:
        raise ValueError(f"{id} acts by {action}: only Discrete and Box can be learned so far")
    numbers = int(np.prod(flatten_space(seen).shape or ()))
    if numbers > MOST:
        raise ValueError(f"{id} shows {numbers:,} numbers: at most {MOST:,} can be learned")
    limit = spec.max_episode_steps or own.ENDLESS
    return own.Facts(id, numbers, moves, low, high, limit, max(1, round(fps)))


class Vectors(gym.Env[np.ndarray, Any]):
    """A user's own game, which shows its flattened observation and the last reward as one vector.

    The reward is the last number, as sign(r) ln(1 + |r|); it is 0 in the first frame.

    Args:
        id: the environment's id in Gymnasium.
        continuous: `True` for actions as the vectors that M takes; None for the game's own actions.
        render_mode: see the environment.
    """

    def __init__(self, id: str, continuous: bool | None = None, render_mode: str | None = None):
        self.game = games.get(id)
        shown = {} if render_mode is None else {"render_mode": render_mode}
        self.env = gym.make(id, max_episode_steps=-1, disable_env_checker=True, **shown)
        self.metadata, self.render_mode = self.env.metadata, render_mode
        self.continuous = self.game.continuous if continuous is None else continuous
        self.observation_space = frame_space(self.game)
        self.action_space = actions.space(self.game, self.continuous)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        seen, info = self.env.reset(seed=seed, options=options)
        return self._frame(seen, 0.0), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        vector = actions.to_vectors([action], self.game, self.continuous)[0]
        seen, reward, terminated, truncated, info = self.env.step(self._taken(vector))
        paid = float(reward)
        return self._frame(seen, paid), paid, bool(terminated), bool(truncated), info

    def render(self) -> Any:
        return self.env.render()

    def close(self) -> None:
        self.env.close()

    def vector(self, action: Any) -> np.ndarray:
        """Return the vector (A,) float32 that M takes for one of the environment's own actions.

        Raises:
            ValueError: if the action is outside the environment's action space.
        """
        space, taken = self.env.action_space, action
        if isinstance(space, gym.spaces.Box):
            with contextlib.suppress(TypeError, ValueError):  # a list, or double precision, will do
                taken = np.asarray(action, space.dtype)
        if not space.contains(taken):
            raise ValueError(f"action is {action!r}: {self.game.name} takes one of {space}")
        if isinstance(space, gym.spaces.Discrete):
            return self.game.vectors[int(taken - space.start)]
        return np.ravel(taken).astype(np.float32)

    def recorded(
        self, seen: Iterable[Any], actions: Iterable[Any], rewards: Iterable[Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return frames (T + 1, F) and vectors (T, A) of a game that was recorded elsewhere.

        Args:
            seen: T + 1 observations of the environment.
            actions: T actions, of its own.
            rewards: T rewards.

        Raises:
            ValueError: if what was recorded does not fit the environment.
        """
        pairs = zip(seen, (0.0, *map(float, rewards)), strict=True)
        frames = np.stack([self._frame(each, reward) for each, reward in pairs])
        return frames, np.stack([self.vector(action) for action in actions])

    def _taken(self, vector: np.ndarray) -> Any:
        """Return the environment's own action for a vector that M takes."""
        space = self.env.action_space
        if isinstance(space, gym.spaces.Discrete):
            return int(space.start + vector.argmax())
        whole = np.issubdtype(space.dtype, np.integer)
        return (np.rint(vector) if whole else vector).reshape(space.shape).astype(space.dtype)

    def _frame(self, seen: Any, reward: float) -> np.ndarray:
        """Return a frame.

        Raises:
            ValueError: if the environment shows or pays what is not a finite number, or shows
                another number of them than its space has.
        """
        numbers = np.asarray(flatten(self.env.observation_space, seen), np.float32)
        squeezed = np.float32(np.sign(reward) * np.log1p(abs(reward)))
        frame = np.append(numbers, squeezed)
        if frame.shape != self.game.frame:
            raise ValueError(
                f"{self.game.name} shows {len(numbers)} numbers, its observation_space has "
                f"{self.game.frame[0] - 1}"
            )
        if not np.isfinite(frame).all():
            raise ValueError(
                f"{self.game.name} shows {seen!r} and pays {reward!r}: only finite numbers can be "
                "learned"
            )
        return frame

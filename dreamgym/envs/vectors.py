"""A user's own game behind the frames that V sees: its observation and reward as one vector."""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces.utils import flatten, flatten_space

from dreamgym import games
from dreamgym.envs import actions, pictures
from dreamgym.envs.pixels import frame_space
from dreamgym.games import FRAME, own
from dreamgym.games.game import Game

MOST = 1000
"""Most numbers in an observation: M's head has 15 outputs for each of them."""


def describe(name: str) -> Game:
    """Return the game of which an environment of Gymnasium is the real one.

    Args:
        name: such as `CartPole-v1`, or `module:Mine-v0`, for which the module is imported first.
            With `own.PIXELS` at its end, V sees what the environment draws.

    Raises:
        LookupError: if Gymnasium knows no such environment.
        ValueError: if the environment cannot be made, or V or M cannot take its spaces.
    """
    id = name.removesuffix(own.PIXELS)
    spec = _spec(id)
    try:
        env = gym.make(id, disable_env_checker=True)
    except Exception as error:  # it is the user's own code
        raise ValueError(f"{id} cannot be made: {type(error).__name__}: {error}") from error
    try:
        return own.game(_facts(id, env, spec, pixels=name != id))
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


def _facts(id: str, env: gym.Env[Any, Any], spec: EnvSpec, pixels: bool) -> own.Facts:
    """Return what is known of an environment.

    Args:
        pixels: whether V sees what it draws.

    Raises:
        ValueError: if V or M cannot take its spaces, or if it does not draw.
    """
    picture = pixels or pictures.shown(env.observation_space)
    numbers = int(np.prod(FRAME)) if picture else _numbers(id, env.observation_space)
    if pixels and "rgb_array" not in (modes := env.metadata.get("render_modes") or []):
        raise ValueError(
            f"{id} draws no pictures: its metadata name the render_modes {modes}, and pixels need "
            "'rgb_array'"
        )
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
    limit = spec.max_episode_steps or own.ENDLESS
    return own.Facts(id, numbers, moves, low, high, limit, max(1, round(fps)), picture, pixels)


def _numbers(id: str, seen: gym.Space[Any]) -> int:
    """Return how many numbers an observation is, when it is flattened.

    Raises:
        ValueError: if it cannot be flattened, or if it looks like a picture and is none.
    """
    if isinstance(seen, gym.spaces.Box) and len(seen.shape) == 3:
        raise ValueError(
            f"{id} shows {seen.dtype} {seen.shape} from {seen.low.min()} to {seen.high.max()}: "
            "pictures must be uint8 from 0 to 255, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), so "
            "change them by a wrapper"
        )
    if not seen.is_np_flattenable:
        raise ValueError(f"{id} shows {seen}, which cannot be flattened to numbers")
    numbers = int(np.prod(flatten_space(seen).shape or ()))
    if numbers > MOST:
        raise ValueError(f"{id} shows {numbers:,} numbers: at most {MOST:,} can be learned")
    return numbers


class Vectors(gym.Env[np.ndarray, Any]):
    """A user's own game, which shows its flattened observation and the last reward as one vector.

    The reward is the last number, as sign(r) ln(1 + |r|); it is 0 in the first frame. If V sees
    pictures, the vector is of bytes, see `games.PAID`.

    Args:
        id: the environment's id in Gymnasium, or the game's name, see `describe`.
        continuous: `True` for actions as the vectors that M takes; None for the game's own actions.
        render_mode: see the environment.
    """

    def __init__(self, id: str, continuous: bool | None = None, render_mode: str | None = None):
        self.game = games.get(id)
        self.facts: own.Facts = self.game.own
        drawn = "rgb_array" if self.facts.pixels else None
        if drawn and render_mode not in (None, drawn):
            raise ValueError(f"render_mode is {render_mode!r}: {id} is drawn as {drawn!r} for V")
        shown = {"render_mode": mode} if (mode := drawn or render_mode) else {}
        self.env = gym.make(self.facts.id, max_episode_steps=-1, disable_env_checker=True, **shown)
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
                another number of them than its space has, or no picture where one is expected.
        """
        squeezed = np.float32(np.sign(reward) * np.log1p(abs(reward)))
        if self.facts.picture:
            if not np.isfinite(squeezed):
                raise ValueError(
                    f"{self.game.name} pays {reward!r}: only finite numbers can be learned"
                )
            picture = pictures.scaled(self._drawn() if self.facts.pixels else self._shown(seen))
            return np.append(picture, np.frombuffer(squeezed.tobytes(), np.uint8))
        numbers = np.asarray(flatten(self.env.observation_space, seen), np.float32)
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

    def _shown(self, seen: Any) -> np.ndarray:
        """Return the observation, a picture.

        Raises:
            ValueError: if it is none of its space.
        """
        space = self.env.observation_space
        if isinstance(seen, np.ndarray) and (seen.shape, seen.dtype) == (space.shape, space.dtype):
            return seen
        raise ValueError(
            f"{self.game.name} shows {_kind(seen)}, its observation_space has {space.dtype} "
            f"{space.shape}"
        )

    def _drawn(self) -> np.ndarray:
        """Return what the environment draws.

        Raises:
            ValueError: if it is no picture.
        """
        drawn: Any = self.env.render()
        if isinstance(drawn, np.ndarray) and drawn.dtype == np.uint8 and drawn.ndim == 3:
            height, width, channels = drawn.shape
            if height and width and channels == 3:
                return drawn
        raise ValueError(
            f"render() of {self.game.name} returned {_kind(drawn)}: with render_mode='rgb_array' "
            "it must return a picture, uint8 (H, W, 3)"
        )


def _kind(value: Any) -> str:
    """Return what a value is, in a few words for a message."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return "None" if value is None else f"a {type(value).__name__}"

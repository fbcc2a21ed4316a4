"""A user's own game behind the frames that V sees: its observation and reward as one vector."""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
from collections.abc import Callable, Iterable, Iterator
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


def describe(name: str) -> Game:
    """Return the game of which an environment of Gymnasium is the real one.

    Args:
        name: the id of an environment, such as `CartPole-v1`, or `module:function` of what makes
            one. Arguments may follow, as in `LunarLander-v3(continuous=True)`. The module of
            `module:Mine-v0` is imported first.

    Raises:
        LookupError: if Gymnasium knows no such environment.
        ValueError: if the environment cannot be made, or V or M cannot take its spaces.
    """
    id, kwargs = _parsed(name)
    found = _found(id)
    try:
        env = _made(found, kwargs)
    except Exception as error:  # it is the user's own code
        raise ValueError(f"{name} cannot be made: {type(error).__name__}: {error}") from error
    try:
        return own.game(_facts(id, kwargs, env, found))
    finally:
        env.close()


def _parsed(name: str) -> tuple[str, dict[str, Any]]:
    """Split a game's name into the id and the arguments that follow it.

    Raises:
        ValueError: if the arguments are not `key=value` with values that Python can read.
    """
    id, bracket, _ = name.partition("(")
    if not bracket:
        return name, {}
    try:
        call = ast.parse(f"_{name[len(id) :]}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError("give each argument its name")
        words = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
        if json.loads(json.dumps(words)) != words:
            raise ValueError("give numbers, words, lists, True, False or None")
    except (SyntaxError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name} has arguments that cannot be read ({error}): write them as in "
            "LunarLander-v3(continuous=True)"
        ) from error
    return id, words


def _found(id: str) -> EnvSpec | Callable[..., Any]:
    """Return what makes an environment: Gymnasium's spec, or a function of the user's module.

    Raises:
        LookupError: if there is neither.
        ValueError: if the module cannot be imported.
    """
    module, _, name = id.rpartition(":")
    try:
        there = importlib.import_module(module) if module else None
        made = getattr(there, name, None)
        return made if callable(made) else gym.spec(name)
    except gym.error.Error as error:
        raise LookupError(str(error)) from error
    except Exception as error:  # the module may be the user's own code
        raise ValueError(f"{id} needs a module that cannot be imported: {error}") from error


def _made(found: EnvSpec | Callable[..., Any], kwargs: dict[str, Any]) -> gym.Env[Any, Any]:
    """Make an environment, without a limit of steps if it is Gymnasium that adds it."""
    if isinstance(found, EnvSpec):
        return gym.make(found, max_episode_steps=-1, disable_env_checker=True, **kwargs)
    env: gym.Env[Any, Any] = found(**kwargs)
    if not isinstance(env, gym.Env):
        raise TypeError(f"it returned {env!r}, which is no gymnasium.Env")
    return env


def _facts(
    id: str, kwargs: dict[str, Any], env: gym.Env[Any, Any], found: EnvSpec | Callable[..., Any]
) -> own.Facts:
    """Return what is known of an environment.

    Raises:
        ValueError: if V or M cannot take its spaces.
    """
    seen = env.observation_space
    if isinstance(seen, gym.spaces.Box) and len(seen.shape) == 3:
        raise ValueError(f"{id} shows pictures {seen.shape}: only vectors can be learned so far")
    if not seen.is_np_flattenable:
        raise ValueError(f"{id} shows {seen}, which cannot be flattened to numbers")
    numbers = int(np.prod(flatten_space(seen).shape or ()))
    if numbers > MOST:
        raise ValueError(f"{id} shows {numbers:,} numbers: at most {MOST:,} can be learned")
    spec = found if isinstance(found, EnvSpec) else env.spec
    fps = env.metadata.get("render_fps") or own.Facts.fps
    return own.Facts(
        id, kwargs, numbers,
        max_steps=(spec and spec.max_episode_steps) or own.ENDLESS,
        fps=max(1, round(fps)),
        **_acts(id, env.action_space),
    )  # fmt: skip


def _acts(id: str, space: gym.Space[Any]) -> dict[str, Any]:
    """Return the facts of an action space.

    Raises:
        ValueError: if M cannot take such actions.
    """
    if isinstance(space, gym.spaces.Discrete):
        return {"moves": int(space.n)}
    if isinstance(space, gym.spaces.MultiDiscrete):
        return {"parts": tuple(space.nvec.ravel().tolist())}
    if isinstance(space, gym.spaces.MultiBinary):
        return {"parts": (2,) * int(np.prod(space.shape)), "bits": True}
    if not isinstance(space, gym.spaces.Box):
        raise ValueError(
            f"{id} acts by {space}: only Discrete, MultiDiscrete, MultiBinary and Box can be "
            "learned, so put a wrapper around it"
        )
    if not np.isfinite((space.low, space.high)).all():
        raise ValueError(f"{id} acts by {space}: give it finite ends, by a wrapper")
    return {"low": tuple(space.low.ravel().tolist()), "high": tuple(space.high.ravel().tolist())}


class Vectors(gym.Env[np.ndarray, Any]):
    """A user's own game, which shows its flattened observation and the last reward as one vector.

    The reward is the last number, as sign(r) ln(1 + |r|); it is 0 in the first frame. What the
    environment raises becomes a RuntimeError that says where: another try may get further.

    Args:
        name: the game's name, see `describe`.
        continuous: `True` for actions as the vectors that M takes; None for the game's own actions.
        render_mode: see the environment.
    """

    def __init__(self, name: str, continuous: bool | None = None, render_mode: str | None = None):
        self.game, (id, kwargs) = games.get(name), _parsed(name)
        shown = {} if render_mode is None else {"render_mode": render_mode}
        self.env = _made(_found(id), kwargs | shown)
        self.metadata, self.render_mode = self.env.metadata, render_mode
        self.continuous = self.game.continuous if continuous is None else continuous
        self.observation_space = frame_space(self.game)
        self.action_space = actions.space(self.game, self.continuous)
        self._seed: int | None = None
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._seed, self._steps = seed, 0
        with self._named():
            seen, info = self.env.reset(seed=seed, options=options)
            numbers = self._numbers(seen)
        return self._frame(numbers, seen, 0.0), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        vector = actions.to_vectors([action], self.game, self.continuous)[0]
        self._steps += 1
        with self._named():
            seen, reward, terminated, truncated, info = self.env.step(self._taken(vector))
            numbers, paid = self._numbers(seen), float(reward)
        return self._frame(numbers, seen, paid), paid, bool(terminated), bool(truncated), info

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
        if self.game.choices:
            chosen = np.ravel(np.asarray(taken) - getattr(space, "start", 0))
            return actions.to_vectors(chosen[None], self.game, continuous=False)[0]
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
        frames = np.stack([self._frame(self._numbers(each), each, pay) for each, pay in pairs])
        return frames, np.stack([self.vector(action) for action in actions])

    def _taken(self, vector: np.ndarray) -> Any:
        """Return the environment's own action for a vector that M takes."""
        space = self.env.action_space
        if isinstance(space, gym.spaces.Discrete):
            return int(space.start + vector.argmax())
        if self.game.choices:
            chosen = actions.to_choices(vector, self.game).reshape(space.shape)
            return (chosen + getattr(space, "start", 0)).astype(space.dtype)
        whole = np.issubdtype(space.dtype, np.integer)
        return (np.rint(vector) if whole else vector).reshape(space.shape).astype(space.dtype)

    def _numbers(self, seen: Any) -> np.ndarray:
        """Return an observation flattened, float32."""
        return np.asarray(flatten(self.env.observation_space, seen), np.float32)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Say of an error of the environment's own code in which game and step it was."""
        try:
            yield
        except gym.error.Error:  # of a wrong use, such as step() before reset()
            raise
        except Exception as error:
            kind = type(error).__name__
            raise RuntimeError(f"{self.game.name} failed {self._where}: {kind}: {error}") from error

    @property
    def _where(self) -> str:
        """The step and the game in which we are, in words; step 0 is `reset`."""
        return f"at step {self._steps:,} of the game with seed {self._seed}"

    def _frame(self, numbers: np.ndarray, seen: Any, reward: float) -> np.ndarray:
        """Return a frame.

        Args:
            numbers: the flattened observation.
            seen: the observation as it came, for the message.
            reward: what was paid.

        Raises:
            ValueError: if the environment shows or pays what is not a finite number, or shows
                another number of them than its space has.
        """
        squeezed = np.float32(np.sign(reward) * np.log1p(abs(reward)))
        frame = np.append(numbers, squeezed)
        if frame.shape != self.game.frame:
            raise ValueError(
                f"{self.game.name} {self._where} shows {len(numbers)} numbers, its "
                f"observation_space has {self.game.frame[0] - 1}"
            )
        if not np.isfinite(frame).all():
            raise ValueError(
                f"{self.game.name} {self._where} shows {seen!r} and pays {reward!r}: only finite "
                "numbers can be learned"
            )
        return frame

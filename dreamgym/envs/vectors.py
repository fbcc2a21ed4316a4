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
from dreamgym.envs import actions, pictures
from dreamgym.envs.pixels import frame_space
from dreamgym.games import FRAME, own
from dreamgym.games.game import Game

DRAWING = {"render_mode": "rgb_array"}
"""Arguments of an environment that is to draw for V."""
MOST = 1000
"""Most numbers in an observation: M's head has 15 outputs for each of them. Also most possibilities
of an action."""
LIMIT = "max_episode_steps"
"""The argument of `gym.make` that is the limit of steps, and no argument of the environment."""


def describe(name: str) -> Game:
    """Return the game of which an environment of Gymnasium is the real one.

    Args:
        name: the id of an environment, such as `CartPole-v1`, or `module:function` of what makes
            one. Arguments may follow, as in `LunarLander-v3(continuous=True)`. The module of
            `module:Mine-v0` is imported first. With `own.PIXELS` at its end, V sees what the
            environment draws.

    Raises:
        LookupError: if Gymnasium knows no such environment.
        ValueError: if the environment cannot be made, or V or M cannot take its spaces.
    """
    id, kwargs, pixels = _parsed(name)
    found = _found(id)
    try:
        env = _made(found, kwargs)
    except Exception as error:  # it is the user's own code
        raise ValueError(f"{name} cannot be made: {type(error).__name__}: {error}") from error
    try:
        game = own.game(_facts(id, kwargs, pixels, env, found))
    finally:
        env.close()
    if pixels:
        try:
            _made(found, kwargs | DRAWING).close()
        except Exception as error:
            raise ValueError(
                f"{id} cannot be made with render_mode='rgb_array', by which V sees it: "
                f"{type(error).__name__}: {error}"
            ) from error
    return game


def maker(name: str) -> Any:
    """Return the entry point by which an environment is made, or the function; see `games.maker`.

    Raises:
        LookupError: if Gymnasium knows no such environment.
    """
    found = _found(_parsed(name)[0])
    return found.entry_point if isinstance(found, EnvSpec) else found


def _parsed(name: str) -> tuple[str, dict[str, Any], bool]:
    """Split a game's name into the id, the arguments that follow it, and whether V sees pixels.

    Raises:
        ValueError: if the arguments are not `key=value` with values that Python can read.
    """
    pixels = name.endswith(own.PIXELS)
    called = name.removesuffix(own.PIXELS)
    id, bracket, _ = called.partition("(")
    if not bracket:
        return id, {}, pixels
    try:
        call = ast.parse(f"_{called[len(id) :]}", mode="eval").body
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
    return id, words, pixels


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
        given = {key: value for key, value in kwargs.items() if key != LIMIT}
        return gym.make(found, max_episode_steps=-1, disable_env_checker=True, **given)
    env: gym.Env[Any, Any] = found(**kwargs)
    if not isinstance(env, gym.Env):
        raise TypeError(f"it returned {env!r}, which is no gymnasium.Env")
    return env


def _facts(
    id: str,
    kwargs: dict[str, Any],
    pixels: bool,
    env: gym.Env[Any, Any],
    found: EnvSpec | Callable[..., Any],
) -> own.Facts:
    """Return what is known of an environment.

    Args:
        pixels: whether V sees what it draws.

    Raises:
        ValueError: if V or M cannot take its spaces, or if it does not draw.
    """
    picture = pixels or pictures.shown(env.observation_space)
    if pixels and "rgb_array" not in (modes := env.metadata.get("render_modes") or []):
        raise ValueError(
            f"{id} draws no pictures: its metadata name the render_modes {modes}, and pixels need "
            "'rgb_array'"
        )
    limit = _limit(env)
    if isinstance(found, EnvSpec):
        limit = kwargs.get(LIMIT, found.max_episode_steps)
    fps = env.metadata.get("render_fps") or own.Facts.fps
    return own.Facts(
        id, kwargs, int(np.prod(FRAME)) if picture else _numbers(id, env.observation_space),
        max_steps=limit or own.ENDLESS,
        fps=max(1, round(fps)), picture=picture, pixels=pixels,
        **_acts(id, env.action_space),
    )  # fmt: skip


def _limit(env: gym.Env[Any, Any]) -> int | None:
    """Return the limit of steps in the wrappers of an environment; None if there is none."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.wrappers.TimeLimit):
            return int(env._max_episode_steps)
        env = env.env
    return None


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
    if odd := [name for name, part in _parts(seen) if not _flattenable(part)]:
        which = f"of which {' and '.join(odd)}" if any(odd) else "which"
        outer = isinstance(seen, gym.spaces.Dict) and all(name.count("[") == 1 for name in odd)
        cure = "Filter" if outer else "Transform"
        raise ValueError(
            f"{id} shows {seen}, {which} cannot be flattened to numbers: change it by a wrapper, "
            f"such as gymnasium.wrappers.{cure}Observation"
        )
    numbers = int(np.prod(flatten_space(seen).shape or ()))
    if numbers > MOST:
        raise ValueError(f"{id} shows {numbers:,} numbers: at most {MOST:,} can be learned")
    return numbers


def _parts(seen: gym.Space[Any], name: str = "") -> list[tuple[str, gym.Space[Any]]]:
    """Return the parts of a space that have no parts themselves, and how an observation's index
    names each: `['arm'][0]` in a `Dict` that holds a `Tuple`, nothing if the space is one part."""
    if isinstance(seen, gym.spaces.Dict):
        inner: list[tuple[Any, gym.Space[Any]]] = list(seen.spaces.items())
    elif isinstance(seen, gym.spaces.Tuple):
        inner = list(enumerate(seen.spaces))
    else:
        return [(name, seen)]
    return [part for key, each in inner for part in _parts(each, f"{name}[{key!r}]")]


def _flattenable(space: gym.Space[Any]) -> bool:
    try:
        return space.is_np_flattenable
    except NotImplementedError:  # a space of the user's own
        return False


def _acts(id: str, space: gym.Space[Any]) -> dict[str, Any]:
    """Return the facts of an action space.

    Raises:
        ValueError: if M cannot take such actions.
    """
    if isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete):
        many = int(np.sum(space.n if isinstance(space, gym.spaces.Discrete) else space.nvec))
        if many > MOST:
            raise ValueError(
                f"{id} acts by {space}: at most {MOST:,} possibilities can be learned, so choose "
                "among fewer by a wrapper"
            )
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

    The reward is the last number, as sign(r) ln(1 + |r|); it is 0 in the first frame. If V sees
    pictures, the vector is of bytes, see `games.PAID`. What the environment raises becomes a
    RuntimeError that says where: another try may get further.

    Args:
        name: the game's name, see `describe`.
        continuous: `True` for actions as the vectors that M takes; None for the game's own actions.
        render_mode: see the environment.
    """

    def __init__(self, name: str, continuous: bool | None = None, render_mode: str | None = None):
        self.game, (id, kwargs, pixels) = games.get(name), _parsed(name)
        self.facts: own.Facts = self.game.own
        drawn = "rgb_array" if pixels else None
        if drawn and render_mode not in (None, drawn):
            raise ValueError(f"render_mode is {render_mode!r}: {name} is drawn as {drawn!r} for V")
        shown = {"render_mode": mode} if (mode := drawn or render_mode) else {}
        try:
            self.env = _made(_found(id), kwargs | shown)
        except Exception as error:
            raise RuntimeError(
                f"{name} cannot be made again ({type(error).__name__}: {error}): several games are "
                "open at once, so let a process make several"
            ) from error
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
            looked = self._look(seen)
        return self._frame(looked, 0.0), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        vector = actions.to_vectors([action], self.game, self.continuous)[0]
        self._steps += 1
        with self._named():
            seen, reward, terminated, truncated, info = self.env.step(self._taken(vector))
            looked, paid = self._look(seen), float(np.asarray(reward).item())
        return self._frame(looked, paid), paid, bool(terminated), bool(truncated), info

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
        frames = np.stack([self._frame(self._look(each), pay) for each, pay in pairs])
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
        taken = (np.rint(vector) if whole else vector).reshape(space.shape).astype(space.dtype)
        assert isinstance(space, gym.spaces.Box)
        return np.clip(taken, space.low, space.high)  # 0.1 is above it in double precision

    def _look(self, seen: Any) -> Any:
        """Return what V sees of an observation: it flattened, float32, or a picture."""
        if self.facts.pixels:
            return self.env.render()
        if self.facts.picture:
            return seen
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

    def _frame(self, looked: Any, reward: float) -> np.ndarray:
        """Return a frame, of what V sees and the reward.

        Raises:
            ValueError: if the environment shows or pays what is not a finite number, or shows
                another number of them than its space has, or no picture where one is expected.
        """
        squeezed = np.float32(np.sign(reward) * np.log1p(abs(reward)))
        finite = bool(np.isfinite(squeezed))
        if not self.facts.picture:
            if looked.shape != (wanted := (self.facts.numbers,)):
                raise ValueError(
                    f"{self.game.name} {self._where} shows {len(looked)} numbers, its "
                    f"observation_space has {wanted[0]}"
                )
            finite = finite and bool(np.isfinite(looked).all())
        if not finite:
            shown = "" if self.facts.picture else f"shows {looked!r} and "
            raise ValueError(
                f"{self.game.name} {self._where} {shown}pays {reward!r}: only finite numbers can "
                "be learned"
            )
        if not self.facts.picture:
            return np.append(looked, squeezed)
        self._check_picture(looked)
        return np.append(pictures.scaled(looked), np.frombuffer(squeezed.tobytes(), np.uint8))

    def _check_picture(self, looked: Any) -> None:
        """Refuse what is not the picture that V is to see.

        Raises:
            ValueError: if the environment draws, or shows, something else.
        """
        space, shape = self.env.observation_space, tuple[int, ...]()
        if isinstance(looked, np.ndarray) and looked.dtype == np.uint8:
            shape = looked.shape
        if self.facts.pixels and (len(shape) != 3 or shape[2] != 3 or 0 in shape):
            raise ValueError(
                f"render() of {self.game.name} returned {_kind(looked)} {self._where}: with "
                "render_mode='rgb_array' it must return a picture, uint8 (H, W, 3)"
            )
        if not self.facts.pixels and shape != space.shape:
            raise ValueError(
                f"{self.game.name} {self._where} shows {_kind(looked)}, its observation_space has "
                f"{space.dtype} {space.shape}"
            )


def _kind(value: Any) -> str:
    """Return what a value is, in a few words for a message."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return "None" if value is None else f"a {type(value).__name__}"

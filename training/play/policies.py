"""Policies: they play N games at once, in dreams or in the real game."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from dreamgym import noise
from dreamgym.checkpoint import (
    CheckpointError,
    is_agent,
    load_agent,
    load_controller,
    policy_fingerprint,
    read_json,
)
from dreamgym.envs import actions
from dreamgym.envs.pixels import real
from dreamgym.games import FRAME, Game, get, maker
from dreamgym.models.agent import Agent
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.models.sight import pictures
from dreamgym.world import World

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

ALGORITHMS = {
    "ppo": "stable_baselines3:PPO",
    "a2c": "stable_baselines3:A2C",
    "dqn": "stable_baselines3:DQN",
    "sac": "stable_baselines3:SAC",
    "td3": "stable_baselines3:TD3",
    "ppo_lstm": "sb3_contrib:RecurrentPPO",
    "qrdqn": "sb3_contrib:QRDQN",
    "tqc": "sb3_contrib:TQC",
}
"""Algorithms by their names in rl-zoo3, and the module and class of each."""
BLIND = ("random", "explore")
"""Policies that need no observation.

`random` draws a uniform action in every step. `explore` is the game's own random play, by which the
first data are collected, see `games.Game.explore`.
"""


CONTROLLER, AGENT = "controller.safetensors", "agent.safetensors"
"""The files of policies in a folder."""
FRAMES = "rgb"
"""The kind of observation of a policy that sees frames (N, 64, 64, 3) uint8: in the real game its
own, and not V's pictures of them."""
STACK = 4
"""Frames that such a policy sees at once: the last ones, the newest last (Mnih et al., 2015)."""
FULL = 0.5
"""Share of the random actions of `Distracted` that go to the ends, such as full gas. Our choice."""


class Policy(Protocol):
    """Plays N games at once."""

    observation: str
    """Kind of observation that it needs, see `World.observe`; `FRAMES`; or empty: none."""

    def begin(self, seeds: Tensor) -> None:
        """Begin N games; the seeds (N,) int64 are for the policy's own random draws."""

    def act(self, observation: Tensor) -> Tensor:
        """Return actions (N, A), as M takes them, for observations (N, I).

        A policy that needs none of `World.observe` is given the frames.
        """

    def keep(self, rows: Tensor) -> None:
        """Keep the games where the mask `rows` (N,) is true, and drop the others."""


class Random:
    """Draws a uniform action in every step."""

    observation = ""

    def __init__(self, game: Game):
        self.game = game

    def begin(self, seeds: Tensor) -> None:
        self.key, self.step = noise.key(seeds, torch.zeros_like(seeds)), torch.zeros_like(seeds)

    def act(self, observation: Tensor) -> Tensor:
        chosen = actions.random(self.key, self.step, self.game)
        self.step = self.step + 1
        return chosen

    def keep(self, rows: Tensor) -> None:
        self.key, self.step = self.key[rows], self.step[rows]


class Exploring:
    """The game's own random play, by which the first data are collected."""

    observation = ""

    def __init__(self, game: Game):
        self.game = game

    def begin(self, seeds: Tensor) -> None:
        self.device = seeds.device
        streams = [np.random.default_rng([seed, 1]) for seed in seeds.tolist()]
        self.plays = [self.game.explore(stream) for stream in streams]

    def act(self, observation: Tensor) -> Tensor:
        outputs = torch.from_numpy(np.stack([play() for play in self.plays]))
        return actions.from_outputs(outputs, self.game).to(self.device)

    def keep(self, rows: Tensor) -> None:
        self.plays = [play for play, kept in zip(self.plays, rows.tolist(), strict=True) if kept]


class Controlled:
    """A controller C plays: with the same weights in all games, or with other weights in each."""

    def __init__(self, controller: Controller, game: Game):
        self.controller, self.game = controller, game
        self.observation = controller.config.observation

    def begin(self, seeds: Tensor) -> None:
        self.playing = self.controller

    def act(self, observation: Tensor) -> Tensor:
        return actions.from_outputs(self.playing.act(observation), self.game)

    def keep(self, rows: Tensor) -> None:
        self.playing = self.playing[rows]


class Networked:
    """An agent plays: the acting part of a trained algorithm, see `models.agent`."""

    def __init__(self, agent: Agent, game: Game):
        self.agent, self.game = agent, game
        self.observation = agent.config.observation

    def begin(self, seeds: Tensor) -> None:
        pass

    def act(self, observation: Tensor) -> Tensor:
        chosen = self.agent.act(observation.cpu()).numpy()
        vectors = actions.to_vectors(chosen, self.game, not self.agent.discrete)
        return torch.from_numpy(vectors).to(observation.device)

    def keep(self, rows: Tensor) -> None:
        pass


class Trained:
    """A trained algorithm of Stable-Baselines3 plays.

    Args:
        model: the algorithm.
        game: the game it plays.
        observation: kind of observation that it needs.
    """

    def __init__(self, model: Any, game: Game, observation: str):
        self.model, self.game, self.observation = model, game, observation

    def begin(self, seeds: Tensor) -> None:
        self.state: Any = None  # of a recurrent policy: a tuple of arrays (layers, N, cells)
        self.first = np.ones(len(seeds), bool)
        self.shown = np.zeros((len(seeds), *FRAME[:2], STACK * FRAME[2]), np.uint8)

    def act(self, observation: Tensor) -> Tensor:
        chosen, self.state = self.model.predict(
            self._stacked(observation.cpu().numpy()), self.state, self.first, deterministic=True
        )
        self.first = np.zeros(len(observation), bool)
        continuous = isinstance(self.model.action_space, gym.spaces.Box)
        vectors = actions.to_vectors(chosen, self.game, continuous)
        return torch.from_numpy(vectors).to(observation.device)

    def keep(self, rows: Tensor) -> None:
        kept = rows.cpu().numpy()
        self.first, self.shown = self.first[kept], self.shown[kept]
        if self.state is not None:
            self.state = tuple(part[:, kept] for part in self.state)

    def _stacked(self, seen: np.ndarray) -> np.ndarray:
        """Return what the model sees: a latent observation as it is, or a frame and those before.

        As in Stable-Baselines3's `VecFrameStack`, frames from before a game are black.
        """
        if self.observation != FRAMES:
            return seen
        self.shown = np.concatenate((self.shown[..., FRAME[2] :], seen), axis=-1)
        return self.shown


class Called:
    """A user's own function plays: it takes an observation and returns one of the game's actions.

    It is called for one game at a time, with the flattened observation (F - 1,) float32, or with
    the picture that V sees, uint8 (64, 64, 3).

    Args:
        name: `module:function`.
        game: a user's own game.
        world: of whose dreams it sees the same; None if it plays the real game only.

    Raises:
        ValueError: if there is no such function, or the game is not a user's own.
    """

    def __init__(self, name: str, game: Game, world: World | None = None):
        if not game.own:
            raise ValueError(f"{name} cannot play {game.name}: only a game of your own")
        self.name, self.function, self.game = name, function(name), game
        self.observation = "" if world is None else FRAMES if game.pictures else "own"
        self.env: Any = _own_actions(game.name, maker(game.name))

    def begin(self, seeds: Tensor) -> None:
        pass

    def act(self, observation: Tensor) -> Tensor:
        seen = self._without_reward(observation.cpu()).numpy().copy()  # the function may change it
        vectors = np.stack([self._vector(each) for each in seen])
        return torch.from_numpy(vectors).to(observation.device)

    def _without_reward(self, shown: Tensor) -> Tensor:
        """Return what the game shows, in frames of the real game or in a dream's observations."""
        if self.game.pictures:
            return shown if shown.ndim == 4 else pictures(shown)
        return shown if self.observation else shown[:, :-1]

    def _vector(self, seen: np.ndarray) -> np.ndarray:
        try:
            action = self.function(seen)
        except Exception as error:  # it is the user's own code
            raise ValueError(f"{self.name} failed: {type(error).__name__}: {error}") from error
        try:
            vector: np.ndarray = self.env.vector(action)
        except ValueError as error:
            raise ValueError(f"{self.name} does not play the game: its {error}") from error
        return vector

    def keep(self, rows: Tensor) -> None:
        pass


@cache
def _own_actions(task: str, _: Any) -> Any:
    """Return a user's own game, which knows its actions; one in a process, for it may be large."""
    return real(get(task))


class Distracted:
    """Another policy plays, and now and then it is interrupted by a random action.

    Args:
        policy: the policy that plays.
        game: the game.
        chance: of a random action to begin in a step.
        hold: most steps for which it is held; the number is ~ U{1, ..., hold}.
    """

    def __init__(self, policy: Policy, game: Game, chance: float, hold: int):
        self.policy, self.game, self.chance, self.hold = policy, game, chance, hold
        self.observation = policy.observation

    def begin(self, seeds: Tensor) -> None:
        self.policy.begin(seeds)
        self.streams = [np.random.default_rng([seed, 2]) for seed in seeds.tolist()]
        self.left = np.zeros(len(seeds), np.int64)  # (N,) steps that a random action still lasts
        self.held = np.zeros((len(seeds), len(self.game.low)), np.float32)  # (N, A) outputs

    def act(self, observation: Tensor) -> Tensor:
        chosen = self.policy.act(observation)
        for row, stream in enumerate(self.streams):
            if self.left[row] == 0 and stream.random() < self.chance:
                self.left[row] = stream.integers(1, self.hold + 1)
                drawn = stream.uniform(-1, 1, size=self.held.shape[1])
                full = stream.random() < FULL and not self.game.choices  # ends would be equal
                self.held[row] = np.sign(drawn) if full else drawn
        held = actions.from_outputs(torch.from_numpy(self.held), self.game)
        taken = torch.from_numpy(self.left > 0)[:, None]
        self.left = np.maximum(self.left - 1, 0)
        return torch.where(taken, held, chosen)

    def keep(self, rows: Tensor) -> None:
        self.policy.keep(rows)
        kept = rows.numpy()
        self.left, self.held = self.left[kept], self.held[kept]
        self.streams = [each for each, goes in zip(self.streams, kept, strict=True) if goes]


@dataclass(frozen=True)
class Reference:
    """Names a policy and its content, so that another process loads exactly the same policy."""

    name: str
    """`random`, `explore`, `module:function` or a file; empty if `weights` holds the policy."""
    fingerprint: str = ""
    """Fingerprint of the file, needed because the file may be replaced before it is loaded."""
    weights: bytes = b""
    config: ControllerConfig | None = None

    def load(self, world: World | None, game: Game) -> Policy:
        """Return the policy.

        Raises:
            ValueError: if its file was changed, or the policy does not fit the world.
        """
        if self.config:
            weights = torch.frombuffer(bytearray(self.weights), dtype=torch.float32)
            return Controlled(Controller(self.config, weights), game)
        if self.name not in BLIND and mark(self.name) != self.fingerprint:
            raise ValueError(f"{self.name} was changed while it played: begin anew")
        return load(self.name, world, game)


def refer(policy: str | Path | Controller) -> Reference:
    """Return a reference by which another process can load a policy."""
    if isinstance(policy, Controller):
        return Reference("", "", policy.weights.float().numpy().tobytes(), policy.config)
    if str(policy) in BLIND:
        return Reference(str(policy))
    if is_function(policy):
        return Reference(str(policy), mark(policy))
    if Path(policy).suffix != ".zip" and not is_agent(policy):
        return refer(load_controller(policy))  # a controller is small: send its weights
    return Reference(str(policy), policy_fingerprint(policy))


def is_function(policy: str | Path) -> bool:
    """Return whether a policy is a function of the user's own, `module:function`, and no file."""
    module, _, name = str(policy).rpartition(":")
    words = (*module.split("."), name)
    return all(word.isidentifier() for word in words) and not Path(policy).exists()


def unseeing(policy: str) -> bool:
    """Return whether a policy needs no world: one of `BLIND`, or a function of the user's own."""
    return policy in BLIND or is_function(policy)


def function(name: str) -> Callable[[np.ndarray], Any]:
    """Return the function `module:function`.

    Raises:
        ValueError: if its module cannot be imported, or has no such function.
    """
    module, word = name.split(":")
    try:
        there = import_module(module)
    except Exception as error:  # it is the user's own code
        raise ValueError(f"{name} needs a module that cannot be imported: {error}") from error
    found = getattr(there, word, None)
    if not callable(found):
        raise ValueError(f"{name} is no function: {module} has no {word!r} that can be called")
    made: Callable[[np.ndarray], Any] = found
    return made


def mark(policy: str | Path) -> str:
    """Return a fingerprint of a policy's file; of a function, of its name and its module's file."""
    if not is_function(policy):
        return policy_fingerprint(policy)
    function(str(policy))
    source = getattr(import_module(str(policy).split(":")[0]), "__file__", None)
    code = Path(source).read_bytes() if source else b""
    return hashlib.sha256(str(policy).encode() + code).hexdigest()[:16]


def find(policy: str, folder: Path) -> str:
    """Return the path of a policy's file.

    `shipped` is the controller of the world in `folder`, `agent` its agent, and another folder
    stands for the controller in it; or, where there is no controller, for the agent in it. The
    policies of `BLIND` have no file: their names are returned.
    """
    if policy in BLIND:
        return policy
    if policy == "agent":
        return str(folder / AGENT)
    place = folder if policy == "shipped" else Path(policy)
    if not place.is_dir():
        return str(place)
    alone = (place / AGENT).exists() and not (place / CONTROLLER).exists()
    return str(place / (AGENT if alone else CONTROLLER))


def load(policy: str | Path, world: World | None, game: Game) -> Policy:
    """Load a policy by its name or from its file.

    Args:
        policy: `random`, `explore`, `module:function`, or the file of a controller or of an agent.
        world: the world in which it is to act; None is enough for those of `unseeing`.
        game: the world's game.

    Raises:
        ValueError: if the policy's inputs and outputs do not fit the world; the message names both.
    """
    if str(policy) in BLIND:
        return Random(game) if str(policy) == "random" else Exploring(game)
    if is_function(policy):
        return Called(str(policy), game, world)
    assert world is not None
    if Path(policy).suffix == ".zip":
        return load_trained(policy, world)
    if is_agent(policy):
        return load_networked(policy, world)
    return Controlled(load_fitting(policy, world), game)


def load_networked(path: str | Path, world: World) -> Networked:
    """Read an agent that is to act in a world.

    Raises:
        ValueError: if its inputs or outputs do not fit the world; the message names both.
    """
    agent, game = load_agent(path), world.game
    config = agent.config
    outputs = {"moves": len(game.moves), "bits": len(game.choices)}.get(config.acts, len(game.low))
    fits = config.acts != "parts" or (config.parts == game.choices and not game.bits)
    fits = fits and (config.acts != "bits" or game.bits)
    if (config.inputs, config.outputs) != (world.size(config.observation), outputs) or not fits:
        raise ValueError(
            f"{path} sees {config.inputs} numbers ({config.observation}) and has {config.outputs} "
            f"outputs, this world of {game.name} shows {world.size(config.observation)} as "
            f"{config.observation} and takes {outputs}: take the agent that learned in it"
        )
    return Networked(agent, game)


def controller_config(world: World, observation: str = "", hidden: int = 0) -> ControllerConfig:
    """Return the config of C for a world: by default the paper's observation and a linear C."""
    game, seen = world.game, observation or world.game.observation
    return ControllerConfig(world.size(seen), len(game.low), game.bias, seen, hidden)


def load_fitting(path: str | Path, world: World) -> Controller:
    """Read a controller that is to act in a world.

    Raises:
        ValueError: if its inputs and outputs do not fit the world; the message names both.
    """
    controller = load_controller(path)
    shape = controller.config
    wanted = controller_config(world, shape.observation, shape.hidden)
    if shape != wanted:
        raise ValueError(
            f"{path} is for {shape.inputs} inputs ({shape.observation}) and {shape.actions} "
            f"actions, this world of {world.game.name} shows {wanted.inputs} as "
            f"{shape.observation} and takes {wanted.actions}: take the controller that was evolved "
            "in it"
        )
    return controller


def algorithm(name: str) -> type[BaseAlgorithm]:
    """Return the class of an algorithm.

    Raises:
        ValueError: if there is no such algorithm, or its package is not installed.
    """
    if name not in ALGORITHMS:
        raise ValueError(f"algo is {name!r}: choose one of {', '.join(ALGORITHMS)}")
    module, kind = ALGORITHMS[name].split(":")
    try:
        found: type[BaseAlgorithm] = getattr(import_module(module), kind)
    except ModuleNotFoundError as error:
        raise ValueError(f"{name} is in sb3-contrib: pip install 'dreamgym[contrib]'") from error
    return found


def load_trained(path: str | Path, world: World) -> Trained:
    """Read an agent: a `.zip` that Stable-Baselines3 saved, and JSON beside it with its `algo`.

    Such a file holds pickled code: load only files that you trust. An agent that rl-zoo3 trained
    needs the statistics of its observations, which rl-zoo3 keeps in another file
    (`vecnormalize.pkl`): score it with rl-zoo3.

    Raises:
        CheckpointError: if a file is missing, or the agent cannot be loaded.
        ValueError: if the agent does not fit the world.
    """
    path = Path(path)
    facts = path.with_suffix(".json")
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: train it with `dreamgym train`")
    if not facts.is_file():
        raise CheckpointError(
            f'{facts} is missing: it names the algorithm of {path.name}, such as {{"algo": "ppo"}}'
        )
    kind = algorithm(str(read_json(facts).get("algo")))
    try:
        model = kind.load(path, device="cpu")
    except Exception as error:  # it unpickles, so a wrong file may raise anything
        raise CheckpointError(
            f"{path} is not a saved {kind.__name__}, but {facts.name} says it is ({error})"
        ) from error
    kinds = {world.size(each): each for each in world.kinds}
    seen = model.observation_space.shape or (0,)
    frames = seen == (STACK * FRAME[2], *FRAME[:2])  # channels first, as Stable-Baselines3 has them
    if not frames and (len(seen) != 1 or seen[0] not in kinds):
        raise ValueError(
            f"{path} sees {seen}, this world shows "
            f"{', '.join(f'{size} ({name})' for size, name in kinds.items())}: "
            "take the agent that learned in it"
        )
    action, game = model.action_space, world.game
    known = [actions.space(game, continuous) for continuous in (False, True)]
    if not any(type(action) is type(space) and _alike(action, space) for space in known):
        raise ValueError(f"{path} acts by {action}, which {game.called} does not have")
    return Trained(model, game, FRAMES if frames else kinds[seen[0]])


def _alike(action: gym.Space[Any], space: gym.Space[Any]) -> bool:
    """Return whether two action spaces of the same kind have as many numbers or possibilities.

    The ends of a `Box` may differ: a policy's actions are clipped to those of the game.
    """
    if isinstance(action, gym.spaces.Box):
        return action.shape == space.shape
    return bool(action == space)

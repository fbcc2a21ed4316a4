"""An agent of Stable-Baselines3 that plays like a controller, in the dream and in the real game."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from dreamgym.checkpoint import CheckpointError, read_json
from dreamgym.games import Game
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.world import OBSERVATIONS, World

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
"""Names, rl-zoo3's, and where the classes are."""


def algorithm(name: str) -> type[BaseAlgorithm]:
    """Return the class of an algorithm.

    Raises:
        ValueError: if there is none of that name, or its package is not installed.
    """
    if name not in ALGORITHMS:
        raise ValueError(f"algo is {name!r}: choose one of {', '.join(ALGORITHMS)}")
    module, kind = ALGORITHMS[name].split(":")
    try:
        found: type[BaseAlgorithm] = getattr(import_module(module), kind)
    except ModuleNotFoundError as error:
        raise ValueError(f"{name} is in sb3-contrib: pip install 'dreamgym[contrib]'") from error
    return found


class Agent:
    """N games' worth of a policy, asked and answered as a `Controller` is.

    Args:
        model: a trained algorithm.
        task: the game it plays.
        observation: what it sees, see `world.OBSERVATIONS`.
    """

    def __init__(self, model: Any, task: Game, observation: str):
        self.model, self.task = model, task
        size = model.observation_space.shape[0]
        self.config = ControllerConfig(size, len(task.low), observation=observation)
        self.state: Any = None  # of a recurrent policy: arrays (layers, N, cells)
        self.begun = True

    def __getitem__(self, rows: Tensor) -> Agent:
        """Keep some of the games."""
        kept = Agent(self.model, self.task, self.config.observation)
        kept.begun = self.begun
        if self.state is not None:
            kept.state = tuple(part[:, rows.cpu().numpy()] for part in self.state)
        return kept

    def act(self, observation: Tensor) -> Tensor:
        """Return actions (N, A) in [-1, 1], as C gives them, for observations (N, I)."""
        seen = observation.cpu().numpy()
        first = np.full(len(seen), self.begun)
        chosen, self.state = self.model.predict(
            seen, state=self.state, episode_start=first, deterministic=True
        )
        self.begun = False
        if isinstance(self.model.action_space, gym.spaces.Discrete):
            chosen = np.array(list(self.task.moves.values()), np.float32)[chosen]
        wanted = torch.from_numpy(np.array(chosen, np.float32))
        for part in self.task.halved:
            wanted[:, part] = 2 * wanted[:, part] - 1
        return wanted.to(observation.device)


Policy = Controller | Agent
"""Who plays, in the dream or in the real game."""


def begun(policy: Policy) -> Policy:
    """Return a policy at the start of its games, whatever it remembers of others."""
    if isinstance(policy, Controller):
        return policy
    return Agent(policy.model, policy.task, policy.config.observation)


def load_agent(path: str | Path, world: World) -> Agent:
    """Read an agent: a `.zip` that Stable-Baselines3 saved, and JSON beside it with its `algo`.

    Such a file holds pickled code: load only those that you trust. An agent of rl-zoo3 sees by
    statistics that lie elsewhere (`vecnormalize.pkl`): score it with rl-zoo3.

    Raises:
        ValueError: if it does not fit the world.
    """
    path = Path(path)
    facts = path.with_suffix(".json")
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: train it with `dreamgym train`")
    if not facts.is_file():
        raise CheckpointError(
            f'{facts} is missing: it tells which algorithm {path.name} is of, as {{"algo": "ppo"}}'
        )
    kind = algorithm(str(read_json(facts).get("algo")))
    try:
        model = kind.load(path, device="cpu")
    except Exception as error:  # it unpickles, so a wrong file may raise anything
        raise CheckpointError(
            f"{path} is no saved {kind.__name__}, which {facts.name} says it is ({error})"
        ) from error
    kinds = {world.size(each): each for each in OBSERVATIONS}
    seen = model.observation_space.shape or (0,)
    if len(seen) != 1 or seen[0] not in kinds:
        raise ValueError(
            f"{path} sees {seen}, this world shows "
            f"{', '.join(f'{size} ({name})' for size, name in kinds.items())}: "
            "take the agent that learned in it"
        )
    action = model.action_space
    sizes = {gym.spaces.Discrete: len(world.game.moves), gym.spaces.Box: len(world.game.low)}
    size = action.n if isinstance(action, gym.spaces.Discrete) else (action.shape or (0,))[0]
    if sizes.get(type(action)) != size:
        raise ValueError(f"{path} acts by {action}, which {world.game.called} does not know")
    return Agent(model, world.game, kinds[seen[0]])

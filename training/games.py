"""Real games side by side, their frames through V and M as one batch, and who plays them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from dreamgym import noise
from dreamgym.envs import actions
from dreamgym.games import Game, get
from dreamgym.games.game import Play
from dreamgym.twin import Twin
from dreamgym.world import World

from .agent import Policy, begun

HOLD = 10
"""Longest hold of a random action in frames."""
SIDE_BY_SIDE = 10
"""Real games that share one batch of V and M; part of what a score is a function of."""


class Player(Protocol):
    """Who plays N games at once."""

    def begin(self, frames: np.ndarray) -> None:
        """Take in the first frames (N, 64, 64, 3) uint8."""

    def act(self) -> np.ndarray:
        """Return what to do, (N, A) as M is told it."""

    def follow(self, going: np.ndarray, frames: np.ndarray) -> None:
        """Take in the next frames of the games that go on; `going` (N,) tells which do."""


@dataclass
class Turn:
    """One step of the G games that are still going."""

    games: np.ndarray  # (G,) which ones, numbered as the seeds
    frames: np.ndarray  # (G, 64, 64, 3) uint8, before the action
    budget: np.ndarray  # (G,) health or tiles left, before the action
    told: np.ndarray  # (G, A) the action, as M is told it
    rewards: np.ndarray  # (G,)
    terminated: np.ndarray  # (G,) bool
    truncated: np.ndarray  # (G,) bool
    budget_after: np.ndarray  # (G,)


def turns(task: str, seeds: Sequence[int], player: Player, steps: int = 0) -> Iterator[Turn]:
    """Play one real game for each seed, all of them at once, and yield every step.

    Args:
        steps: cut the games off after so many, if that is before the game's own limit; 0: not.
    """
    rules, limit = get(task).rules, get(task).max_steps
    gauge, limit = rules.counts[0], min(steps or limit, limit)
    games = [_game(task, i) for i in range(len(seeds))]
    begun = [game.reset(seed=seed) for game, seed in zip(games, seeds, strict=True)]
    frames = np.stack([frame for frame, _ in begun])
    budget = np.array([info[gauge] for _, info in begun], np.float32)
    player.begin(frames)
    playing = np.arange(len(seeds))
    for step in count(1):
        told = player.act()
        came = [games[i].step(action) for i, action in zip(playing, told, strict=True)]
        seen, rewards, terminated, truncated, infos = zip(*came, strict=True)
        after = np.array([info[gauge] for info in infos], np.float32)
        ended = np.array(terminated)
        cut = (np.array(truncated) | (step == limit)) & ~ended
        turn = Turn(playing, frames, budget, told, np.array(rewards), ended, cut, after)
        yield turn
        going = ~(turn.terminated | turn.truncated)
        if not going.any():
            return
        frames = np.stack([frame for frame, goes in zip(seen, going, strict=True) if goes])
        playing, budget = playing[going], after[going]
        player.follow(going, frames)


class Uniform:
    """A new action every step, each as likely: it looks at nothing."""

    def __init__(self, task: Game, seeds: Sequence[int]):
        self.task, self.key = task, keys(seeds)
        self.step = torch.zeros_like(self.key)

    def begin(self, frames: np.ndarray) -> None:
        pass

    def act(self) -> np.ndarray:
        return uniform(self.key, self.step, self.task).numpy()

    def follow(self, going: np.ndarray, frames: np.ndarray) -> None:
        rows = torch.from_numpy(going)
        self.key, self.step = self.key[rows], self.step[rows] + 1


class Idle:
    """Plays each game at random, the paper's way, by a policy that looks at nothing."""

    def __init__(self, task: Game, seeds: Sequence[int]):
        self.task, self.policies = task, [exploring(task, seed) for seed in seeds]

    def begin(self, frames: np.ndarray) -> None:
        pass

    def act(self) -> np.ndarray:
        return actions.meant(np.stack([act() for act in self.policies]), self.task)

    def follow(self, going: np.ndarray, frames: np.ndarray) -> None:
        self.policies = [act for act, goes in zip(self.policies, going, strict=True) if goes]


class Learned:
    """A controller that sees the games as the twin does: V's latent sampled, M fed what was done.

    Args:
        explore: chance a step that a game begins a random action, held for 1 to 10 frames.
    """

    def __init__(
        self,
        world: World,
        controller: Policy,
        seeds: Sequence[int],
        explore: float = 0.0,
    ):
        self.world, self.controller, self.seeds, self.explore = (
            world,
            begun(controller),
            seeds,
            explore,
        )
        self.whims = [np.random.default_rng([seed, 2]) for seed in seeds]
        self.left = np.zeros(len(seeds), np.int64)  # (N,) steps that a whim still lasts
        self.whim = np.zeros((len(seeds), controller.config.actions), np.float32)

    def begin(self, frames: np.ndarray) -> None:
        self.twin = Twin(self.world, self.controller.config.observation)
        self.twin.begin(frames, np.array(self.seeds), np.zeros(len(self.seeds), np.int64))

    def act(self) -> np.ndarray:
        wanted = self.controller.act(self.twin.observe())
        self.told = actions.meant(self._distracted(wanted.numpy()), self.world.game)
        return self.told

    def follow(self, going: np.ndarray, frames: np.ndarray) -> None:
        self.twin.keep(going)
        self.twin.follow(self.told[going], frames)
        self.controller = self.controller[torch.from_numpy(going)]
        self.left, self.whim = self.left[going], self.whim[going]
        self.whims = [rng for rng, goes in zip(self.whims, going, strict=True) if goes]

    def _distracted(self, wanted: np.ndarray) -> np.ndarray:
        """Return C's outputs (N, A) with the whims that take hold of some games."""
        if not self.explore:
            return wanted
        for row, rng in enumerate(self.whims):
            if self.left[row] == 0 and rng.random() < self.explore:
                self.left[row] = rng.integers(1, HOLD + 1)
                self.whim[row] = rng.uniform(-1, 1, size=wanted.shape[1])
        chosen = np.where(self.left[:, None] > 0, self.whim, wanted)
        self.left = np.maximum(self.left - 1, 0)
        return chosen


def keys(seeds: Sequence[int]) -> Tensor:
    """Return the noise keys (N,) of real games."""
    return noise.key(torch.tensor(seeds), torch.zeros(len(seeds), dtype=torch.int64))


def uniform(key: Tensor, step: Tensor, task: Game) -> Tensor:
    """Return random actions (N, A) as M is told them; the noise is their own, not M's."""
    size = len(task.low)
    chance = noise.uniform(noise.key(key, torch.ones_like(key)), step, size + size % 2)[:, :size]
    if task.deadband:  # whole moves, each as likely
        return torch.floor(len(task.moves) * chance) - 1
    ends = zip(chance.unbind(1), task.low, task.high, strict=True)
    return torch.stack([low + (high - low) * part for part, low, high in ends], dim=1)


def exploring(game: Game, seed: int) -> Play:
    """Return the game's own play at random, by which first data are collected."""
    return game.explore(np.random.default_rng([seed, 1]))


@cache
def _game(task: str, _: int) -> gym.Env[Any, Any]:
    """The games of a worker, kept from job to job."""
    name = get(task).pixel_id
    return gym.make(name, continuous=True, disable_env_checker=True).unwrapped

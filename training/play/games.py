"""Let a policy play real games side by side; V and M see their frames as one batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tqdm import tqdm

from dreamgym import games
from dreamgym.checkpoint import load_world, world_fingerprint
from dreamgym.envs.pixels import real
from dreamgym.games import Game
from dreamgym.models.controller import Controller
from dreamgym.twin import Twin
from dreamgym.world import OBSERVATIONS, World

from .executors import Executor
from .policies import Policy, Reference, refer, unseeing

SIDE_BY_SIDE = 10
"""Real games that share one batch of V and M. A score depends on it: it can change rounding."""
TIMEOUT = 900.0
"""Time limit for a job of this many games, in seconds."""


@dataclass
class Turn:
    """One step of the G games that are not over yet."""

    games: np.ndarray  # (G,) their indices in the list of seeds
    frames: np.ndarray  # (G, …), see `Game.frame`, before the action
    frames_after: np.ndarray  # (G, …), after it
    counts: np.ndarray  # (G, C) the counts in the games' infos, before the action
    actions: np.ndarray  # (G, A) as M takes them
    rewards: np.ndarray  # (G,)
    terminated: np.ndarray  # (G,) bool
    truncated: np.ndarray  # (G,) bool
    counts_after: np.ndarray  # (G, C) the same counts, after the action
    infos: tuple[dict[str, Any], ...]  # G of them, after the action


def turns(
    task: str, seeds: Sequence[int], policy: Policy, world: World | None = None, steps: int = 0
) -> Iterator[Turn]:
    """Play one real game for each seed, all of them at once, and yield every step.

    Args:
        task: the game's name.
        world: its V and M make the policy's observations; None if the policy needs none.
        steps: cut games off after so many steps; 0: only the game's own limit applies.
    """
    game, many = games.get(task), torch.tensor(seeds)
    limit = min(steps or game.max_steps, game.max_steps)
    maker = games.maker(task)
    envs = [_game(task, maker, i) for i in range(len(seeds))]
    begun = [env.reset(seed=seed) for env, seed in zip(envs, seeds, strict=True)]
    frames, counts = np.stack([frame for frame, _ in begun]), _counts(game, begun)
    policy.begin(many)
    twin = Twin(world, policy.observation) if world and policy.observation in OBSERVATIONS else None
    if twin:
        twin.begin(frames, many.numpy(), np.zeros(len(seeds), np.int64))
    playing = np.arange(len(seeds))
    for step in itertools.count(1):
        seen = twin.observe() if twin else torch.from_numpy(frames)
        chosen = policy.act(seen).numpy()
        came = [envs[i].step(action) for i, action in zip(playing, chosen, strict=True)]
        shown, rewards, terminated, truncated, infos = zip(*came, strict=True)
        after, ended = _counts(game, zip(shown, infos, strict=True)), np.array(terminated)
        cut = (np.array(truncated) | (step == limit)) & ~ended
        then, paid = np.stack(shown), np.array(rewards)
        yield Turn(playing, frames, then, counts, chosen, paid, ended, cut, after, infos)
        going = ~(ended | cut)
        if not going.any():
            return
        frames = then[going]
        playing, counts = playing[going], after[going]
        policy.keep(torch.from_numpy(going))
        if twin:
            twin.keep(going)
            twin.follow(chosen[going], frames)


def check_shown(world: World) -> None:
    """Refuse a world that the commands do not know which show dreams beside the real game.

    Raises:
        ValueError: if its dreams have no pictures, or it is of a user's own game.
    """
    world.vae()
    if world.game.own:
        raise ValueError(
            f"{world.game.called} is a game of your own, and this command shows "
            f"{' and '.join(games.GAMES)} alone: give its dream the render_mode 'rgb_array'"
        )


def _counts(game: Game, came: Any) -> np.ndarray:
    """Return the counts (G, C) in the games' infos, see `games.rules.Rules.counts`."""
    names = game.rules.counts
    return np.array([[info[name] for name in names] for _, info in came], np.float32)


@cache
def _game(task: str, _: Any, __: int) -> gym.Env[Any, Any]:
    """Return a game of this process; the same one is used for later jobs."""
    return real(games.get(task), continuous=True)


@dataclass(frozen=True)
class Job:
    """Real games that one worker process plays."""

    task: str
    world: str
    world_fingerprint: str
    """Needed because the folder may hold another world when the job runs."""
    policy: Reference
    seeds: tuple[int, ...]

    @property
    def label(self) -> str:
        """The job in an error message."""
        return label(self.task, self.seeds)


def label(task: str, seeds: Sequence[int]) -> str:
    """Return what names games in an error message: the game, and their seeds."""
    return f"{games.get(task).called} with the seeds {seeds[0]} to {seeds[-1]}"


def play(job: Job) -> list[dict[str, Any]]:
    """Play a job's real games side by side, and return `{seed, return, length}` of each."""
    world = None if unseeing(job.policy.name) else loaded(job.world, job.world_fingerprint)
    policy, seeds = job.policy.load(world, games.get(job.task)), job.seeds
    returns, lengths = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64)
    for turn in turns(job.task, seeds, policy, world):
        returns[turn.games] += turn.rewards
        lengths[turn.games] += 1
    return [
        {"seed": s, "return": r, "length": n}
        for s, r, n in zip(seeds, returns.tolist(), lengths.tolist(), strict=True)
    ]


def score(
    task: str,
    world: str | Path,
    policy: str | Path | Controller,
    seeds: Sequence[int],
    executor: Executor,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Play real games and return `{seed, return, length}` of each, in the order of the seeds.

    Args:
        task: the game's name.
        policy: `random`, `explore`, the file of a policy, or a controller.
    """
    mark, who = world_fingerprint(world), refer(policy)
    chunks = [tuple(seeds[i : i + SIDE_BY_SIDE]) for i in range(0, len(seeds), SIDE_BY_SIDE)]
    jobs = [Job(task, str(world), mark, who, chunk) for chunk in chunks]
    episodes: dict[int, list[dict[str, Any]]] = {}
    with tqdm(total=len(seeds), unit=" games", desc="real", disable=not progress) as bar:
        for number, played in executor.map(play, jobs, TIMEOUT):
            episodes[number] = played
            bar.update(len(played))
            done = [each["return"] for games in episodes.values() for each in games]
            bar.set_postfix(mean=f"{np.mean(done):.0f}")
    return [episode for number in sorted(episodes) for episode in episodes[number]]


def tournament(
    task: str,
    world: str | Path,
    controllers: Sequence[Controller],
    seeds: Sequence[int],
    executor: Executor,
) -> tuple[np.ndarray, int]:
    """Let M controllers play the same R real games; return their returns (M, R) and all frames."""
    mark = world_fingerprint(world)
    jobs = [Job(task, str(world), mark, refer(each), tuple(seeds)) for each in controllers]
    played = dict(executor.map(play, jobs, TIMEOUT))
    rows = [played[number] for number in range(len(jobs))]
    returns = np.array([[each["return"] for each in row] for row in rows])
    return returns, sum(each["length"] for row in rows for each in row)


def loaded(name: str | Path, mark: str) -> World:
    """Load a world, once for each process, and check that it has the fingerprint `mark`.

    Raises:
        ValueError: if the folder holds another world by now.
    """
    if world_fingerprint(name) != mark:
        raise ValueError(f"{name} was changed while it was in use: begin anew")
    return _loaded(str(name), mark)


@cache
def _loaded(name: str, _: str) -> World:
    return load_world(name)

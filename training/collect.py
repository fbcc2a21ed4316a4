"""Stage 1: real games at random or by a controller, any number of processes, nothing lost."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dreamgym import games
from dreamgym.checkpoint import load_world, policy_fingerprint, world_fingerprint, world_folder
from dreamgym.world import World

from . import workers
from .agent import Policy
from .data import VALIDATION, Episode, episode_path, frames_of, number_of
from .evaluate import fitting, policy_file
from .games import SIDE_BY_SIDE, Idle, Learned, Player, turns
from .runs import OTHER, Run, check_input

EXPLORE = 0.02
"""Chance a frame that a controller begins a held random action: ours, a tenth of its time."""


@dataclass(frozen=True)
class Args:
    """What a data set is a function of."""

    task: str
    episodes: int
    seed: int = 0
    """Episode i is played with the game seed `seed + i`."""
    policy: str = "random"
    """`random`, `shipped`, or a controller's file, which plays with held random actions between."""
    world: str = ""
    """The world behind a controller; unused by `random`."""
    steps: int = 0
    """Frames after which an episode is cut off; 0: none before the game itself does."""

    def __post_init__(self) -> None:
        games.get(self.task)
        if self.episodes < 1:
            raise ValueError(f"episodes is {self.episodes}: give 1 or more")
        if self.steps < 0:
            raise ValueError(f"steps is {self.steps}: give 1 or more, or 0 for whole episodes")
        if self.seed < 0 or self.seed + self.episodes > VALIDATION:
            raise ValueError(
                f"seeds {self.seed} to {self.seed + self.episodes - 1} are not for training: "
                f"keep them from 0 to {VALIDATION - 1:,}"
            )
        if self.policy == "random" and self.world:
            raise ValueError(f"world is {self.world}: random play looks through none, leave it out")


@dataclass(frozen=True)
class _Job:
    args: Args
    out: str
    indices: range


def collect(args: Args, out: str | Path, processes: int = 0, progress: bool = True) -> int:
    """Play the episodes that `out` does not hold yet and return the frames of the whole set.

    Raises:
        ValueError: if an argument is none of those that exist, `out` was begun with other ones or
            by another policy, or the disk is too small.
    """
    out = Path(out)
    workers.count(processes)
    with Run(out, "manifest", args, _origin(args), grows="episodes") as run:
        return _collect(run, args, out, processes, progress)


def _collect(run: Run, args: Args, out: Path, processes: int, progress: bool) -> int:
    if not run.facts and any(out.glob("episode-*.npz")):
        raise ValueError(f"{out} holds episodes, but no {run.path.name} that tells whose: {OTHER}")
    run.at_least(max((number_of(path) + 1 for path in out.glob("episode-*.npz")), default=0))
    todo = [i for i in range(args.episodes) if not episode_path(out, i).exists()]
    _check_disk(args, out, len(todo))
    facts = _facts(args)
    if todo or not run.facts:
        run.write(**facts)
    # Games share a batch with the same neighbours however often the run is stopped.
    size = 1 if args.policy == "random" else SIDE_BY_SIDE
    starts = dict.fromkeys(i - i % size for i in todo)
    jobs = [_Job(args, str(out), range(i, i + size)) for i in starts]
    bar = tqdm(total=args.episodes, initial=args.episodes - len(todo), unit=" episodes",
               desc=f"collect {args.task}", disable=not progress)  # fmt: skip
    with bar:
        for _, saved in workers.run(play, jobs, processes, timeout=900):
            bar.update(saved)
    lengths = [frames_of(episode_path(out, i)) for i in range(args.episodes)]
    run.write(finished=True, **facts, lengths=lengths)
    return sum(lengths)


def play(job: _Job) -> int:
    """Play some episodes, save those that are not there yet, and return how many that were."""
    seeds = [job.args.seed + i for i in job.indices]
    paths = [episode_path(Path(job.out), i) for i in job.indices]
    todo = [
        i < job.args.episodes and not path.exists()
        for i, path in zip(job.indices, paths, strict=True)
    ]
    steps: list[list[tuple[Any, ...]]] = [[] for _ in seeds]
    for turn in turns(job.args.task, seeds, _player(job.args, seeds), job.args.steps):
        over = turn.terminated | turn.truncated
        rows = zip(
            turn.games.tolist(), turn.frames, turn.told, turn.rewards, turn.budget,
            turn.terminated, turn.truncated, turn.budget_after, over, strict=True,
        )  # fmt: skip
        for game, *step, after, ends in rows:
            steps[game].append(tuple(step))
            if ends:
                if todo[game]:
                    _episode(steps[game], after).save(paths[game])
                steps[game] = []  # an episode may be 26 MB
    return sum(todo)


def _episode(steps: list[tuple[Any, ...]], last: float) -> Episode:
    """Make an episode of its steps and the budget after the last of them."""
    frames, told, rewards, budget, terminated, truncated = map(np.stack, zip(*steps, strict=True))
    return Episode(
        frames=frames,
        actions=told,
        rewards=rewards.astype(np.float32),
        budget=np.append(budget, last).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
    )


def _origin(args: Args) -> dict[str, str]:
    """Return the fingerprints of who plays, and of the world behind it.

    Raises:
        ValueError: if the world is another game's, or the policy not the world's.
    """
    if args.policy == "random":
        return {"policy": "random", "world": ""}
    folder = world_folder(args.world)
    file = policy_file(args.policy, folder)
    check_input(file)
    prints = policy_fingerprint(file), world_fingerprint(folder)
    if (game := _learned(folder, file, *prints)[0].game.name) != args.task:
        raise ValueError(f"{folder} is a world of {game}, not of {args.task}")
    return dict(zip(("policy", "world"), prints, strict=True))


@cache
def _learned(folder: Path, file: str, *_: str) -> tuple[World, Policy]:
    """Load a world and a policy once, until their content changes: the rest are fingerprints."""
    model = load_world(folder)
    return model, fitting(file, model)


def _player(args: Args, seeds: list[int]) -> Player:
    if args.policy == "random":
        return Idle(games.get(args.task), seeds)
    folder = world_folder(args.world)
    file = policy_file(args.policy, folder)
    prints = policy_fingerprint(file), world_fingerprint(folder)
    return Learned(*_learned(folder, file, *prints), seeds, EXPLORE)


def _facts(args: Args) -> dict[str, Any]:
    names = ("dreamgym", "gymnasium", "vizdoom", "numpy")
    return {
        "env": games.get(args.task).pixel_id,
        "versions": {name: version(name) for name in names} | {"python": platform.python_version()},
    }


def _check_disk(args: Args, out: Path, episodes: int) -> None:
    """Tell what the episodes will take: a mean for random play, the most for a controller."""
    word, length = "about", games.get(args.task).mean_length
    if args.policy != "random":
        word, length = "at most", games.get(args.task).max_steps
    length = min(length, args.steps or length)
    need = episodes * length * int(np.prod(games.FRAME))
    free = shutil.disk_usage(out).free
    print(f"{episodes} episodes to play, {word} {need / 1e9:.1f} GB; {free / 1e9:.0f} GB are free.")
    if need > free:
        raise ValueError(
            f"{out} needs {word} {need / 1e9:.1f} GB and has {free / 1e9:.1f} GB: "
            "free some, or ask for fewer --episodes"
        )

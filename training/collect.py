"""The command `collect`: play real games and save every frame, action and reward."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dreamgym import games
from dreamgym.checkpoint import load_world, policy_fingerprint, world_fingerprint, world_folder

from .data.episodes import Episode, episode_path, frames_of, number_of
from .flags import DATA, Flat, Name, Whole, game_for
from .play import policies
from .play.executors import Executor, Local
from .play.games import SIDE_BY_SIDE, TIMEOUT, label, loaded, turns
from .play.policies import BLIND, Distracted, Reference, refer, unseeing
from .runs import OTHER, Run, check_input
from .splits import VALIDATION

EXPLORE = 0.02
"""Our choice of `Args.chance`: about a tenth of the frames are then random."""
HOLD = 10
"""As long as random play of Doom holds an action, see `games.doom`."""


@dataclass(frozen=True)
class Args:
    """The arguments on which a data set depends."""

    task: Name = ""
    """The game; if left out, that of the world, or else doom."""
    episodes: Whole = 10_000
    """Episodes in the data set, including those that are already there."""
    seed: int = 0
    """Episode i is played with the game seed `seed + i`."""
    policy: str = "explore"
    """`explore`: the game's own random play. `random`: a new uniform action in every step.
    `shipped`, `agent` or the file of a policy: that policy, now and then interrupted by random
    actions.
    `module:function`, for a game of your own: a function that is given the flattened observation
    and returns an action of the game."""
    world: str = ""
    """The world with the V and M of the policy; if left out, the game's shipped world."""
    steps: int = 0
    """Frames after which an episode is cut off; 0: only the game's own limit applies."""
    chance: float = EXPLORE
    """Chance, in each frame, that a random action interrupts a trained policy."""
    hold: Whole = HOLD
    """Most frames for which such an action is held. Long ones bring the policy into trouble."""

    def __post_init__(self) -> None:
        if self.task:
            games.get(self.task)
        if self.episodes < 1:
            raise ValueError(f"episodes is {self.episodes}: give 1 or more")
        if self.steps < 0:
            raise ValueError(f"steps is {self.steps}: give 1 or more, or 0 for whole episodes")
        if not 0 <= self.chance <= 1:
            raise ValueError(f"chance is {self.chance}: give a probability, from 0 to 1")
        if self.hold < 1:
            raise ValueError(f"hold is {self.hold}: give 1 or more")
        if self.seed < 0 or self.seed + self.episodes > VALIDATION:
            raise ValueError(
                f"seeds {self.seed} to {self.seed + self.episodes - 1} are not for training: "
                f"keep them from 0 to {VALIDATION - 1:,}"
            )
        if unseeing(self.policy) and self.world:
            raise ValueError(
                f"world is {self.world}: {self.policy} play uses no world, leave it out"
            )


@dataclass(frozen=True)
class _Job:
    """Episodes that one worker process plays."""

    args: Args
    out: str
    indices: range
    world: tuple[str, str]
    """The world's folder and its fingerprint; both empty if the policy needs no observation."""
    policy: Reference

    @property
    def seeds(self) -> list[int]:
        """The seeds of the games."""
        return [self.args.seed + i for i in self.indices]

    @property
    def label(self) -> str:
        """The job in an error message."""
        return label(self.args.task, self.seeds)


def collect(args: Args, out: str | Path, executor: Executor, progress: bool = True) -> int:
    """Play the episodes that `out` does not hold yet and return the frames of the whole set.

    Raises:
        ValueError: if the world is of another game, the policy does not fit the world, `out` was
            begun with other arguments or another policy, or the disk is too small.
    """
    out, world, policy = Path(out), ("", ""), Reference(args.policy)
    inputs = {"policy": args.policy, "world": ""}
    if own := games.get(args.task).own:
        inputs["environment"] = own.mark
    if policies.is_function(args.policy):
        policies.load(args.policy, None, games.get(args.task))  # refuses it before games are played
        policy = refer(args.policy)
        inputs["policy"] = policy.fingerprint
    elif args.policy not in BLIND:
        folder = world_folder(args.world or args.task)
        file = policies.find(args.policy, folder)
        check_input(file)
        world, policy = (str(folder), world_fingerprint(folder)), refer(file)
        if (game := load_world(folder).game.name) != args.task:
            raise ValueError(f"{folder} is a world of {game}, not of {args.task}")
        policies.load(file, loaded(*world), games.get(args.task))
        inputs = {"policy": policy_fingerprint(file), "world": world[1]}
    with Run(out, "manifest", args, inputs, grows="episodes") as run:
        return _collect(run, args, out, world, policy, executor, progress)


def _collect(
    run: Run, args: Args, out: Path, world: tuple[str, str], policy: Reference,
    executor: Executor, progress: bool,
) -> int:  # fmt: skip
    if not run.facts and any(out.glob("episode-*.npz")):
        raise ValueError(
            f"{out} holds episodes, but no {run.path.name} that says what made them: {OTHER}"
        )
    run.at_least(max((number_of(path) + 1 for path in out.glob("episode-*.npz")), default=0))
    todo = [i for i in range(args.episodes) if not episode_path(out, i).exists()]
    _check_disk(args, out, len(todo))
    # Episodes of an earlier call that asked for fewer: they are not played again.
    whole, earlier = len(run.facts.get("lengths", ())), int(run.facts.get("earlier", 0))
    earlier = whole if 0 < whole < args.episodes else earlier
    facts = _facts(args) | ({"earlier": earlier} if earlier else {})
    if todo or not run.facts:
        run.write(**facts)
    # Fixed groups: a game shares its batch with the same others, even if the run was interrupted.
    blind = args.policy in BLIND and games.get(args.task).pictures  # its games are large
    size = 1 if blind else SIDE_BY_SIDE
    missing = set(todo)
    groups = [
        range(i, min(i + size, part.stop))
        for part in (range(earlier), range(earlier, args.episodes))
        for i in part[::size]
    ]
    jobs = [_Job(args, str(out), group, world, policy) for group in groups if missing & set(group)]
    bar = tqdm(total=args.episodes, initial=args.episodes - len(todo), unit=" episodes",
               desc=f"collect {args.task}", disable=not progress)  # fmt: skip
    with bar:
        for _, saved in executor.map(play, jobs, TIMEOUT):
            bar.update(saved)
    lengths = [frames_of(episode_path(out, i)) for i in range(args.episodes)]
    run.write(finished=True, **facts, lengths=lengths)
    return sum(lengths)


def play(job: _Job) -> int:
    """Play a job's episodes, save those that are missing, and return how many were saved."""
    args, game = job.args, games.get(job.args.task)
    paths = [episode_path(Path(job.out), i) for i in job.indices]
    todo = [not path.exists() for path in paths]
    world = loaded(*job.world) if job.world[0] else None
    policy = job.policy.load(world, game)
    if world:
        policy = Distracted(policy, game, args.chance, args.hold)
    steps: list[list[tuple[Any, ...]]] = [[] for _ in paths]
    for turn in turns(args.task, job.seeds, policy, world, args.steps):
        over = turn.terminated | turn.truncated
        rows = zip(
            turn.games.tolist(), turn.frames, turn.actions, turn.rewards, turn.counts,
            turn.terminated, turn.truncated, turn.counts_after, turn.frames_after, over,
            strict=True,
        )  # fmt: skip
        for number, *step, after, last, ends in rows:
            steps[number].append(tuple(step))
            if ends:
                if game.rewarded:  # it holds the last reward
                    nothing = np.zeros_like(step[1]), np.zeros_like(step[2])
                    steps[number].append((last, *nothing, after, *step[4:]))
                if todo[number]:
                    _episode(steps[number], after).save(paths[number])
                steps[number] = []  # an episode may be 26 MB
    return sum(todo)


def _episode(steps: list[tuple[Any, ...]], last: np.ndarray) -> Episode:
    """Build an episode from its steps and from the counts after the last step."""
    columns = map(np.stack, zip(*steps, strict=True))
    frames, actions, rewards, counts, terminated, truncated = columns
    return Episode(
        frames=frames,
        actions=actions,
        rewards=rewards.astype(np.float32),
        counts=np.append(counts, last[None], axis=0).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
    )


def _facts(args: Args) -> dict[str, Any]:
    names = ("dreamgym", "gymnasium", "vizdoom", "numpy")
    return {
        "env": games.get(args.task).pixel_id,
        "versions": {name: version(name) for name in names} | {"python": platform.python_version()},
    }


def _check_disk(args: Args, out: Path, episodes: int) -> None:
    """Print how much disk space the episodes need, and refuse them if there is too little.

    The estimate is a mean for random play and an upper bound for other policies.

    Raises:
        ValueError: if the disk is too small.
    """
    word, length = "about", games.get(args.task).mean_length
    if args.policy not in BLIND:
        word, length = "at most", games.get(args.task).max_steps
    length = min(length, args.steps or length)
    game = games.get(args.task)
    need = episodes * length * int(np.prod(game.frame)) * np.dtype(game.frame_type).itemsize
    free = shutil.disk_usage(out).free
    print(f"{episodes} episodes to play, {word} {need / 1e9:.1f} GB; {free / 1e9:.0f} GB are free.")
    if need > free:
        raise ValueError(
            f"{out} needs {word} {need / 1e9:.1f} GB and has {free / 1e9:.1f} GB: "
            "free some, or ask for fewer --episodes"
        )


def main(args: Flat[Args], out: str = "", processes: int = 0) -> None:
    """Play real games and save every frame.

    Args:
        out: Folder for the episodes; if left out, data/GAME.
        processes: Worker processes that play games; 0: one for each core.
    """
    args = replace(args, task=game_for(args.task, args.world))
    out = out or f"{DATA}/{args.task}"
    frames = collect(args, out, Local(processes))
    print(f"{args.episodes} episodes, {frames} frames in {out}")

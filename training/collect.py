"""Stage 1: real games at random or by a controller, any number of processes, nothing lost."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tqdm import tqdm

from dreamgym import noise, tasks
from dreamgym.checkpoint import load_controller, load_world, read_json, write_json
from dreamgym.envs import actions
from dreamgym.files import remove_partial
from dreamgym.models.controller import Controller
from dreamgym.world import State, World

from . import workers
from .data import MANIFEST, VALIDATION, Episode, episode_path

HOLD = 10
"""Longest hold of a random action in frames; the paper draws 1 to 10 (its Doom extract.py)."""
MEAN_LENGTH = 310
"""Frames that a random episode of Take Cover lasts, for the estimate of the disk alone."""
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
    """`random`, or a controller's file: it plays, with held random actions in between."""
    world: str = ""
    """The world behind a controller; unused by `random`."""


@dataclass(frozen=True)
class _Job:
    args: Args
    out: str
    index: int


def collect(args: Args, out: str | Path, processes: int = 0, progress: bool = True) -> int:
    """Play the episodes that `out` does not hold yet and return the frames of the whole set.

    Raises:
        ValueError: if `out` was made with other arguments, or the disk is too small.
    """
    out = Path(out)
    if args.episodes < 1:
        raise ValueError(f"episodes is {args.episodes}: give 1 or more")
    if args.seed < 0 or args.seed + args.episodes > VALIDATION:
        raise ValueError(
            f"seeds {args.seed} to {args.seed + args.episodes - 1} are not for training: "
            f"keep them from 0 to {VALIDATION - 1:,}"
        )
    if args.policy != "random":
        load_controller(args.policy)  # before any process starts
        load_world(args.world)
    _check_folder(args, out)
    remove_partial(out)
    if there := [p for p in out.glob("episode-*.npz") if p > episode_path(out, args.episodes - 1)]:
        raise ValueError(
            f"{out} holds {len(there)} episodes more than {args.episodes}: ask for all of them, "
            "or choose another --out"
        )
    todo = [i for i in range(args.episodes) if not episode_path(out, i).exists()]
    _check_disk(out, len(todo))
    jobs = [_Job(args, str(out), i) for i in todo]
    bar = tqdm(total=args.episodes, initial=args.episodes - len(todo), unit=" episodes",
               desc=f"collect {args.task}", disable=not progress)  # fmt: skip
    with bar:
        for _ in workers.run(play, jobs, processes):
            bar.update()
    lengths = [len(np.load(episode_path(out, i))["rewards"]) for i in range(args.episodes)]
    write_json(out / MANIFEST, _manifest(args) | {"lengths": lengths})
    return sum(lengths)


def play(job: _Job) -> int:
    """Play and save one episode, a function of its seed; return its length."""
    seed = job.args.seed + job.index
    task, env = tasks.get(job.args.task), _game(job.args.task)
    act = _policy(job.args, seed)
    frame, info = env.reset(seed=seed)
    frames, told, rewards, health = [], [], [], [info["health"]]
    ends: list[list[bool]] = []
    while not ends or not any(ends[-1]):
        action = np.array([act(frame)], np.float32)
        frames.append(frame)
        told.append(actions.told([action], task, continuous=True)[0])
        frame, reward, *end, info = env.step(action)
        rewards.append(reward)
        health.append(info["health"])
        ends.append(end)
    episode = Episode(
        frames=np.stack(frames),
        actions=np.stack(told),
        rewards=np.array(rewards, np.float32),
        health=np.array(health, np.float32),
        terminated=np.array(ends)[:, 0],
        truncated=np.array(ends)[:, 1],
    )
    episode.save(episode_path(Path(job.out), job.index))
    return len(episode)


def random_policy(seed: int) -> Callable[[Any], float]:
    """The paper's random play: an action ~ U(-1, 1) held for 1 to 10 frames."""
    rng = np.random.default_rng([seed, 1])
    left, action = 0, 0.0

    def act(_: Any) -> float:
        nonlocal left, action
        if left == 0:
            left, action = int(rng.integers(1, HOLD + 1)), float(rng.uniform(-1, 1))
        left -= 1
        return action

    return act


@cache
def _game(task: str) -> gym.Env:
    """One game a worker, for all its episodes."""
    return gym.make(tasks.get(task).pixel_id, continuous=True).unwrapped


def explorer(world: World, controller: Controller, seed: int) -> Callable[[Any], float]:
    """A controller that now and then does something random for 1 to 10 frames.

    It sees the game as the twin does: V's latent sampled, M fed with what was really done.
    """
    rng, random = np.random.default_rng([seed, 2]), random_policy(seed)
    state: State | None = None
    left, action = 0, 0.0

    def act(frame: np.ndarray) -> float:
        nonlocal state, left, action
        frames = torch.from_numpy(frame.copy())[None]
        if state is None:
            keys = noise.key(torch.tensor([seed]), torch.tensor([0]))
            state = world.begin(*world.vision.encode(frames), keys)
        else:
            told = actions.told([[action]], world.task, continuous=True)
            state = world.follow(state, torch.from_numpy(told), frames)
        if left == 0 and rng.random() < EXPLORE:
            left = int(rng.integers(1, HOLD + 1))
        if left:
            left, action = left - 1, random(frame)
        else:
            action = controller.act(world.observe(state, world.task.observation)).item()
        return action

    return act


@cache
def _learned(world: str, policy: str) -> tuple[World, Controller]:
    torch.set_num_threads(1)
    return load_world(world), load_controller(policy)


def _policy(args: Args, seed: int) -> Callable[[Any], float]:
    if args.policy == "random":
        return random_policy(seed)
    return explorer(*_learned(args.world, args.policy), seed)


def _manifest(args: Args) -> dict[str, Any]:
    names = ("dreamgym", "gymnasium", "vizdoom", "numpy")
    return {
        "args": asdict(args),
        "env": tasks.get(args.task).pixel_id,
        "versions": {name: version(name) for name in names} | {"python": platform.python_version()},
    }


def _check_folder(args: Args, out: Path) -> None:
    """Hold a folder to one data set; more episodes of the same set may be added."""
    path = out / MANIFEST
    if path.exists():
        old = read_json(path).get("args", {})
        for key, value in asdict(args).items():
            if key != "episodes" and old.get(key) != value:
                raise ValueError(
                    f"{out} holds episodes with {key} {old.get(key)!r}, not {value!r}: "
                    "choose another --out or delete the folder"
                )
    else:
        write_json(path, _manifest(args))


def _check_disk(out: Path, episodes: int) -> None:
    need = episodes * MEAN_LENGTH * int(np.prod(tasks.FRAME))
    free = shutil.disk_usage(out).free
    print(f"{episodes} episodes to play, about {need / 1e9:.1f} GB; {free / 1e9:.0f} GB are free.")
    if need > free:
        raise ValueError(
            f"{out} needs about {need / 1e9:.1f} GB and has {free / 1e9:.1f} GB: "
            "free some, or ask for fewer --episodes"
        )

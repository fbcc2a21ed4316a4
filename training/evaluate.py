"""Stage 5: scores, in the dream and in the real game, as files with everything to repeat them."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from dreamgym import games
from dreamgym.checkpoint import (
    load_controller,
    load_world,
    policy_fingerprint,
    real_frames,
    world_fingerprint,
    world_folder,
    write_json,
)
from dreamgym.envs import actions
from dreamgym.envs.arguments import parse_temperature
from dreamgym.files import check_writable
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.world import State, World

from . import workers
from .agent import Policy, begun, load_agent
from .games import SIDE_BY_SIDE, Learned, Player, Uniform, turns, uniform

PAUSE = 50
"""Steps that a GPU dreams between looks at who is over; those that are dream on unheard."""
SEEDS = 2**31
"""Seeds of real games and of dreams lie below, as Gymnasium's and ViZDoom's do."""
MOST = 1_000_000
"""Episodes of one score: as many as there are seeds for testing."""
RESAMPLES = 10_000
"""Bootstrap resamples for a confidence interval."""


def dream(
    world: World,
    controller: Policy | None,
    seeds: torch.Tensor,
    low: float,
    high: float,
    limit: int = 0,
    progress: bool = False,
    pause: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what each dream paid and how long it was, (N,); those that are over cost nothing.

    Args:
        controller: (N, P) weights, one row a dream, or (P,) for all; None plays at random.
        seeds: (N,) int64.
        low, high: ends of the temperature's range.
        limit: steps after which dreams are cut off; 0: the game's own.
        pause: steps between looks at who is over, for which a GPU must be waited for; 0: a CPU's 1,
            a GPU's 50. What comes out does not depend on it.
    """
    seeds = seeds.to(world.device)
    returns, lengths = torch.zeros_like(seeds, dtype=torch.float32), torch.zeros_like(seeds)
    rows, alive = torch.arange(len(seeds), device=world.device), torch.ones_like(seeds).bool()
    pause = pause or (1 if world.device.type == "cpu" else PAUSE)
    controller = begun(controller) if controller else None
    state = world.start(seeds)
    temperature = world.draw_temperature(state, low, high)
    most = min(limit or world.game.max_steps, world.game.max_steps)
    steps = tqdm(range(most), "dream", unit=" steps", disable=not progress)
    for step in steps:
        told = choice(controller, world, state)
        state, reward, dead = world.step(state, told, temperature)
        returns[rows] += reward * alive
        lengths[rows] += alive
        alive &= ~dead
        if (step + 1) % pause == 0 and not alive.all():
            state, temperature, rows = state[alive], temperature[alive], rows[alive]
            controller, alive = controller[alive] if controller else None, alive[alive]
        if not len(rows):
            break
    return returns.cpu(), lengths.cpu()


def choice(controller: Policy | None, world: World, state: State) -> torch.Tensor:
    """Return what a controller, or a uniform random player, does: (N, A) as M is told."""
    if controller is None:
        return uniform(state.key, state.step, world.game)
    wanted = controller.act(world.observe(state, controller.config.observation))
    return actions.meant_there(wanted, world.game)


@dataclass(frozen=True)
class _Games:
    """Real games for one worker."""

    task: str
    world: str
    policy: str
    seeds: tuple[int, ...]
    prints: tuple[str, str]
    """Fingerprints of the world and of the policy: others may have taken their place since."""
    weights: bytes | None = None
    config: ControllerConfig | None = None


def real(
    task: str,
    world: str | Path,
    policy: str | Path | Controller,
    seeds: Sequence[int],
    processes: int = 0,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Play real games and return `{seed, return, length}` of each, in the order of the seeds.

    Args:
        policy: `random`, a controller's file, or a controller.
    """
    weights, config, prints = None, None, (world_fingerprint(world), "")
    if not isinstance(policy, Controller) and str(policy) != "random":
        if Path(policy).suffix == ".zip":
            prints = (prints[0], policy_fingerprint(policy))
        else:
            policy = load_controller(policy)
    if isinstance(policy, Controller):
        weights, config = _bytes(policy), policy.config
        policy = "weights"
    chunks = [tuple(seeds[i : i + SIDE_BY_SIDE]) for i in range(0, len(seeds), SIDE_BY_SIDE)]
    jobs = [
        _Games(task, str(world), str(policy), chunk, prints, weights, config) for chunk in chunks
    ]
    episodes: dict[int, list[dict[str, Any]]] = {}
    with tqdm(total=len(seeds), unit=" games", desc="real", disable=not progress) as bar:
        for number, played in workers.run(play, jobs, processes, timeout=900):
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
    processes: int = 0,
) -> tuple[np.ndarray, int]:
    """Return what each real game (R) pays each controller (M), (M, R), and all games' frames."""
    prints = (world_fingerprint(world), "")
    jobs = [
        _Games(task, str(world), "weights", tuple(seeds), prints, _bytes(each), each.config)
        for each in controllers
    ]
    played = dict(workers.run(play, jobs, processes, timeout=900))
    games = [played[number] for number in range(len(jobs))]
    returns = np.array([[each["return"] for each in row] for row in games])
    return returns, sum(each["length"] for row in games for each in row)


def play(job: _Games) -> list[dict[str, Any]]:
    """Play real games side by side."""
    controller, seeds = _controller(job), list(job.seeds)
    if controller is None:
        player: Player = Uniform(games.get(job.task), seeds)
    else:
        player = Learned(_world(job), controller, seeds)
    returns, lengths = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64)
    for turn in turns(job.task, seeds, player):
        returns[turn.games] += turn.rewards
        lengths[turn.games] += 1
    return [
        {"seed": s, "return": r, "length": n}
        for s, r, n in zip(seeds, returns.tolist(), lengths.tolist(), strict=True)
    ]


def _world(job: _Games) -> World:
    """Return a job's world.

    Raises:
        ValueError: if another has taken its place.
    """
    if world_fingerprint(job.world) != job.prints[0]:
        raise ValueError(f"{job.world} was changed while it was in use: begin anew")
    return _loaded(job.world, job.prints[0])


@cache
def _loaded(name: str, _: str) -> World:
    """Load a world once a process, until its content, of which there is a fingerprint, changes."""
    return load_world(name)


def _bytes(controller: Controller) -> bytes:
    return controller.weights.float().numpy().tobytes()


def _controller(job: _Games) -> Policy | None:
    if job.policy == "random":
        return None
    if job.weights is None or job.config is None:
        if policy_fingerprint(job.policy) != job.prints[1]:
            raise ValueError(f"{job.policy} was changed while it played: begin anew")
        return fitting(job.policy, _world(job))
    return Controller(job.config, torch.frombuffer(bytearray(job.weights), dtype=torch.float32))


def controller_config(world: World, observation: str = "", hidden: int = 0) -> ControllerConfig:
    """Return the shape of C for a world, the paper's unless told otherwise."""
    task, seen = world.game, observation or world.game.observation
    return ControllerConfig(world.size(seen), len(task.low), task.bias, seen, hidden)


def policy_file(policy: str, folder: Path) -> str:
    """Return a policy's file: a world's own if it is `shipped`, a folder's if it is a folder."""
    if policy == "random":
        return policy
    place = folder if policy == "shipped" else Path(policy)
    return str(place / "controller.safetensors" if place.is_dir() else place)


def fitting(policy: str | Path, world: World) -> Policy:
    """Read a controller, or an agent of Stable-Baselines3, that is to act in a world.

    Raises:
        ValueError: if its shape is not the world's; the message names both.
    """
    if Path(policy).suffix == ".zip":
        return load_agent(policy, world)
    controller = load_controller(policy)
    shape = controller.config
    wanted = controller_config(world, shape.observation, shape.hidden)
    if shape != wanted:
        raise ValueError(
            f"{policy} is for {shape.inputs} inputs and {shape.actions} actions, this world shows "
            f"{wanted.inputs} and takes {wanted.actions}: "
            "take the controller that was evolved in it"
        )
    return controller


def result(
    task: str,
    env: str,
    policy: str,
    temperature: Any,
    seed: int,
    episodes: list[dict[str, Any]],
    frames: int,
    fingerprints: dict[str, str],
    made: dict[str, Any],
) -> dict[str, Any]:
    """Return a score with everything that is needed to repeat it.

    Args:
        frames: real ones behind the policy.
        fingerprints: of the world and of the policy.
        made: what made it, as `origin` said before the games began.
    """
    returns = np.array([episode["return"] for episode in episodes])
    low, high = confidence(returns)
    return {
        "task": task,
        "env": env,
        "policy": policy,
        "temperature": temperature,
        "seed": seed,
        "mean": float(returns.mean()),
        "sd": float(returns.std(ddof=1)) if len(returns) > 1 else 0.0,
        "ci95": [low, high],
        "real_frames": frames,
        "fingerprints": fingerprints,
        **made,
        "episodes": episodes,
    }


def origin() -> dict[str, Any]:
    """Return what made a result: the command, the code and the machine."""
    names = ("dreamgym", "gymnasium", "vizdoom", "torch", "numpy", "numba", "stable-baselines3")
    return {
        "command": command(),
        "commit": commit(),
        "versions": {name: version(name) for name in names},
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def command() -> str:
    """Return the words by which this process was started; `dreamgym …` if it is the command."""
    program, *words = sys.argv or [""]
    ours = Path(program).name == "dreamgym" or Path(program).match("dreamgym/__main__.py")
    return shlex.join(["dreamgym", *words] if ours else ["python", program, *words])


def confidence(returns: np.ndarray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean."""
    rng = np.random.default_rng(0)
    means = [rng.choice(returns, len(returns)).mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def commit() -> str:
    """Return the commit of dreamgym that runs, with `+` if files differ from it; empty if unknown.

    An installed package lies in a folder that another project's repository may hold: only a clone
    that tracks this very file is asked, or else what pip wrote down of the one it came from.
    """
    here = Path(__file__).resolve()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}

    def git(*words: str) -> str | None:
        done = subprocess.run(
            ["git", *words], cwd=here.parent, env=clean, capture_output=True, text=True, timeout=10
        )
        return done.stdout.strip() if done.returncode == 0 else None

    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        tracked = git("ls-files", "--error-unmatch", here.name) is not None
        if tracked and git("rev-parse", "--show-toplevel") == str(here.parents[1]):
            return git("describe", "--always", "--dirty=+", "--exclude=*") or ""
    source = json.loads(distribution("dreamgym").read_text("direct_url.json") or "{}")
    return str(source.get("vcs_info", {}).get("commit_id", ""))[:7]


def evaluate(
    task: str,
    world: str,
    policy: str,
    env: str,
    episodes: int,
    seed: int,
    temperature: tuple[float, float] | None,
    out: str | Path | None,
    processes: int = 0,
) -> dict[str, Any]:
    """Score a policy and, if `out` is given, write the result there.

    Args:
        temperature: the ends of the dream's τ, the game's own if None; the real game has none.

    Raises:
        ValueError: if an argument is none of those that exist, or would be ignored.
    """
    if env not in ("twin", "dream"):
        raise ValueError(f"env is {env!r}: choose 'twin' or 'dream'")
    if not 1 <= episodes <= MOST:
        raise ValueError(f"episodes is {episodes}: give 1 or more, up to {MOST:,}")
    if seed < 0 or seed + episodes > SEEDS:
        raise ValueError(f"seed is {seed}: keep seeds from 0 to {SEEDS - 1:,}")
    if env == "twin" and temperature is not None:
        raise ValueError(f"temperature is {temperature}: the real game has none, leave it out")
    workers.count(processes)
    facts, folder, asked = games.get(task), world_folder(world), policy
    low, high = parse_temperature(facts.temperature if temperature is None else temperature)
    policy = policy_file(policy, folder)
    model = load_world(folder)
    if model.game.name != task:
        raise ValueError(f"{folder} is a world of {model.game.name}, not of {task}")
    controller = None if policy == "random" else fitting(policy, model)
    prints, frames = {"world": world_fingerprint(folder), "policy": "random"}, 0
    if controller is not None:
        prints["policy"] = policy_fingerprint(policy)
        counted = folder / "config.json", Path(policy).with_suffix(".json")
        frames = sum(map(real_frames, counted))  # of the world's data, and of its validations
    if env == "dream":
        model.check_room(episodes)
    if out:
        check_writable(out)
    made, seeds = origin(), range(seed, seed + episodes)
    if env == "twin":
        known = controller if isinstance(controller, Controller) else policy
        played = real(task, folder, known, seeds, processes)
    else:
        paid, lengths = dream(model, controller, torch.tensor(seeds), low, high, progress=True)
        played = [
            {"seed": s, "return": r, "length": n}
            for s, r, n in zip(seeds, paid.tolist(), lengths.tolist(), strict=True)
        ]
    name, tau = (facts.latent_id, None) if env == "twin" else (facts.dream_id, [low, high])
    score = result(task, name, asked, tau, seed, played, frames, prints, made)
    if out:
        write_json(out, score)
    return score

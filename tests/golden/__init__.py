"""Golden traces: what the shipped worlds dreamt, and what the real games showed, on a given day.

Bits depend on the processor and on the libraries, so a trace is kept twice. Its hash is compared
only where `machine()` is the same; its values are compared everywhere, from one kept moment to the
next, within a tolerance. `python -m tests.golden` keeps what is not kept yet. A trace that must
change is argued for in CHANGELOG. If a shipped world is replaced, delete its values and its hashes.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import llvmlite.binding as llvm
import numpy as np
import torch
from numba.core.config import CPU_NAME

import dreamgym  # noqa: F401
from dreamgym.checkpoint import PRECISIONS as DTYPES
from dreamgym.checkpoint import load_controller, world_folder
from dreamgym.envs import actions
from dreamgym.envs.dream import DreamVectorEnv
from dreamgym.games import Game
from dreamgym.world import State, World

FOLDER = Path(__file__).parent
HASHES = FOLDER / "hashes.json"
SEEDS = (3, 1_000_000, 77, 2**40)
STEPS = 100
LANES = 20
"""Dreams of the batch in which the traced ones lie among others."""
PICTURE = 20
"""Steps between two pictures: V takes 10 ms for one on a slow processor."""
EVERY = 10
"""Steps between two kept moments."""
GAME_STEPS = 50
GAME_SEEDS = (5, 6)
PARTS, COUNTS = ("z", "h", "c", "step", "key"), ("budget", "missed", "whole")
"""What is kept of a state, and the names of its counts' columns."""
KINDS = ("z", "zh", "zhc", "rgb")
FORMS = ("auto", "torch")
PRECISIONS = tuple(DTYPES)


def machine() -> str:
    """Return what the bits of a dream depend on: the processor's kind and the libraries."""
    libraries = (f"{name} {version(name)}" for name in ("torch", "numba", "numpy"))
    disguise = f" as {CPU_NAME}" if CPU_NAME else ""  # see `make test-small`
    parts = (platform.machine(), llvm.get_host_cpu_name() + disguise,
             torch.backends.cpu.get_cpu_capability(), *libraries)  # fmt: skip
    return ", ".join(parts)


def played(task: Game, lane: int) -> np.ndarray:
    """Return the actions (STEPS,) or (STEPS, A) of the dream in a lane."""
    rng = np.random.default_rng([lane, len(task.low)])
    if not task.continuous:
        return rng.integers(len(task.moves), size=STEPS)
    return rng.uniform(task.low, task.high, (STEPS, len(task.low))).astype(np.float32)


def alone(task: Game, form: str, precision: str) -> dict[str, str]:
    """Return hashes of what the seeds' dreams show, pay and say, one environment after another."""
    trace = _Trace()
    env = gym.make(task.dream_id, form=form, precision=precision)
    own: Any = env.unwrapped
    for lane, seed in enumerate(SEEDS):
        trace.see(lane, 0, own, env.reset(seed=seed)[0])
        for step, action in enumerate(played(task, lane), 1):
            observation, reward, terminated, truncated, _ = env.step(action)
            trace.told(lane, float(reward), terminated, truncated)
            if terminated:
                observation, _ = env.reset()
            trace.see(lane, step, own, observation)
    return trace.hashes()


def among_others(task: Game, form: str, precision: str) -> dict[str, str]:
    """Return the same of dreams in a batch, the seeds' own in its first lanes."""
    trace, n = _Trace(), len(SEEDS)
    envs = DreamVectorEnv(task.name, LANES, form=form, precision=precision)
    many = np.stack([played(task, lane) for lane in range(LANES)], axis=1)
    observations, _ = envs.reset(seed=[*SEEDS, *range(LANES - n)])
    for lane in range(n):
        trace.see(lane, 0, envs, observations[lane], lane)
    for step, action in enumerate(many, 1):
        observations, rewards, terminated, truncated, _ = envs.step(action)
        for lane in range(n):
            trace.told(lane, rewards[lane], terminated[lane], truncated[lane])
            trace.see(lane, step, envs, observations[lane], lane)
    return trace.hashes()


class _Trace:
    """Takes down what dreams show in each kind of observation, lane by lane."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], Any] = {
            (kind, lane): hashlib.sha256() for kind in KINDS for lane in range(len(SEEDS))
        }

    def see(self, lane: int, step: int, env: Any, observation: np.ndarray, row: int = 0) -> None:
        """Take down a dream's observation in every kind; pictures, which take long, now and then.

        Args:
            observation: what the environment itself returned, in the game's usual kind.
        """
        state = env._state[row : row + 1]
        for kind in KINDS if step % PICTURE == 0 else KINDS[:-1]:
            shown = env.world.observe(state, kind)[0].numpy()
            self.kept[kind, lane].update(shown.tobytes())
            if kind == env.world.game.observation:
                assert np.array_equal(shown, observation)

    def told(self, lane: int, reward: float, terminated: bool, truncated: bool) -> None:
        """Take down what a step paid and whether it was the last."""
        for kind in KINDS:
            said = np.array([reward, terminated, truncated], np.float32)
            self.kept[kind, lane].update(said.tobytes())

    def hashes(self) -> dict[str, str]:
        """Return a hash for each kind of observation, over all lanes."""
        return {
            kind: _hash(self.kept[kind, lane].digest() for lane in range(len(SEEDS)))
            for kind in KINDS
        }


def _hash(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:32]


def moments(world: World) -> Iterator[State]:
    """Yield the dreams of all seeds at the start and after every `EVERY` steps, none ever reset."""
    state = world.start(torch.tensor(SEEDS))
    for number in range(STEPS // EVERY):
        yield state
        state = further(world, state, number)
    yield state


def further(world: World, state: State, number: int) -> State:
    """Dream on from moment `number` to the next one."""
    task = world.game
    many = np.stack([played(task, lane) for lane in range(len(SEEDS))], axis=1)
    for action in many[number * EVERY : (number + 1) * EVERY]:
        told = torch.from_numpy(actions.to_vectors(action, task, task.continuous))
        state, _, _ = world.step(state, told, torch.full((len(SEEDS), 1), task.temperature))
    return state


def state(task: Game, kept: dict[str, torch.Tensor], number: int) -> State:
    """Return the state of all seeds' dreams at a moment, of what is kept."""
    columns = len(task.rules.begin(torch.ones(1))[0])
    none = {"dream.missed": torch.zeros_like(kept["dream.budget"])}  # before tiles were missed
    counts = [(none | kept)[f"dream.{name}"][number] for name in COUNTS[:columns]]
    parts = [kept[f"dream.{name}"][number] for name in PARTS]
    return State(*parts, torch.stack(counts, dim=1))


def game(task: Game, seed: int, given: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """Play a real game through the twin and return what is seen, wanted, done and paid.

    Args:
        given: the actions (GAME_STEPS, A) to repeat; the shipped controller's own if None.
    """
    controller = load_controller(world_folder(task.name))
    env = gym.make(task.latent_id, continuous=True)
    seen, wanted, done, paid = [env.reset(seed=seed)[0]], [], [], []
    for step in range(GAME_STEPS):
        outputs = controller.act(torch.from_numpy(seen[-1])[None])
        wanted.append(outputs.numpy()[0])
        own = actions.from_outputs(outputs, task).numpy()[0]
        done.append(own if given is None else given[step])
        observation, reward, *_ = env.step(done[-1])
        seen.append(observation)
        paid.append(reward)
    env.close()
    return np.stack(seen), np.stack(wanted), np.stack(done), np.array(paid, np.float32)


def values(task: Game, world: World) -> dict[str, torch.Tensor]:
    """Return what is kept of a world for all machines."""
    kept: dict[str, torch.Tensor] = {}
    states = list(moments(world))
    for name in PARTS:
        kept[f"dream.{name}"] = torch.stack([getattr(each, name) for each in states])
    counts = torch.stack([each.counts for each in states])
    kept |= {f"dream.{n}": c for n, c in zip(COUNTS, counts.unbind(-1), strict=False)}
    for seed in GAME_SEEDS:
        seen, wanted, done, paid = game(task, seed)
        parts = {"seen": seen[::EVERY], "wanted": wanted, "done": done, "paid": paid}
        kept |= {f"game.{seed}.{name}": torch.from_numpy(part) for name, part in parts.items()}
    return kept


def games(task: Game) -> dict[str, str]:
    """Return the hashes of the real games, by the names under which they are kept."""
    return {
        f"{task.name} game {seed}": _hash(part.tobytes() for part in game(task, seed))
        for seed in GAME_SEEDS
    }


def known() -> dict[str, str]:
    """Return the hashes that are kept for this machine; none if it is not known yet."""
    kept: dict[str, dict[str, str]] = json.loads(HASHES.read_text()) if HASHES.exists() else {}
    return kept.get(machine(), {})

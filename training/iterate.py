"""Rounds: what learned in the dream plays the game, what it saw is learned, the dream gets better.

World Models, §5, proposes it: random play shows only what random play can reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dreamgym import tasks
from dreamgym.models.controller import Controller
from dreamgym.models.memory import MemoryConfig

from . import collect, controller, latents, memory, vision, world
from .examine import examine

FIRST_SEED = 0
"""Seed of the first episode of the first round; later rounds go on from there."""


@dataclass(frozen=True)
class Round:
    """One time around."""

    episodes: int
    """Real games: at random in the first round, by the round before's controller in the others."""
    frames: int
    """Frames that V is trained on; 0 keeps the V of the round before."""
    steps: int
    """Steps of M, on the data of all rounds so far."""
    generations: int
    """Generations of C."""


RECIPES = {
    "doom": (Round(10_000, 3_000_000, 3000, 30), Round(700, 0, 6000, 60)),
    "car_racing": (
        Round(300, 600_000, 3000, 40),
        Round(100, 200_000, 3000, 40),
        Round(100, 200_000, 3000, 60),
    ),
}
"""How the shipped worlds are made."""


def iterate(
    task: str,
    rounds: Sequence[Round],
    data: str | Path,
    out: str | Path,
    low: float,
    high: float,
    processes: int = 0,
) -> Controller:
    """Go through the rounds, each stage resumable by the same call, and return the last controller.

    Args:
        data: folder for the rounds' episodes, one folder each.
        out: folder for their runs.
        low, high: ends of the temperature's range in which C learns.
    """
    if not rounds:
        raise ValueError("rounds is 0: give 1 or more")
    facts, seed, sight, seen = tasks.get(task), FIRST_SEED, Path(), []
    best, before = None, Path()
    for number, stage in enumerate(rounds):
        folder, episodes = Path(out) / f"round-{number}", Path(data) / f"round-{number}"
        print(f"\nround {number}: {stage}")
        policy, through = "random", ""
        if number:
            policy = str(before / "controller" / "controller.safetensors")
            through = str(before / "world")
        plays = collect.Args(task, stage.episodes, seed, policy, through)
        collect.collect(plays, episodes, processes)
        seed += stage.episodes
        seen.append(episodes)
        if stage.frames:
            init = str(sight) if number else ""
            args = vision.Args(stage.frames, z_size=facts.z_size, init=init)
            v, sight = vision.train(seen, folder, args), folder
        z = latents.encode(facts, seen, sight, v)
        init = str(before) if number else ""
        config = MemoryConfig(facts.z_size, len(facts.low), facts.hidden, heads=facts.rules.heads)
        m = memory.train(z, folder, memory.Args(stage.steps, init=init), config)
        world.assemble(task, v, m, z, folder / "world")
        if not (folder / "examination.json").exists():
            examine(task, folder, sight)
        evolution = controller.Args(
            str(folder / "world"), stage.generations, low=low, high=high, seed=number
        )
        best, before = controller.evolve(evolution, folder / "controller", processes), folder
    assert best is not None
    return best

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
    steps: int
    """Frames after which such a game, and a dream of C's, is cut off; 0: none."""
    frames: int
    """Frames that V is trained on, going on from the round before's V; 0 keeps that one."""
    updates: int
    """Steps of M on the data of all rounds so far."""
    generations: int
    """Generations of C."""
    anew: bool = False
    """Whether M and C begin anew instead of going on; if V learns more, they do."""
    rollouts: int = 16
    """Dreams a member."""
    games: int = 40
    """Real games a validation."""
    finalists: int = 0
    """How many controllers play for the last choice."""
    low: float = 1.0
    high: float = 1.2
    """Ends of the temperature's range in which C learns."""


RECIPES = {
    "doom": (
        Round(10_000, 0, 3_000_000, 3000, 30),
        Round(700, 0, 0, 6000, 50, anew=True, finalists=3),
    ),
    "car_racing": (
        Round(600, 300, 300_000, 3000, 30, games=20),
        Round(120, 500, 200_000, 3000, 30, games=20),
        Round(120, 500, 0, 2000, 30, games=20),
        Round(100, 0, 200_000, 4000, 40, games=20),
    ),
}
"""How the shipped worlds are made."""


def iterate(
    task: str,
    rounds: Sequence[Round],
    data: str | Path,
    out: str | Path,
    processes: int = 0,
) -> Controller:
    """Go through the rounds, each stage resumable by the same call, and return the last controller.

    Args:
        data: folder for the rounds' episodes, one folder each.
        out: folder for their runs.
    """
    if not rounds:
        raise ValueError("rounds is 0: give 1 or more")
    facts, seed, seen = tasks.get(task), FIRST_SEED, []
    sight, before, best = Path(), Path(), None
    for number, stage in enumerate(rounds):
        folder, episodes = Path(out) / f"round-{number}", Path(data) / f"round-{number}"
        print(f"\nround {number}: {stage}")
        policy, through = "random", ""
        if number:
            policy = str(before / "controller" / "controller.safetensors")
            through = str(before / "world")
        plays = collect.Args(task, stage.episodes, seed, policy, through, stage.steps)
        collect.collect(plays, episodes, processes)
        seed += stage.episodes
        seen.append(episodes)
        if stage.frames:
            init = str(sight) if number else ""
            args = vision.Args(stage.frames, z_size=facts.z_size, init=init)
            sight = folder
            vision.train(seen, sight, args)
        v = world.load_vision(sight)
        z = latents.encode(facts, seen, sight, v)
        config = MemoryConfig(facts.z_size, len(facts.low), facts.hidden, heads=facts.rules.heads)
        known = str(before) if number and not (stage.frames or stage.anew) else ""
        m = memory.train(z, folder, memory.Args(stage.updates, init=known), config)
        world.assemble(task, v, m, z, folder / "world")
        if not (folder / "examination.json").exists():
            examine(task, folder, sight)
        evolution = controller.Args(
            str(folder / "world"), stage.generations, rollouts=stage.rollouts, low=stage.low,
            high=stage.high, steps=stage.steps, games=stage.games, finalists=stage.finalists, seed=number,
            init=policy if known else "",
        )  # fmt: skip
        best, before = controller.evolve(evolution, folder / "controller", processes), folder
    assert best is not None
    return best

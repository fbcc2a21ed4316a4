"""The command `demo`: in a few minutes, learn in the dream and then play the real game."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np

from dreamgym.checkpoint import read_json, world_folder
from dreamgym.envs.arguments import Temperature, parse_temperature
from dreamgym.games import get

from . import evolve
from .flags import Name, game_for
from .measure.film import film
from .measure.statistics import confidence
from .play.executors import Executor, Local
from .play.games import score
from .runs import LOCK, held
from .splits import DEMO, TEST

GENERATIONS = 1000
"""More generations than the time allows: the clock ends the demonstration."""
SEED = 1000
"""Seed of CMA-ES, used by no round of `iterate`.

With the seed of the shipped controller, the demonstration would only repeat that search.
"""


def demo(task: str, out: str | Path, seconds: float, games: int, executor: Executor) -> None:
    """Evolve a controller in the shipped dream, play real games with it and print the scores.

    Args:
        out: folder for the controller, the learning curve and the animation.
        seconds: how long to evolve.
        games: real games for each policy that is compared.

    Raises:
        ValueError: if `seconds` or `games` is out of range, or `out` holds a run of something else.
    """
    if not 2 <= games <= TEST - DEMO or not 0 < seconds < math.inf:
        raise ValueError(
            f"games is {games}, seconds {seconds}: give 2 games or more and a time above 0"
        )
    with held(out):
        _demo(task, Path(out), seconds, games, executor)


def _demo(task: str, out: Path, seconds: float, games: int, executor: Executor) -> None:
    folder, facts = world_folder(task), get(task)
    print(f"1. A controller learns in {facts.dream_id} for {seconds:.0f} s. No game runs.")
    args = evolve.Args(
        str(folder), GENERATIONS, temperature=shipped_temperature(folder), validate=0, seed=SEED
    )
    run = out / "run"
    if run.exists() and not (run / LOCK).exists():
        raise ValueError(f"{run} was not made by a demonstration: choose another --out")
    shutil.rmtree(run, ignore_errors=True)  # left by a demonstration that was killed
    try:
        evolve.evolve(args, run, executor, seconds=seconds)
        for name in ("controller.safetensors", "controller.json", "curve.png"):
            (run / name).replace(out / name)
    finally:
        shutil.rmtree(run, ignore_errors=True)
    print(f"\n2. It plays {games} real games of {facts.called}, a game it has never seen.")
    policies: dict[str, str | Path] = {
        "random": "random",
        f"{seconds / 60:.1f} minutes of dreaming": out / "controller.safetensors",
        "shipped controller": folder / "controller.safetensors",
    }
    lines = []
    for label, policy in policies.items():
        played = score(task, folder, policy, range(DEMO, DEMO + games), executor)
        returns = np.array([each["return"] for each in played])
        least, most = confidence(returns)
        lines.append(f"   {label:28s} {returns.mean():6.0f} ± {returns.std(ddof=1):4.0f}"
                     f"   95 % [{least:.0f}, {most:.0f}]")  # fmt: skip
    print(f"\n3. Scores in the real game (mean ± sd; {facts.threshold:.0f} counts as solved):")
    print("\n".join(lines))
    path = film(str(folder), folder / "controller.safetensors", out / "dream.gif")
    print(f"\n4. The dream beside the real game: {path}")


def shipped_temperature(folder: Path) -> Temperature:
    """Return the temperature, or range of temperatures, of the shipped controller's evolution."""
    facts = read_json(folder / "controller.json")
    return parse_temperature(facts.get("temperature"))


def main(
    task: Name = "", out: str = "demo", seconds: float = 150.0, games: int = 10, processes: int = 0
) -> None:
    """Learn in the dream for a few minutes, then play the real game.

    Args:
        task: The game; if left out, doom.
        out: Folder for the controller, the learning curve and the animation.
        seconds: How long to learn in the dream.
        games: Real games for each policy that is compared.
        processes: Worker processes that play real games; 0: one for each core.
    """
    demo(game_for(task), out, seconds, games, Local(processes))

"""The command `demo`, the main job in minutes: learn in the dream, then play the real game."""

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
"""More than the time allows: the demonstration ends by the clock."""
SEED = 1000
"""Of no round: with the shipped controller's, ten generations would make the very same again."""


def demo(task: str, out: str | Path, seconds: float, games: int, executor: Executor) -> None:
    """Evolve a controller in the shipped dream, play real games with it, show the scores.

    Args:
        out: folder for the controller, the learning curve and the animation.
        seconds: how long to evolve.
        games: real games for each policy.
    """
    if not 2 <= games <= TEST - DEMO or not 0 < seconds < math.inf:
        raise ValueError(f"games is {games}, seconds {seconds}: give 2 games, 1 second or more")
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
        raise ValueError(f"{run} is of no demonstration: choose another --out")
    shutil.rmtree(run, ignore_errors=True)  # of a demonstration that was killed
    try:
        evolve.evolve(args, run, executor, seconds=seconds)
        for name in ("controller.safetensors", "controller.json", "curve.png"):
            (run / name).replace(out / name)
    finally:
        shutil.rmtree(run, ignore_errors=True)
    print(f"\n2. It plays {games} real games of {facts.called}, which it has never seen.")
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
    """Return the temperatures that the world's own controller was evolved at."""
    facts = read_json(folder / "controller.json")
    return parse_temperature(facts.get("temperature"))


def main(
    task: Name = "", out: str = "demo", seconds: float = 150.0, games: int = 10, processes: int = 0
) -> None:
    """Learn in the dream for minutes, then play the real game.

    Args:
        task: The game.
        out: Folder for the controller, the learning curve and the animation.
        seconds: How long to learn.
        games: Real games for each policy.
        processes: Real games that are played at once; 0: one for each core.
    """
    demo(game_for(task), out, seconds, games, Local(processes))

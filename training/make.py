"""The command `make`: a shipped world from nothing, its rounds and then its score."""

from __future__ import annotations

import shlex

from dreamgym import games

from . import evaluate, iterate
from .flags import DATA, RUNS, Name, game_for


def main(task: Name = "", data: str = "", out: str = "", processes: int = 0) -> None:
    """Make a shipped world from nothing, each stage resumable by the same command.

    Args:
        task: The game.
        data: Folder for the rounds' episodes; data/GAME if empty.
        out: Folder for their runs; runs/GAME if empty.
        processes: Real games that are played at once; 0: one for each core.
    """
    task = game_for(task)
    game, data, out = games.get(task), data or f"{DATA}/{task}", out or f"{RUNS}/{task}"
    best, rounds = f"{out}/best", len(game.recipe)
    _show("iterate", task, "--rounds", rounds, "--data", data, "--out", out)
    iterate.main(task, rounds, data, out, processes=processes)
    _show("evaluate", task, "--world", best, "--episodes", game.test_games)
    args = evaluate.Args(task, episodes=game.test_games, world=best)
    evaluate.main(args, f"{best}/score.json", processes)


def _show(*words: object) -> None:
    """Print the command that does the same as what follows."""
    print(f"\n$ dreamgym {shlex.join(map(str, words))}")

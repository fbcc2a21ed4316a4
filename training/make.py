"""The command `make`: run all rounds of a shipped world's recipe, then score its policies."""

from __future__ import annotations

import shlex
from pathlib import Path

from dreamgym import games
from dreamgym.games.recipe import scaled

from . import evaluate, iterate
from .flags import DATA, RUNS, Name, game_for
from .play.policies import AGENT, CONTROLLER


def main(
    task: Name = "", data: str = "", out: str = "", share: float = 1.0, processes: int = 0
) -> None:
    """Make a shipped world from scratch. If it is interrupted, the same command goes on with it.

    Args:
        task: The game.
        data: Folder for the episodes of the rounds; if left out, data/GAME, or data/GAME-shareS.
        out: Folder for the runs of the rounds; if left out, runs/GAME, or runs/GAME-shareS.
        share: Play and learn so many times as much as the recipe says: 0.1 is a trial of it. The
            games of each validation are as many as ever.
        processes: Worker processes that play real games; 0: one for each core.
    """
    if not task:
        recipes = " or ".join(name for name, game in games.GAMES.items() if game.recipe)
        raise ValueError(f"which game? give {recipes}: its world takes hours to make")
    task = game_for(task)
    name = task if share == 1 else f"{task}-share{share:g}"
    game, data, out = games.get(task), data or f"{DATA}/{name}", out or f"{RUNS}/{name}"
    best, rounds = f"{out}/best", len(game.recipe)
    if not rounds:
        raise ValueError(f"{task} is a game of your own: call `dreamgym new {task}`")
    scaled(game.recipe[0], share)  # refuses what is no share
    _show("iterate", task, "--rounds", rounds, "--data", data, "--out", out,
          *(() if share == 1 else ("--share", share)))  # fmt: skip
    iterate.main(task, rounds, data, out, share=share, processes=processes)
    episodes = max(2, round(min(share, 1) * game.test_games))
    names = {CONTROLLER: ("shipped", "score.json"), AGENT: ("agent", "agent-score.json")}
    for file, (policy, score) in names.items():
        if (Path(best) / file).exists():
            args = evaluate.Args(task, policy, episodes=episodes, world=best)
            _show("evaluate", task, "--policy", policy, "--world", best,
                  "--episodes", episodes, "--out", f"{best}/{score}")  # fmt: skip
            evaluate.main(args, f"{best}/{score}", processes)


def _show(*words: object) -> None:
    """Print the command line that does the same as the next stage."""
    print(f"\n$ dreamgym {shlex.join(map(str, words))}")

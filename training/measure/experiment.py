"""The command `experiment`: the paper's temperature table, measured again (World Models, table 2).

A controller evolves in the dream of each temperature, all with the same budget and, as in the
paper, without a look at the real game. Then it plays in its dream and in the real game. In a dream
that is too certain, M's mistakes are always the same: the controller learns to live by them, and
fails in the game.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from dreamgym import games
from dreamgym.checkpoint import load_world, read_json, world_fingerprint, world_folder, write_json
from dreamgym.envs.arguments import parse_temperature
from dreamgym.files import check_writable, replacing
from dreamgym.games import Game

from .. import evaluate, evolve
from ..flags import RUNS, Flat, Name, game_for, world_for
from ..play.executors import Executor, Local
from ..runs import check_folder
from ..splits import TEST
from .results import origin

TEMPERATURES = (0.10, 0.50, 1.00, 1.15, 1.30)
"""World Models, table 2."""


@dataclass(frozen=True)
class Args:
    """What is measured."""

    task: Name = ""
    """The game; if left out, that of the world, or else doom."""
    world: str = ""
    """A folder, or the name of a shipped world; if left out, the game's shipped world."""
    temperatures: tuple[float, ...] = TEMPERATURES
    """The dreams' temperatures."""
    seeds: int = 1
    """Searches in each, with the seeds 0, 1, 2, …"""
    generations: int = 10
    """Generations of CMA-ES in each search."""
    rollouts: int = 16
    """Dreams for each member of a generation."""
    games: int = 100
    """Test games in the dream and in the real game for each controller."""

    def __post_init__(self) -> None:
        for name in ("seeds", "generations", "rollouts", "games"):
            if (given := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {given}: give 1 or more")
        if not self.temperatures:
            raise ValueError("temperatures is empty: give one or more, such as 0.1 1.15")
        for temperature in self.temperatures:
            parse_temperature(temperature)


def experiment(
    args: Args, out: str | Path, executor: Executor, progress: bool = True
) -> dict[str, Any]:
    """Evolve and score a controller for each temperature; go on with what the folder `out` holds.

    The result has `rows`, one for each controller, with its `temperature`, its `seed`, and its
    scores in the `dream` and in the `real` game, and `random`, the score of random play. If real
    scores are published for two of the temperatures or more, `correlation` is Spearman's, of these
    with ours, and `p_value` belongs to it.

    Raises:
        ValueError: if the world is of another game.
    """
    game, made = games.get(args.task), origin()
    folder = world_folder(world_for(args.task, args.world))
    if load_world(folder).game.name != game.name:
        raise ValueError(f"{folder} is a world of {load_world(folder).game.name}, not {game.name}")
    rows = []
    for seed in range(args.seeds):
        for temperature in args.temperatures:
            run = Path(out) / f"tau-{temperature:g}-seed-{seed}"
            search = evolve.Args(
                str(folder), args.generations, rollouts=args.rollouts, temperature=temperature,
                validate=0, seed=seed,
            )  # fmt: skip
            evolve.evolve(search, run, executor, progress)
            scores = {
                where: _scored(args, str(folder), str(run), where, temperature, executor)
                for where in ("dream", "real")
            }
            rows.append({"temperature": temperature, "seed": seed, **scores})
    blind = _scored(args, str(folder), "random", "real", None, executor, Path(out))
    report = {"args": vars(args), "world": world_fingerprint(folder), **made, "rows": rows}
    return report | {"random": blind} | agreement(rows, game)


def _scored(
    args: Args,
    world: str,
    policy: str,
    where: str,
    temperature: float | None,
    executor: Executor,
    kept: Path | None = None,
) -> dict[str, Any]:
    """Return a policy's score in the dream or in the real game; one that was kept is not repeated.

    Args:
        kept: the folder in which to keep it; None for that of the policy.
    """
    path = (kept or Path(policy)) / f"{policy if kept else where}.json"
    tau = temperature if where == "dream" else None
    asked = evaluate.Args(
        args.task, policy, "dream" if where == "dream" else "twin", args.games, TEST, tau, world
    )
    if not path.exists() or len(read_json(path).get("episodes", ())) != args.games:
        evaluate.evaluate(asked, executor, path)
    score = read_json(path)
    return {key: score[key] for key in ("mean", "sd", "ci95", "fingerprints", "episodes")}


def agreement(rows: list[dict[str, Any]], game: Game) -> dict[str, float]:
    """Return the rank correlation of our real scores with the published, if it can be computed."""
    taus = [tau for tau in game.published if any(row["temperature"] == tau for row in rows)]
    ours = [
        float(np.mean([row["real"]["mean"] for row in rows if row["temperature"] == tau]))
        for tau in taus
    ]
    if len(set(ours)) < 2:
        return {}
    found = stats.spearmanr(ours, [game.published[tau][1] for tau in taus])
    return {"correlation": float(found.statistic), "p_value": float(found.pvalue)}


def plot(report: dict[str, Any], path: str | Path) -> None:
    """Draw both scores over the temperature, with the paper's beside them, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    taus = sorted({row["temperature"] for row in report["rows"]})
    for where, colour, shift in (("dream", "tab:blue", -0.004), ("real", "tab:orange", 0.004)):
        lives = [
            [row[where] for row in report["rows"] if row["temperature"] == tau] for tau in taus
        ]
        means = [float(np.mean([score["mean"] for score in scores])) for scores in lives]
        low, high = (
            [float(np.mean([score["ci95"][end] for score in scores])) for scores in lives]
            for end in (0, 1)
        )
        errors = [np.subtract(means, low), np.subtract(high, means)]
        label = "in the dream" if where == "dream" else "in the real game"
        axes.errorbar(np.add(taus, shift), means, errors, marker="o", color=colour,
                      capsize=3, label=label)  # fmt: skip
        if published := games.get(report["args"]["task"]).published:
            scores = [score[where == "real"] for score in published.values()]
            axes.plot(list(published), scores, ":", marker="x", color=colour,
                      label=f"{label}, World Models (2018)")  # fmt: skip
    axes.axhline(report["random"]["mean"], color="grey", linestyle="--", label="random play")
    axes.set_xlabel("temperature τ of the dream in which C evolved")
    axes.set_ylabel("mean score (bars: 95 % interval)")
    axes.legend()
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=150)


def main(args: Flat[Args], out: str = "", result: str = "", processes: int = 0) -> None:
    """Measure how the dream's temperature decides what a controller learns.

    Args:
        out: Folder of the runs; if left out, runs/GAME-temperature. The same command goes on.
        result: JSON file for the scores; a plot of the same name is written beside it. If left
            out, it is temperature.json in the folder of the runs.
        processes: Worker processes that play real games; 0: one for each core.
    """
    args = replace(args, task=game_for(args.task, args.world))
    out = out or f"{RUNS}/{args.task}-temperature"
    check_folder(out)
    result = result or f"{out}/temperature.json"
    check_writable(result)
    report = experiment(args, out, Local(processes))
    write_json(result, report)
    plot(report, Path(result).with_suffix(".png"))
    for row in report["rows"]:
        dream, real = row["dream"], row["real"]
        print(
            f"τ {row['temperature']:g}, seed {row['seed']}: dream {dream['mean']:.0f} ± "
            f"{dream['sd']:.0f}, real {real['mean']:.0f} ± {real['sd']:.0f}"
        )
    print(f"random play: {report['random']['mean']:.0f}")

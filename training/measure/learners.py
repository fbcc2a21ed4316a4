"""Learners of the real game beside those of the dream: what each scores, and what that cost.

`results/tables.json` lists a game's learners. Each has a score, `NAME.json`, and may have a record
of its learning, `NAME-learning.json`, as `dreamgym train` writes it; both may be there for several
optimiser seeds, see `results.seeds`. A learner without a score is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dreamgym.checkpoint import read_json
from dreamgym.files import replacing

from ..runs import check_numbers
from .results import joined, read_score, seeds
from .statistics import confidence_over_seeds, interquartile_mean

WHERE = {
    "pixels": "real game, by its pixels",
    "twin": "real game, seen through V and M",
    "dream": "dream",
    "": "",
}
"""Where one may learn, as `train.Args.env` has it, and how the tables say it. Empty: nowhere."""
BRIEFLY = {"pixels": "from pixels", "twin": "in the twin", "dream": "in the dream"}
"""How the picture says it."""


@dataclass(frozen=True)
class Learner:
    """A learner that was scored with one optimiser seed or several."""

    name: str
    label: str
    where: str
    """A key of `WHERE`."""
    scores: list[dict[str, Any]]
    """One for each seed."""
    records: list[dict[str, Any]]
    """Those of learning, one for each seed; an empty one if it is not known."""

    @property
    def frames(self) -> float:
        """Real frames that one seed used, on average: of data, of learning and of validations."""
        return float(np.mean([score["real_frames"] for score in self.scores]))

    @property
    def score(self) -> dict[str, Any]:
        """The score of all seeds together."""
        return joined(self.scores)

    @property
    def middle(self) -> tuple[float, float, float]:
        """The interquartile mean of all games, and the two ends of its 95 % interval."""
        games = [_returns(score) for score in self.scores]
        low, high = confidence_over_seeds(games, interquartile_mean)
        return float(interquartile_mean(np.concatenate(games))), low, high

    def known(self, fact: str) -> float | None:
        """Return a fact of the records, on average over those that have it; None if none has."""
        found = [record[fact] for record in self.records if fact in record]
        return float(np.mean(found)) if found else None

    def curves(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the real frames (P,) and the real scores (P,) at each seed's P validations.

        The frames of the data from which its world was made count from the beginning.
        """
        found = []
        for score, record in zip(self.scores, self.records, strict=True):
            if not record:
                continue
            frames, real = (
                np.array([point[key] for point in record["curve"]], float)
                for key in ("real_frames", "real")
            )
            found.append((frames + max(score["real_frames"] - frames[-1], 0), real))
        return found


def learners(game: dict[str, Any], results: Path) -> list[Learner]:
    """Return a game's learners that were scored, in the order of `tables.json`.

    Raises:
        CheckpointError: if a result is damaged.
    """
    found = []
    for entry in game["learners"]:
        names = seeds(entry["file"], results)
        records = [_record(results / f"{name}-learning.json") for name in names]
        scores = [read_score(results / f"{name}.json") for name in names]
        if scores:
            found.append(Learner(entry["name"], entry["label"], entry["where"], scores, records))
    return found


def plot(game: dict[str, Any], results: Path, path: str | Path) -> None:
    """Draw a game's real scores over the real frames that they cost, as a PNG.

    Who learned in the real game is a curve through its validations, or a square if these are not
    known. Who learned in the dream is a star at the frames of the world's data and of validations.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.5), layout="constrained")
    axes = figure.add_subplot()
    colours = iter(f"C{number}" for number in range(10))
    for learner in learners(game, results):
        if not learner.where:
            axes.axhline(learner.score["mean"], color="grey", linestyle="--", label=learner.name)
            continue
        colour, many = next(colours), len(learner.scores)
        label = f"{learner.name} {BRIEFLY[learner.where]}" + (f", {many} seeds" if many > 1 else "")
        curves = learner.curves() if learner.where != "dream" else []
        for number, (frames, real) in enumerate(curves):
            axes.plot(frames, real, "o-", color=colour, label="" if number else label)
        if not curves:
            marker, size = ("*", 18) if learner.where == "dream" else ("s", 10)
            axes.plot([learner.frames], [learner.score["mean"]], marker, color=colour,
                      markersize=size, label=label)  # fmt: skip
    axes.axhline(game["published"]["score"], color="black", linestyle=":",
                 label=game["published"]["label"])  # fmt: skip
    axes.set_xscale("log")
    axes.set_title(game["title"], fontsize=16)
    axes.set_xlabel("real frames, of data, learning and validations (log scale)", fontsize=15)
    axes.set_ylabel(f"real score: {game['unit'].partition(',')[0]}", fontsize=15)
    axes.tick_params(labelsize=14)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=13)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=150)


def _record(path: Path) -> dict[str, Any]:
    """Read a record of learning; it is empty if there is none."""
    record = read_json(path) if path.exists() else {}
    check_numbers(record.get("curve", []), path, ("steps", "real", "real_frames"))
    return record if record.get("curve") else {}


def _returns(score: dict[str, Any]) -> np.ndarray:
    return np.array([episode["return"] for episode in score["episodes"]], float)

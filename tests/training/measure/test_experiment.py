"""The temperature experiment: what it plays, what it keeps, and how it compares with the paper."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from dreamgym import games
from dreamgym.training import evolve
from dreamgym.training.measure import experiment
from dreamgym.training.play.executors import InProcess


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches of four controllers, and real games that pay the number of their seed."""
    made = evolve.Args

    def few(*given: object, **named: object) -> evolve.Args:
        return made(*given, population=4, steps=5, **named)  # type: ignore[arg-type]

    def played(task, world, policy, seeds, *_, **__):  # type: ignore[no-untyped-def]
        return [{"seed": seed, "return": float(seed % 10), "length": 3} for seed in seeds]

    monkeypatch.setattr(experiment.evolve, "Args", few)
    monkeypatch.setattr(experiment.evaluate, "score", played)


def test_each_temperature_has_a_controller_of_its_own_and_both_scores(
    folder: Path, tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = experiment.Args(
        "doom", str(folder), (0.1, 1.15), seeds=2, generations=1, rollouts=1, games=4
    )
    report = experiment.experiment(args, tmp_path, InProcess(), progress=False)
    assert [(row["temperature"], row["seed"]) for row in report["rows"]] == [
        (0.1, 0), (1.15, 0), (0.1, 1), (1.15, 1),
    ]  # fmt: skip
    policies = {row["real"]["fingerprints"]["policy"] for row in report["rows"]}
    assert len(policies) == 4
    for row in report["rows"]:
        assert row["real"]["mean"] == 1.5 and len(row["dream"]["episodes"]) == 4
        run = tmp_path / f"tau-{row['temperature']:g}-seed-{row['seed']}"
        assert (
            json.loads((run / "dream.json").read_text())["temperature"] == [row["temperature"]] * 2
        )
    assert report["random"]["mean"] == 1.5
    monkeypatch.setattr(experiment.evaluate, "score", None)  # nothing is played twice
    assert (
        experiment.experiment(args, tmp_path, InProcess(), progress=False)["rows"]
        == (report["rows"])
    )
    experiment.plot(report, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.size == (1050, 675)


def test_the_correlation_is_of_the_ranks_of_the_papers_real_scores() -> None:
    def rows(*scores: float) -> list[dict[str, object]]:
        return [
            {"temperature": tau, "real": {"mean": score}}
            for tau, score in zip(experiment.TEMPERATURES, scores, strict=False)
        ]

    doom = games.get("doom")
    same, swapped = rows(1, 2, 5, 9, 3), rows(2, 1, 5, 9, 3)
    assert experiment.agreement(same, doom)["correlation"] == pytest.approx(1)
    assert experiment.agreement(swapped, doom)["correlation"] == pytest.approx(0.9)
    assert experiment.agreement(rows(1), doom) == {}
    assert experiment.agreement(same, games.get("car_racing")) == {}


def test_what_cannot_be_measured_is_refused(car_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="games is 0"):
        experiment.Args(games=0)
    with pytest.raises(ValueError, match="temperature"):
        experiment.Args(temperatures=(-1.0,))
    with pytest.raises(ValueError, match="is a world of car_racing"):
        args = experiment.Args("doom", str(car_folder))
        experiment.experiment(args, tmp_path, InProcess(), progress=False)

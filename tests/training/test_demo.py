"""What a newcomer sees: the demonstration, its film, the benchmark, the recipe."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dreamgym import cli
from dreamgym.engines.linear import supports_bfloat16
from dreamgym.games import GAMES
from dreamgym.training import evolve
from dreamgym.training.demo import demo
from dreamgym.training.measure import bench
from dreamgym.training.measure.film import GAP, ZOOM, film
from dreamgym.training.runs import LOCK
from dreamgym.training.splits import DEMO, FINAL, TEST, VALIDATION
from dreamgym.zoo.ppo import hyperparams


def test_the_demonstration_shows_three_scores_and_a_film(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    inside: list,
) -> None:
    small = partial(evolve.Args, population=8, rollouts=2)
    monkeypatch.setattr(evolve, "Args", small)
    demo("doom", tmp_path, seconds=1, games=2, processes=2)
    shown = capsys.readouterr().out
    assert shown.count("95 % [") == 3
    for label in ("random", "of dreaming", "shipped controller"):
        assert label in shown
    files = {path.name for path in tmp_path.iterdir()} - {LOCK}
    assert files == {"controller.safetensors", "controller.json", "curve.png", "dream.gif"}


@pytest.mark.parametrize(("seconds", "games"), [(0, 10), (5, 1)])
def test_a_demonstration_of_nothing_is_refused(tmp_path: Path, seconds: float, games: int) -> None:
    with pytest.raises(ValueError, match=f"games is {games}, seconds {seconds}"):
        demo("doom", tmp_path / "out", seconds, games)
    assert not (tmp_path / "out").exists()


def test_a_film_shows_two_games_side_by_side(safe_folder: Path, folder: Path, tmp_path: Path):
    policy = folder / "controller.safetensors"
    with Image.open(film(str(safe_folder), policy, tmp_path / "a.gif", 12, skip=4)) as picture:
        assert picture.size == (ZOOM * (2 * 64 + GAP), ZOOM * 64)
        assert picture.n_frames == 4  # of the first frame and 12 more, every fourth
        shown = np.asarray(picture.convert("RGB"))
    assert shown[:, : 64 * ZOOM].any() and shown[:, -64 * ZOOM :].any()


@pytest.mark.parametrize("half", [False, True], ids=["float32 alone", "bfloat16 too"])
@pytest.mark.parametrize("name", ["folder", "car_folder"])
def test_the_benchmark_compares_with_the_real_game_of_the_same_run(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    half: bool,
    inside: list,
) -> None:
    """On a processor that multiplies in bfloat16 and on one that does not."""
    if half and not supports_bfloat16("cpu"):
        pytest.skip("this processor does not multiply in bfloat16: PyTorch's LSTM fails in it")
    monkeypatch.setattr(bench, "halves", lambda _: half)
    monkeypatch.setattr(bench, "SECONDS", 0.05)
    monkeypatch.setattr(bench.shutil, "which", lambda _: "g++")
    monkeypatch.setattr(torch, "compile", lambda step, **_: step)  # it takes half a minute
    for own in hyperparams.values():
        for key, value in {"n_envs": 4, "n_steps": 16, "batch_size": 16, "n_epochs": 1}.items():
            monkeypatch.setitem(own, key, value)
    title, stock = ("Doom", []) if name == "folder" else ("CarRacing", ["CarRacing-v3,"])
    precisions = 1 + half
    games = [*stock, *2 * [f"Pixel{title}-v0,"], *precisions * [f"Dream{title}-v0,"]]
    dreamt = 3 * precisions + 1 + 2 + 2  # by size, PyTorch alone, its compiler, decoded
    table = bench.bench(str(request.getfixturevalue(name)), sizes=(1, 16))
    rows = table["rows"]
    learners = 4 * ["V"] + precisions * ["M"] + ["CMA-ES,"] + 2 * ["PPO,"]
    assert [row["what"].split()[0] for row in rows] == games + dreamt * ["dream"] + learners
    assert set(table["left_out"]) == (
        set() if half else {"dreams in bfloat16", "V and M in bfloat16"}
    )
    assert half or not any("bfloat16" in row["what"] for row in rows)
    real = next(row for row in rows if row["what"].startswith("Pixel"))
    dreams = [row for row in rows if row["what"].startswith("dream")]
    assert all(row["ratio"] == row["rate"] / real["rate"] for row in dreams)
    assert sum("share" in row for row in dreams) == 2 * precisions + 2
    assert all(0 < row["waiting"] < 1 for row in rows[-2:])
    assert all(row["rate"] > 0 for row in rows)
    assert {"command", "commit", "versions", "hardware"} <= table.keys()


@pytest.mark.parametrize("task", sorted(GAMES))
def test_the_recipe_names_only_stages_and_options_that_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """Each stage is replaced by a note of its arguments; the parser is the real one."""
    called = []
    for stage in ("iterate", "evaluate"):
        monkeypatch.setattr(
            cli, f"_{stage}", lambda args, stage=stage: called.append((stage, args))
        )
    run = str(tmp_path / "run")
    assert cli.main(["make", task, "--data", "d", "--out", run, "--processes", "2"]) == 0
    assert [stage for stage, _ in called] == ["iterate", "evaluate"]
    rounds, score = called[0][1], called[1][1]
    assert (rounds.rounds, rounds.data, rounds.out) == (len(GAMES[task].recipe), "d", run)
    assert (score.world, score.policy) == (f"{run}/best", "shipped")
    assert score.seed == TEST


def test_no_seed_serves_two_purposes() -> None:
    assert 0 < VALIDATION < FINAL < DEMO < TEST
    assert json.dumps([VALIDATION, FINAL, DEMO, TEST]) == "[1000000, 1100000, 1500000, 2000000]"

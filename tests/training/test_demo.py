"""What a newcomer sees: the demonstration, its film, the benchmark, the recipe."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dreamgym import cli
from dreamgym.checkpoint import save_world
from dreamgym.engines.linear import supports_bfloat16
from dreamgym.games import GAMES
from dreamgym.games.recipe import scaled
from dreamgym.training import evaluate, evolve, iterate
from dreamgym.training.demo import demo
from dreamgym.training.measure import bench, yardstick
from dreamgym.training.measure.film import GAP, ZOOM, film
from dreamgym.training.play.executors import Local
from dreamgym.training.runs import LOCK
from dreamgym.training.splits import DEMO, FINAL, TEST, VALIDATION
from dreamgym.zoo.ppo import hyperparams
from tests.conftest import Inside, tiny_world

SCORE = {"mean": 0.0, "sd": 0.0, "ci95": (0.0, 0.0)}


def test_the_demonstration_shows_three_scores_and_a_film(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    inside: Inside,
) -> None:
    small = partial(evolve.Args, population=8, rollouts=2)
    monkeypatch.setattr(evolve, "Args", small)
    demo("doom", tmp_path, 1, 2, inside)
    shown = capsys.readouterr().out
    assert shown.count("95 % [") == 3
    for label in ("random", "of dreaming", "shipped controller"):
        assert label in shown
    files = {path.name for path in tmp_path.iterdir()} - {LOCK}
    assert files == {"controller.safetensors", "controller.json", "curve.png", "dream.gif"}


@pytest.mark.parametrize(("seconds", "games"), [(0, 10), (5, 1)])
def test_a_demonstration_of_nothing_is_refused(
    tmp_path: Path, seconds: float, games: int, inside: Inside
) -> None:
    with pytest.raises(ValueError, match=f"games is {games}, seconds {seconds}"):
        demo("doom", tmp_path / "out", seconds, games, inside)
    assert not (tmp_path / "out").exists()


def test_a_film_shows_two_games_side_by_side(safe_folder: Path, folder: Path, tmp_path: Path):
    policy = folder / "controller.safetensors"
    with Image.open(film(str(safe_folder), policy, tmp_path / "a.gif", 12, skip=4)) as picture:
        assert picture.size == (ZOOM * (2 * 64 + GAP), ZOOM * 64)
        assert picture.n_frames == 4  # of the first frame and 12 more, every fourth
        shown = np.asarray(picture.convert("RGB"))
    assert shown[:, : 64 * ZOOM].any() and shown[:, -64 * ZOOM :].any()


def test_a_film_shows_the_dream_of_the_asked_temperature(
    safe_folder: Path, folder: Path, tmp_path: Path
) -> None:
    policy, shown = folder / "controller.safetensors", []
    for tau in (0.1, 50.0):
        path = film(str(safe_folder), policy, tmp_path / "a.gif", 4, skip=4, temperature=tau)
        with Image.open(path) as picture:
            picture.seek(1)  # step 4
            shown.append(np.asarray(picture.convert("RGB")))
    left = [picture[:, : 64 * ZOOM] for picture in shown]
    assert not np.array_equal(*left)


@pytest.mark.parametrize(
    ("name", "half"),
    [
        pytest.param("folder", False, id="Doom in float32"),
        pytest.param("car_folder", False, id="CarRacing in float32", marks=pytest.mark.slow),
        pytest.param("folder", True, id="Doom in bfloat16 too", marks=pytest.mark.slow),
    ],
)
def test_the_benchmark_compares_with_the_real_game_of_the_same_run(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    half: bool,
    inside: Inside,
) -> None:
    """On a processor that multiplies in bfloat16 and on one that does not."""
    if half and not supports_bfloat16("cpu"):
        pytest.skip("this processor does not multiply in bfloat16: PyTorch's LSTM fails in it")
    monkeypatch.setattr(bench, "supports_bfloat16", lambda _: half)
    monkeypatch.setattr(bench, "Local", lambda _: inside)
    monkeypatch.setattr(bench._Apart, "call", lambda _, function, *given: function(*given))
    monkeypatch.setattr(bench, "SECONDS", 0.05)
    monkeypatch.setattr(bench.shutil, "which", lambda _: "g++")
    monkeypatch.setattr(torch, "compile", lambda step, **_: step)  # it takes half a minute
    for own in hyperparams.values():
        for key, value in {"n_envs": 4, "n_steps": 16, "batch_size": 16, "n_epochs": 1}.items():
            monkeypatch.setitem(own, key, value)
    title, engine = ("Doom", "ViZDoom") if name == "folder" else ("CarRacing", "CarRacing-v3,")
    precisions = 1 + half
    games = [engine, *2 * [f"Pixel{title}-v0,"], f"Latent{title}-v0,"]
    games += precisions * [f"Dream{title}-v0,"]
    games += 5 * [f"Dream{title}-v0"]  # one by gym.make, and of either size two batches
    dreamt = 3 * precisions + 1 + 2 + 2  # by size, PyTorch alone, its compiler, decoded
    monkeypatch.setattr(yardstick, "installed", lambda: False)
    table = bench.bench(str(request.getfixturevalue(name)), sizes=(1, 16))
    rows = table["rows"]
    learners = 4 * ["V"] + precisions * ["M"] + ["CMA-ES,"] + 3 * ["PPO,"]
    assert [row["what"].split()[0] for row in rows] == games + dreamt * ["dream"] + learners
    assert set(table["left_out"]) == {"JAX"} | (
        set() if half else {"dreams in bfloat16", "V and M in bfloat16"}
    )
    assert half or not any("bfloat16" in row["what"] for row in rows)
    real = next(row for row in rows if row["what"].startswith("Pixel"))
    dreams = [row for row in rows if row["what"].startswith("dream")]
    assert all(row["ratio"] == row["rate"] / real["rate"] for row in dreams)
    assert sum("share" in row for row in dreams) == 2 * precisions + 2
    assert all(0 < row["waiting"] < 1 for row in rows[-3:])
    assert all(row["rate"] > 0 for row in rows)
    assert {"command", "commit", "versions", "hardware"} <= table.keys()


@pytest.mark.parametrize(("name", "title"), [("folder", "Doom"), ("car_folder", "CarRacing")])
def test_the_benchmark_plays_the_twin_through_v_and_m(
    request: pytest.FixtureRequest, name: str, title: str
) -> None:
    """Not the game inside it, whose frames it would show."""
    world = str(request.getfixturevalue(name))
    assert bench._random(f"Latent{title}-v0", world, 0)().ndim == 1
    assert bench._random(f"Pixel{title}-v0", "", 0)().shape == (64, 64, 3)


@pytest.mark.parametrize("share", [1.0, 0.1])
@pytest.mark.parametrize("task", sorted(GAMES))
def test_the_recipe_is_its_rounds_and_the_score(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    task: str,
    share: float,
) -> None:
    """Each stage is replaced by a note of its arguments; what is printed does the same."""
    called: list[tuple[object, ...]] = []
    run = str(tmp_path / "run")

    def rounds_are_over(*words: object) -> None:
        called.append(words)
        save_world(
            f"{run}/best", tiny_world((-1.0,) * len(GAMES[task].rules.heads), game=GAMES[task])
        )
        for name in ("controller.safetensors", "agent.safetensors"):
            Path(run, "best", name).touch()

    monkeypatch.setattr(iterate, "iterate", rounds_are_over)
    monkeypatch.setattr(
        evaluate, "evaluate", lambda *words: called.append(words) or {"env": "", **SCORE}
    )
    words = ["make", task, "--data", "d", "--out", run, "--processes", "2"]
    assert cli.main([*words, "--share", str(share)]) == 0
    (game, plan, data, out, workers), (args, scorers, file), (other, *_, second) = called
    rounds = tuple(scaled(each, share) for each in GAMES[task].recipe)
    assert (game, plan, data, out) == (task, iterate.Plan(rounds), "d", run)
    assert workers == scorers == Local(2)
    best = f"{run}/best"
    episodes = round(share * GAMES[task].test_games)
    assert args == evaluate.Args(task, episodes=episodes, world=best)
    assert (args.policy, args.seed, file) == ("shipped", TEST, f"{best}/score.json")
    assert other == replace(args, policy="agent") and second == f"{best}/agent-score.json"
    shown = capsys.readouterr().out.splitlines()
    for words in [line.split()[2:] for line in shown if line.startswith("$ dreamgym")]:
        cli.parsed(words)


def test_no_seed_serves_two_purposes() -> None:
    assert 0 < VALIDATION < FINAL < DEMO < TEST
    assert json.dumps([VALIDATION, FINAL, DEMO, TEST]) == "[1000000, 1100000, 1500000, 2000000]"

"""A result says what it was of: its numbers, the command, the code and the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dreamgym.training.measure import results
from dreamgym.training.measure.results import result


def test_a_result_has_the_mean_the_spread_and_the_interval_of_its_games() -> None:
    games = [{"seed": i, "return": r, "length": 1} for i, r in enumerate((2.0, 4.0, 9.0))]
    score = result("doom", "LatentDoom-v0", "shipped", None, 0, games, 12, {}, {"commit": "c"})
    assert score["mean"] == 5
    assert score["sd"] == pytest.approx(((9 + 1 + 16) / 2) ** 0.5)
    assert 2 <= score["ci95"][0] < 5 < score["ci95"][1] <= 9
    assert score["real_frames"] == 12 and score["episodes"] == games
    assert score["commit"] == "c"
    alone = result("doom", "LatentDoom-v0", "shipped", None, 0, games[:1], 0, {}, {})
    assert (alone["mean"], alone["sd"], alone["ci95"]) == (2, 0, [2, 2])


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.mark.parametrize("tracked", [False, True])
def test_a_commit_is_the_package_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracked: bool
) -> None:
    """An installed dreamgym lies in a folder of somebody's project, whose commits are not ours."""
    root = tmp_path / "project" / ("" if tracked else "env/site-packages/dreamgym")
    file = root / "training" / "measure" / "results.py"
    file.parent.mkdir(parents=True)
    file.touch()
    project = tmp_path / "project"
    (project / "theirs.py").touch()
    git(project, "init", "-q")
    git(project, "add", "theirs.py", *(["training"] if tracked else []))
    git(project, "commit", "-qm", "Begin")
    monkeypatch.setattr(results, "__file__", str(file))
    wanted = git(project, "rev-parse", "--short", "HEAD") if tracked else ""
    assert results.commit() == wanted
    monkeypatch.setenv("GIT_DIR", str(project / ".git"))  # as it is inside somebody's hook
    assert results.commit() == wanted


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/usr/bin/dreamgym", "evaluate", "a b"], "dreamgym evaluate 'a b'"),
        (["/x/dreamgym/__main__.py", "bench"], "dreamgym bench"),
        (["study.py", "--fast"], "python study.py --fast"),
    ],
)
def test_a_command_is_the_one_that_was_typed(
    argv: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert results.command() == said

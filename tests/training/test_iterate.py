"""Rounds: each plays with what the one before has learned, and none is done twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dreamgym import tasks
from dreamgym.checkpoint import load_controller, load_world, read_json
from dreamgym.training import iterate
from dreamgym.training.data import Episode, episode_paths
from dreamgym.training.iterate import Round


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """CarRacing in short dreams, and no examination."""
    monkeypatch.setitem(tasks.TASKS, "car_racing", replace(tasks.CAR_RACING, max_steps=5))
    monkeypatch.setattr(iterate, "examine", lambda *_: None)


def test_rounds_follow_each_other_and_resume(tmp_path: Path, short: None) -> None:
    first, second = Round(3, 20, 128, 1, 1, games=1), Round(2, 25, 0, 1, 1, games=1)
    data, out = tmp_path / "data", tmp_path / "runs"

    def go(*rounds: Round) -> None:
        iterate.iterate("car_racing", rounds, data, out, 1)

    go(first)
    assert [len(Episode.load(path)) for path in episode_paths(data / "round-0")] == [20] * 3
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    go(first, second)
    assert before.items() <= {p: p.stat().st_mtime_ns for p in out.rglob("*.safetensors")}.items()
    manifest = read_json(data / "round-1" / "manifest.json")
    assert manifest["lengths"] == [25, 25]
    assert manifest["args"]["policy"] == str(out / "round-0/controller/controller.safetensors")
    assert manifest["args"]["seed"] == 3  # no track is driven twice
    world = load_world(out / "round-1" / "world")
    assert len(world.starts[0]) == 5
    assert set(world.starts[2].tolist()) == {
        float(Episode.load(path).budget[0])
        for path in episode_paths(data / "round-0", data / "round-1")
    }
    controller = load_controller(out / "round-1" / "controller")
    assert controller.config.parameters == 867
    assert read_json(out / "round-1" / "world" / "config.json")["real_frames"] == 110


def test_no_rounds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rounds is 0"):
        iterate.iterate("car_racing", (), tmp_path, tmp_path)

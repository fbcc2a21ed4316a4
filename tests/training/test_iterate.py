"""Rounds: each plays with what the one before has learned, and none is done twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamgym import games
from dreamgym.checkpoint import load_controller, load_world, read_json
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.recipe import Round
from dreamgym.training import collect, evolve, iterate
from dreamgym.training.data.episodes import Episode, episode_paths
from dreamgym.training.play.executors import InProcess
from tests.conftest import Inside
from tests.envs.spring import Spring

FILES = ("config.json", "controller.json")
"""Where a world and a controller count their real frames."""


def short_round(episodes: int, steps: int, frames: int) -> Round:
    return Round(episodes, steps, frames, 1, 1, rollouts=1, validate=1, games=1)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """CarRacing in short games and dreams, and no examination."""
    monkeypatch.setitem(games.GAMES, "car_racing", replace(CAR_RACING, max_steps=30))
    monkeypatch.setattr(iterate, "examine", lambda *_: None)
    monkeypatch.setattr(iterate, "GAMES", 2)


def test_rounds_follow_each_other_and_resume(tmp_path: Path, short: None) -> None:
    first, second = short_round(3, 20, 128), short_round(2, 25, 0)
    data, out = tmp_path / "data", tmp_path / "runs"

    def go(*rounds: Round) -> None:
        iterate.iterate("car_racing", iterate.Plan(rounds), data, out, InProcess())

    go(first)
    assert [len(Episode.load(path)) for path in episode_paths(data / "round-0")] == [20] * 3
    before = {path: path.stat().st_mtime_ns for path in (out / "round-0").rglob("*.*")}
    go(first, second)
    after = {path: path.stat().st_mtime_ns for path in (out / "round-0").rglob("*.*")}
    assert before.items() <= after.items()  # its V saw the second round's frames, nothing else
    manifest = read_json(data / "round-1" / "manifest.json")
    assert manifest["lengths"] == [25, 25]
    assert manifest["args"]["policy"] == str(out / "round-0/controller/controller.safetensors")
    assert manifest["args"]["seed"] == 3  # no track is driven twice
    world = load_world(out / "round-1" / "world")
    assert len(world.starts[0]) == 5
    assert set(world.starts[2].tolist()) == {
        float(Episode.load(path).counts[0, 0])
        for path in episode_paths(data / "round-0", data / "round-1")
    }
    assert load_controller(out / "round-1" / "controller").config.parameters == 867
    spent = evolve.spent(out / "round-0" / "controller")
    assert spent > 0
    frames = read_json(out / "round-1" / "world" / "config.json")["real_frames"]
    assert frames == 3 * 20 + 2 * 25 + spent  # those that chose who played count too
    finals = [read_json(out / f"round-{n}/controller/controller.json")["final"] for n in (0, 1)]
    best = out / f"round-{int(finals[1] > finals[0])}"
    kept, own = (load_controller(path) for path in (out / "best", best / "controller"))
    assert torch.equal(kept.weights, own.weights)
    load_world(out / "best")
    total = sum(read_json(out / "best" / name)["real_frames"] for name in FILES)
    games = [read_json(out / f"round-{n}/controller/controller.json") for n in (0, 1)]
    validated = sum(evolve.spent(out / f"round-{n}" / "controller") for n in (0, 1))
    assert total == 110 + validated + sum(facts["final_frames"] for facts in games)
    with pytest.raises(ValueError, match="holds a round of other arguments or data: choose"):
        go(first, replace(second, low=0.5))


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="give 1 round or more"):
        iterate.Plan(())


class Short(Spring):
    """Cuts itself off after 7 steps, and has no limit that Gymnasium knows of."""

    def reset(self, **given: Any) -> Any:
        self.taken = 0
        return super().reset(**given)

    def step(self, action: Any) -> Any:
        self.taken += 1
        seen, reward, over, _, info = super().step(action)
        return seen, reward, over, self.taken == 7, info


@pytest.mark.parametrize(("task", "told"), [("Short", True), ("Spring-v0", False)])
def test_a_game_that_cuts_itself_off_is_told_of(
    task: str, told: bool, tmp_path: Path, inside: Inside
) -> None:
    module = __name__ if told else "tests.envs.spring"
    name = f"{module}:{task}"
    collect.collect(collect.Args(name, episodes=3), tmp_path, inside, progress=False)
    notice = iterate.early(name, tmp_path)
    assert ("3 games were cut off by the game itself after 7 steps" in notice) == told
    assert bool(notice) == told

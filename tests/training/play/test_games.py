"""Real games side by side: each is the game that it would be alone, whoever plays it."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from dreamgym.checkpoint import load_controller, load_world
from dreamgym.games.doom import GAME as DOOM
from dreamgym.training.collect import Args, collect
from dreamgym.training.data.episodes import Episode, episode_path, episode_paths
from dreamgym.training.play.games import Idle, Learned, Uniform, turns
from dreamgym.training.play.policies import HOLD

SEEDS = (3, 1, 4)


def lengths(player, seeds=SEEDS) -> list[int]:
    steps = np.zeros(len(seeds), int)
    for turn in turns("doom", seeds, player):
        steps[turn.games] += 1
    return steps.tolist()


@pytest.mark.parametrize("kind", [Uniform, Idle])
def test_a_game_does_not_depend_on_its_neighbours(kind) -> None:
    together = lengths(kind(DOOM, SEEDS))
    assert len(set(together)) > 1
    alone = [lengths(kind(DOOM, [seed]), [seed])[0] for seed in SEEDS]
    assert together == alone


def test_turns_tell_each_step_once_and_end_each_game_once() -> None:
    ended = []
    health: dict[int, float] = {}
    for turn in turns("doom", SEEDS, Idle(DOOM, SEEDS)):
        assert turn.frames.shape == (len(turn.games), 64, 64, 3)
        assert turn.frames.reshape(len(turn.games), -1).any(1).all()
        for game, before, after in zip(turn.games, turn.budget, turn.budget_after, strict=True):
            assert health.get(game, 100) == before
            health[game] = after
        ended += turn.games[turn.terminated | turn.truncated].tolist()
    assert sorted(ended) == [0, 1, 2]
    assert set(health.values()) == {0}


def test_whims_come_now_and_then_and_are_held(folder: Path) -> None:
    world, controller = load_world(folder), load_controller(folder / "controller.safetensors")
    still = type(controller)(controller.config, torch.zeros(controller.config.parameters))
    player = Learned(world, still, [0], explore=0.05)
    player.begin(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    wanted = [player._distracted(np.zeros((1, 1)))[0, 0] for _ in range(20_000)]
    holds = [len(list(same)) for value, same in groupby(wanted) if value]
    assert max(holds) == HOLD and min(holds) == 1
    # A whim lasts 5.5 steps on average, and the wait for one 20 (less the step that it begins on).
    assert np.mean(np.array(wanted) != 0) == pytest.approx(5.5 / (5.5 + 19), abs=0.03)
    quiet = Learned(world, still, [0])
    assert quiet._distracted(np.full((1, 1), 0.5)) == 0.5


def test_a_controller_s_games_survive_being_stopped(folder: Path, tmp_path: Path) -> None:
    args = Args("doom", 3, seed=50, policy="shipped", world=str(folder))
    collect(args, tmp_path, processes=1, progress=False)
    before = [Episode.load(path) for path in episode_paths(tmp_path)]
    assert len(before) == 3
    lost = before[1]
    lost.frames = np.array(lost.frames)
    episode_path(tmp_path, 1).unlink()
    kept = episode_path(tmp_path, 2).stat().st_mtime_ns
    collect(args, tmp_path, processes=1, progress=False)
    again = Episode.load(episode_path(tmp_path, 1))
    for name, array in vars(lost).items():
        assert np.array_equal(getattr(again, name), array), name
    assert episode_path(tmp_path, 2).stat().st_mtime_ns == kept


def test_a_controller_that_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    args = Args("doom", 1, policy=str(folder / "controller.safetensors"), world="doom")
    with pytest.raises(ValueError, match="is for 38 inputs and 1 actions, this world shows 1088"):
        collect(args, tmp_path / "out", processes=1, progress=False)
    assert not (tmp_path / "out").exists()

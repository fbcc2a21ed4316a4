"""What training makes of CarRacing: random play, outcomes, returns that are foretold."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from dreamgym.checkpoint import load_controller, load_world
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.training.collect import Args, collect
from dreamgym.training.data.episodes import Episode, episode_path
from dreamgym.training.data.latents import Latents
from dreamgym.training.measure.examine import plays, returns
from dreamgym.training.play.games import turns
from dreamgym.training.play.policies import Controlled, Distracted, Exploring
from tests.conftest import Inside, tiny_world

CAR = CAR_RACING


def test_exploring_does_what_the_paper_s_did() -> None:
    """Figures of a simulation of the paper's code (2,000 episodes)."""
    policy, nothing = Exploring(CAR), torch.empty(600, 0)
    policy.begin(torch.arange(600))
    drives = np.stack([policy.act(nothing).numpy() for _ in range(40)], axis=1)
    steering, gas, brake = np.moveaxis(drives, 2, 0)  # (600, 40) each
    assert np.median(steering.std(1)) == pytest.approx(0.17, abs=0.03)
    assert steering.mean() == pytest.approx(0, abs=0.03)
    assert gas.mean() == pytest.approx(0.5, abs=0.02)
    assert brake.mean() == pytest.approx(0.11, abs=0.03)
    assert (brake == 0).mean() == pytest.approx(0.5, abs=0.05)


def drive(left: list[float], fallen: bool, missed: list[float] | None = None) -> Episode:
    steps = len(left) - 1
    counts = np.array([left, missed or [0] * len(left)], np.float32).T
    ended = np.zeros(steps, bool)
    ended[-1] = True
    return Episode(
        np.zeros((steps, 64, 64, 3), np.uint8), np.zeros((steps, 3), np.float32),
        np.zeros(steps, np.float32), counts,
        ended & (fallen or left[-1] == 0), ended & ~(ended & fallen),
    )  # fmt: skip


def test_outcomes_are_one_tile_two_a_fall_and_tiles_missed() -> None:
    fell = CAR.rules.outcomes(drive([10, 9, 7, 7, 7], fallen=True)).astype(int)
    assert fell.tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0] * 5, [0, 0, 1, 0, 0]]
    lap = CAR.rules.outcomes(drive([2, 1, 0], fallen=False)).astype(int)
    assert lap.tolist() == [[1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]
    cut = CAR.rules.outcomes(drive([5, 5, 5], fallen=False, missed=[0, 1, 3])).astype(int)
    assert cut.tolist() == [[0, 0, 0, 1, 0], [0, 0, 0, 1, 1]]


def test_games_are_cut_off_and_repeat_whoever_plays(
    tmp_path: Path, car_folder: Path, inside: Inside
) -> None:
    collect(Args("car_racing", 2, 7, steps=12), tmp_path, inside, progress=False)
    episode = Episode.load(episode_path(tmp_path, 1))
    assert len(episode) == 12 and episode.truncated.tolist() == [False] * 11 + [True]
    assert not episode.terminated.any() and episode.actions.shape == (12, 3)
    left, missed = episode.counts.T
    assert left[0] - left[1] >= 2 and not missed.any()  # those that the car stands on at first
    world, controller = load_world(car_folder), load_controller(car_folder)
    for policy in (Exploring(CAR), Distracted(Controlled(controller, CAR), CAR, 0.2, 10)):
        steps = sum(len(turn.games) for turn in turns("car_racing", [8], policy, world, steps=5))
        assert steps == 5
    alone = next(iter(turns("car_racing", [8], Exploring(CAR), steps=5)))
    assert np.array_equal(alone.frames[0], episode.frames[0])
    assert np.allclose(alone.actions[0], episode.actions[0])


def test_a_bad_cut_is_named() -> None:
    with pytest.raises(ValueError, match="steps is -1: give 1 or more, or 0"):
        Args("car_racing", 1, steps=-1)


def seen(lengths: list[int], whole: float, rewards: float) -> Latents:
    """Latents of drives in which every step touched a tile and paid the same."""
    count = sum(lengths)
    torch.manual_seed(0)
    outcome = torch.zeros(count, len(CAR.rules.heads), dtype=torch.bool)
    outcome[:, 0] = True
    return Latents(
        torch.randn(count, 6).half(), torch.full((count, 6), -1.0).half(), torch.zeros(count, 3),
        outcome, torch.full((count,), rewards), torch.tensor(lengths),
        torch.full((count, 1), whole), torch.zeros(len(lengths), dtype=torch.int64), "",
    )  # fmt: skip


def test_what_is_certain_is_foretold_to_the_point() -> None:
    world = tiny_world(hit=(50.0, -50.0, -50.0), game=CAR)
    latents = seen([120, 130], 200.0, 4.9)
    report = returns(world, latents, np.array([0, 1]))
    assert set(report) == {"1", "10", "100"}  # no drive had a thousand steps
    for span, told in report.items():
        assert told["predicted"] == pytest.approx(4.9 * int(span), rel=1e-4)
        assert told["real"] == pytest.approx(4.9 * int(span), rel=1e-4)


def test_a_fall_is_paid_once() -> None:
    world = tiny_world(hit=(-50.0, -50.0, 50.0), game=CAR)
    report = returns(world, seen([120, 130], 200.0, 0.0), np.array([0, 1]))
    assert report["100"]["predicted"] == pytest.approx(-100, abs=1e-3)


def test_free_dreams_are_as_long_as_the_games_were() -> None:
    world = tiny_world(hit=(-50.0, -50.0, -50.0), game=CAR)
    report = plays(world, seen([30, 30], 200.0, 0.0), many=16)
    assert report["dream_mean"] == pytest.approx(-0.1 * 30, abs=1e-3)


def test_long_random_bursts_bring_a_policy_into_trouble(
    tmp_path: Path, car_folder: Path, inside: Inside
) -> None:
    """With the chance 1 a burst follows a burst, and the policy itself never plays."""
    args = Args("car_racing", 2, 16, "shipped", str(car_folder), 300, chance=1.0, hold=30)
    collect(args, tmp_path / "a", inside, progress=False)
    collect(args, tmp_path / "b", inside, progress=False)
    for index in range(2):
        one, other = (Episode.load(episode_path(tmp_path / run, index)) for run in "ab")
        assert np.array_equal(one.actions, other.actions)
        assert np.array_equal(one.counts, other.counts)
        assert one.counts.shape == (len(one) + 1, 2) and one.counts.dtype == np.float32
        bursts = [len(list(same)) for _, same in groupby(one.actions.tolist())]
        assert len(one) / len(bursts) > 8 and max(bursts[:-1]) > 15  # 15.5 on average
        left, missed = one.counts.T
        assert (missed <= left).all() and (np.diff(left) <= 0).all()
        outcomes = CAR.rules.outcomes(one)
        assert outcomes[:, 3].tolist() == (np.diff(missed) >= 1).tolist()
        assert outcomes[:, 4].tolist() == (np.diff(missed) >= 2).tolist()
    assert missed[-1] > 0  # of the second track


def test_without_chance_the_policy_plays_alone(
    tmp_path: Path, car_folder: Path, inside: Inside
) -> None:
    played = []
    for hold in (1, 30):
        args = Args("car_racing", 1, 7, "shipped", str(car_folder), 20, chance=0.0, hold=hold)
        collect(args, tmp_path / str(hold), inside, progress=False)
        played.append(Episode.load(episode_path(tmp_path / str(hold), 0)).actions)
    assert np.array_equal(*played)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("chance", -0.1, "chance is -0.1: give a probability"),
        ("chance", 1.1, "chance is 1.1: give a probability"),
        ("chance", float("nan"), "chance is nan: give a probability"),
        ("hold", 0, "hold is 0: give 1 or more"),
    ],
)
def test_bad_bursts_are_named(name: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Args("car_racing", 1, **{name: value})  # type: ignore[arg-type]

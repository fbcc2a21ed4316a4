"""What a policy meets in dream and game, counted on lives that were made up for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dreamgym.games.car_racing import GAME as CAR
from dreamgym.games.car_racing import on_grass
from dreamgym.games.doom import GAME as DOOM
from dreamgym.training.measure import fidelity
from dreamgym.training.measure.fidelity import Lives, Lost, Stumbling, compared, hazards, recoveries
from tests.conftest import tiny_world


def lives(lengths: list[int], terminated: list[bool], counts: list[list[float]]) -> Lives:
    return Lives(np.array(lengths) * 2.0, np.array(lengths), np.array(terminated), np.array(counts))


def test_ends_are_counted_for_the_steps_of_each_part() -> None:
    """Three games of at most 2,100 steps: two end, after 450 and 1,000, one is cut off."""
    played = lives([450, 1000, 2100], [True, True, False], [[0], [0], [40]])
    early, late = 450 * 3, 100 + 1200
    assert hazards(played, 2100) == pytest.approx([1000 / early, 0, 1000 / late])
    assert hazards(lives([10], [True], [[0]]), 2100) == [100.0, None, None]  # nobody came so far
    short = lives([1, 1], [True, True], [[0], [0]])  # parts are of whole steps
    assert hazards(short, 1) == [None, None, 1000.0]
    assert hazards(lives([8, 8], [True, True], [[0], [0]]), 10)[2] == pytest.approx(250)


def test_what_is_left_at_the_end_is_compared() -> None:
    real = lives([900, 1000], [True, False], [[0, 0], [12, 10]])
    dream = lives([800, 700], [True, True], [[0, 0], [4, 4]])
    report = compared(real, dream, CAR)
    assert report["real"]["tiles_left_at_the_end"] == 6
    assert report["dream"]["tiles_missed_at_the_end"] == 2
    for name in ("real", "dream"):
        assert report[name]["games_that_end_without_tiles_left"] == 0.5
    assert report["real"]["return"] == [1900.0, 100.0] and report["dream"]["length"][0] == 750


def test_who_finds_back_is_counted_by_quarters_of_speed_and_for_spins() -> None:
    speed = np.array([40.0, 10, 20, 30, 60, 50, 80, 70])
    spin = np.array([0.0, 5, 0, 0, 0, -6, 0, 0])
    nothing = np.zeros((8, 1))
    back = speed < 45
    report = recoveries(Lost(nothing, nothing, nothing, speed, spin, back), speed / 100)
    assert report["all"] == {"moments": 8, "speed": [10, 80], "real": 0.5, "dream": 0.45}
    assert report["speed_quarter_1"] == {
        "moments": 2, "speed": [10, 20], "real": 1.0, "dream": pytest.approx(0.15)
    }  # fmt: skip
    assert report["speed_quarter_4"]["real"] == 0 and report["speed_quarter_4"]["speed"] == [70, 80]
    assert report["fastest_spins"]["moments"] == 2
    assert report["fastest_spins"]["speed"] == [10, 50] and report["fastest_spins"]["real"] == 0.5


def test_a_car_is_on_the_grass_if_grass_is_all_around_it() -> None:
    grass, road = (102, 204, 102), (102, 102, 102)
    pictures = np.full((3, 64, 64, 3), grass, np.uint8)
    pictures[1, :, 24:40] = road
    pictures[2, :40] = road  # far ahead
    pictures[:, 50:56, 31:33] = (204, 0, 0)  # the car
    assert on_grass(pictures).tolist() == [True, False, True]


class Counting:
    """A policy that does nothing, and a number of the game's own in each row."""

    observation = "zh"

    def begin(self, seeds: Tensor) -> None:
        self.rows = seeds

    def act(self, observation: Tensor) -> Tensor:
        assert observation.shape[1] == tiny_world(game=CAR).size("zh")
        return torch.zeros(len(observation), 3)

    def keep(self, rows: Tensor) -> None:
        self.rows = self.rows[rows]


def test_a_disturbed_policy_is_watched_from_where_it_was_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The player is lost where z is above 0: from step 40 on in game 0, for 30 steps in game 1."""
    world, steps = tiny_world(game=CAR), 400
    monkeypatch.setattr(fidelity, "lost", lambda _, z: (z[:, 0] > 0).numpy())
    policy = Stumbling(Counting(), world)
    policy.begin(torch.tensor([3, 9]))
    size, moved, starts = world.size("zhc"), np.zeros((steps, 2), bool), {}
    for step in range(steps):
        seen = torch.full((2, size), -1.0)
        seen[0] = 1.0  # always lost
        seen[1] = 1.0 if policy.watched[1] < 30 else -1.0  # found back in the 30th step of a watch
        before = policy.watched.copy()
        action = policy.act(seen)
        moved[step] = (action != 0).any(1)
        for row in range(2):
            if before[row] < 0 <= policy.watched[row]:
                starts.setdefault(row, step)
            assert not (policy.watched[row] >= 0 and moved[step, row])  # undisturbed while watched
    first = starts[0]
    held = moved[:first, 0].sum()
    assert 10 <= held < 30 and 20 <= first - held < 80 + 2
    backs = {0: [], 1: []}  # type: ignore[var-annotated]
    for moment in policy.lost:
        assert set(moment) == {"z", "h", "c", "back"}
        backs[int(moment["back"])].append(moment)
    assert backs[0] and backs[1]
    policy.keep(torch.tensor([False, True]))
    assert policy.act(torch.full((1, size), -1.0)).shape == (1, 3)
    assert policy.policy.rows.tolist() == [9]  # type: ignore[attr-defined]


def test_dreams_go_on_from_the_moments_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    world = tiny_world(game=CAR)
    config = world.memory.config
    seen: list[Tensor] = []

    def lost(_: Any, z: Tensor) -> np.ndarray:
        seen.append(z)
        return np.arange(len(z)) % fidelity.DREAMS > 1  # two dreams of each moment find back

    monkeypatch.setattr(fidelity, "lost", lost)
    rng = np.random.default_rng(0)
    z, h, c = (
        rng.normal(size=(3, size)).astype(np.float32)
        for size in (config.z_size, config.hidden, config.hidden)
    )
    moments = Lost(z, h, c, np.zeros(3), np.zeros(3), np.zeros(3, bool))
    found = fidelity.found_back(world, Counting(), moments, 1.0)
    assert found.tolist() == [2 / fidelity.DREAMS] * 3
    assert len(seen) == fidelity.WATCH // fidelity.LOOK
    assert len(seen[0]) == 3 * fidelity.DREAMS and not torch.equal(seen[0][0], seen[0][1])


def test_returns_are_compared_at_every_temperature() -> None:
    """Half of all dreams pay more than any game."""
    real = lives([1, 2, 3, 4], [True] * 4, [[0]] * 4)
    dream = lives([1, 2, 30, 40], [True] * 4, [[0]] * 4)
    assert fidelity.apart(real, dream) == {"return": 2 * 73 / 4, "distance": 0.5}
    assert fidelity.apart(real, real)["distance"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": float("nan")}, "temperature is nan: give a finite number"),
        ({"temperature": -1.0}, "temperature is -1.0: give a finite number"),
        ({"games": 0}, "games is 0: give 1 or more, up to 1,000,000"),
        ({"games": 10**9}, "games is 1000000000: give 1 or more, up to 1,000,000"),
        ({"replays": -1}, "replays is -1: give 0 or more"),
        ({"seed": 99999999999}, "seed is 99999999999: keep seeds from 0 to 2,147,483,647"),
        ({"seed": 2**31 - 110}, "keep seeds from 0 to"),  # the later games have further ones
    ],
)
def test_bad_arguments_are_named_before_any_game(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fidelity.Args("doom", **change)


def test_the_plot_shows_what_there_is(tmp_path: Path) -> None:
    both = lives([450, 2100], [True, False], [[0], [40]])
    report = compared(both, both, DOOM)
    report["by_temperature"] = {tau: fidelity.apart(both, both) for tau in ("0.1", "1")}
    fidelity.plot(report, tmp_path / "few.png")
    back = {"moments": 2, "speed": [1, 2], "real": 0.5, "dream": 0.4}
    after = {"latent": 0.4, "still": 0.9, "reward": {"real": 1.0, "dream": 1.1}}
    ended = {"reward": {"real": 1.0, "dream": 1.1}}  # no game goes on so long
    more = report | {"back_within_100_steps": {"all": back}}
    more |= {"after_steps": {"1": after, "100": ended}}
    fidelity.plot(more, tmp_path / "all.png")
    more["onward"] = {"1": {"lost": {"real": 0.1, "dream": 0.2}}, "100": ended}
    fidelity.plot(more, tmp_path / "lost.png")
    pictures = [(tmp_path / f"{name}.png").read_bytes() for name in ("all", "lost")]
    assert pictures[0] != pictures[1]
    with Image.open(tmp_path / "few.png") as few, Image.open(tmp_path / "all.png") as many:
        assert few.width < many.width and few.height < many.height and json.dumps(more)

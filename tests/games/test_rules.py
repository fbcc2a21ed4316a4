"""Rules settle given odds and draws by known answers, and read outcomes off episodes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from dreamgym import games
from dreamgym.games import Game
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.doom import GAME as DOOM
from dreamgym.games.rules import DEATHS


def settle(game: Game, counts: list[list[float]], odds: list[list[float]], draws: list[list[float]],
           death: str = "health") -> tuple[list, list, list]:  # fmt: skip
    parts: list[Tensor] = [torch.tensor(part) for part in (counts, odds, draws)]
    came = game.rules.ending(death).settle(*parts, torch.zeros(len(counts), dtype=torch.int64))
    return tuple(part.tolist() for part in came)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("health", "roll", "left"), [(100, 0.0, 79), (100, 0.999, 0), (100, 3.5 / 8, 16), (22, 0.1, 1)]
)
def test_a_hit_takes_21_times_the_roll_of_a_die(health, roll, left):
    counts, reward, dead = settle(DOOM, [[health]], [[1.0, 0.0]], [[0.5, roll]])
    assert (counts, reward, dead) == ([[left]], [1], [left == 0])


def test_a_hit_comes_with_its_odds():
    counts, _, dead = settle(DOOM, [[100], [100]], [[0.3, 1], [0.3, 1]], [[0.29, 0], [0.3, 0]])
    assert (counts, dead) == ([[79], [100]], [False, False])


def test_the_death_head_ends_a_dream_if_it_is_asked_to():
    _, _, dead = settle(DOOM, [[100], [100]], [[0, 0.3]] * 2, [[0.29, 0], [0.3, 0]], "head")
    assert dead == [True, False]


@pytest.mark.parametrize("game", games.GAMES.values(), ids=games.GAMES)
def test_an_end_that_is_not_known_is_refused(game):
    for death in DEATHS:
        assert game.rules.ending(death).heads == game.rules.heads
    with pytest.raises(ValueError, match="death is 'old age': choose 'health' or 'head'"):
        game.rules.ending("old age")


@pytest.mark.parametrize(
    ("first", "second", "left", "reward", "over"),
    [
        (0.1, 0.9, 198, 10 - 0.1, False),  # two new tiles of 200
        (0.4, 0.9, 199, 5 - 0.1, False),
        (0.6, 0.9, 200, -0.1, False),
        (0.4, 0.1, 199, -100, True),  # off the field
    ],
)
def test_new_tiles_pay_and_a_fall_costs(first, second, left, reward, over):
    counts, paid, dead = settle(CAR_RACING, [[200, 200]], [[0.5, 0.2, 0.2]], [[first, second]])
    assert (counts, dead) == ([[left, 200]], [over])
    assert paid == [pytest.approx(reward)]


def test_outcomes_are_read_off_an_episode():
    game = SimpleNamespace(
        budget=np.array([100, 79, 79, 0]), terminated=np.array([False, False, True])
    )
    found = DOOM.rules.outcomes(game)
    assert found.tolist() == [[True, False], [False, False], [True, True]]
    lap = SimpleNamespace(budget=np.array([3, 1, 0, 0]), terminated=np.array([False, False, True]))
    assert CAR_RACING.rules.outcomes(lap).tolist() == [
        [True, True, False], [True, False, False], [False, False, False]
    ]  # fmt: skip
    lap.budget[-1] = 1
    assert CAR_RACING.rules.outcomes(lap)[-1].tolist() == [False, False, True]


def test_what_a_step_is_expected_to_pay():
    odds = np.array([[0.5, 0.25, 0.0], [0.5, 0.25, 0.1], [0, 0, 1]])
    found = CAR_RACING.rules.expected(odds, 250.0)
    assert found is not None
    pay, end = found
    np.testing.assert_allclose(pay, [2.9, 2.9 * 0.9 - 10, -100])
    np.testing.assert_allclose(end, [0, 0.1, 1])
    assert DOOM.rules.expected(odds, 250.0) is None


def test_no_real_drive_pays_more_than_the_fastest_car_s():
    assert DOOM.rules.most(10) == float("inf")
    assert CAR_RACING.rules.most(385) == pytest.approx(1000 - 38.5)  # 220 tiles in 1.75 frames each
    assert CAR_RACING.rules.most(1000) == CAR_RACING.rules.most(385)
    assert CAR_RACING.rules.most(77) == pytest.approx(200 - 7.7)

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
           death: str = "health", step: int = 0) -> tuple[list, list, list]:  # fmt: skip
    """Return what comes of a step, by PyTorch, of which the compiled rules say the same."""
    parts: list[Tensor] = [
        torch.tensor(part, dtype=torch.float32) for part in (counts, odds, draws)
    ]
    rules, steps = game.rules.ending(death), torch.full((len(counts),), step)
    came = rules.settle(*parts, steps)
    found = torch.empty_like(parts[0]), torch.empty(len(counts)), torch.empty_like(steps).bool()
    compiled = rules.compiled()
    assert compiled
    compiled(*(part.numpy() for part in (*parts, steps, *found)))
    assert all(map(torch.equal, found, came))
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
    odds = [[0.5, 0.2, 0.2, 0, 0]]
    counts, paid, dead = settle(CAR_RACING, [[200, 0, 200]], odds, [[first, second]])
    assert (counts, dead) == ([[left, 0, 200]], [over])
    assert paid == [pytest.approx(reward)]


@pytest.mark.parametrize(
    ("second", "missed", "left", "over"),
    [
        (0.9, 7, 200, False),  # two of 200 tiles are passed by
        (0.7, 6, 200, False),
        (0.4, 5, 200, False),
        (0.1, 5, 200, True),  # a fall: nothing is passed by
    ],
)
def test_tiles_are_missed_with_their_odds_and_cost_nothing_at_once(second, missed, left, over):
    odds = [[0, 0, 0.2, 0.4, 0.2]]
    counts, paid, dead = settle(CAR_RACING, [[200, 5, 250]], odds, [[0.5, second]])
    assert (counts, dead) == ([[left, missed, 250]], [over])
    assert paid == [pytest.approx(-100 if over else -0.1)]


@pytest.mark.parametrize(
    ("left", "missed", "touched", "lost", "after", "over"),
    [
        (6, 5, 2, 0, [5, 5], True),  # one is ahead: the second touch finds none
        (7, 5, 2, 0, [5, 5], True),
        (8, 5, 2, 0, [6, 5], False),
        (8, 5, 0, 2, [8, 7], False),
        (7, 5, 0, 2, [7, 7], True),
        (6, 5, 0, 2, [6, 6], True),  # no more is missed than was ahead
        (7, 5, 1, 2, [6, 6], True),
        (8, 5, 2, 2, [6, 6], True),
        (2, 0, 2, 2, [0, 0], True),
        (1, 0, 2, 2, [0, 0], True),
    ],
)
def test_missed_tiles_are_never_paid_and_the_lap_ends_when_none_is_ahead(
    left, missed, touched, lost, after, over
):
    odds = [[touched >= 1, touched >= 2, 0, lost >= 1, lost >= 2]]
    counts, paid, dead = settle(CAR_RACING, [[left, missed, 250]], odds, [[0.5, 0.5]], step=1000)
    assert (counts, dead) == ([[*after, 250]], [over])
    assert paid == [pytest.approx(4 * (left - after[0]) - 0.1)]


@pytest.mark.parametrize(
    ("step", "rest"), [(0, 999), (500, 499), (998, 1), (999, 0), (1000, 0), (1500, 0)]
)
def test_the_end_of_a_lap_with_missed_tiles_costs_the_frames_up_to_the_limit(step, rest):
    """The step itself is the frame `step + 1`."""
    touched, lost, fallen = [1, 0, 0, 0, 0], [0, 0, 0, 1, 0], [1, 0, 1, 1, 0]
    one, none = [4, 3, 250], [1, 0, 250]  # one tile is ahead; three are missed, or none
    counts, paid, dead = settle(
        CAR_RACING, [one, none] * 3, [touched, touched, lost, lost, fallen, fallen],
        [[0.5, 0.5]] * 6, step=step,
    )  # fmt: skip
    assert counts == [[3, 3, 250], [0, 0, 250], [4, 4, 250], [1, 1, 250], [3, 3, 250], [0, 0, 250]]
    assert dead == [True] * 6
    wanted = [3.9 - 0.1 * rest, 3.9, -0.1 - 0.1 * rest, -0.1 - 0.1 * rest, -100, -100]
    assert paid == pytest.approx(wanted, abs=1e-4)


def test_a_fall_is_drawn_from_one_end_and_a_miss_from_the_other():
    """Both come with their odds, and never together as long as they are rare."""
    many = 100_000
    draws = np.random.default_rng(0).random((many, 2)).astype(np.float32).tolist()
    counts, _, dead = settle(
        CAR_RACING, [[200, 0, 200]] * many, [[0, 0, 0.1, 0.3, 0.05]] * many, draws
    )
    missed, fallen = np.array(counts)[:, 1], np.array(dead)
    for happened, odds in ((fallen, 0.1), (missed >= 1, 0.3), (missed == 2, 0.05)):
        assert np.mean(happened) == pytest.approx(odds, abs=4 * (odds / many) ** 0.5)
    assert not (fallen & (missed > 0)).any()


def test_a_world_of_three_heads_misses_no_tile():
    rules = CAR_RACING.rules
    assert rules.foretold(rules.heads) is rules
    old = CAR_RACING.rules.foretold(("tile", "tiles", "fall"))
    assert old.heads == ("tile", "tiles", "fall") and old.counts == rules.counts
    game = SimpleNamespace(rules=old)
    for second in (0.0, 0.3, 1.0):
        counts, paid, dead = settle(game, [[3, 0, 250]], [[1, 1, 0]], [[0.5, second]], step=7)
        assert (counts, paid, dead) == ([[1, 0, 250]], [pytest.approx(7.9)], [False])
    counts, paid, dead = settle(game, [[2, 0, 250]], [[1, 1, 0]], [[0.5, 1.0]], step=7)
    assert (counts, paid, dead) == ([[0, 0, 250]], [pytest.approx(7.9)], [True])


@pytest.mark.parametrize("heads", [(), ("tile", "tiles"), ("tile", "tiles", "fall", "miss")])
def test_an_m_that_foretells_something_else_is_refused(heads):
    with pytest.raises(ValueError, match=r"M foretells .*; the rules need tile, tiles, fall, miss"):
        CAR_RACING.rules.foretold(heads)
    with pytest.raises(ValueError, match=r"M foretells .*; the rules need hit, death"):
        DOOM.rules.foretold(heads)


def test_outcomes_are_read_off_an_episode():
    game = SimpleNamespace(
        counts=np.array([[100], [79], [79], [0]]), terminated=np.array([False, False, True])
    )
    found = DOOM.rules.outcomes(game)
    assert found.tolist() == [[True, False], [False, False], [True, True]]
    lap = SimpleNamespace(
        counts=np.array([[3, 1, 0, 0], [0, 0, 0, 0]]).T, terminated=np.array([False, False, True])
    )
    assert CAR_RACING.rules.outcomes(lap).astype(int).tolist() == [
        [1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]
    ]  # fmt: skip
    lap.counts[-1, 0] = 1
    assert CAR_RACING.rules.outcomes(lap)[-1].astype(int).tolist() == [0, 0, 1, 0, 0]


def test_missed_tiles_are_outcomes_of_the_step_that_passes_them_by():
    left, missed = [20, 20, 18, 17, 17, 16, 16], [0, 1, 1, 3, 8, 7, 7]
    lap = SimpleNamespace(counts=np.array([left, missed]).T, terminated=np.zeros(6, bool))
    assert CAR_RACING.rules.outcomes(lap).astype(int).tolist() == [
        [0, 0, 0, 1, 0],
        [1, 1, 0, 0, 0],
        [1, 0, 0, 1, 1],
        [0, 0, 0, 1, 1],  # a cut across: more than two are told as two
        [1, 0, 0, 0, 0],  # one that was missed is touched after all
        [0, 0, 0, 0, 0],
    ]


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

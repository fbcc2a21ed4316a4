"""CMA-ES begins as it is told, finds what pays, and is what it was when it is told the same."""

from __future__ import annotations

import numpy as np
import pytest

from dreamgym.training.optimisers import CMAES, Optimiser

BEST = 0.3


def told(search: Optimiser, generations: int) -> list[np.ndarray]:
    """Tell a search how far each of its members is from the best; return the populations."""
    populations = []
    for _ in range(generations):
        populations.append(search.ask())
        search.tell(np.square(populations[-1] - BEST).sum(1))
    return populations


def test_cma_es_learns_what_pays() -> None:
    search = CMAES(np.zeros(38), 16, 0)
    told(search, 60)
    assert np.square(search.mean - BEST).mean() < BEST**2 / 10


def test_it_begins_there_with_a_tenth_for_a_step_unless_told() -> None:
    search = CMAES(np.full(38, 5.0), 500, 0)
    assert search.mean.tolist() == [5.0] * 38
    drawn = search.ask()
    assert drawn.shape == (500, 38)
    assert drawn.mean() == pytest.approx(5, abs=0.01)
    assert drawn.std() == pytest.approx(0.1, rel=0.02)


def test_each_number_has_a_first_step_of_its_own_times_their_scale() -> None:
    steps = np.array([0.1, 1.0, 10.0])
    drawn = CMAES(np.zeros(3), 5000, 0, steps, 0.5).ask()
    assert drawn.std(0) == pytest.approx(steps / 2, rel=0.05)


def test_told_the_losses_that_are_its_state_another_one_is_the_same_search() -> None:
    steps = np.linspace(0.1, 1, 6)
    search, other = (CMAES(np.zeros(6), 8, 3, steps) for _ in range(2))
    told(search, 5)
    losses = search.state()["losses"]
    assert losses.shape == (5, 8)
    for past in losses:
        other.ask()
        other.tell(past)
    assert np.array_equal(other.mean, search.mean) and other.sigma == search.sigma
    assert np.array_equal(other.ask(), search.ask())
    assert np.array_equal(other.state()["losses"], losses)


def test_each_seed_is_a_stream_of_its_own_and_numpy_s_is_left_alone() -> None:
    np.random.seed(7)
    before = np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    first, same, other = (told(CMAES(np.zeros(4), 6, seed), 3) for seed in (1, 1, 2))
    assert np.array_equal(first, same) and not np.array_equal(first, other)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[union-attr]


def test_its_mean_is_a_copy() -> None:
    search = CMAES(np.zeros(4), 6, 0)
    search.mean[:] = 9
    assert search.mean.tolist() == [0.0] * 4

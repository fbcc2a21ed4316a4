"""Seeds: which are ones, and which a batch's environments get."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dreamgym.envs.seeds import SEED_RANGE, Episodes, each, one


@pytest.mark.parametrize("good", [0, np.int64(7), np.uint8(7), 2**70])
def test_whole_numbers_are_seeds(good: Any) -> None:
    assert one(good) == int(good) and type(one(good)) is int
    assert one(None) is None


@pytest.mark.parametrize("bad", [-1, 1.5, "3", True, np.bool_(True), [1]])
def test_anything_else_is_refused_by_name(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"seed is .*: give a whole number, 0 or more, or None"):
        one(bad)


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (None, [None, None, None]),
        (5, [5, 6, 7]),
        (np.int64(5), [5, 6, 7]),
        ([3, None, 3], [3, None, 3]),
        ((1, 2, 3), [1, 2, 3]),
        (range(3, 6), [3, 4, 5]),
        (np.array([4, 9, 2]), [4, 9, 2]),
    ],
)
def test_each_environment_gets_its_own(asked: Any, wanted: list[int | None]) -> None:
    assert list(each(asked, 3)) == wanted


def test_as_many_seeds_are_needed_as_environments() -> None:
    with pytest.raises(ValueError, match="2 seeds for 3 environments: give one each"):
        each(np.array([1, 2]), 3)


def test_episodes_count_from_nought_under_each_seed() -> None:
    rng, episodes = np.random.default_rng(0), Episodes()
    first = [episodes.next(seed, rng) for seed in (4, None, None, 4, 2**63 + 5)]
    assert [(int(s[0]), int(n[0])) for s, n in first] == [(4, 0), (4, 1), (4, 2), (4, 0), (5, 0)]
    unseeded, _ = Episodes().next(None, rng)
    assert 0 <= unseeded[0] < SEED_RANGE

"""A recipe can be followed in small."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from dreamgym import games
from dreamgym.games.recipe import SIZES, Round, scaled


@pytest.mark.parametrize("task", ["doom", "car_racing"])
def test_a_tenth_of_a_recipe_is_a_tenth_of_all_that_takes_time(task: str) -> None:
    for stage in games.get(task).recipe:
        small = scaled(stage, 0.1)
        for name in SIZES:
            size = getattr(stage, name)
            assert getattr(small, name) == (max(2, round(size / 10)) if size else 0)
        others = {field.name for field in fields(Round)} - {*SIZES, "validate"}
        assert all(getattr(small, name) == getattr(stage, name) for name in others)
        assert small.validate == min(stage.validate, small.generations)
        assert scaled(stage, 1) == stage


def test_what_a_round_leaves_out_stays_out() -> None:
    stage = Round(100, 0, 0, 500, 10)
    assert scaled(stage, 0.001) == replace(stage, episodes=2, updates=2, generations=2, validate=2)


@pytest.mark.parametrize("share", [0, -1, float("nan"), float("inf")])
def test_a_share_that_is_no_size_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=rf"share is {share}: give a number above 0"):
        scaled(Round(1, 0, 0, 1, 10), share)

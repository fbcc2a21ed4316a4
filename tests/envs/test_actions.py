"""An action is a move or an error that names it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from dreamgym.envs import actions
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.doom import GAME as DOOM


def test_the_spaces_are_those_of_the_design() -> None:
    assert actions.space(DOOM, continuous=False) == gym.spaces.Discrete(3)
    assert actions.space(DOOM, continuous=True) == gym.spaces.Box(-1, 1, (1,), np.float32)


def test_discrete_actions_are_left_stay_and_right() -> None:
    told = actions.told([0, 1, 2], DOOM, continuous=False)
    assert told.dtype == np.float32
    assert told.tolist() == [[-1.0], [0.0], [1.0]]


@pytest.mark.parametrize(
    ("value", "move"),
    [(-1, -1), (-0.334, -1), (-0.333, 0), (0, 0), (0.333, 0), (0.334, 1), (1, 1)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_continuous_actions_move_beyond_a_third(value: float, move: int, dtype: type) -> None:
    told = actions.told(np.array([[value]], dtype), DOOM, continuous=True)
    assert told.dtype == np.float32
    assert told.tolist() == [[move]]


@pytest.mark.parametrize("action", [3, -1, 1.5, None, "left", [1], True])
def test_a_bad_discrete_action_is_named(action: Any) -> None:
    with pytest.raises(ValueError) as caught:
        actions.told([action], DOOM, continuous=False)
    assert f"action is {action!r}" in str(caught.value)
    assert "0 (left), 1 (stay), 2 (right)" in str(caught.value)


@pytest.mark.parametrize(
    "action",
    [[float("nan")], [float("inf")], [0.1, 0.2], 0.5, ["left"], None, [[0.1]], [True]],
    ids=str,
)
def test_a_bad_continuous_action_is_named(action: Any) -> None:
    with pytest.raises(ValueError) as caught:
        actions.told([action], DOOM, continuous=True)
    assert f"action is {action!r}" in str(caught.value)
    assert "number" in str(caught.value)


def test_a_ragged_action_is_named() -> None:
    with pytest.raises(ValueError, match=r"action is \[\[\[1\], \[1, 2\]\]\]"):
        actions.told([[[1], [1, 2]]], DOOM, continuous=False)


def test_one_bad_action_in_a_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected one of 0"):
        actions.told(np.array([0, 1, 5]), DOOM, continuous=False)


@pytest.mark.parametrize("task", [DOOM, CAR_RACING])
def test_actions_mean_the_same_on_a_device(task):
    outputs = np.random.default_rng(0).uniform(-1, 1, (500, len(task.low))).astype(np.float32)
    there = actions.meant_there(torch.from_numpy(outputs), task)
    assert np.array_equal(there.numpy(), actions.meant(outputs, task))

"""An action is a move or an error that names it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from dreamgym import noise
from dreamgym.envs import actions
from dreamgym.games import Game
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.doom import GAME as DOOM


def test_the_spaces_are_those_of_the_design() -> None:
    assert actions.space(DOOM, continuous=False) == gym.spaces.Discrete(3)
    assert actions.space(DOOM, continuous=True) == gym.spaces.Box(-1, 1, (1,), np.float32)


def test_discrete_actions_are_left_stay_and_right() -> None:
    vectors = actions.to_vectors([0, 1, 2], DOOM, continuous=False)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[-1.0], [0.0], [1.0]]


@pytest.mark.parametrize(
    ("value", "move"),
    [(-1, -1), (-0.334, -1), (-0.333, 0), (0, 0), (0.333, 0), (0.334, 1), (1, 1)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_continuous_actions_move_beyond_a_third(value: float, move: int, dtype: type) -> None:
    vectors = actions.to_vectors(np.array([[value]], dtype), DOOM, continuous=True)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[move]]


@pytest.mark.parametrize("action", [3, -1, 1.5, None, "left", [1], True])
def test_a_bad_discrete_action_is_named(action: Any) -> None:
    with pytest.raises(ValueError) as caught:
        actions.to_vectors([action], DOOM, continuous=False)
    assert f"action is {action!r}" in str(caught.value)
    assert "0 (left), 1 (stay), 2 (right)" in str(caught.value)


@pytest.mark.parametrize(
    "action",
    [[float("nan")], [float("inf")], [0.1, 0.2], 0.5, ["left"], None, [[0.1]], [True]],
    ids=str,
)
def test_a_bad_continuous_action_is_named(action: Any) -> None:
    with pytest.raises(ValueError) as caught:
        actions.to_vectors([action], DOOM, continuous=True)
    assert f"action is {action!r}" in str(caught.value)
    assert "number" in str(caught.value)


def test_a_ragged_action_is_named() -> None:
    with pytest.raises(ValueError, match=r"action is \[\[\[1\], \[1, 2\]\]\]"):
        actions.to_vectors([[[1], [1, 2]]], DOOM, continuous=False)


def test_one_bad_action_in_a_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected one of 0"):
        actions.to_vectors(np.array([0, 1, 5]), DOOM, continuous=False)


@pytest.mark.parametrize("game", [DOOM, CAR_RACING])
def test_outputs_mean_the_continuous_actions_that_they_stand_for(game: Game) -> None:
    """They are checked and cut as a user's actions are, but for gas, which they give as [-1, 1]."""
    outputs = np.random.default_rng(0).uniform(-1, 1, (500, len(game.low))).astype(np.float32)
    wanted = outputs.copy()
    wanted[:, game.stretched] = (wanted[:, game.stretched] + 1) / 2
    found = actions.from_outputs(torch.from_numpy(outputs), game)
    assert np.array_equal(found.numpy(), actions.to_vectors(wanted, game, continuous=True))


def test_outputs_become_steering_gas_and_brake() -> None:
    outputs = torch.tensor([[-1.0, -1.0, -1.0], [0.5, 0.0, 0.25], [1.0, 1.0, 1.0]])
    wanted = [[-1.0, 0.0, 0.0], [0.5, 0.5, 0.25], [1.0, 1.0, 1.0]]
    assert actions.from_outputs(outputs, CAR_RACING).tolist() == wanted


def random(game: Game, step: int) -> torch.Tensor:
    """What 20,000 games do at random in a step."""
    keys = noise.key(torch.arange(20_000), torch.zeros(20_000, dtype=torch.int64))
    return actions.random(keys, torch.full_like(keys, step), game)


def test_random_actions_take_every_move_as_often() -> None:
    moves = random(DOOM, 0)[:, 0]
    for move in (-1.0, 0.0, 1.0):
        assert float((moves == move).float().mean()) == pytest.approx(1 / 3, abs=0.014)


def test_random_actions_are_spread_over_the_space_and_each_step_anew() -> None:
    drives = random(CAR_RACING, 0)
    for part, low, high in zip(drives.T, (-1, 0, 0), (1, 1, 1), strict=True):
        assert low <= part.min() < low + 0.01 and high - 0.01 < part.max() <= high
        assert float(part.mean()) == pytest.approx((low + high) / 2, abs=0.02)
    assert float(torch.corrcoef(drives.T)[0, 1].abs()) < 0.03
    later = random(CAR_RACING, 1)
    both = torch.stack((drives[:, 0], later[:, 0]))
    assert float(torch.corrcoef(both)[0, 1].abs()) < 0.03

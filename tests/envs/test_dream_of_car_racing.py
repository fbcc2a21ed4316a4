"""`DreamCarRacing-v0` and its twin: another game, the same code."""

from __future__ import annotations

import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_sb3

import dreamgym  # noqa: F401
from dreamgym.checkpoint import save_world
from dreamgym.games.car_racing import GAME as CAR_RACING
from tests.conftest import tiny_world

KINDS = pytest.mark.parametrize("kind", ["z", "zh", "zhc", "rgb"])
FORMS = pytest.mark.parametrize("continuous", [False, True])


@KINDS
@FORMS
def test_both_checkers_are_content(car_folder: Path, kind: str, continuous: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # SB3 advises to scale a Box to [-1, 1]; the game's own is kept, as users know it.
        warnings.filterwarnings("ignore", message=".*symmetric and normalized")
        env = gym.make("DreamCarRacing-v0", world=str(car_folder), observation=kind,
                       continuous=continuous, render_mode="rgb_array")  # fmt: skip
        check_env(env.unwrapped)
        check_sb3(env.unwrapped)


@KINDS
@FORMS
def test_the_twin_has_the_dream_s_spaces(car_folder: Path, kind: str, continuous: bool) -> None:
    form = {"world": str(car_folder), "observation": kind, "continuous": continuous}
    dream, twin = gym.make("DreamCarRacing-v0", **form), gym.make("LatentCarRacing-v0", **form)
    assert dream.observation_space == twin.observation_space
    assert dream.action_space == twin.action_space
    twin.close()


def test_the_game_s_own_forms_are_the_defaults(car_folder: Path) -> None:
    for name in ("DreamCarRacing-v0", "LatentCarRacing-v0"):
        env = gym.make(name, world=str(car_folder))
        assert env.observation_space.shape == (6 + 16,)  # z and h
        assert env.action_space == gym.make("CarRacing-v3").action_space
        env.close()
        discrete = gym.make(name, world=str(car_folder), continuous=False)
        assert discrete.action_space == gym.make("CarRacing-v3", continuous=False).action_space
        discrete.close()


def test_the_batch_is_its_lanes_bit_for_bit(car_folder: Path) -> None:
    form = {"world": str(car_folder), "temperature": (0.9, 1.3)}
    envs = gym.make_vec("DreamCarRacing-v0", num_envs=4, **form)
    lanes = [gym.make("DreamCarRacing-v0", **form).unwrapped for _ in range(4)]
    observations, _ = envs.reset(seed=11)
    for lane, env in enumerate(lanes):
        assert np.array_equal(env.reset(seed=11 + lane)[0], observations[lane])
    rng = np.random.default_rng(0)
    for _ in range(60):
        actions = rng.uniform([-1, 0, 0], 1, size=(4, 3)).astype(np.float32)
        observations, rewards, terminated, _, infos = envs.step(actions)
        for lane, env in enumerate(lanes):
            observation, reward, dead, _, info = env.step(actions[lane])
            assert (np.float32(reward), dead) == (np.float32(rewards[lane]), terminated[lane])
            if dead:
                assert infos["final_info"]["tiles_left"][lane] == info["tiles_left"]
                observation, _ = env.reset()
            assert np.array_equal(observation, observations[lane])


def test_a_dreamt_lap_counts_its_tiles_down_to_the_end(tmp_path: Path) -> None:
    save_world(tmp_path, tiny_world(hit=(50.0, -50.0, -50.0), game=CAR_RACING))
    env = gym.make("DreamCarRacing-v0", world=str(tmp_path))
    _, info = env.reset(seed=0)
    left, paid = [info["tiles_left"]], 0.0
    terminated = False
    while not terminated:
        _, reward, terminated, truncated, info = env.step(np.zeros(3, np.float32))
        assert not truncated
        left.append(info["tiles_left"])
        paid += reward
    assert left == list(range(100, -1, -1))  # a tile a frame
    assert paid == pytest.approx(1000 - 0.1 * 100, abs=1e-2)


@pytest.mark.parametrize("action", [[0.0, 0.0], [float("nan"), 0, 0], 1.5])
def test_a_bad_action_is_named_and_nothing_is_lost(car_folder: Path, action: object) -> None:
    env = gym.make("DreamCarRacing-v0", world=str(car_folder)).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action is"):
        env.step(np.array(action))
    env.step(np.zeros(3, np.float32))

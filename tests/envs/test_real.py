"""A batch of real games by their pixels: each lane is a game of its own."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import dreamgym  # noqa: F401
from dreamgym.envs.real import RealVectorEnv
from dreamgym.sb3 import DreamVecEnv

LIMIT = 5
FORMS = {"PixelDoom-v0": {"resolution": "160x120"}, "PixelCarRacing-v0": {}}


@pytest.mark.parametrize("id", sorted(FORMS))
def test_a_lane_is_a_game_alone_bit_for_bit(id: str) -> None:
    """Also in the episode after its first."""
    envs = gym.make_vec(id, 3, max_episode_steps=LIMIT, processes=2, **FORMS[id])
    assert isinstance(envs.unwrapped, RealVectorEnv)
    alone = [gym.make(id, max_episode_steps=LIMIT, **FORMS[id]) for _ in range(3)]
    observations, infos = envs.reset(seed=7)
    assert envs.observation_space.contains(observations)
    for lane, game in enumerate(alone):
        seen, info = game.reset(seed=7 + lane)
        assert np.array_equal(observations[lane], seen)
        assert {name: infos[name][lane] for name in info} == info
    envs.action_space.seed(0)
    for _ in range(2 * LIMIT + 2):
        actions = envs.action_space.sample()
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        for lane, game in enumerate(alone):
            seen, *outcome, info = game.step(actions[lane])
            assert outcome == [rewards[lane], terminated[lane], truncated[lane]]
            if terminated[lane] or truncated[lane]:
                assert np.array_equal(infos["final_obs"][lane], seen)
                seen, info = game.reset()
            assert np.array_equal(observations[lane], seen)
            assert {name: infos[name][lane] for name in info} == info
    for env in (envs, *alone):
        env.close()


def test_what_was_shown_is_not_overwritten() -> None:
    envs = gym.make_vec("PixelCarRacing-v0", 2, processes=1)
    first, _ = envs.reset(seed=0)
    kept = first.copy()
    for _ in range(3):
        envs.step(envs.action_space.sample())
    assert np.array_equal(first, kept)
    envs.close()


def test_stable_baselines3_takes_the_batch() -> None:
    envs = DreamVecEnv("PixelCarRacing-v0", 2, processes=1)
    assert envs.reset().shape == (2, 64, 64, 3)
    envs.close()
    with pytest.raises(ValueError, match="no dream, no twin and no real game"):
        DreamVecEnv("CartPole-v1")

"""A batch of real games: each lane is a twin of its own, and nothing is left of it at its end."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

import dreamgym  # noqa: F401
from dreamgym.envs.twins import TwinVectorEnv
from dreamgym.sb3 import DreamVecEnv

LIMIT = 5
FORMS = {"LatentDoom-v0": {"resolution": "160x120"}, "LatentCarRacing-v0": {}}


def make(id: str, folder: Path, n: int = 3, **kwargs: object) -> TwinVectorEnv:
    """Return a batch of twins with short episodes."""
    envs = gym.make_vec(
        id, n, world=str(folder), max_episode_steps=LIMIT, **(FORMS[id] | kwargs)
    )  # fmt: skip
    assert isinstance(envs.unwrapped, TwinVectorEnv)
    return envs.unwrapped


@pytest.mark.parametrize("id", sorted(FORMS))
def test_a_lane_is_a_twin_alone_bit_for_bit(id: str, folder: Path, car_folder: Path) -> None:
    """Also in the episode after its first."""
    world = folder if "Doom" in id else car_folder
    envs = make(id, world, processes=2)
    alone = [gym.make(id, world=str(world), max_episode_steps=LIMIT, **FORMS[id]) for _ in range(3)]
    observations, infos = envs.reset(seed=7)
    for lane, twin in enumerate(alone):
        seen, info = twin.reset(seed=7 + lane)
        assert np.array_equal(observations[lane], seen)
        assert {name: infos[name][lane] for name in info} == info
    envs.action_space.seed(0)
    for _ in range(2 * LIMIT + 2):
        actions = envs.action_space.sample()
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        for lane, twin in enumerate(alone):
            seen, *outcome, info = twin.step(actions[lane])
            assert outcome == [rewards[lane], terminated[lane], truncated[lane]]
            if terminated[lane] or truncated[lane]:
                assert np.array_equal(infos["final_obs"][lane], seen)
                assert {name: infos["final_info"][name][lane] for name in info} == info
                seen, info = twin.reset()
            assert np.array_equal(observations[lane], seen)
            assert {name: infos[name][lane] for name in info} == info
    for env in (envs, *alone):
        env.close()


def test_its_frames_can_be_seen(folder: Path) -> None:
    envs = make("LatentDoom-v0", folder, 2, render_mode="rgb_array")
    with pytest.raises(gym.error.ResetNeeded):
        envs.render()
    envs.reset(seed=0)
    pictures = envs.render()
    assert pictures is not None and [picture.shape for picture in pictures] == [(64, 64, 3)] * 2
    envs.close()


def test_after_it_is_closed_no_process_and_no_game_is_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    envs = make("LatentDoom-v0", folder, 2)
    with pytest.raises(gym.error.ResetNeeded):
        envs.step(envs.action_space.sample())
    envs.reset(seed=0)
    workers = [worker.process for worker in envs._games._workers]
    assert workers and len(list(tmp_path.glob("dreamgym-*"))) == 2
    envs.close()
    assert not any(worker.is_alive() for worker in workers)
    assert not list(tmp_path.glob("dreamgym-*"))
    with pytest.raises(gym.error.ClosedEnvironmentError):
        envs.step(envs.action_space.sample())


def test_a_worker_that_is_killed_says_so(folder: Path) -> None:
    envs = make("LatentDoom-v0", folder, 2, processes=2)
    envs.reset(seed=0)
    victim = envs._games._workers[1].process
    os.kill(victim.pid or 0, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"process of games 1 has ended \(-9\)"):
        for _ in range(3):
            envs.step(envs.action_space.sample())
            time.sleep(0.1)
    with pytest.raises(gym.error.ClosedEnvironmentError, match="a failure"):
        envs.step(envs.action_space.sample())
    envs.close()


def test_a_game_that_cannot_be_made_says_why(folder: Path) -> None:
    with pytest.raises(RuntimeError, match=r"resolution is '1x1'"):
        make("LatentDoom-v0", folder, 2, resolution="1x1")


def test_what_it_does_not_know_is_refused(folder: Path, car_folder: Path) -> None:
    with pytest.raises(ValueError, match="SAME_STEP alone"):
        make("LatentDoom-v0", folder, 2, autoreset_mode="NextStep")
    with pytest.raises(ValueError, match="processes is -1"):
        make("LatentDoom-v0", folder, 2, processes=-1)
    with pytest.raises(ValueError, match="precision is 'fastest': the real game has no precision"):
        make("LatentDoom-v0", folder, 2, precision="fastest")
    with pytest.raises(ValueError, match="world"):
        make("LatentDoom-v0", car_folder, 2)
    envs = make("LatentDoom-v0", folder, 2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="3 actions for 2"):
        envs.step(np.zeros(3, int))
    envs.step(np.zeros(2, int))  # nothing has happened
    envs.close()


def test_an_agent_learns_in_it(folder: Path) -> None:
    envs: VecEnv = DreamVecEnv(
        "LatentDoom-v0", 2, world=str(folder), max_episode_steps=LIMIT, resolution="160x120"
    )
    agent = PPO("MlpPolicy", envs, n_steps=8, batch_size=8, n_epochs=1, seed=0, device="cpu")
    agent.learn(32)
    assert agent.num_timesteps == 32 and agent.ep_info_buffer is not None
    envs.close()

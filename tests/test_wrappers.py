"""The twin: same spaces, M on the real latents."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_sb3

import dreamgym  # noqa: F401
from dreamgym.wrappers import LatentObservation


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("kind", ["z", "zh", "zhc", "rgb"])
def test_the_twin_has_the_dream_s_spaces(folder, kind, continuous):
    kwargs = {"world": str(folder), "observation": kind, "continuous": continuous}
    dream, twin = gym.make("DreamDoom-v0", **kwargs), gym.make("LatentDoom-v0", **kwargs)
    assert dream.observation_space == twin.observation_space
    assert dream.action_space == twin.action_space


def test_both_checkers_are_content(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("LatentDoom-v0", world=str(folder))
        check_env(env.unwrapped, skip_render_check=True)
        check_sb3(env.unwrapped)
        env.close()


def test_the_twin_repeats_under_its_seed_and_plays_the_real_game(folder):
    twin = gym.make("LatentDoom-v0", world=str(folder))
    real = gym.make("PixelDoom-v0")
    runs = []
    for _ in range(2):
        observations = [twin.reset(seed=8)[0]]
        rewards = []
        for t in range(20):
            observation, reward, *_ = twin.step(t % 3)
            observations.append(observation)
            rewards.append(reward)
        runs.append((np.stack(observations), rewards))
    assert np.array_equal(runs[0][0], runs[1][0]) and runs[0][1] == runs[1][1]
    real.reset(seed=8)
    world = twin.get_wrapper_attr("world")
    for t in range(20):
        frame, *_ = real.step(t % 3)
    import torch

    mean, logvar = world.vision.encode(torch.from_numpy(frame)[None])
    size = mean.shape[1]
    distance = (runs[0][0][-1][:size] - mean[0].numpy()) / np.exp(0.5 * logvar[0].numpy())
    assert np.abs(distance).max() < 6 and np.abs(distance).max() > 0.1
    twin.close()
    real.close()


def test_the_wrapper_refuses_frames_of_another_shape(folder):
    with pytest.raises(ValueError, match="expected uint8 frames"):
        LatentObservation(gym.make("CartPole-v1"), world=str(folder))


def test_the_wrapper_is_rebuilt_from_its_spec(folder):
    env = LatentObservation(gym.make("PixelDoom-v0"), world=str(folder), observation="z")
    again = gym.make(env.spec)
    assert again.observation_space == env.observation_space
    again.close()


@pytest.mark.parametrize(("name", "value"), [("temperature", 1.0), ("precision", "fastest")])
def test_what_only_dreams_have_is_refused(folder, name, value):
    with pytest.raises(ValueError, match=f"{name} is {value!r}: the real game has no {name}, leav"):
        gym.make("LatentDoom-v0", world=str(folder), **{name: value})

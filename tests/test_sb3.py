"""Stable-Baselines3 trains on batches of dreams, and is scored on batches of real games."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    unwrap_vec_wrapper,
)
from stable_baselines3.common.vec_env.base_vec_env import tile_images

import dreamgym  # noqa: F401
from dreamgym.sb3 import DreamVecEnv, Scaled, VecLatentObservation, scaled
from dreamgym.wrappers import LatentObservation


def doom(folder: Path, n: int = 4, **arguments: object) -> DreamVecEnv:
    return DreamVecEnv("DreamDoom-v0", n, world=str(folder), **arguments)


def test_a_lane_is_the_single_dream_of_its_seed(folder: Path) -> None:
    envs = doom(folder, temperature=(0.9, 1.3))
    envs.seed(11)
    observations = envs.reset()
    lanes = [gym.make("DreamDoom-v0", world=str(folder), temperature=(0.9, 1.3)) for _ in range(4)]
    for lane, env in enumerate(lanes):
        assert np.array_equal(env.reset(seed=11 + lane)[0], observations[lane])
    rng, ended = np.random.default_rng(0), 0
    for _ in range(100):
        actions = rng.integers(3, size=4)
        observations, rewards, dones, infos = envs.step(actions)
        for lane, env in enumerate(lanes):
            observation, reward, dead, truncated, _ = env.step(int(actions[lane]))
            assert (reward, dead or truncated) == (rewards[lane], dones[lane])
            if dones[lane]:
                assert np.array_equal(infos[lane]["terminal_observation"], observation)
                assert infos[lane]["TimeLimit.truncated"] is False
                observation, _ = env.reset()
                ended += 1
            assert np.array_equal(observations[lane], observation)
    assert ended > 5


def test_time_is_told_from_death(safe_folder: Path) -> None:
    envs = doom(safe_folder, 2, max_episode_steps=3)
    envs.reset()
    for _ in range(2):
        assert not envs.step(np.ones(2, int))[2].any()
    _, _, dones, infos = envs.step(np.ones(2, int))
    assert dones.all() and all(info["TimeLimit.truncated"] for info in infos)


def test_options_hold_for_one_episode(folder: Path) -> None:
    envs = doom(folder, 3, temperature=1.15)
    envs.set_options({"temperature": 0.5})
    envs.reset()
    assert [info["temperature"] for info in envs.reset_infos] == [0.5] * 3
    envs.reset()
    assert np.allclose([info["temperature"] for info in envs.reset_infos], 1.15)
    envs.set_options([{"temperature": 0.5}, {}, {}])
    with pytest.raises(ValueError, match="share their options"):
        envs.reset()


def test_a_monitor_counts_what_dreams_pay(folder: Path) -> None:
    envs = VecMonitor(doom(folder))
    envs.reset()
    episodes = []
    while len(episodes) < 5:
        infos = envs.step(np.ones(4, int))[3]
        episodes += [info["episode"] for info in infos if "episode" in info]
    assert all(episode["r"] == episode["l"] for episode in episodes)


def test_attributes_and_methods_are_the_batch_s(folder: Path) -> None:
    envs = doom(folder, 3)
    assert envs.get_attr("limit", [0, 2]) == [2100, 2100]
    assert envs.env_is_wrapped(gym.Wrapper) == [False] * 3
    assert len(envs.env_method("render", indices=1)) == 1
    with pytest.raises(ValueError, match="share their attributes"):
        envs.set_attr("limit", 5, indices=0)
    with pytest.raises(AttributeError, match="no attribute 'temprature' to be set"):
        envs.set_attr("temprature", 1.0)
    with pytest.raises(AttributeError, match="temprature"):
        envs.get_attr("temprature")
    with pytest.raises(ValueError, match=r"max_episode_steps is 2\.5"):
        envs.set_attr("limit", 2.5)
    envs.set_attr("limit", 5)
    assert envs.get_attr("limit") == [5] * 3


def test_the_dreams_can_be_seen_one_by_one_and_side_by_side(folder: Path) -> None:
    envs = doom(folder, render_mode="rgb_array")
    envs.reset()
    pictures = np.stack([picture for picture in envs.get_images() if picture is not None])
    assert pictures.shape == (4, 64, 64, 3) and pictures.dtype == np.uint8
    assert len(np.unique(pictures.reshape(4, -1), axis=0)) == 4
    assert np.array_equal(envs.render("rgb_array"), tile_images(pictures))
    assert doom(folder).get_images() == [None] * 4


@pytest.mark.parametrize("algorithm", [PPO, A2C])
@pytest.mark.parametrize("continuous", [False, True])
def test_on_policy_algorithms_learn_in_the_batch(folder, algorithm, continuous, tmp_path) -> None:
    envs = doom(folder, continuous=continuous)
    model = algorithm("MlpPolicy", envs, n_steps=16, device="cpu").learn(64)
    model.save(tmp_path / "model")
    again = algorithm.load(tmp_path / "model")
    twin = gym.make("LatentDoom-v0", world=str(folder), continuous=continuous, max_episode_steps=20)
    mean, _ = evaluate_policy(again, twin, n_eval_episodes=1, warn=False)
    assert mean == 20
    twin.close()


def test_off_policy_algorithms_learn_in_the_batch(folder: Path, car_folder: Path) -> None:
    DQN("MlpPolicy", doom(folder), learning_starts=20, buffer_size=200).learn(100)
    cars = DreamVecEnv("DreamCarRacing-v0", 4, world=str(car_folder))
    SAC("MlpPolicy", cars, learning_starts=20, buffer_size=200).learn(60)


def games(n: int) -> DummyVecEnv:
    return DummyVecEnv([lambda: gym.make("PixelDoom-v0", max_episode_steps=12)] * n)


def test_real_games_side_by_side_are_the_twin_s(folder: Path) -> None:
    envs = VecLatentObservation(games(2), str(folder))
    envs.seed(5)
    observations = envs.reset()
    twins = [
        LatentObservation(gym.make("PixelDoom-v0", max_episode_steps=12), world=str(folder))
        for _ in range(2)
    ]
    for lane, twin in enumerate(twins):
        first, _ = twin.reset(seed=5 + lane)
        np.testing.assert_allclose(observations[lane], first, atol=1e-4)
    for step in range(12):
        observations, rewards, dones, infos = envs.step(np.array([step % 3, 1]))
        for lane, action in enumerate((step % 3, 1)):
            seen, reward, _, truncated, _ = twins[lane].step(action)
            assert (reward, truncated) == (rewards[lane], dones[lane])
            if truncated:
                np.testing.assert_allclose(infos[lane]["terminal_observation"], seen, atol=1e-4)
            else:
                np.testing.assert_allclose(observations[lane], seen, atol=1e-4)
    size = envs.world.size("z")
    assert dones.all() and not observations[:, size:].any()  # M begins anew
    assert torch.isfinite(torch.from_numpy(observations)).all()
    envs.close()
    for twin in twins:
        twin.close()


def test_what_is_no_dream_or_no_game_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match="CartPole-v1 is no dream"):
        DreamVecEnv("CartPole-v1", 2)
    for made in (DreamVecEnv, scaled):
        with pytest.raises(ValueError, match="id is 3: give a string, such as 'Dream-v0'"):
            made(3)  # type: ignore[operator]
    with pytest.raises(ValueError, match="CarRacing-v3 is no dream, no twin and no real game"):
        DreamVecEnv("CarRacing-v3", 2)
    with pytest.raises(ValueError, match="expected uint8 frames"):
        VecLatentObservation(DummyVecEnv([lambda: gym.make("CartPole-v1")]), str(folder))


def batch(kind: str, folder: Path, car_folder: Path) -> VecEnv:
    """Return two environments of a kind, whose episodes are short."""
    if kind == "real":
        return VecLatentObservation(games(2), str(folder))
    world, continuous = (folder, False) if "Doom" in kind else (car_folder, True)
    return DreamVecEnv(kind, 2, world=str(world), continuous=continuous, max_episode_steps=6)


KINDS = ["DreamDoom-v0", "DreamCarRacing-v0", "real"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_the_contract_of_a_vec_env(kind, folder, car_folder) -> None:
    """Shapes, types and the end of an episode, as SB3's algorithms and buffers rely on them."""
    envs = batch(kind, folder, car_folder)
    seeds = envs.seed(3)
    assert list(seeds) == [3, 4]
    space, cut = envs.observation_space, 0
    first = envs.reset()
    assert first.shape == (2, *space.shape) and first.dtype == space.dtype
    for _ in range(13):
        actions = np.stack([envs.action_space.sample() for _ in range(2)])
        observations, rewards, dones, infos = envs.step(actions)
        assert observations.shape == first.shape and all(map(space.contains, observations))
        assert rewards.shape == (2,) and rewards.dtype == np.float32
        assert dones.shape == (2,) and dones.dtype == bool
        assert isinstance(infos, (list, tuple)) and len(infos) == 2
        for lane in range(2):
            assert ("terminal_observation" in infos[lane]) == dones[lane]
            if dones[lane]:
                assert space.contains(infos[lane]["terminal_observation"])
                assert not np.array_equal(infos[lane]["terminal_observation"], observations[lane])
                cut += infos[lane]["TimeLimit.truncated"]
        kept = observations.copy()
    assert cut >= 2
    envs.step(actions)
    assert np.array_equal(kept, observations)  # what was returned is not written over
    envs.seed(3)
    assert np.array_equal(envs.reset(), first)
    assert not np.array_equal(envs.reset(), first)  # a seed holds for one reset
    envs.close()


@pytest.mark.parametrize("kind", KINDS)
def test_wrappers_of_sb3_fit_over_it(kind, folder, car_folder) -> None:
    envs = batch(kind, folder, car_folder)
    size = envs.observation_space.shape[0]
    stack = VecFrameStack(VecCheckNan(VecNormalize(VecMonitor(envs)), raise_exception=True), 3)
    assert stack.reset().shape == (2, 3 * size)
    ended = 0
    for _ in range(13):
        infos = stack.step(np.stack([stack.action_space.sample() for _ in range(2)]))[3]
        for info in infos:
            if "episode" in info:
                ended += 1
                assert info["terminal_observation"].shape == (3 * size,)
    assert ended >= 2
    assert unwrap_vec_wrapper(stack, VecMonitor) is not None
    assert len(stack.get_attr("render_mode")) == 2
    stack.close()


def test_order_is_asked_for(folder, car_folder) -> None:
    for kind in KINDS:
        envs = batch(kind, folder, car_folder)
        with pytest.raises(gym.error.ResetNeeded, match="call reset"):
            envs.step(np.stack([envs.action_space.sample() for _ in range(2)]))
        envs.close()
    envs = doom(folder)
    envs.reset()
    envs.close()
    envs.close()
    for call in (envs.reset, lambda: envs.step(np.zeros(4, int))):
        with pytest.raises(gym.error.ClosedEnvironmentError, match="make the dreams anew"):
            call()


@pytest.mark.parametrize("algorithm", [PPO, DQN])
def test_a_policy_whose_spaces_do_not_fit_is_refused(algorithm, folder, tmp_path) -> None:
    """Before a step is taken, and by a message that names both."""
    model = algorithm("MlpPolicy", doom(folder))
    model.save(tmp_path / "model")
    for other in ({"observation": "z"}, {"continuous": True}):
        with pytest.raises(ValueError, match="spaces do not match"):
            algorithm.load(tmp_path / "model", env=doom(folder, **other))


def test_scaled_measures_what_random_dreams_show(folder) -> None:
    words = scaled("DreamDoom-v0", world=str(folder), temperature=1.0)
    numbers = words["features_extractor_kwargs"]
    envs = doom(folder, 300, temperature=1.0)
    envs.seed(999)
    seen, rng = [envs.reset()], np.random.default_rng(0)
    for _ in range(60):
        seen.append(envs.step(rng.integers(3, size=300))[0])
    spread = np.concatenate(seen).std(0)
    np.testing.assert_allclose(numbers["spread"], np.maximum(spread, 1e-3), rtol=0.15)
    assert scaled("DreamDoom-v0", world=str(folder), temperature=1.0) == words
    with pytest.raises(ValueError, match="measure them for this observation"):
        PPO("MlpPolicy", doom(folder, observation="z"), policy_kwargs=words)


def test_a_batch_plays_at_the_game_s_own_speed(folder, car_folder) -> None:
    """What a film of it is written with."""
    assert doom(folder).metadata["render_fps"] == 35
    cars = DreamVecEnv("DreamCarRacing-v0", 2, world=str(car_folder))
    assert cars.metadata["render_fps"] == 50


def test_the_scales_travel_with_the_policy(folder, tmp_path) -> None:
    size = doom(folder).observation_space.shape[0]
    mean, spread = np.linspace(-3, 3, size).tolist(), np.linspace(0.1, 9, size).tolist()
    kwargs = {"mean": mean, "spread": spread}
    words = {"features_extractor_class": Scaled, "features_extractor_kwargs": kwargs}
    model = PPO("MlpPolicy", doom(folder), policy_kwargs=words, n_steps=16, device="cpu").learn(64)
    model.save(tmp_path / "model")
    again = PPO.load(tmp_path / "model", device="cpu")
    seen = torch.randn(5, size, generator=torch.Generator().manual_seed(4))
    wanted = ((seen - torch.tensor(mean)) / torch.tensor(spread)).clamp(-10, 10)
    torch.testing.assert_close(again.policy.features_extractor(seen), wanted)
    got, _ = again.predict(seen.numpy(), deterministic=True)
    assert np.array_equal(got, model.predict(seen.numpy(), deterministic=True)[0])


def test_infos_are_those_of_single_dreams(folder: Path) -> None:
    envs = VecMonitor(doom(folder), info_keywords=("health",))
    envs.seed(11)
    envs.reset()
    lanes = [gym.make("DreamDoom-v0", world=str(folder)) for _ in range(4)]
    for lane, env in enumerate(lanes):
        env.reset(seed=11 + lane)
    ended = 0
    for _ in range(60):
        infos = envs.step(np.ones(4, int))[3]
        for info, env in zip(infos, lanes, strict=True):
            _, _, dead, _, wanted = env.step(1)
            assert {key: info[key] for key in wanted} == wanted
            if dead:
                assert info["episode"]["health"] == 0
                env.reset()
                ended += 1
    assert ended > 2


def test_an_id_may_name_its_module(folder: Path) -> None:
    assert DreamVecEnv("dreamgym:DreamDoom-v0", 2, world=str(folder)).num_envs == 2


def test_a_temperature_that_is_set_takes_effect(folder: Path) -> None:
    envs = doom(folder, 2)
    envs.set_attr("temperature", 0.5)
    envs.reset()
    assert [info["temperature"] for info in envs.reset_infos] == [0.5, 0.5]
    assert envs.get_attr("temperature") == [0.5, 0.5]


@pytest.mark.parametrize("seed", [3.7, -1, True])
def test_what_is_no_seed_is_named(folder: Path, seed: object) -> None:
    for envs in (doom(folder, 2), VecLatentObservation(games(2), str(folder))):
        with pytest.raises(ValueError, match=r"seed is .*: give a whole number"):
            envs.seed(seed)
        envs.seed(np.int64(2**62))  # type: ignore[arg-type]
        envs.close()


def test_pictures_are_not_scaled(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"show pictures \(64, 64, 3\), which a CnnPolicy scales"):
        scaled("DreamDoom-v0", world=str(folder), observation="rgb")

"""`DreamDoom-v0`, alone and in a batch."""

import copy
import json
import os
import pickle
import shutil
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_sb3

import dreamgym
from dreamgym import checkpoint
from dreamgym.checkpoint import save_tensors, save_world
from tests.conftest import tiny_world
from tests.envs.test_own import own_world

KINDS = ("z", "zh", "zhc", "rgb")


def make(folder, **kwargs):
    return gym.make("DreamDoom-v0", world=str(folder), **kwargs)


def make_vec(folder, n=4, **kwargs):
    return gym.make_vec("DreamDoom-v0", num_envs=n, world=str(folder), **kwargs)


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_both_checkers_are_content(folder, kind, continuous):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = make(folder, observation=kind, continuous=continuous, render_mode="rgb_array")
        check_env(env.unwrapped)
        check_sb3(env.unwrapped)


def test_the_batch_is_its_lanes_bit_for_bit(folder):
    envs = make_vec(folder, 5, temperature=(0.9, 1.3))
    lanes = [make(folder, temperature=(0.9, 1.3)).unwrapped for _ in range(5)]
    observations, _ = envs.reset(seed=11)
    for lane, env in enumerate(lanes):
        assert np.array_equal(env.reset(seed=11 + lane)[0], observations[lane])
    rng, ended = np.random.default_rng(0), 0
    for _ in range(150):
        actions = rng.integers(3, size=5)
        observations, rewards, terminated, _, infos = envs.step(actions)
        for lane, env in enumerate(lanes):
            observation, reward, dead, _, info = env.step(int(actions[lane]))
            assert (reward, dead) == (rewards[lane], terminated[lane])
            if dead:
                assert np.array_equal(infos["final_obs"][lane], observation)
                assert infos["final_info"]["health"][lane] == info["health"] == 0
                observation, _ = env.reset()
                ended += 1
            assert np.array_equal(observation, observations[lane])
    assert ended > 10


def test_a_snapshot_continues_bit_for_bit(safe_folder):
    env = make(safe_folder).unwrapped
    env.reset(seed=3)
    for _ in range(5):
        env.step(1)
    snapshot = copy.deepcopy(env.snapshot())
    first = [env.step(2)[0] for _ in range(5)]
    env.reset(seed=99)
    env.restore(snapshot)
    assert all(np.array_equal(a, env.step(2)[0]) for a in first)


def test_seeds_repeat_and_diverge(folder):
    env = make(folder)
    one, two, other = env.reset(seed=1)[0], env.reset(seed=1)[0], env.reset(seed=2)[0]
    assert np.array_equal(one, two) and not np.array_equal(one, other)
    assert not np.array_equal(env.reset()[0], other)


def test_the_limit_truncates(safe_folder):
    env = gym.make("DreamDoom-v0", world=str(safe_folder), max_episode_steps=3, temperature=0)
    env.reset(seed=0)
    ends = [env.step(1)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    envs = gym.make_vec("DreamDoom-v0", num_envs=2, world=str(safe_folder), max_episode_steps=3)
    envs.reset(seed=0)
    for _ in range(2):
        assert not envs.step(np.ones(2, int))[3].any()
    _, _, terminated, truncated, infos = envs.step(np.ones(2, int))
    assert truncated.all() and not terminated.any() and infos["_final_obs"].all()
    assert (envs.unwrapped._state.step == 0).all()


def test_an_option_of_the_batch_holds_for_one_episode(folder):
    envs = make_vec(folder, 6, temperature=1.15)
    _, infos = envs.reset(seed=0, options={"temperature": 0.5})
    assert (infos["temperature"] == 0.5).all()
    ended = np.zeros(6, bool)
    while not ended.all():
        _, _, terminated, _, infos = envs.step(np.ones(6, int))
        ended |= terminated
        assert np.allclose(infos["temperature"], np.where(ended, 1.15, 0.5))


@pytest.mark.parametrize(("limit", "truncates"), [(2, True), (-1, False)])
def test_a_limit_of_minus_one_is_none(safe_folder, limit, truncates):
    envs = make_vec(safe_folder, 2, max_episode_steps=limit)
    envs.reset(seed=0)
    envs.step(np.ones(2, int))
    assert envs.step(np.ones(2, int))[3].all() == truncates


@pytest.mark.parametrize("seed", [2**63, 2**70, np.int64(3)])
def test_any_seed_that_gymnasium_takes_is_taken(folder, seed):
    assert make_vec(folder, 2).reset(seed=seed)[0].shape[0] == 2
    make(folder).unwrapped.reset(seed=int(seed))


def test_a_refused_reset_changes_nothing(folder):
    envs, same = make_vec(folder, 2), make_vec(folder, 2)
    for each in (envs, same):
        each.reset(seed=1)
    with pytest.raises(ValueError, match="temperature is 'hot'"):
        envs.reset(options={"temperature": "hot"})
    with pytest.raises(ValueError, match="options is"):
        envs.reset(options=[1])
    with pytest.raises(ValueError, match=r"seed is 1\.5"):
        envs.reset(seed=[1, 1.5])
    with pytest.raises(ValueError, match="3 seeds for 2 environments"):
        envs.reset(seed=[1, 2, 3])
    assert np.array_equal(envs.reset()[0], same.reset()[0])


def test_the_registered_limit_is_the_game_s():
    assert gym.spec("DreamDoom-v0").max_episode_steps == 2100
    assert gym.spec("LatentDoom-v0").max_episode_steps == 2100


def test_the_spec_survives_json(folder):
    spec = make(folder, temperature=1.0).spec
    assert json.loads(spec.to_json())["kwargs"]["temperature"] == 1.0


@pytest.mark.parametrize(
    "bad",
    [-1, -1e-9, float("nan"), float("inf"), "warm", True, (1, 2, 3), (1.3, 1.0), {}, [None, 1]],
)
def test_a_bad_temperature_is_named(folder, bad):
    with pytest.raises(ValueError, match=r"temperature is .*: give a finite number, 0 or more"):
        make(folder, temperature=bad)
    with pytest.raises(ValueError, match="temperature is"):
        make(folder).reset(options={"temperature": bad})


@pytest.mark.parametrize("good", [0, 1e-30, 0.1, 1e9, np.float32(1.15), (1.0, 1.3), [1, 1]])
def test_a_good_temperature_dreams(folder, good):
    env = make(folder, temperature=good)
    env.reset(seed=0)
    observation, *_ = env.step(0)
    assert env.observation_space.contains(observation)


def test_a_temperature_holds_for_one_episode(folder):
    env = make(folder, temperature=1.15)
    assert env.reset(options={"temperature": 0.5})[1]["temperature"] == 0.5
    assert env.reset()[1]["temperature"] == pytest.approx(1.15)


@pytest.mark.parametrize("bad", [3, -1, 0.5, None, "left", [1], np.nan, np.array([0, 1])])
def test_a_bad_discrete_action_is_named_and_changes_nothing(folder, bad):
    env = make(folder).unwrapped
    env.reset(seed=0)
    before = env.snapshot()["_state"].z
    with pytest.raises(ValueError, match="action is"):
        env.step(bad)
    assert np.array_equal(before, env.snapshot()["_state"].z)


@pytest.mark.parametrize("bad", [0.5, np.array([np.nan]), np.array([np.inf]), np.zeros(2), "left"])
def test_a_bad_continuous_action_is_named(folder, bad):
    env = make(folder, continuous=True).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action is"):
        env.step(bad)


def test_both_action_forms_dream_the_same(safe_folder):
    discrete, box = make(safe_folder), make(safe_folder, continuous=True)
    discrete.reset(seed=4), box.reset(seed=4)
    for number, value in ((0, -0.4), (1, 0.3), (2, 5.0), (1, -0.33), (0, -1.0)):
        a = discrete.step(number)[0]
        b = box.step(np.array([value], np.float32))[0]
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"observation": "zz"}, "observation is 'zz': choose one of z, zh, zhc, rgb"),
        ({"render_mode": "ascii"}, "render_mode"),
        ({"device": "cuda:7"}, "device is 'cuda:7'"),
    ],
)
def test_a_bad_argument_is_named(folder, kwargs, message):
    with pytest.raises(ValueError, match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make(folder, **kwargs)


def test_a_missing_world_is_named():
    with pytest.raises(ValueError, match=r"no world 'nowhere': give one of the shipped"):
        gym.make("DreamDoom-v0", world="nowhere")
    with pytest.raises(ValueError, match=r"no world 'nowhere': give one of the shipped"):
        dreamgym.register_world("nowhere", "DreamNowhere-v0")
    assert "DreamNowhere-v0" not in gym.registry


@pytest.mark.parametrize("id", ["Dream-v0", "Latent-v0"])
@pytest.mark.parametrize("made", [gym.make, lambda id: gym.make_vec(id, 2)])
def test_a_world_that_is_left_out_is_asked_for(id, made):
    with pytest.raises(ValueError, match="world is '': give world= a shipped world's name or a fo"):
        made(id)


def test_a_shipped_world_is_registered_by_its_name():
    dreamgym.register_world("doom", "DreamShipped-v0")
    try:
        assert gym.spec("DreamShipped-v0").kwargs == {"world": str(checkpoint.SHIPPED / "doom")}
    finally:
        gym.registry.pop("DreamShipped-v0")


@pytest.mark.parametrize("made", [make, make_vec])
def test_an_option_of_somebody_else_s_passes_and_a_near_miss_of_ours_warns(folder, made):
    env = made(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.reset(seed=0, options={"mine": 1, 5: "numbers too"})
    with pytest.warns(UserWarning, match="option 'temprature': did you mean 'temperature'"):
        env.reset(seed=0, options={"temprature": 0.5})


def test_order_is_kept(folder):
    env = make(folder).unwrapped
    with pytest.raises(gym.error.ResetNeeded, match="before reset"):
        env.step(1)
    env.reset(seed=0)
    while not env.step(1)[2]:
        pass
    with pytest.raises(gym.error.ResetNeeded, match="after the end"):
        env.step(1)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_autoreset_mode_begins_the_next_episode(folder, mode):
    envs = make_vec(folder, 8, autoreset_mode=mode)
    envs.reset(seed=0)
    for _ in range(300):
        _, _, terminated, _, infos = envs.step(np.ones(8, int))
        if terminated.any():
            break
    lane = int(np.flatnonzero(terminated)[0])
    state = envs.unwrapped._state
    assert ("final_obs" in infos) == (mode is AutoresetMode.SAME_STEP)
    if mode is AutoresetMode.SAME_STEP:
        assert state.step[lane] == 0
    elif mode is AutoresetMode.NEXT_STEP:
        assert state.step[lane] > 0
        _, reward, ended, _, _ = envs.step(np.ones(8, int))
        assert envs.unwrapped._state.step[lane] == 0 and reward[lane] == 0 and not ended[lane]
    else:
        with pytest.raises(gym.error.ResetNeeded):
            envs.step(np.ones(8, int))
        mask = terminated.copy()
        others = state.z[~terminated].clone()
        envs.reset(options={"reset_mask": mask})
        assert envs.unwrapped._state.step[lane] == 0
        assert np.array_equal(envs.unwrapped._state.z[~terminated], others)


def test_wrong_numbers_of_environments_and_actions_are_named(folder):
    with pytest.raises(ValueError, match="num_envs is 0"):
        make_vec(folder, 0)
    envs = make_vec(folder, 4)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="3 actions for 4 environments"):
        envs.step(np.ones(3, int))


def test_the_picture_is_v_s(folder):
    env = make(folder, render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
    rgb = make(folder, observation="rgb")
    assert np.array_equal(rgb.reset(seed=0)[0], picture)
    envs = make_vec(folder, 3, render_mode="rgb_array")
    envs.reset(seed=0)
    assert len(envs.render()) == 3


def test_more_dreams_than_memory_are_refused_before_they_are_made(folder):
    with pytest.raises(ValueError, match=r"num_envs is 10+: they take [\d,]+ GiB, cpu has"):
        gym.make_vec("DreamDoom-v0", num_envs=10**10, world=str(folder))


def test_a_device_that_is_not_there_is_named_with_those_that_are(folder):
    for device in ("cuda:99", "abacus"):
        with pytest.raises(ValueError, match=f"device is '{device}': this machine has cpu"):
            gym.make("DreamDoom-v0", world=str(folder), device=device)


def test_a_precision_that_is_none_is_named(folder):
    with pytest.raises(ValueError, match="precision is 'int4': choose one of float32, bfloat16"):
        gym.make("DreamDoom-v0", world=str(folder), precision="int4")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_single_dream_is_a_lane_of_the_batch_in_each_precision(folder, precision):
    one = gym.make("DreamDoom-v0", world=str(folder), precision=precision)
    many = gym.make_vec("DreamDoom-v0", 7, world=str(folder), precision=precision)
    alone, together = one.reset(seed=13)[0], many.reset(seed=10)[0]
    assert np.array_equal(alone, together[3])
    for _ in range(5):
        alone, together = one.step(2)[0], many.step(np.full(7, 2))[0]
        assert np.array_equal(alone, together[3])


@pytest.mark.parametrize("made", [make, make_vec])
@pytest.mark.parametrize("seed", [3.7, -1, True, np.True_, "3", np.float32(3), np.array(2.5)])
def test_what_is_no_seed_is_named(folder, made, seed):
    with pytest.raises(ValueError, match=r"seed is .*: give a whole number, 0 or more, or None"):
        made(folder).reset(seed=seed)


@pytest.mark.parametrize("seed", [[1.5, 2.5], [-1, -2], np.array([1.5, 2.0]), [True, False]])
def test_what_are_no_seeds_are_named(folder, seed):
    with pytest.raises(ValueError, match=r"seed is .*: give a whole number"):
        make_vec(folder, 2).reset(seed=seed)


@pytest.mark.parametrize(
    "seed", [[np.int64(3), 4], np.array([3, 4]), (3, np.uint8(4)), range(3, 5)]
)
def test_seeds_of_any_whole_kind_are_those_numbers(folder, seed):
    wanted = make_vec(folder, 2).reset(seed=3)[0]
    assert np.array_equal(make_vec(folder, 2).reset(seed=seed)[0], wanted)
    assert np.array_equal(make(folder).reset(seed=np.int32(3))[0], wanted[0])


def test_a_temperature_that_is_set_holds_from_the_next_episode_on(folder):
    env, envs = make(folder), make_vec(folder, 3)
    assert env.get_wrapper_attr("temperature") == 1.15 and envs.get_attr("temperature")[2] == 1.15
    env.set_wrapper_attr("temperature", 0.1)
    envs.set_attr("temperature", (0.1, 0.1))
    assert env.reset()[1]["temperature"] == pytest.approx(0.1)
    assert envs.reset()[1]["temperature"].tolist() == pytest.approx([0.1] * 3)
    for bad in (-1, "hot"):
        with pytest.raises(ValueError, match="temperature is"):
            env.unwrapped.temperature = bad
        with pytest.raises(ValueError, match="temperature is"):
            envs.set_attr("temperature", bad)
    with pytest.raises(AttributeError, match="no attribute 'temprature' to be set: choose temp"):
        envs.set_attr("temprature", 1)


@pytest.mark.parametrize("made", [make, make_vec])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_as_its_original_and_leaves_it_alone(folder, made, copied):
    env = made(folder)
    env.reset(seed=2)
    action = env.action_space.sample() * 0 + 1
    env.step(action)
    other = copied(env)
    if copied is copy.deepcopy:
        assert other.unwrapped.world is env.unwrapped.world
    for _ in range(3):
        other.step(action * 0)
    again = copied(env)
    assert np.array_equal(again.step(action)[0], env.step(action)[0])


def test_a_snapshot_is_of_a_dream_and_of_such_a_world(folder):
    env = make(folder).unwrapped
    with pytest.raises(gym.error.ResetNeeded, match=r"snapshot\(\) before reset\(\)"):
        env.snapshot()
    env.reset(seed=0)
    shipped = gym.make("DreamDoom-v0").unwrapped
    with pytest.raises(ValueError, match="the snapshot is of a world of 6 latents and 16 cells"):
        shipped.restore(env.snapshot())
    with pytest.raises(ValueError, match=r"takes what snapshot\(\) has returned"):
        env.restore({})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("num_envs", 2.0), ("num_envs", True), ("num_envs", "2"), ("continuous", "no"),
        ("max_episode_steps", 0), ("max_episode_steps", 1.5), ("max_episode_steps", True),
        ("autoreset_mode", "never"), ("form", []), ("precision", None), ("world", None),
    ],
)  # fmt: skip
def test_a_bad_argument_of_a_batch_is_named(folder, argument, value):
    arguments = {"world": str(folder), "num_envs": 2} | {argument: value}
    with pytest.raises(ValueError, match=f"{argument} is "):
        gym.make_vec("DreamDoom-v0", **arguments)


def test_numbers_of_numpy_s_and_paths_are_taken(folder):
    envs = gym.make_vec(
        "DreamDoom-v0", np.int64(3), world=folder, max_episode_steps=np.int32(2),
        continuous=np.True_, temperature=np.float64(1),
    )  # fmt: skip
    envs.reset(seed=0)
    for _ in range(2):
        truncated = envs.step(np.zeros((3, 1), np.float32))[3]
    assert truncated.all() and type(envs.num_envs) is int


def test_a_mask_of_no_environment_is_refused(folder):
    envs = make_vec(folder, 2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="reset_mask asks for no environment"):
        envs.reset(options={"reset_mask": np.zeros(2, bool)})


def test_a_file_of_a_world_that_is_replaced_is_seen(folder, tmp_path):
    own = shutil.copytree(folder, tmp_path / "world")
    before = make(own)
    same = make(own)
    assert same.unwrapped.world is before.unwrapped.world
    other = tiny_world(seed=9)
    tensors = {name: each.half() for name, each in other.memory.state_dict().items()}
    save_tensors(own / "memory.safetensors", tensors)
    assert make(own).unwrapped.world is not before.unwrapped.world


def test_statistics_over_the_batch_count_each_step_once(safe_folder):
    dreams = make_vec(safe_folder, 2, max_episode_steps=5)
    envs = gym.wrappers.vector.RecordEpisodeStatistics(dreams)
    envs.reset(seed=0)
    infos = [envs.step(np.ones(2, int))[4] for _ in range(20)]
    assert [info["episode"]["l"].tolist() for info in infos if "episode" in info] == [[5, 5]] * 4


def test_as_many_dreams_as_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dream of the tiny world holds 4 · 16 gates, 3 · 5 · 6 numbers of the head, and three times
    6 latents and twice 16 cells, each of 4 bytes."""
    each = 4 * (4 * 16 + 3 * 5 * 6 + 3 * (6 + 2 * 16))
    pages = {"SC_PAGE_SIZE": each, "SC_PHYS_PAGES": 100}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    tiny_world().check_room(100)
    with pytest.raises(ValueError, match=r"num_envs is 101: .* give 100 or fewer"):
        tiny_world().check_room(101)


def test_a_system_that_tells_nothing_of_its_memory_refuses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sysconf")
    tiny_world().check_room(10**15)


@pytest.mark.parametrize("able", [False, True])
def test_the_fastest_precision_is_what_the_processor_multiplies_in(
    monkeypatch: pytest.MonkeyPatch, folder: Path, able: bool
) -> None:
    monkeypatch.setattr(checkpoint, "supports_bfloat16", lambda _: able)
    kinds = {
        name: checkpoint.shared_world(str(folder), "cpu", name).memory.bias.dtype
        for name in ("float32", "bfloat16", "fastest")
    }
    halved = torch.bfloat16 if able else torch.float32
    assert kinds == {"float32": torch.float32, "bfloat16": torch.bfloat16, "fastest": halved}


def test_the_fastest_precision_of_a_damaged_world_is_refused_as_any_other(tmp_path: Path) -> None:
    save_world(tmp_path, tiny_world())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"vision": None}))
    with pytest.raises(checkpoint.CheckpointError, match=r"config\.json"):
        checkpoint.shared_world(str(tmp_path), "cpu", "fastest")


def test_exact_numbers_are_not_dreamt_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checkpoint, "supports_bfloat16", lambda _: True)
    save_world(tmp_path / "world", own_world())
    world = checkpoint.shared_world(str(tmp_path / "world"), "cpu", "fastest")
    assert world.memory.bias.dtype is torch.float32


@pytest.mark.parametrize("made", [make, make_vec])
def test_an_interrupted_step_leaves_nothing_to_go_on_with(folder, made, monkeypatch):
    """The state may be half of this step's, half of the next one's."""
    env = made(folder)
    env.reset(seed=0)
    action = env.action_space.sample()

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(env.unwrapped.world), "advance", interrupted)
        with pytest.raises(KeyboardInterrupt):
            env.step(action)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(action)
    env.reset(seed=0)
    env.step(action)


@pytest.mark.parametrize("made", [make, make_vec])
def test_a_shallow_copy_dreams_on_its_own(folder, made):
    env = made(folder).unwrapped
    env.reset(seed=0)
    action = env.action_space.sample()
    other = copy.copy(env)
    first = env.step(action)[0]
    env.step(action)
    assert np.array_equal(other.step(action)[0], first)

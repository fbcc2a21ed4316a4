"""Every algorithm learns in both dreams, is saved, loaded and scored; a run goes on."""

from __future__ import annotations

import copy
import json
from importlib import import_module
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import dreamgym  # noqa: F401
from dreamgym import tasks
from dreamgym.checkpoint import CheckpointError, load_world
from dreamgym.cli import main
from dreamgym.training import learner
from dreamgym.training.agent import ALGORITHMS, Agent, algorithm, begun, load_agent
from dreamgym.training.evaluate import choice, dream

SMALL = {"n_envs": 4, "n_steps": 16, "batch_size": 16, "n_epochs": 1, "learning_starts": 20,
         "buffer_size": 500, "n_timesteps": 128}  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zoo's hyperparameters, each as small as an algorithm can learn with."""
    for name in ALGORITHMS:
        zoo = import_module(f"dreamgym.zoo.{name}").hyperparams
        for env, hyper in zoo.items():
            less = {key: value for key, value in SMALL.items() if key in hyper}
            monkeypatch.setitem(zoo, env, hyper | less)


@pytest.fixture
def unreal(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Real games that take no time; each validation scores the next number."""
    scores: list[float] = []

    def play(task, world, policy, seeds, *rest, **more):
        score = scores.pop(0) if scores else 1.0
        return [{"seed": seed, "return": score, "length": 10} for seed in seeds]

    monkeypatch.setattr(learner, "real", play)
    return scores


def args(folder: Path, algo: str = "ppo", **other: object) -> learner.Args:
    return learner.Args(str(folder), algo, **{"games": 2, "patience": 0, **other})  # type: ignore[arg-type]


@pytest.mark.parametrize("task", ["doom", "car_racing"])
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_algorithm_learns_is_saved_loaded_and_dreams_again(
    algo, task, folder, car_folder, tmp_path, small, unreal
):
    world = {"doom": folder, "car_racing": car_folder}[task]
    learner.learn(args(world, algo), tmp_path, progress=False)
    latest = json.loads((tmp_path / "learning.json").read_text())
    assert latest["steps"] >= 128
    model = load_world(world)
    agent = load_agent(tmp_path / "latest.zip", model)
    assert agent.model._n_updates > 0
    returns, lengths = dream(model, agent, torch.arange(3), 1.0, 1.0, limit=20)
    assert torch.isfinite(returns).all() and (lengths >= 1).all()
    again, _ = dream(model, agent, torch.arange(3), 1.0, 1.0, limit=20)
    assert torch.equal(returns, again)


@pytest.mark.parametrize(
    "algo, title, continuous",
    [(algo, title, algo in ("sac", "td3", "tqc")) for algo in ALGORITHMS
     for title in ("Doom", "CarRacing")],
)  # fmt: skip
def test_every_algorithm_learns_by_gym_make_and_plays_the_twin(
    algo, title, continuous, folder, car_folder, small, tmp_path
):
    """The three lines that people know, with nothing of `dreamgym.training`."""
    form = {"world": str(folder if title == "Doom" else car_folder), "continuous": continuous}
    zoo = import_module(f"dreamgym.zoo.{algo}").hyperparams[f"Dream{title}-v0"]
    own = ("n_envs", "n_timesteps", "normalize", "env_kwargs")
    kwargs = {key: copy.deepcopy(value) for key, value in zoo.items() if key not in own}
    env = gym.make(f"Dream{title}-v0", max_episode_steps=30, **form)
    model = algorithm(algo)(env=env, seed=0, **kwargs).learn(40)
    model.save(tmp_path / "model.zip")
    loaded = algorithm(algo).load(tmp_path / "model.zip")
    real = Monitor(gym.make(f"Latent{title}-v0", max_episode_steps=4, **form))
    mean, _ = evaluate_policy(loaded, real, n_eval_episodes=1)
    real.close()
    assert np.isfinite(mean)


def test_a_stopped_run_goes_on(folder, tmp_path, small, unreal):
    learner.learn(args(folder, timesteps=128, validate=64), tmp_path, progress=False)
    first = json.loads((tmp_path / "learning.json").read_text())
    learner.learn(args(folder, timesteps=256, validate=64), tmp_path, progress=False)
    both = json.loads((tmp_path / "learning.json").read_text())
    assert both["curve"][: len(first["curve"])] == first["curve"]
    assert both["steps"] >= 256 > first["steps"]
    assert both["returns"][2] > first["returns"][2]  # the rewards' scale is not forgotten
    assert both["curve"][-1]["real_frames"] == 20 * len(both["curve"])
    untouched = (tmp_path / "latest.zip").read_bytes()
    learner.learn(args(folder, timesteps=256, validate=64), tmp_path, progress=False)
    assert (tmp_path / "latest.zip").read_bytes() == untouched
    with pytest.raises(ValueError, match="algo 'ppo', not 'a2c'"):
        learner.learn(args(folder, "a2c", timesteps=256, validate=64), tmp_path, progress=False)


def test_the_best_is_kept_and_no_better_one_stops_it(folder, tmp_path, small, unreal):
    unreal += [1.0, 5.0, 4.0, 3.0, 9.0]
    learner.learn(args(folder, timesteps=2000, validate=64, patience=2), tmp_path, progress=False)
    curve = json.loads((tmp_path / "learning.json").read_text())["curve"]
    assert [point["real"] for point in curve] == [1.0, 5.0, 4.0, 3.0]
    facts = json.loads((tmp_path / "policy.json").read_text())
    assert (facts["algo"], facts["real"], facts["real_frames"]) == ("ppo", 5.0, 80)
    assert PPO.load(tmp_path / "policy.zip").num_timesteps == curve[1]["steps"]


def test_a_recurrent_agent_remembers_its_own_games(folder, tmp_path, small, unreal):
    """Games that end must not shift the memory of those that go on."""
    path = learner.learn(args(folder, "ppo_lstm"), tmp_path, progress=False)
    world = load_world(folder)
    agent = load_agent(path, world)
    state = world.start(torch.arange(6))
    choice(agent, world, state)
    kept = agent[torch.tensor([False, True, True, False, True, True])]
    assert isinstance(kept, Agent) and not kept.begun
    for part, whole in zip(kept.state, agent.state, strict=True):
        assert np.array_equal(part, whole[:, [1, 2, 4, 5]])
    fresh = begun(agent)
    assert isinstance(fresh, Agent) and fresh.begun and fresh.state is None


def test_an_agent_s_action_is_the_game_s(car_folder, tmp_path, small, unreal):
    """What SAC says is gas reaches M as that much gas."""
    world = load_world(car_folder)
    agent = load_agent(learner.learn(args(car_folder, "sac"), tmp_path, progress=False), world)
    state = world.start(torch.arange(5))
    seen = world.observe(state, "zh")
    wanted, _ = agent.model.predict(seen.numpy(), deterministic=True)
    told = choice(agent, world, state).numpy()
    np.testing.assert_allclose(told, wanted, atol=1e-6)
    env = gym.make("DreamCarRacing-v0", world=str(car_folder))
    assert all(env.action_space.contains(row) for row in told)


def test_the_zoo_knows_every_algorithm_and_dream():
    for name in ALGORITHMS:
        zoo = import_module(f"dreamgym.zoo.{name}").hyperparams
        assert zoo.keys() == {task.dream_id for task in tasks.TASKS.values()}
        for hyper in zoo.values():
            assert {"n_timesteps", "policy", "n_envs", "normalize"} <= hyper.keys()


def test_a_linear_policy_is_one_layer(folder, tmp_path, small, unreal):
    path = learner.learn(args(folder, linear=True, observation="zh"), tmp_path, progress=False)
    model = PPO.load(path)
    weights = [name for name, _ in model.policy.named_parameters() if "policy_net" in name]
    assert weights == []
    assert load_agent(path, load_world(folder)).config.observation == "zh"


@pytest.mark.parametrize(
    "words, message",
    [
        (["--algo", "dreamer"], "algo is 'dreamer': choose one of ppo, a2c"),
        (["--games", "0"], "games is 0"),
        (["--observation", "pixels"], "observation is 'pixels'"),
        (["--temperature", "-1"], "temperature is -1.0"),
        (["--world", "nowhere"], "nowhere"),
    ],
)
def test_bad_words_are_named(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "doom", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_policy_that_does_not_fit_is_named(folder, car_folder, tmp_path, small, unreal):
    path = learner.learn(args(car_folder), tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"acts by Box.*Take Cover does not know"):
        load_agent(path, load_world(folder))
    with pytest.raises(ValueError, match=r"sees \(22,\), this world shows 64 \(z\), 576"):
        load_agent(path, load_world("doom"))
    with pytest.raises(CheckpointError, match="does not exist"):
        load_agent(tmp_path / "none.zip", load_world(folder))
    (tmp_path / "policy.json").unlink()
    with pytest.raises(CheckpointError, match="tells which algorithm"):
        load_agent(path, load_world(folder))
    (tmp_path / "policy.json").write_text('{"algo": "ppo"}')
    path.write_bytes(b"no zip")
    with pytest.raises(CheckpointError, match="no saved PPO"):
        load_agent(path, load_world(folder))


def test_a_resumed_run_dreams_on(folder, tmp_path, small, unreal, monkeypatch):
    """Not the dreams that it began with: they would count twice."""
    begun: list[list[int]] = []
    plain = learner.DreamVecEnv.reset

    def reset(envs):
        begun.append([int(seed) for seed in envs._seeds if seed is not None])
        return plain(envs)

    monkeypatch.setattr(learner.DreamVecEnv, "reset", reset)
    for steps in (128, 256):
        learner.learn(args(folder, timesteps=steps, scaled=False), tmp_path, progress=False)
    first, second = begun[0], begun[-1]
    assert len(first) == len(second) == 4
    assert not set(first) & set(second)


@pytest.mark.parametrize("algo", ["ppo", "dqn"])
def test_a_run_interrupted_in_a_validation_goes_on_from_the_one_before(
    algo, folder, tmp_path, small, unreal, monkeypatch
):
    asked = args(folder, algo, timesteps=256, validate=64)
    plain, calls = learner.real, []

    def interrupted(*words, **more):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(*words, **more)

    monkeypatch.setattr(learner, "real", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learner.learn(asked, tmp_path, progress=False)
    before = json.loads((tmp_path / "learning.json").read_text())
    assert len(before["curve"]) == 2
    saved = load_agent(tmp_path / "latest.zip", load_world(folder)).model
    assert saved.num_timesteps == before["steps"] == before["curve"][-1]["steps"]
    learner.learn(asked, tmp_path, progress=False)
    after = json.loads((tmp_path / "learning.json").read_text())
    assert after["curve"][:2] == before["curve"]
    assert after["curve"][-1]["real_frames"] == 20 * len(after["curve"])
    assert 256 <= after["steps"] < 256 + 64
    assert not list(tmp_path.glob("candidate*"))


def test_an_agent_under_another_name_is_named(folder, tmp_path, small, unreal):
    path = learner.learn(args(folder), tmp_path, progress=False)
    (tmp_path / "policy.json").write_text('{"algo": "dqn"}')
    with pytest.raises(CheckpointError, match=r"no saved DQN, which policy.json says it is"):
        load_agent(path, load_world(folder))


def test_a_linear_policy_with_a_memory_is_refused(folder, tmp_path, small):
    with pytest.raises(ValueError, match="ppo_lstm has a memory of its own"):
        learner.learn(args(folder, "ppo_lstm", linear=True), tmp_path, progress=False)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seed", 2**31, "give 0 to 2,147,483,647"),
        ("games", 0, "give 1 to 100,000"),
        ("games", 100_001, "give 1 to 100,000"),
        ("envs", -1, "give 0 or more"),
        ("patience", -1, "give 0 or more"),
    ],
)
def test_numbers_of_no_training_are_refused(name: str, value: int, words: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}: {words}"):
        learner.Args("doom", **{name: value})

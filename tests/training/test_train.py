"""Every algorithm learns in the dreams that were asked for, and is kept by what the real game pays.

A run goes on where it was stopped.
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack

import dreamgym  # noqa: F401
from dreamgym import games
from dreamgym.checkpoint import (
    CheckpointError,
    load_world,
    read_json,
    save_controller,
    save_world,
)
from dreamgym.cli import main
from dreamgym.envs import actions
from dreamgym.games import own
from dreamgym.models.controller import Controller
from dreamgym.sb3 import NOISE, PACE
from dreamgym.training import train
from dreamgym.training.play import dreams
from dreamgym.training.play.executors import InProcess
from dreamgym.training.play.policies import (
    ALGORITHMS,
    FRAMES,
    Controlled,
    Trained,
    algorithm,
    controller_config,
    load,
    load_trained,
)
from dreamgym.training.splits import VALIDATION
from dreamgym.zoo import ppo as zoo_ppo
from tests.conftest import tiny_world, with_moments
from tests.envs.test_own import PANEL, own_world

SMALL = {"n_envs": 4, "n_steps": 16, "batch_size": 16, "n_epochs": 1, "learning_starts": 20,
         "buffer_size": 500, "n_timesteps": 128}  # fmt: skip
ROLLOUT = 4 * 16
"""Steps of so small a PPO between updates, all dreams together."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zoo's hyperparameters, each as small as an algorithm can learn with."""
    for name in ALGORITHMS:
        zoo = import_module(f"dreamgym.zoo.{name}").hyperparams
        for env, hyper in zoo.items():
            less = {key: value for key, value in SMALL.items() if key in hyper}
            monkeypatch.setitem(zoo, env, hyper | less)


@pytest.fixture
def unreal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real games of 10 frames that take no time and are all the same."""

    def play(task, world, policy, seeds, *rest, **more):
        return [{"seed": seed, "return": 1.0, "length": 10} for seed in seeds]

    monkeypatch.setattr(train, "score", play)


class Reality:
    """Real games of 3 frames; validation n pays its score, give or take a hundred."""

    def __init__(self, patch: pytest.MonkeyPatch, *scores: float):
        self.scores, self.seeds, self.steps = list(scores), [], []  # type: ignore[var-annotated]
        patch.setattr(train, "score", self.play)

    def play(self, task, world, policy, seeds, *_, **__):  # type: ignore[no-untyped-def]
        self.seeds.append(list(seeds))
        self.steps.append(PPO.load(policy).num_timesteps)
        score = self.scores[len(self.seeds) - 1]
        luck = np.resize([100.0, -100.0], len(seeds)) * (-1) ** len(self.seeds)
        return [
            {"seed": s, "return": score + x, "length": 3} for s, x in zip(seeds, luck, strict=True)
        ]


def args(folder: Path, algo: str = "ppo", **other: object) -> train.Args:
    return train.Args(str(folder), algo, **{"games": 2, "patience": 0, **other})  # type: ignore[arg-type]


def validated(folder: Path, validations: int, **other: Any) -> train.Args:
    """What is asked of a PPO that plays four real games after every rollout."""
    asked = {"timesteps": validations * ROLLOUT, "validate": ROLLOUT, "games": 4, "scaled": False}
    return args(folder, **asked | other)


def learn(asked: train.Args, out: Path) -> Path:
    """Train an agent in this process."""
    return train.learn(asked, out, InProcess(), progress=False)


def test_dreams_may_begin_anywhere_and_be_cut_off(tmp_path: Path) -> None:
    save_world(tmp_path, with_moments(tiny_world(-50.0), 40))
    asked = args(tmp_path, envs=100, anywhere=0.5, steps=7)
    hyper = train.hyperparameters(asked, games.get("doom"))
    made = train.dreams(replace(asked, temperature=1.0), games.get("doom"), hyper)
    made.reset()
    begun = made.unwrapped.dreams._state.step  # type: ignore[attr-defined]
    assert 20 < (begun > 0).sum() < 80
    over = [made.step(np.zeros(100, int))[2].all() for _ in range(7)]
    assert over == [False] * 6 + [True]
    made.close()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"anywhere": 1.5}, "anywhere is 1.5: give a probability"),
        ({"steps": -1}, "steps is -1: give 0 or more"),
        ({"rate": -1e-4}, "rate is -0.0001: give a number above 0"),
        ({"rate": float("nan")}, "rate is nan: give a number above 0"),
        ({"env": "twin", "steps": 9}, "env is 'twin': anywhere and steps are of dreams"),
        ({"env": "pixels", "anywhere": 0.5}, "env is 'pixels': anywhere and steps are of dreams"),
    ],
)
def test_where_dreams_begin_and_end_is_checked(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        train.Args(**asked)


def test_the_frames_behind_the_policy_from_which_it_begins_count_too(
    folder: Path, tmp_path: Path, unreal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(args(folder), tmp_path / "first")
    told = json.loads((tmp_path / "first/policy.json").read_text())
    (tmp_path / "first/policy.json").write_text(json.dumps(told | {"real_frames": 5000}))
    words = ["--world", str(folder), "--games", "2", "--init", str(tmp_path / "first/policy.zip")]
    monkeypatch.setattr(train, "Local", lambda _: InProcess())
    assert main(["train", *words, "--out", str(tmp_path / "second")]) == 0
    curve = json.loads((tmp_path / "second/learning.json").read_text())["curve"]
    assert [point["real_frames"] for point in curve[:2]] == [5020, 5040]


def test_an_algorithm_that_does_not_know_such_actions_is_named(tmp_path: Path) -> None:
    save_world(tmp_path / "world", own_world(f"{PANEL}(bits=True)"))
    with pytest.raises(
        ValueError, match=r"dqn cannot learn tests\..*Panel.*: The algorithm only sup"
    ):
        learn(args(tmp_path / "world", "dqn"), tmp_path / "run")


@pytest.mark.parametrize(("id", "gamma"), [("Pendulum-v1", 0.99), ("LunarLander-v3", 0.998)])
def test_ppo_looks_further_ahead_in_a_longer_game_of_one_s_own(id: str, gamma: float) -> None:
    kwargs = train.hyperparameters(train.Args("", scaled=False), games.get(id))["kwargs"]
    assert kwargs["gamma"] == pytest.approx(gamma)


def test_ppo_looks_as_far_ahead_as_half_of_the_game() -> None:
    assert own.discount(300) == pytest.approx(1 - 1 / 150)


def test_a_learning_rate_may_fall_to_nothing(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """It is written as rl-zoo3 writes it."""
    monkeypatch.setitem(zoo_ppo.hyperparams["DreamDoom-v0"], "learning_rate", "lin_4e-4")
    hyper = train.hyperparameters(args(folder), games.get("doom"))
    rate = hyper["kwargs"]["learning_rate"]
    assert [rate(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([4e-4, 2e-4, 0.0])
    rate = train.hyperparameters(args(folder, rate=2e-5), games.get("doom"))["kwargs"][
        "learning_rate"
    ]
    assert [rate(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([2e-5, 1e-5, 0.0])


@pytest.mark.parametrize("task", ["doom", "car_racing"])
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_algorithm_learns_is_saved_loaded_and_dreams_again(
    algo, task, folder, car_folder, tmp_path, unreal
):
    world = {"doom": folder, "car_racing": car_folder}[task]
    learn(args(world, algo), tmp_path)
    latest = json.loads((tmp_path / "learning.json").read_text())
    assert latest["steps"] >= 128
    model = load_world(world)
    agent = load_trained(tmp_path / "latest.zip", model)
    assert agent.model._n_updates > 0
    returns, lengths, *_ = dreams.play(model, agent, torch.arange(3), 1.0, 1.0, limit=20)
    assert torch.isfinite(returns).all() and (lengths >= 1).all()
    again, *_ = dreams.play(model, agent, torch.arange(3), 1.0, 1.0, limit=20)
    assert torch.equal(returns, again)
    own = tmp_path / "agent.safetensors"
    assert own.exists() == (algo not in ("ppo_lstm", "qrdqn"))
    if own.exists():
        best, same = load_trained(tmp_path / "policy.zip", model), load(own, model, model.game)
        seen = model.observe(model.start(torch.arange(64)), same.observation)
        best.begin(torch.arange(64))
        assert torch.allclose(best.act(seen), same.act(seen), atol=1e-5)


@pytest.mark.parametrize(
    "algo, title, continuous",
    [(algo, title, algo in ("sac", "td3", "tqc")) for algo in ALGORITHMS
     for title in ("Doom", "CarRacing")],
)  # fmt: skip
def test_every_algorithm_learns_by_gym_make_and_plays_the_twin(
    algo, title, continuous, folder, car_folder, tmp_path
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


def test_a_stopped_run_goes_on(folder, tmp_path, unreal):
    learn(args(folder, timesteps=128, validate=64), tmp_path)
    first = json.loads((tmp_path / "learning.json").read_text())
    learn(args(folder, timesteps=256, validate=64), tmp_path)
    both = json.loads((tmp_path / "learning.json").read_text())
    assert both["curve"][: len(first["curve"])] == first["curve"]
    assert both["steps"] >= 256 > first["steps"]
    assert both["returns"][2] > first["returns"][2]  # the rewards' scale is not forgotten
    assert both["curve"][-1]["real_frames"] == 20 * len(both["curve"])
    untouched = (tmp_path / "latest.zip").read_bytes()
    learn(args(folder, timesteps=256, validate=64), tmp_path)
    assert (tmp_path / "latest.zip").read_bytes() == untouched
    with pytest.raises(ValueError, match="algo 'ppo', not 'a2c'"):
        learn(args(folder, "a2c", timesteps=256, validate=64), tmp_path)


def test_a_recurrent_agent_remembers_its_own_games(folder, tmp_path, unreal):
    """Games that end must not shift the memory of those that go on."""
    world, seeds = load_world(folder), torch.arange(6)
    agent = load_trained(learn(args(folder, "ppo_lstm"), tmp_path), world)
    agent.begin(seeds)
    assert agent.state is None and agent.first.tolist() == [True] * 6
    agent.act(world.observe(world.start(seeds), agent.observation))
    before = [part.copy() for part in agent.state]
    agent.keep(torch.tensor([False, True, True, False, True, True]))
    assert agent.first.tolist() == [False] * 4
    for kept, whole in zip(agent.state, before, strict=True):
        assert whole.any() and np.array_equal(kept, whole[:, [1, 2, 4, 5]])
    agent.begin(seeds[:3])
    assert agent.state is None and agent.first.tolist() == [True] * 3


def test_an_agent_s_action_is_the_game_s(car_folder, tmp_path, unreal):
    """What SAC says is gas reaches M as that much gas."""
    world = load_world(car_folder)
    agent = load_trained(learn(args(car_folder, "sac"), tmp_path), world)
    seen = world.observe(world.start(torch.arange(5)), "zh")
    wanted, _ = agent.model.predict(seen.numpy(), deterministic=True)
    agent.begin(torch.arange(5))
    chosen = agent.act(seen).numpy()
    np.testing.assert_allclose(chosen, wanted, atol=1e-6)
    env = gym.make("DreamCarRacing-v0", world=str(car_folder))
    assert all(env.action_space.contains(row) for row in chosen)


def test_the_zoo_knows_every_algorithm_and_dream():
    for name in ALGORITHMS:
        zoo = import_module(f"dreamgym.zoo.{name}").hyperparams
        real = {task.pixel_id for task in games.GAMES.values()} & zoo.keys()
        dreams = {"Dream-v0", *(task.dream_id for task in games.GAMES.values())}
        assert zoo.keys() - real == dreams
        assert len(real) == (len(games.GAMES) if name in ("ppo", "a2c", "dqn", "qrdqn") else 0)
        for hyper in zoo.values():
            assert {"n_timesteps", "policy", "n_envs", "normalize"} <= hyper.keys()


@pytest.mark.parametrize("algo", ["ppo", "a2c", "dqn"])
def test_an_agent_learns_from_the_pixels_of_the_real_game(algo, folder, tmp_path, unreal):
    """It is scored by its own last four frames, and not by V's pictures of them."""
    learn(args(folder, algo, env="pixels", timesteps=64, envs=2), tmp_path)
    assert not (tmp_path / "agent.safetensors").exists()
    agent = load_trained(tmp_path / "latest.zip", load_world(folder))
    assert agent.observation == FRAMES and agent.model._n_updates > 0
    frames = np.random.default_rng(0).integers(0, 256, (6, 3, 64, 64, 3)).astype(np.uint8)
    stacked = VecFrameStack(_Shown(frames), 4)
    seen = [stacked.reset(), *(stacked.step(np.zeros(3))[0] for _ in range(4))]
    agent.begin(torch.arange(3))
    for step, shown in enumerate(seen):
        chosen = agent.act(torch.from_numpy(frames[step]))
        wanted, _ = agent.model.predict(shown, deterministic=True)
        assert np.array_equal(chosen.numpy(), actions.to_vectors(wanted, agent.game, False))


class _Shown(VecEnv):
    """Shows given frames, whatever is done."""

    def __init__(self, frames: np.ndarray):
        self.frames, self.at = frames, 0
        space = gym.spaces.Box(0, 255, frames.shape[2:], np.uint8)
        super().__init__(frames.shape[1], space, gym.spaces.Discrete(3))

    def reset(self) -> np.ndarray:
        return self.frames[0]

    def step_async(self, actions: np.ndarray) -> None:
        self.at += 1

    def step_wait(self) -> Any:
        nothing = np.zeros(self.num_envs)
        return self.frames[self.at], nothing, nothing.astype(bool), [{}] * self.num_envs

    def close(self) -> None: ...
    def get_attr(self, *_: Any) -> list[Any]:
        return [None] * self.num_envs

    def set_attr(self, *_: Any) -> None: ...
    def env_method(self, *_: Any, **__: Any) -> list[Any]:
        return []

    def env_is_wrapped(self, *_: Any) -> list[bool]:
        return [False] * self.num_envs


def test_a_pixel_agent_refuses_what_it_cannot_have(folder, tmp_path):
    with pytest.raises(ValueError, match="sac cannot learn there, choose one of ppo, a2c, dqn"):
        learn(args(folder, "sac", env="pixels"), tmp_path)
    with pytest.raises(ValueError, match="leave out controller"):
        args(folder, env="pixels", controller=True)
    with pytest.raises(ValueError, match="choose one of dream, twin, pixels"):
        args(folder, env="pixel")


def test_a_linear_policy_is_one_layer(folder, tmp_path, unreal):
    path = learn(args(folder, linear=True, observation="zh"), tmp_path)
    model = PPO.load(path)
    weights = [name for name, _ in model.policy.named_parameters() if "policy_net" in name]
    assert weights == []
    assert load_trained(path, load_world(folder)).observation == "zh"


@pytest.mark.parametrize("algo", ["ppo", "a2c"])
@pytest.mark.parametrize("task", ["doom", "car_racing"])
@pytest.mark.parametrize("scaled", [True, False])
def test_c_itself_learns(scaled, task, algo, folder, car_folder, tmp_path, unreal):
    """From the weights it is given, and what is written acts as the trained policy does."""
    path = {"doom": folder, "car_racing": car_folder}[task]
    world = load_world(path)
    config, draw = controller_config(world), torch.Generator().manual_seed(3)
    begun = Controller(config, 0.3 * torch.randn(config.parameters, generator=draw))
    save_controller(tmp_path / "first.safetensors", begun)
    asked = args(path, algo, controller=True, init=str(tmp_path / "first.safetensors"),
                 scaled=scaled)  # fmt: skip
    seen = world.observe(world.start(torch.arange(64)), config.observation)

    hyper = train.hyperparameters(asked, world.game)
    envs = train.dreams(asked, world.game, hyper)
    fresh = algorithm(algo)(hyper["policy"], envs, device="cpu", **hyper["kwargs"])
    train._begin(fresh, asked)
    torch.testing.assert_close(fresh.policy.weights, begun.weights, atol=1e-5, rtol=1e-4)
    assert fresh.policy.log_std.exp().tolist() == pytest.approx([NOISE] * config.actions)
    wanted = Controlled(begun, world.game)
    for policy in (wanted, before := Trained(fresh, world.game, config.observation)):
        policy.begin(torch.arange(64))
    torch.testing.assert_close(before.act(seen), wanted.act(seen), atol=1e-5, rtol=0)
    if algo == "ppo" and not scaled:  # Adam's first step moves each number by the rate
        for parameter in fresh.policy.parameters():
            parameter.grad = torch.ones_like(parameter)
        fresh.policy.optimizer.step()
        moved = begun.weights - fresh.policy.weights
        assert moved.tolist() == pytest.approx([PACE * 3e-4] * len(moved), rel=0.02, abs=1e-7)

    learn(asked, tmp_path / "run")
    learned = load(tmp_path / "run" / "controller.safetensors", world, world.game)
    trained = load_trained(tmp_path / "run" / "policy.zip", world)
    for policy in (learned, trained):
        policy.begin(torch.arange(64))
    torch.testing.assert_close(learned.act(seen), trained.act(seen), atol=1e-5, rtol=0)
    latest = load_trained(tmp_path / "run" / "latest.zip", world).model.policy.weights
    assert not torch.allclose(latest, begun.weights, atol=1e-5)
    assert learned.controller.config == config
    assert not (tmp_path / "run" / "agent.safetensors").exists()


def test_an_agent_goes_on_from_another(folder, tmp_path, unreal):
    first = learn(args(folder, timesteps=128), tmp_path / "first")
    fresh = PPO.load(learn(args(folder, timesteps=128, seed=1), tmp_path / "other"))
    asked = args(folder, timesteps=128, seed=1, init=str(first))
    train._begin(fresh, asked)
    for one, other in zip(
        fresh.policy.parameters(), PPO.load(first).policy.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    assert learn(asked, tmp_path / "second").exists()
    with pytest.raises(ValueError, match="begun"):
        learn(replace(asked, init=str(tmp_path / "other" / "policy.zip")), tmp_path / "second")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--algo", "sac", "--controller"], "controller: sac cannot learn C, choose ppo or a2c"),
        (["--init", "agent.safetensors"], "init agent.safetensors is no .zip of ppo"),
        (["--init", "none.zip"], "none.zip"),
        (["--algo", "dreamer"], "algo is 'dreamer': choose one of ppo, a2c"),
        (["--env", "pixels", "--algo", "td3"], "td3 cannot learn there, choose one of ppo, a2c"),
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


def test_a_policy_that_does_not_fit_is_named(folder, car_folder, tmp_path, unreal):
    path = learn(args(car_folder), tmp_path)
    with pytest.raises(ValueError, match=r"acts by Box.*Take Cover does not have"):
        load_trained(path, load_world(folder))
    with pytest.raises(ValueError, match=r"sees \(22,\), this world shows 64 \(z\), 576"):
        load_trained(path, load_world("doom"))
    with pytest.raises(CheckpointError, match="does not exist"):
        load_trained(tmp_path / "none.zip", load_world(folder))
    (tmp_path / "policy.json").unlink()
    with pytest.raises(CheckpointError, match="names the algorithm"):
        load_trained(path, load_world(folder))
    (tmp_path / "policy.json").write_text('{"algo": "ppo"}')
    path.write_bytes(b"no zip")
    with pytest.raises(CheckpointError, match="not a saved PPO"):
        load_trained(path, load_world(folder))


def test_a_resumed_run_dreams_on(folder, tmp_path, unreal, monkeypatch):
    """Not the dreams that it began with: they would count twice."""
    begun: list[list[int]] = []
    plain = train.DreamVecEnv.reset

    def reset(envs):
        begun.append([int(seed) for seed in envs._seeds if seed is not None])
        return plain(envs)

    monkeypatch.setattr(train.DreamVecEnv, "reset", reset)
    for steps in (128, 256):
        learn(args(folder, timesteps=steps, scaled=False), tmp_path)
    first, second = begun[0], begun[-1]
    assert len(first) == len(second) == 4
    assert not set(first) & set(second)


@pytest.mark.parametrize("algo", ["ppo", "dqn"])
def test_a_run_interrupted_in_a_validation_goes_on_from_the_one_before(
    algo, folder, tmp_path, unreal, monkeypatch
):
    asked = args(folder, algo, timesteps=256, validate=64)
    plain, calls = train.score, []

    def interrupted(*words, **more):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(*words, **more)

    monkeypatch.setattr(train, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learn(asked, tmp_path)
    before = json.loads((tmp_path / "learning.json").read_text())
    assert len(before["curve"]) == 2
    saved = load_trained(tmp_path / "latest.zip", load_world(folder)).model
    assert saved.num_timesteps == before["steps"] == before["curve"][-1]["steps"]
    learn(asked, tmp_path)
    after = json.loads((tmp_path / "learning.json").read_text())
    assert after["curve"][:2] == before["curve"]
    assert after["curve"][-1]["real_frames"] == 20 * len(after["curve"])
    assert 256 <= after["steps"] < 256 + 64
    assert not list(tmp_path.glob("candidate*"))


def test_an_agent_under_another_name_is_named(folder, tmp_path, unreal):
    path = learn(args(folder), tmp_path)
    (tmp_path / "policy.json").write_text('{"algo": "dqn"}')
    with pytest.raises(CheckpointError, match=r"not a saved DQN, but policy.json says it is"):
        load_trained(path, load_world(folder))


def test_a_linear_policy_with_a_memory_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="ppo_lstm has a memory of its own"):
        learn(args(folder, "ppo_lstm", linear=True), tmp_path)


@pytest.mark.parametrize("scores", [(1.0, 5.0, 3.0), (5.0, 1.0, 3.0), (1.0, 3.0, 5.0)])
@pytest.mark.parametrize("stopped", [False, True])
def test_the_agent_of_the_best_mean_is_kept(
    scores: tuple, stopped: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reality = Reality(monkeypatch, *scores)
    if stopped:
        learn(validated(folder, 2), tmp_path)
    path = learn(validated(folder, 3), tmp_path)
    best = int(np.argmax(scores))
    assert PPO.load(path).num_timesteps == reality.steps[best]
    facts = read_json(tmp_path / "policy.json")
    assert (facts["algo"], facts["real"], facts["steps"]) == ("ppo", 5, reality.steps[best])
    assert facts["real_frames"] == 3 * 4 * 3
    curve = read_json(tmp_path / "learning.json")["curve"]
    assert [point["real"] for point in curve] == list(scores)
    assert [point["real_frames"] for point in curve] == [12, 24, 36]
    assert [point["steps"] for point in curve] == reality.steps
    assert reality.seeds == [list(range(VALIDATION, VALIDATION + 4))] * 3


@pytest.mark.parametrize(
    ("patience", "scores", "played"),
    [
        (1, (1.0, 3.0, 2.0, 9.0), 3),
        (2, (1.0, 3.0, 4.0, 2.0, 3.0, 9.0), 5),
        (2, (1.0, 3.0, 2.0, 4.0), 4),
        (0, (3.0, 2.0, 1.0, 0.0), 4),
    ],
)
def test_learning_stops_after_so_many_validations_that_were_no_better(
    patience: int, scores: tuple, played: int, folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    reality = Reality(monkeypatch, *scores)
    learn(validated(folder, len(scores), patience=patience), tmp_path)
    assert len(reality.seeds) == played


def test_validations_are_a_tenth_of_the_way_apart_unless_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reality = Reality(monkeypatch, *range(20))
    learn(validated(folder, 10, validate=0), tmp_path)
    assert reality.steps == [ROLLOUT * n for n in range(1, 11)]


def test_dreams_are_those_that_were_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[tuple, dict]] = []
    plain = train.DreamVecEnv

    def dreamt(*words, **named):  # type: ignore[no-untyped-def]
        made.append((words, named))
        return plain(*words, **named)

    monkeypatch.setattr(train, "DreamVecEnv", dreamt)
    Reality(monkeypatch, 1.0)
    asked = {"timesteps": 48, "envs": 3, "temperature": (0.6, 1.7), "observation": "z"}
    learn(validated(folder, 1, validate=48, **asked), tmp_path)
    (words, named) = made[-1]
    assert words == ("DreamDoom-v0", 3)
    assert named["world"] == str(folder)
    assert named["temperature"] == (0.6, 1.7)
    assert named["observation"] == "z"


def test_the_dream_s_mean_stands_beside_the_real_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Reality(monkeypatch, 7.0)
    seen: list[list[float]] = []
    plain = train._Validation.validate

    def validates(callback):  # type: ignore[no-untyped-def]
        seen.append([episode["r"] for episode in callback.model.ep_info_buffer])
        plain(callback)

    monkeypatch.setattr(train._Validation, "validate", validates)
    asked = validated(folder, 1, timesteps=8 * ROLLOUT, validate=8 * ROLLOUT)
    learn(asked, tmp_path)
    (point,) = read_json(tmp_path / "learning.json")["curve"]
    assert seen[0] and point["dream"] == pytest.approx(np.mean(seen[0]))


def test_an_agent_sees_the_dream_as_it_is_and_only_its_rewards_are_scaled(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it saw by running statistics, it would not see in the real game."""
    made = []
    plain = train.VecNormalize

    def normal(*words, **named):  # type: ignore[no-untyped-def]
        made.append(plain(*words, **named))
        return made[-1]

    monkeypatch.setattr(train, "VecNormalize", normal)
    Reality(monkeypatch, 1.0)
    learn(validated(folder, 1), tmp_path)
    assert not made[0].norm_obs and made[0].norm_reward and made[0].gamma == 0.997


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
        train.Args("doom", **{name: value})


def test_what_the_dreams_paid_is_their_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of this dream is a hit of 21 health or more, so it pays 1 to 5 and is over."""
    save_world(tmp_path / "world", tiny_world(hit=50.0))
    Reality(monkeypatch, 1.0)
    asked = args(tmp_path / "world", validate=64, timesteps=64, scaled=False)
    learn(asked, tmp_path / "run")
    (point,) = read_json(tmp_path / "run" / "learning.json")["curve"]
    assert 1 <= point["dream"] <= 5


def test_an_agent_may_learn_in_the_real_game(folder, tmp_path, unreal):
    asked = args(folder, env="twin", envs=2, timesteps=2 * ROLLOUT, scaled=False)
    assert learn(asked, tmp_path).exists()
    assert json.loads((tmp_path / "learning.json").read_text())["args"]["env"] == "twin"


def test_where_it_learns_must_be_known(folder):
    with pytest.raises(ValueError, match="env is 'game': choose one of dream, twin, pixels"):
        args(folder, env="game")


class Killed:
    """Stops learning as a killed process would, `after` steps of the environments."""

    def __init__(self, patch: pytest.MonkeyPatch, after: int, pause: float = 0.0):
        self.left, self.plain = after, train.DreamVecEnv.step_wait
        self.pause = pause
        patch.setattr(train.DreamVecEnv, "step_wait", lambda envs: self.step(envs))

    def step(self, envs: Any) -> Any:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        time.sleep(self.pause)
        return self.plain(envs)


@pytest.mark.parametrize("algo", ["ppo", "a2c", "dqn"])
def test_a_run_that_is_killed_between_validations_goes_on_from_a_checkpoint(
    algo: str, folder: Path, tmp_path: Path, unreal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It learns from pixels, and counts every frame that it has seen: also when it fills memory."""
    monkeypatch.setattr(train, "SAVE_EVERY", 0.0)
    asked = args(folder, algo, env="pixels", timesteps=160, validate=160, envs=2)
    games = Killed(monkeypatch, after=42)
    with pytest.raises(KeyboardInterrupt):
        learn(asked, tmp_path)
    before = read_json(tmp_path / "learning.json")
    saved = load_trained(tmp_path / "latest.zip", load_world(folder)).model
    assert saved.num_timesteps == before["steps"] == before["real_frames"]
    assert 0 < 84 - before["steps"] <= 2 * 16 and before["curve"] == []  # one rollout at most
    games.left = -1
    learn(asked, tmp_path)
    after = read_json(tmp_path / "learning.json")
    (point,) = after["curve"]
    refilled = 24 if algo == "dqn" else 0  # whole rollouts of 8 frames
    assert point["steps"] == after["steps"] == after["pace"]["steps"] == 160
    assert point["real_frames"] == after["steps"] + refilled + 2 * 10
    assert read_json(tmp_path / "policy.json")["real_frames"] == point["real_frames"]


def test_checkpoints_are_made_when_it_is_time(
    folder: Path, tmp_path: Path, unreal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train.SAVE_EVERY <= 300 - 60
    saved, plain = [], train._save

    def save(model, algo, path, **facts):  # type: ignore[no-untyped-def]
        saved.append(path.name)
        plain(model, algo, path, **facts)

    monkeypatch.setattr(train, "_save", save)
    asked = validated(folder, 1, timesteps=4 * ROLLOUT, validate=4 * ROLLOUT)
    learn(asked, tmp_path / "none")
    assert "latest.zip" not in saved
    monkeypatch.setattr(train, "SAVE_EVERY", 0.0)
    learn(asked, tmp_path / "often")
    assert saved.count("latest.zip") == 4


def test_a_record_tells_how_fast_learning_was_and_how_long_it_waited(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environments take 30 ms for each step of 4 dreams, and its validations do not count."""
    Killed(monkeypatch, after=-1, pause=0.03)

    def play(task, world, policy, seeds, *_, **__):  # type: ignore[no-untyped-def]
        time.sleep(1)
        return [{"seed": seed, "return": 1.0, "length": 10} for seed in seeds]

    monkeypatch.setattr(train, "score", play)
    for rollouts in (2, 4):  # the second goes on
        learn(validated(folder, rollouts), tmp_path)
    record = read_json(tmp_path / "learning.json")
    pace = record["pace"]
    assert pace["steps"] == record["steps"] == 4 * ROLLOUT
    assert 64 * 0.03 <= pace["waiting"] < pace["seconds"] <= record["seconds"] - 4
    assert record["steps_per_second"] == pytest.approx(pace["steps"] / pace["seconds"])
    assert record["waited"] == pytest.approx(pace["waiting"] / pace["seconds"])

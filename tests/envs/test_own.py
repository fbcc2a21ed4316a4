"""A user's own game: what is known of it, its frames, its dream and its twin."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO

import dreamgym
from dreamgym import games
from dreamgym.checkpoint import (
    CheckpointError,
    load_agent,
    load_world,
    save_agent,
    save_world,
)
from dreamgym.cli import main
from dreamgym.envs import actions
from dreamgym.envs.spaces import SAMPLE, spread
from dreamgym.envs.vectors import Vectors
from dreamgym.games import own
from dreamgym.models.mdn_rnn import MDNRNN, MemoryConfig
from dreamgym.models.sight import SightConfig
from dreamgym.models.standard import Standard, StandardConfig
from dreamgym.sb3 import DreamVecEnv, UnitPolicy
from dreamgym.training.collect import Args, collect
from dreamgym.training.data.episodes import Episode, episode_paths
from dreamgym.training.data.latents import encode
from dreamgym.training.memory import config_for
from dreamgym.training.play.executors import InProcess
from dreamgym.training.play.exporting import exported
from dreamgym.training.play.games import turns
from dreamgym.training.play.policies import Random, load
from dreamgym.world import World
from tests.envs.spring import LIMIT

SPRING = "tests.envs.spring:Spring-v0"


def own_world(id: str = SPRING, end: float = -50.0, seed: int = 0) -> World:
    """A random world of a user's own game, whose dreams end with the chance sigmoid(`end`)."""
    torch.manual_seed(seed)
    game = games.get(id)
    memory = MDNRNN(replace(config_for(game), hidden=16))
    with torch.no_grad():
        memory.head.bias[-1] = end
        memory.head.weight *= 0.1
    vision = Standard(StandardConfig(*game.frame))
    vision.mean.copy_(torch.arange(1.0, 1 + game.frame[0]))
    vision.deviation.copy_(torch.linspace(0.5, 2, game.frame[0]))
    mean, logvar = vision.encode(torch.randn(8, *game.frame))
    return World(game, vision, memory, (mean, logvar, torch.ones(8)))


@pytest.mark.parametrize("id", [SPRING, "Pendulum-v1"])  # an odd and an even number of numbers
def test_a_world_of_before_ends_paid_apart_is_refused(id: str, tmp_path: Path) -> None:
    save_world(tmp_path, own_world(id))
    config = json.loads((tmp_path / "config.json").read_text())
    del config["memory"]["paid"]
    config["memory"]["z_size"] -= 2 if id == "Pendulum-v1" else 0
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"an older dreamgym.*`dreamgym new "):
        load_world(tmp_path)


@pytest.mark.parametrize("id", [SPRING, "Pendulum-v1", "CartPole-v1+pixels"])
def test_v_makes_as_many_numbers_as_the_game_says(id: str) -> None:
    game = games.get(id)
    config = SightConfig() if game.pictures else StandardConfig(*game.frame)
    assert config.z_size == game.z_size and game.z_size % 2 == 0


def refused(id: str, kind: type[gym.Env[Any, Any]], words: str) -> None:
    """Register an environment for as long as it takes to see that it is refused in these words."""
    gym.register(id=id, entry_point=kind)
    try:
        with pytest.raises(ValueError, match=words):
            games.get(id)
    finally:
        gym.registry.pop(id)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    save_world(tmp_path / "world", own_world())
    return str(tmp_path / "world")


@pytest.mark.parametrize(
    ("id", "numbers", "moves", "low", "limit"),
    [
        ("CartPole-v1", 4, 2, (), 500),
        ("Pendulum-v1", 3, 0, (-2.0,), 200),
        ("FrozenLake-v1", 16, 4, (), 100),
        ("Blackjack-v1", 32 + 11 + 2, 2, (), own.ENDLESS),
        (SPRING, 2, 0, (-2.0,), LIMIT),
    ],
)
def test_what_is_known_of_a_game_is_read_from_its_environment(
    id: str, numbers: int, moves: int, low: tuple[float, ...], limit: int
) -> None:
    game = games.get(id)
    assert (game.name, game.max_steps, len(game.moves)) == (id, limit, moves)
    assert game.frame == (numbers + 1,) and game.z_size % 2 == 0
    assert game.choices == (moves,) * bool(moves) and game.own.low == low
    assert own.read(json.loads(json.dumps(asdict(game.own)))) == game.own
    assert pickle.loads(pickle.dumps(game)).frame == game.frame


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("pong", "unknown game 'pong': choose one of car_racing, doom, or give the id"),
        ("Taxi-v3", r"unknown game 'Taxi-v3': .* \(.*use `Taxi-v4`"),
        ("no_such_module:Mine-v0", "no_such_module:Mine-v0 needs a module"),
    ],
)
def test_a_game_that_cannot_be_learned_is_named(id: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        games.get(id)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (gym.spaces.Text(3), "only Discrete, MultiDiscrete, MultiBinary and Box"),
        (gym.spaces.Box(-np.inf, np.inf, (1,)), "give it finite ends"),
        (gym.spaces.Discrete(5000), "at most 1,000 possibilities can be learned"),
        (gym.spaces.MultiDiscrete([600, 500]), "at most 1,000 possibilities can be learned"),
    ],
)
def test_actions_that_m_cannot_take_are_refused(space: gym.Space[Any], words: str) -> None:
    class Odd(gym.Env[np.ndarray, Any]):
        observation_space = gym.spaces.Box(-1, 1, (1,))
        action_space = space

    refused(f"{type(space).__name__}-v0", Odd, words)


class Told(gym.Env[Any, Any]):
    """Shows and pays what it is told, in an observation space that it is given."""

    action_space = gym.spaces.Discrete(2)

    def __init__(self, space: gym.Space[Any], shows: Any, pays: float = 1.0):
        self.observation_space, self.shows, self.pays = space, shows, pays

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        return self.observation_space.sample(), {}

    def step(self, _: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.shows, self.pays, False, False, {}


LINE = gym.spaces.Box(-9, 9, (2,))
STILL = np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("space", "shows", "pays", "words"),
    [
        (LINE, np.array([0, np.nan], np.float32), 1.0, "only finite numbers can be learned"),
        (LINE, np.array([0, np.inf], np.float32), 1.0, "only finite numbers can be learned"),
        (LINE, np.zeros(2, np.float32), float("nan"), "pays nan: only finite numbers"),
        (LINE, np.zeros(3, np.float32), 1.0, "shows 3 numbers, its observation_space has 2"),
    ],
)
def test_what_cannot_be_learned_is_named_where_it_is_shown(
    space: gym.Space[Any], shows: Any, pays: float, words: str
) -> None:
    gym.register(id="Told-v0", entry_point=Told, kwargs=dict(space=space, shows=shows, pays=pays))
    try:
        env = Vectors("Told-v0")
        env.reset()
        with pytest.raises(ValueError, match=rf"Told-v0 .*{words}"):
            env.step(0)
    finally:
        gym.registry.pop("Told-v0")


class Failing(Told):
    """Fails as it is told to, in `reset` or in `step`."""

    def __init__(self, where: str, answer: Any):
        super().__init__(LINE, None)
        self.where, self.answer = where, answer

    def reset(self, **_: Any) -> Any:
        return self.answer if self.where == "reset" else super().reset()

    def step(self, _: Any) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("where", "answer", "words"),
    [
        ("reset", None, "step 0 of the game with seed 7: TypeError: cannot unpack"),
        ("reset", (np.array([0, np.nan]), {}), r"step 0 of the game with seed 7 shows .*nan"),
        ("step", (STILL, 1.0, False, {}), "step 1 of .* with seed 7: ValueError: not en"),
        ("step", (STILL, None, False, False, {}), "step 1 .*: TypeError: float"),
        ("step", (None, 1.0, False, False, {}), "step 1 of .* shows 1 numbers, its"),
        ("step", ("far", 1.0, False, False, {}), "step 1 of .*: ValueError: could not convert"),
        ("step", (STILL, np.inf, False, False, {}), "step 1 .* pays inf: only finite"),
    ],
    ids=str,
)
def test_what_an_environment_does_wrong_is_named_with_its_game_and_step(
    where: str, answer: Any, words: str
) -> None:
    gym.register(id="Odd-v0", entry_point=Failing, kwargs=dict(where=where, answer=answer))
    try:
        env = Vectors("Odd-v0")
        with pytest.raises((RuntimeError, ValueError), match=rf"Odd-v0 .*{words}"):
            env.reset(seed=7)
            env.step(0)
    finally:
        gym.registry.pop("Odd-v0")


def test_a_wrong_use_is_not_taken_for_a_fault_of_the_environment() -> None:
    with pytest.raises(gym.error.ResetNeeded):
        Vectors(SPRING).step(np.zeros(1, np.float32))


def test_a_single_number_is_an_observation() -> None:
    space = gym.spaces.Box(-1, 1, ())
    gym.register(id="Single-v0", entry_point=Told, kwargs=dict(space=space, shows=np.float32(0.5)))
    try:
        env = Vectors("Single-v0")
        env.reset()
        assert env.step(1)[0].tolist() == [0.5, pytest.approx(np.log(2))]
    finally:
        gym.registry.pop("Single-v0")


@pytest.mark.parametrize("reward", [np.float64(3), np.array([3]), np.array([[3.0]]), True + 2])
def test_a_reward_may_be_an_array_of_one_number(reward: Any) -> None:
    answer = (STILL, reward, False, False, {})
    gym.register(id="Paid-v0", entry_point=Failing, kwargs=dict(where="step", answer=answer))
    try:
        env = Vectors("Paid-v0")
        env.reset()
        assert env.step(0)[1] == 3.0
    finally:
        gym.registry.pop("Paid-v0")


def test_an_action_in_double_precision_is_within_its_ends() -> None:
    """0.1 in single precision is above 0.1 in double precision."""
    ends = gym.spaces.Box(-0.1, 0.1, (1,), np.float64)

    class Narrow(Told):
        action_space = ends

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            assert ends.contains(action)
            return super().step(action)

    gym.register(id="Narrow-v0", entry_point=partial(Narrow, space=LINE, shows=STILL))
    try:
        env = Vectors("Narrow-v0")
        env.reset()
        for end in (-0.1, 0.1):
            env.step(np.array([end], np.float32))
    finally:
        gym.registry.pop("Narrow-v0")


def test_a_limit_of_steps_may_be_given_as_to_gymnasium() -> None:
    assert games.get("Pendulum-v1(max_episode_steps=70)").max_steps == 70
    assert games.get("Pendulum-v1").max_steps == 200


def test_a_game_that_was_defined_again_is_the_new_one() -> None:
    """As in a notebook, where a class is mended and its cell is run again."""
    name = f"{__name__}:mended"
    for pays in (1.0, 7.0):
        globals()["mended"] = partial(Told, space=LINE, shows=STILL, pays=pays)
        turn = next(turns(name, [0], Random(games.get(name)), steps=1))
        assert turn.rewards.tolist() == [pays]


def test_a_game_that_can_be_made_once_alone_is_named() -> None:
    made: list[int] = []

    def single() -> gym.Env[Any, Any]:
        made.append(1)
        if len(made) > 1:
            raise KeyError("the robot is taken")
        return Told(space=LINE, shows=STILL)

    gym.register(id="Robot-v0", entry_point=single)
    try:
        assert games.get("Robot-v0").frame == (3,)
        with pytest.raises(RuntimeError, match=r"Robot-v0 cannot be made again \(KeyError"):
            Vectors("Robot-v0")
    finally:
        gym.registry.pop("Robot-v0")


def test_numbers_in_small_units_are_seen(tmp_path: Path) -> None:
    """Their spread is no less than a thousandth of that in games, whatever the units."""
    world = own_world()
    world.vision.deviation.copy_(torch.tensor([1e-7, 1e7, 1.0]))
    _, deviation = spread(world, "own", 1.0, 1.0)
    plain = own_world()
    plain.vision.deviation.fill_(1)
    torch.testing.assert_close(
        deviation, spread(plain, "own", 1.0, 1.0)[1] * torch.tensor([1e-7, 1e7]), rtol=1e-2, atol=0
    )


def test_an_environment_that_cannot_be_made_is_named_and_asked_again() -> None:
    def broken(**_: Any) -> gym.Env[Any, Any]:
        raise ZeroDivisionError("no wheels")

    gym.register(id="Broken-v0", entry_point=broken)
    try:
        with pytest.raises(ValueError, match="Broken-v0 cannot be made: ZeroDivisionError: no whe"):
            games.get("Broken-v0")
        gym.registry.pop("Broken-v0")
        gym.register(id="Broken-v0", entry_point=Told, kwargs=dict(space=LINE, shows=None))
        assert games.get("Broken-v0").frame == (3,)  # mended meanwhile
    finally:
        gym.registry.pop("Broken-v0")


def test_the_spread_of_observations_leaves_out_dreams_that_have_ended() -> None:
    """With a chance of 1 to end, only first observations count."""
    world = own_world("CartPole-v1", end=50.0)
    mean, deviation = spread(world, "own", 1.0, 1.0)
    first = world.observe(world.start(torch.arange(SAMPLE[0])), "own")
    torch.testing.assert_close(mean, first.mean(0))
    torch.testing.assert_close(deviation, first.std(0))


def test_a_frame_is_the_observation_and_the_squeezed_reward() -> None:
    ours, theirs = Vectors(SPRING), gym.make(SPRING)
    frame, _ = ours.reset(seed=3)
    seen, _ = theirs.reset(seed=3)
    assert frame.tolist() == [*seen.tolist(), 0.0]
    for _ in range(10):
        frame, pay, *_ = ours.step(np.array([1.5], np.float32))
        seen, reward, *_ = theirs.step(np.array([1.5], np.float32))
        assert pay == reward and frame[:-1].tolist() == seen.tolist()
        assert frame[-1] == pytest.approx(np.sign(reward) * np.log1p(abs(reward)))


def mission() -> gym.spaces.Dict:
    """A `Dict` with spaces that have no numbers, one of them of a kind that Gymnasium lacks."""

    class Words(gym.Space[str]):
        pass

    way = gym.spaces.Graph(gym.spaces.Discrete(2), None)
    return gym.spaces.Dict({"seen": gym.spaces.Discrete(2), "goal": Words(), "way": way})


@pytest.mark.parametrize(
    ("space", "odd"),
    [
        (mission(), r"of which \['goal'\] and \['way'\] cannot be .*wrappers.FilterObservation"),
        (
            gym.spaces.Tuple((gym.spaces.Discrete(2), mission()["goal"])),
            r"of which \[1\] cannot .*wrappers.TransformObservation",
        ),
        (
            gym.spaces.Dict({"all": gym.spaces.Tuple((gym.spaces.Discrete(2), mission()))}),
            r"of which \['all'\]\[1\]\['goal'\] and .* cannot .*wrappers.TransformObservation",
        ),
        (mission()["way"], r"\), which cannot be flattened to numbers: change it by a wrapper"),
    ],
    ids=["dict", "tuple", "nested", "graph"],
)
def test_the_part_that_cannot_be_flattened_is_named(space: gym.Space[Any], odd: str) -> None:
    class Odd(gym.Env[Any, Any]):
        observation_space = space
        action_space = gym.spaces.Discrete(2)

    refused(f"Shows{type(space).__name__}-v0", Odd, odd)


def test_what_shows_too_many_numbers_is_refused() -> None:
    class Wide(gym.Env[np.ndarray, Any]):
        observation_space = gym.spaces.Box(-1, 1, (84, 84))
        action_space = gym.spaces.Discrete(2)

    refused("Wide-v0", Wide, "shows 7,056 numbers: at most 1,000")


def test_whole_numbers_and_moves_from_another_start_reach_the_game() -> None:
    class Told(gym.Env[np.ndarray, Any]):
        observation_space = gym.spaces.Box(-9, 9, (1,))

        def __init__(self, space: gym.Space[Any]):
            self.action_space = space

        def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
            return np.zeros(1, np.float32), {}

        def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
            assert self.action_space.contains(action)
            return np.array([float(np.ravel(action)[0])], np.float32), 1, False, False, {}

    whole, shifted = gym.spaces.Box(0, 4, (1,), np.int64), gym.spaces.Discrete(3, start=5)
    for name, space, action, wanted in (
        ("Whole-v0", whole, np.array([2.9], np.float32), 3),
        ("Shifted-v0", shifted, 1, 6),
    ):
        gym.register(id=name, entry_point=Told, kwargs={"space": space})
        try:
            env = Vectors(name)
            env.reset()
            assert env.step(action)[0][0] == wanted
        finally:
            gym.registry.pop(name)


def test_a_choice_is_that_of_the_greatest_number() -> None:
    game = games.get("CartPole-v1")
    outputs = torch.tensor([[0.2, 0.1], [-1.0, 0.5]])
    assert actions.from_outputs(outputs, game).tolist() == [[1, 0], [0, 1]]
    assert actions.to_vectors([0, 1], game, continuous=False).tolist() == [[1, 0], [0, 1]]
    assert actions.to_vectors(outputs.numpy(), game, continuous=True).tolist() == [[1, 0], [0, 1]]
    keys = torch.arange(4000)
    assert actions.random(keys, keys * 0, game)[:, 0].mean() == pytest.approx(0.5, abs=0.03)


class Panel(gym.Env[np.ndarray, Any]):
    """Shows the action that it was given last, flattened, and pays the sum of its numbers."""

    observation_space = gym.spaces.Box(-9, 9, (3,))

    def __init__(self, bits: bool = False, start: int = 0):
        several = gym.spaces.MultiDiscrete([2, 4, 3], start=[start] * 3)
        self.action_space = gym.spaces.MultiBinary(3) if bits else several

    def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        return action.astype(np.float32), float(action.sum()), False, False, {}


PANEL = f"{__name__}:Panel"


@pytest.mark.parametrize(
    ("name", "parts", "space"),
    [
        (PANEL, (2, 4, 3), gym.spaces.MultiDiscrete([2, 4, 3])),
        (f"{PANEL}(bits=True)", (2, 2, 2), gym.spaces.MultiBinary(3)),
        (f"{PANEL}(start=5)", (2, 4, 3), gym.spaces.MultiDiscrete([2, 4, 3])),
    ],
)
def test_an_action_of_several_choices_reaches_m_and_the_game(
    name: str, parts: tuple[int, ...], space: gym.Space[Any], tmp_path: Path
) -> None:
    game, shift = games.get(name), 5 * ("start" in name)
    assert (game.name, game.choices, game.own.parts) == (name, parts, parts)
    assert actions.space(game, continuous=False) == space
    several = np.array([[1, 1, 0], [0, 1, 1]])
    vectors = actions.to_vectors(several, game, continuous=False)
    ends = np.cumsum((0, *parts))
    for row, chosen in zip(vectors, several, strict=True):
        assert [row[a:b].argmax() for a, b in pairwise(ends)] == chosen.tolist()
        assert row.sum() == 3
    assert actions.from_outputs(torch.from_numpy(vectors), game).tolist() == vectors.tolist()
    env = Vectors(name)
    env.reset()
    frame, pay, *_ = env.step(several[0])
    assert (
        frame[:3].tolist() == (several[0] + shift).tolist() and pay == several[0].sum() + 3 * shift
    )
    save_world(tmp_path, own_world(name))
    dream = gym.make("Dream-v0", world=str(tmp_path))
    assert dream.action_space == space
    dream.reset(seed=0)
    dream.step(dream.action_space.sample())
    many = gym.make_vec("Dream-v0", 4, world=str(tmp_path))
    many.reset(seed=0)
    many.step(many.action_space.sample())
    many.close()


@pytest.mark.parametrize(
    "action", [[0, 4, 0], [0, -1, 0], [0, 0], [0.0, 1.0, 0.0], 1, [[0, 0, 0]]], ids=str
)
def test_a_choice_that_there_is_not_is_named(action: Any) -> None:
    with pytest.raises(ValueError, match=r"expected 3 whole numbers, 0 to \[1, 3, 2\]"):
        actions.to_vectors([action], games.get(PANEL), continuous=False)


def test_random_choices_are_uniform_and_apart() -> None:
    game, keys = games.get(PANEL), torch.arange(6000)
    drawn = actions.random(keys, keys * 0, game)
    for part, most in zip(drawn.split(game.choices, dim=1), game.choices, strict=True):
        torch.testing.assert_close(part.mean(0), torch.full((most,), 1 / most), atol=0.03, rtol=0)
    both = (drawn[:, 0] * drawn[:, 2]).mean()  # the first of 2 and the first of 4
    assert both == pytest.approx(1 / 8, abs=0.02)


@pytest.mark.parametrize("bits", [False, True])
def test_an_agent_that_chooses_several_is_exported_and_plays(bits: bool, tmp_path: Path) -> None:
    save_world(tmp_path / "world", own_world(own.named(PANEL, {"bits": bits})))
    world = load_world(tmp_path / "world")
    dreams = DreamVecEnv("Dream-v0", 4, world=str(tmp_path / "world"))
    model = PPO("MlpPolicy", dreams, n_steps=8, batch_size=16, seed=1)
    model.learn(64)
    agent = exported(model, "own")
    save_agent(tmp_path / "agent.safetensors", agent, algo="ppo")
    seen = torch.randn(50, 3)
    wanted, _ = model.predict(seen.numpy(), deterministic=True)
    again = load_agent(tmp_path / "agent.safetensors")
    assert again.act(seen).tolist() == wanted.tolist()
    assert len({tuple(row) for row in wanted.tolist()}) > 1
    model.save(tmp_path / "policy.zip")
    (tmp_path / "policy.json").write_text('{"algo": "ppo"}')
    for file in ("agent.safetensors", "policy.zip"):
        policy = load(tmp_path / file, world, world.game)
        policy.begin(torch.arange(50))
        hot = policy.act(seen).numpy()
        assert [actions.to_choices(row, world.game).tolist() for row in hot] == wanted.tolist()
    save_world(tmp_path / "other", own_world(SPRING))
    for file in ("agent.safetensors", "policy.zip"):
        with pytest.raises(ValueError, match="sees"):
            load(tmp_path / file, load_world(tmp_path / "other"), games.get(SPRING))


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("LunarLander-v3", 4),
        ("LunarLander-v3(continuous=True)", 2),
        (f"{__name__}:long_pole(steps=70)", 2),
    ],
)
def test_a_game_may_have_arguments_and_be_made_by_a_function(name: str, ends: int) -> None:
    game = games.get(name)
    assert game.name == name and len(game.low) == ends
    assert own.game(own.read(json.loads(json.dumps(asdict(game.own))))).name == name
    env = Vectors(name)
    env.reset(seed=1)
    assert env.step(env.action_space.sample())[0].shape == game.frame
    assert game.max_steps == (70 if "steps" in name else 1000)


def long_pole(steps: int) -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1", max_episode_steps=steps)


def limited(steps: int) -> gym.Env[Any, Any]:
    """A game that gives itself a limit, of which no spec tells."""
    return gym.wrappers.TimeLimit(Panel(), steps)


def test_the_limit_of_a_game_is_found_in_its_wrappers() -> None:
    assert games.get(f"{__name__}:limited(steps=50)").max_steps == 50


def test_a_name_may_be_spelled_in_many_ways() -> None:
    game = games.get("LunarLander-v3( wind_power = 5.0,continuous=True)")
    assert game.name == "LunarLander-v3(continuous=True, wind_power=5.0)"
    assert games.get(game.name).own == game.own


def test_data_of_before_a_fact_existed_are_still_those_of_the_game() -> None:
    facts = games.get("CartPole-v1").own
    was = "Facts(id='CartPole-v1', numbers=4, moves=2, low=(), high=(), max_steps=500, fps=50)"
    assert facts.mark == was == replace(facts, rules="my:Rules").mark
    assert replace(facts, kwargs={"sutton_barto_reward": True}).mark != was


@pytest.mark.parametrize("game", [lambda: Panel(), partial(long_pole, 5)], ids=["lambda", "part"])
def test_a_function_without_a_name_of_its_own_is_named(game: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give a function with a name in its module"):
        dreamgym.learn(game, str(tmp_path))


def no_game() -> str:
    return "no game"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CartPole-v1(5)", "give each argument its name"),
        ("CartPole-v1(sutton=", "arguments that cannot be read"),
        ("CartPole-v1(sutton=open)", "arguments that cannot be read"),
        ("CartPole-v1(sutton={1})", "arguments that cannot be read"),
        ("CartPole-v1(speed=3)", "cannot be made: TypeError"),
        (f"{__name__}:no_game", "it returned 'no game', which is no gymnasium.Env"),
        (f"{__name__}:no_function", "unknown game"),
    ],
)
def test_arguments_and_functions_that_make_no_game_are_named(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        games.get(name)


def test_facts_of_an_older_dreamgym_are_read() -> None:
    facts = asdict(games.get("CartPole-v1").own)
    later = ("kwargs", "parts", "bits", "rules", "picture", "pixels")
    older = {key: value for key, value in facts.items() if key not in later}
    assert len(older) + len(later) == len(facts)
    assert own.read(older) == games.get("CartPole-v1").own
    for key in older:
        with pytest.raises(ValueError, match="a user's own game needs the keys"):
            own.read({name: value for name, value in older.items() if name != key})


def test_outputs_are_stretched_to_the_range_of_an_action() -> None:
    outputs = torch.tensor([[-1.0], [0.0], [0.5], [3.0]])
    assert actions.from_outputs(outputs, games.get(SPRING))[:, 0].tolist() == [-2, 0, 1, 2]


def hot() -> gym.Env[np.ndarray, Any]:
    """A spring of which an action lies between 15 and 30, as a temperature may."""
    return gym.wrappers.RescaleAction(gym.make(SPRING), np.float32(15), np.float32(30))


HOT = f"{__name__}:hot"


@pytest.mark.parametrize("form", ["auto", "torch"])
def test_m_takes_the_ends_of_an_action_as_minus_1_and_1(form: str) -> None:
    world = own_world(HOT).to("cpu", form=form)
    memory = MDNRNN(replace(world.memory.config, unit=False))
    memory.load_state_dict(world.memory.state_dict())
    plain = World(world.game, world.vision, memory, world.starts, form=form)
    assert world.memory.config.unit and world.game.middle == (22.5, 7.5)
    state, tau = world.start(torch.arange(5)), torch.ones(5, 1)
    action = torch.tensor([[15.0], [18.75], [22.5], [26.25], [30.0]])
    unit = torch.tensor([[-1.0], [-0.5], [0.0], [0.5], [1.0]])
    frames = torch.randn(5, *world.game.frame)
    for ours, theirs in (
        (world.step(state, action, tau)[0], plain.step(state, unit, tau)[0]),
        (world.follow(state, action, frames), plain.follow(state, unit, frames)),
        (
            world.advance(state.clone(), action.numpy(), tau)[0],
            plain.advance(state.clone(), unit.numpy(), tau)[0],
        ),
    ):
        for field in fields(ours):
            assert torch.equal(getattr(ours, field.name), getattr(theirs, field.name)), field.name
    assert torch.equal(world.foretell(state, action), plain.foretell(state, unit))


def test_latents_hold_actions_as_m_takes_them(tmp_path: Path) -> None:
    collect(Args(HOT, 3), tmp_path / "data", InProcess(), progress=False)
    v = Standard(StandardConfig(*games.get(HOT).frame))
    latents = encode(games.get(HOT), [tmp_path / "data"], tmp_path / "run", v, progress=False)
    episodes = [Episode.load(path) for path in episode_paths(tmp_path / "data")]
    wanted = [np.append((each.actions[:-1] - 22.5) / 7.5, [[0]], axis=0) for each in episodes]
    np.testing.assert_allclose(latents.action.numpy(), np.concatenate(wanted))
    assert latents.action.abs().max() <= 1


def test_an_agent_acts_in_the_whole_range_of_an_action(tmp_path: Path) -> None:
    """Also at first, where Stable-Baselines3's own policy would act at the lowest end alone."""
    save_world(tmp_path / "world", own_world(HOT))
    dreams = DreamVecEnv("Dream-v0", 64, world=str(tmp_path / "world"))
    model = PPO(UnitPolicy, dreams, n_steps=16, batch_size=512, n_epochs=1)
    actions: list[np.ndarray] = []
    step = dreams.step_async
    dreams.step_async = lambda given: (actions.append(given.copy()), step(given))[1]  # type: ignore
    model.learn(1024)
    drawn = np.concatenate(actions)
    assert drawn.min() == 15 and drawn.max() == 30
    assert 0.5 < ((drawn > 18.75) & (drawn < 26.25)).mean() / 0.383 < 1.5  # of a standard normal
    with torch.no_grad():
        model.policy.action_net.bias += 0.4
    agent = exported(model, "own")
    assert agent.config.acts == "unit"
    model.save(tmp_path / "policy.zip")
    seen = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    chosen = PPO.load(tmp_path / "policy.zip").predict(seen, deterministic=True)[0]
    np.testing.assert_allclose(agent.predict(seen)[0], chosen, rtol=1e-5)
    assert 22.5 < chosen.mean() < 30


def test_a_game_without_moves_refuses_discrete_actions(folder: str) -> None:
    with pytest.raises(ValueError, match="continuous is False"):
        gym.make("Dream-v0", world=folder, continuous=False)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_the_dream_is_an_environment_with_the_game_s_own_observation(folder: str) -> None:
    env = gym.make("Dream-v0", world=folder)
    check_env(env.unwrapped, skip_render_check=True)
    assert env.observation_space.shape == (2,)
    assert env.action_space == gym.spaces.Box(-2.0, 2.0, (1,))
    env.reset(seed=1)
    for step in range(1, LIMIT + 1):
        _, reward, terminated, truncated, _ = env.step(np.array([0.3], np.float32))
        vision, z = env.unwrapped.world.vision, env.unwrapped._state.z
        assert reward == pytest.approx(float(vision.reward(z, torch.tensor([False]))[0]))
        assert not terminated and truncated == (step == LIMIT)


def test_a_lane_is_the_single_dream_bit_for_bit(folder: str) -> None:
    many, one = gym.make_vec("Dream-v0", 5, world=folder), gym.make("Dream-v0", world=folder)
    seen, _ = many.reset(seed=10)
    first, _ = one.reset(seed=13)
    assert seen[3].tolist() == first.tolist()
    for step in range(20):
        action = np.full((5, 1), np.sin(step), np.float32)
        seen, rewards, *_ = many.step(action)
        alone, reward, *_ = one.step(action[3])
        assert seen[3].tolist() == alone.tolist() and rewards[3] == reward


@pytest.mark.parametrize("id", [SPRING, "CartPole-v1"])
def test_the_compiled_step_is_pytorch_s(id: str) -> None:
    """M foretells the change of z here, which both add to z."""
    world = own_world(id, end=-1.0)
    plain = world.to("cpu", form="torch")
    state, tau = world.start(torch.arange(100)), torch.full((100, 1), 0.8)
    for _ in range(3):
        action = actions.random(state.key, state.step, world.game)
        wanted, pay, dead = plain.step(state, action, tau)
        before = state.z.clone()
        state, reward, over = world.step(state, action, tau)
        for field in fields(state):
            torch.testing.assert_close(
                getattr(state, field.name), getattr(wanted, field.name), atol=1e-4, rtol=1e-4
            )
        torch.testing.assert_close(reward, pay, atol=1e-3, rtol=1e-3)
        assert torch.equal(over, dead) and 0 < over.float().mean() < 1
        assert not torch.equal(before, state.z)


def test_a_memory_that_foretells_no_change_keeps_the_first_numbers_of_z() -> None:
    config = MemoryConfig(z_size=4, action_size=1, hidden=8, residual=3)
    memory = MDNRNN(config)
    with torch.no_grad():
        memory.head.weight.zero_()
        memory.head.bias.zero_()
    z = torch.randn(3, 4)
    mean = memory.predict(torch.randn(3, 8), z).mean  # (3, K, 4)
    assert torch.equal(mean[..., :3], z[:, None, :3].expand(3, 5, 3))
    assert not mean[..., 3].any()


def test_large_numbers_survive_the_disk(tmp_path: Path) -> None:
    world = own_world()
    world.vision.mean[0] = 1e6 + 1
    save_world(tmp_path, world)
    again = load_world(tmp_path)
    assert again.vision.mean.tolist() == world.vision.mean.tolist()
    assert torch.equal(again.starts[0], world.starts[0])
    assert again.game.own == world.game.own


def test_a_dream_needs_no_game(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(games, "get", lambda name: pytest.fail(f"asked for {name}"))
    path = Path(folder) / "config.json"
    path.write_text(path.read_text().replace(SPRING, "Gone-v0"))
    env = gym.make("Dream-v0", world=folder)
    env.reset(seed=0)
    assert env.unwrapped.world.game.name == "Gone-v0"


def refuse_facts(folder: str, change: dict[str, Any]) -> None:
    """See that a world is refused if some of its game's facts are changed."""
    path = Path(folder) / "config.json"
    config = json.loads(path.read_text())
    config["own"] |= change
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_world(folder)


@pytest.mark.parametrize(
    "change",
    [{"low": [1e400]}, {"moves": 2}, {"max_steps": 0}, {"id": ""}, {"numbers": 7}, {"more": 1}],
    ids=str,
)
def test_damaged_facts_are_refused(folder: str, change: dict[str, Any]) -> None:
    refuse_facts(folder, change)


def test_the_twin_shows_what_the_game_shows(folder: str) -> None:
    """But for V's noise, a three hundredth of a standard deviation."""
    real, game = gym.make("Latent-v0", world=folder), gym.make(SPRING)
    seen, _ = real.reset(seed=5)
    shown, _ = game.reset(seed=5)
    deviation = np.array([0.5, 1.25])  # as `own_world` sets them
    for step in range(1, LIMIT + 1):
        assert np.abs((seen - shown) / deviation).max() < 0.02
        action = np.array([np.cos(step)], np.float32)
        seen, reward, terminated, truncated, _ = real.step(action)
        shown, pay, over, cut, _ = game.step(action)
        assert (reward, terminated, truncated) == (pay, over, cut)
    assert cut


def test_a_batch_of_twins_is_the_twins(folder: str) -> None:
    many, one = DreamVecEnv("Latent-v0", 3, world=folder), gym.make("Latent-v0", world=folder)
    many.seed(4)
    seen = many.reset()
    alone, _ = one.reset(seed=5)
    for _ in range(LIMIT - 1):
        assert seen[1].tolist() == alone.tolist()
        seen, *_ = many.step(np.full((3, 1), 0.5, np.float32))
        alone, *_ = one.step(np.array([0.5], np.float32))
    _, _, dones, infos = many.step(np.full((3, 1), 0.5, np.float32))
    last, *_ = one.step(np.array([0.5], np.float32))
    assert dones.all() and infos[1]["terminal_observation"].tolist() == last.tolist()
    many.close()


def test_the_generic_ids_know_the_shipped_worlds() -> None:
    env = gym.make("Dream-v0", world="doom")
    assert env.observation_space == gym.make("DreamDoom-v0").observation_space


def test_pictures_of_vectors_are_refused(folder: str) -> None:
    with pytest.raises(ValueError, match="observation is 'rgb'"):
        gym.make("Dream-v0", world=folder, observation="rgb")
    with pytest.raises(ValueError, match="observation is 'own'"):
        gym.make("Dream-v0", world="doom", observation="own")


@pytest.mark.parametrize("made", [gym.make, gym.make_vec])
def test_a_dream_of_numbers_has_no_picture(folder: str, made: Any) -> None:
    with pytest.raises(ValueError, match="its dreams have no pictures"):
        made("Dream-v0", world=folder, render_mode="rgb_array")


@pytest.mark.parametrize("command", ["export-web", "bench", "play", "film"])
def test_a_command_that_draws_refuses_numbers(
    folder: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--world", folder]) == 2
    assert "its dreams have no pictures" in capsys.readouterr().err

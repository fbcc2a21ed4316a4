"""Rules that the author of a game wrote: its dreams pay and end by them exactly."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from dreamgym.checkpoint import CheckpointError, load_world, save_world
from dreamgym.envs import actions
from dreamgym.games import own
from dreamgym.games.rules import Known, Learned, ended, paid
from dreamgym.models.standard import unsqueezed
from dreamgym.world import World
from tests.envs.spring import SpringRules
from tests.envs.test_own import SPRING, own_world

HERE = "tests.envs.test_known"


class Pays(Known):
    """Knows what a step pays, by all that it is shown, and not the end."""

    def reward(self, before: Any, action: Any, after: Any) -> np.ndarray:
        return before[:, 0] + 10 * action[:, -1] + 100 * after[:, 1]


class Ends(Known):
    """Knows the end alone."""

    def over(self, before: Any, action: Any, after: Any) -> np.ndarray:
        return after[:, 0] > 1.5


class Silent(Known):
    """Says nothing."""


def ruled(rules: str, id: str = SPRING, end: float = -50.0) -> World:
    """A random world whose game has rules, and whose M ends dreams with chance sigmoid(`end`)."""
    world = own_world(id, end)
    game = own.game(replace(world.game.own, rules=rules))
    return World(game, world.vision, world.memory, world.starts)


def saved(path: Path, *given: Any) -> str:
    save_world(path, ruled(*given))
    return str(path)


@pytest.mark.parametrize("form", ["auto", "torch"])
@pytest.mark.parametrize("id", [SPRING, "CartPole-v1"])
def test_a_dream_pays_what_the_rules_say_of_what_it_shows(
    tmp_path: Path, id: str, form: str
) -> None:
    folder = saved(tmp_path / "world", f"{HERE}:Pays", id)
    env, rules = gym.make("Dream-v0", world=folder, form=form), Pays()
    seen, _ = env.reset(seed=3)
    for step in range(30):
        env.action_space.seed(step)
        action = env.action_space.sample()
        taken = actions.to_vectors([action], env.unwrapped.world.game, id == SPRING)
        before, (seen, reward, *_) = seen, env.step(action)
        assert reward == rules.reward(before[None], taken, seen[None])[0]


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize("form", ["auto", "torch"])
@pytest.mark.parametrize("rules", ["", f"{HERE}:Ends"])
def test_a_step_that_ends_the_game_pays_what_m_foretells_for_an_end(
    rules: str, form: str, arrays: bool
) -> None:
    """By `step`, and by `advance`, which writes over the state."""
    world = ruled(rules, SPRING, 0.0)
    with torch.no_grad():  # M foretells 1 if the game goes on, and -4 if it ends
        world.memory.head.weight.zero_()
        parts = world.memory.head.bias[:-1].view(3, world.memory.config.mixtures, -1)
        parts[1, :, -2], parts[1, :, -1], parts[2, :, -2:] = 1.0, -4.0, -40.0
    game, vision = world.game, world.vision
    world = World(game, vision, world.memory, world.starts, form=form)
    state, ends = world.start(torch.arange(200)), 0
    for step in range(10):
        action, tau = torch.full((200, 1), math.sin(step)), torch.ones(200, 1)
        if arrays:
            state, *told = world.advance(state, action.numpy(), tau)
            pays, dead = map(torch.from_numpy, told)
        else:
            state, pays, dead = world.step(state, action, tau)
        spread, middle = vision.deviation[-1], vision.mean[-1]
        on, over = (unsqueezed(value * spread + middle) for value in torch.tensor([[1.0], [-4.0]]))
        torch.testing.assert_close(pays, torch.where(dead, over, on))
        assert not state.z[:, -1].any()  # the game shows nothing there
        ends += int(dead.sum())
    assert 0 < ends < 2000


@pytest.mark.parametrize("end", [-50.0, 50.0])
def test_a_dream_ends_by_the_rules_and_not_by_m_s_chance(tmp_path: Path, end: float) -> None:
    folder, ended = saved(tmp_path / "world", f"{HERE}:Ends", SPRING, end), 0
    envs = gym.make_vec("Dream-v0", 50, world=folder, autoreset_mode="Disabled")
    seen, _ = envs.reset(seed=0)
    over = np.zeros(50, bool)
    for step in range(20):
        action = np.full((50, 1), np.sin(step), np.float32)
        seen, _, terminated, *_ = envs.step(action)
        assert terminated.tolist() == (seen[:, 0] > 1.5).tolist()
        over, ended = terminated, ended + int(terminated.sum())
        envs.reset(options={"reset_mask": over}) if over.any() else None
    assert 0 < ended < 1000


def test_a_lane_is_the_single_dream_bit_for_bit(tmp_path: Path) -> None:
    folder = saved(tmp_path / "world", "tests.envs.spring:SpringRules")
    many, one = gym.make_vec("Dream-v0", 5, world=folder), gym.make("Dream-v0", world=folder)
    many.reset(seed=10)
    one.reset(seed=13)
    for step in range(20):
        action = np.full((5, 1), np.sin(step), np.float32)
        seen, rewards, terminated, *_ = many.step(action)
        alone, reward, over, *_ = one.step(action[3])
        assert (rewards[3], terminated[3]) == (reward, over)
        if over:
            break
        assert seen[3].tolist() == alone.tolist()


@pytest.mark.parametrize("form", ["auto", "torch"])
def test_step_and_advance_follow_the_same_rules(form: str) -> None:
    world, rules = ruled(f"{HERE}:Pays").to("cpu", form=form), Pays()
    state, tau = world.start(torch.arange(70)), torch.ones(70, 1)
    for _ in range(3):
        action = actions.random(state.key, state.step, world.game)
        before, same = world.show(state, "own"), state.clone()
        state, paid, dead = world.step(state, action, tau)
        wanted = rules.reward(before, action.numpy(), world.show(state, "own"))
        assert paid.dtype is torch.float32 and paid.tolist() == wanted.tolist()
        _, pay, over = world.advance(same, action.numpy(), tau)
        assert pay.dtype == np.float32 and pay.tolist() == paid.tolist()
        assert over.tolist() == dead.tolist() and over.dtype == bool


@pytest.mark.slow
def test_the_compiled_form_follows_them_too() -> None:
    world, rules = ruled("tests.envs.spring:SpringRules").to("cpu", form="compiled"), SpringRules()
    state, tau = world.start(torch.arange(9)), torch.ones(9, 1)
    for _ in range(3):
        action = actions.random(state.key, state.step, world.game)
        given = world.show(state, "own"), action.numpy()
        state, paid, dead = world.step(state, action, tau)
        shown = *given, world.show(state, "own")
        assert paid.tolist() == rules.reward(*shown).tolist()
        assert dead.tolist() == rules.over(*shown).tolist()


def test_actions_that_carry_gradients_can_be_taken() -> None:
    world = ruled(f"{HERE}:Pays").to("cpu", form="torch")
    action = torch.ones(2, 1, requires_grad=True)
    _, paid, _ = world.step(world.start(torch.arange(2)), action, torch.ones(2, 1))
    assert not paid.requires_grad


def test_the_rules_survive_the_disk_and_a_pickle(tmp_path: Path) -> None:
    name = "tests.envs.spring:SpringRules"
    world = load_world(saved(tmp_path, name))
    assert world.game.own.rules == name
    for each in (world, world.to("cpu"), pickle.loads(pickle.dumps(world))):
        assert isinstance(each.known, SpringRules)


def test_a_world_of_before_there_were_rules_is_read(tmp_path: Path) -> None:
    save_world(tmp_path, own_world())
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    assert config["own"].pop("rules") == ""
    path.write_text(json.dumps(config))
    world = load_world(tmp_path)
    assert world.known is None and world.game.rules == Learned()


def test_data_of_a_game_do_not_depend_on_its_rules() -> None:
    facts = own_world().game.own
    assert repr(replace(facts, rules=f"{HERE}:Pays")) == repr(facts)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (
            "gone_games:Mine",
            "gone_games:Mine cannot be imported .*folder of the module gone",
        ),
        (f"{HERE}:Gone", "has no attribute 'Gone'"),
        (f"{HERE}:SPRING", "derive it from dreamgym.games.rules.Known"),
        (f"{HERE}:Learned", "derive it from dreamgym.games.rules.Known"),
        (f"{HERE}:Silent", "says nothing: write its method reward, or over, or both"),
        ("Mine", "'Mine': give module:Class, such as my_games:MyRules"),
        (7, "not valid"),
    ],
    ids=str,
)
def test_a_dream_whose_rules_cannot_be_had_says_what_to_do(
    tmp_path: Path, rules: Any, words: str
) -> None:
    save_world(tmp_path, own_world())
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["own"]["rules"] = rules
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{words}"):
        gym.make("Dream-v0", world=str(tmp_path))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (np.zeros((3, 1)), r"Odd.reward returned float64 \(3, 1\) for 3 steps: return numbers \(3"),
        (1.0, r"returned float64 \(\) for 3 steps"),
        (None, r"returned object \(\) for 3 steps"),
        (
            np.array([0, np.nan, 1]),
            r"returned nan for \[0.0, 1.0\], \[0.0\], \[0.0, 1.0\]: ",
        ),
        (ZeroDivisionError("no mass"), "Odd.reward failed: ZeroDivisionError: no mass"),
    ],
    ids=str,
)
def test_rules_that_say_something_else_than_rewards_are_named(said: Any, words: str) -> None:
    class Odd(Known):
        def reward(self, before: Any, action: Any, after: Any) -> Any:
            if isinstance(said, Exception):
                raise said
            return said

    shown = np.tile(np.float32([0, 1]), (3, 1))
    with pytest.raises(ValueError, match=words):
        paid(Odd(), shown, shown[:, :1], shown, np.zeros(3))


def test_ends_are_true_or_false() -> None:
    class Odd(Known):
        def over(self, before: Any, action: Any, after: Any) -> Any:
            return after[:, 0]

    shown = np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match=r"Odd.over returned float32 \(3,\).*return bool \(3,\)"):
        ended(Odd(), shown, shown, shown, np.zeros(3, bool))


def test_an_end_that_the_author_keeps_is_not_written_to() -> None:
    class Never(Known):
        def over(self, before: Any, action: Any, after: Any) -> Any:
            return np.broadcast_to(np.False_, len(before))

    shown = np.zeros((3, 2), np.float32)
    over = ended(Never(), shown, shown, shown, np.ones(3, bool))
    over[0] = True
    assert over.tolist() == [True, False, False]


def test_rules_cannot_change_what_they_are_shown() -> None:
    class Careless(Known):
        def reward(self, before: Any, action: Any, after: Any) -> Any:
            action *= 2
            return action[:, 0]

    shown = np.ones((3, 2), np.float32)
    with pytest.raises(ValueError, match=r"Careless.reward failed: .*read-only"):
        paid(Careless(), shown, shown, shown, np.zeros(3))
    shown += 1
    assert (shown == 2).all()  # ours can still be written to

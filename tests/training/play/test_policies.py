"""Who plays: each game is played by its seed alone, and as the game's own words have it."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from dreamgym import noise
from dreamgym.checkpoint import load_controller
from dreamgym.envs import actions
from dreamgym.games import Game
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.doom import GAME as DOOM
from dreamgym.models.controller import Controller
from dreamgym.training.play.policies import (
    Controlled,
    Distracted,
    Exploring,
    Policy,
    Random,
    Reference,
    controller_config,
    find,
    load,
    refer,
)
from tests.conftest import tiny_world

NOTHING = torch.empty(1, 0)

HOLD = 10


def standing(game: Game = CAR_RACING) -> Controlled:
    """A controller whose outputs are all 0."""
    config = controller_config(tiny_world(game=game, hit=(-3.0,) * len(game.rules.heads)))
    return Controlled(Controller(config, torch.zeros(config.parameters)), game)


def steering(policy: Policy, seeds: list[int], steps: int) -> np.ndarray:
    """Return how games of CarRacing are steered, (steps, N), when C's outputs are all 0."""
    seen = torch.zeros(len(seeds), standing().controller.config.inputs)
    policy.begin(torch.tensor(seeds))
    return torch.stack([policy.act(seen)[:, 0] for _ in range(steps)]).numpy()


def test_distractions_come_now_and_then_and_are_held() -> None:
    steered = steering(Distracted(standing(), CAR_RACING, 0.05, HOLD), [0], 20_000)[:, 0]
    holds = [len(list(same)) for value, same in groupby(steered) if 0 < abs(value) < 1]
    assert max(holds) == HOLD == 10 and min(holds) == 1
    # One lasts 5.5 steps on average, and the wait for one 20 (less the step that it begins on).
    assert np.mean(steered != 0) == pytest.approx(5.5 / (5.5 + 19), abs=0.03)


def test_who_is_never_distracted_plays_as_ever(folder: Path) -> None:
    seen = torch.randn(50, load_controller(folder).config.inputs)
    alone = Controlled(load_controller(folder), DOOM)
    never = Distracted(Controlled(load_controller(folder), DOOM), DOOM, 0.0, HOLD)
    for policy in (alone, never):
        policy.begin(torch.arange(50))
    assert never.observation == alone.observation == "zhc"
    assert torch.equal(never.act(seen), alone.act(seen))


def test_a_distraction_is_a_function_of_its_game_alone() -> None:
    def distractions(seeds: list[int], row: int) -> list[float]:
        return steering(Distracted(standing(), CAR_RACING, 0.3, HOLD), seeds, 300)[:, row].tolist()

    assert distractions([7, 8], 0) == distractions([7], 0)
    assert distractions([7, 8], 1) == distractions([8], 0) != distractions([7], 0)
    drawn = np.array(distractions([7], 0))
    assert -1 <= drawn.min() < -0.5 and 0.5 < drawn.max() <= 1


def test_distractions_are_drawn_from_a_stream_of_the_game_s_own() -> None:
    """A data set is a function of its seeds."""
    rng, wanted = np.random.default_rng([7, 2]), []
    while len(wanted) < 200:
        if rng.random() < 0.3:
            left = rng.integers(1, HOLD + 1)
            drawn = rng.uniform(-1, 1, size=3)[0]
            wanted += [np.float32(np.sign(drawn) if rng.random() < 0.5 else drawn)] * left
        else:
            wanted.append(np.float32(0))
    steered = steering(Distracted(standing(), CAR_RACING, 0.3, HOLD), [7], 200)[:, 0]
    assert steered.tolist() == wanted[:200]


@pytest.mark.parametrize("game", [DOOM, CAR_RACING])
@pytest.mark.parametrize("kind", ["random", "explore", "distracted"])
def test_players_that_draw_lose_no_step_when_others_end(kind: str, game: Game) -> None:
    def player() -> Policy:
        if kind == "distracted":
            return Distracted(standing(game), game, 0.3, HOLD)
        return load(kind, None, game)

    two, one = player(), player()
    two.begin(torch.tensor([3, 9]))
    one.begin(torch.tensor([9]))
    seen, steps = torch.zeros(2, standing(game).controller.config.inputs), []
    for step in range(60):
        mine, alone = two.act(seen[: 1 + (step <= 20)])[-1], one.act(seen[:1])[0]
        steps.append((mine.tolist(), alone.tolist()))
        if step == 20:
            two.keep(torch.tensor([False, True]))
        one.keep(torch.tensor([True]))
    assert all(mine == alone for mine, alone in steps)
    assert len({tuple(mine) for mine, _ in steps}) > 2


def test_a_game_that_is_kept_is_distracted_on() -> None:
    """Its draws and what holds it stay its own when others end."""
    whole = steering(Distracted(standing(), CAR_RACING, 0.3, HOLD), [3, 9], 60)
    policy = Distracted(standing(), CAR_RACING, 0.3, HOLD)
    begun = steering(policy, [3, 9], 20)
    policy.keep(torch.tensor([False, True]))
    seen = torch.zeros(1, standing().controller.config.inputs)
    rest = [float(policy.act(seen)[0, 0]) for _ in range(40)]
    assert [*begun[:, 1], *rest] == whole[:, 1].tolist()


def test_random_play_is_that_of_the_seed_s_first_dream() -> None:
    seeds = torch.tensor([3, 1, 4])
    key, policy = noise.key(seeds, torch.zeros_like(seeds)), Random(CAR_RACING)
    policy.begin(seeds)
    for step in range(3):
        wanted = actions.random(key, torch.full_like(seeds, step), CAR_RACING)
        assert torch.equal(policy.act(NOTHING), wanted)


def test_exploring_is_the_same_game_for_the_same_seed_as_ever() -> None:
    """A data set is a function of its seeds, and the game's own play of a stream of its own."""
    doom, car = Exploring(DOOM), Exploring(CAR_RACING)
    for policy in (doom, car):
        policy.begin(torch.tensor([5]))
    rng = np.random.default_rng([5, 1])
    hold, first = rng.integers(1, HOLD + 1), np.float32(rng.uniform(-1, 1))
    held = [doom.plays[0]().item() for _ in range(hold)]
    assert held == [first] * hold != [doom.plays[0]().item()] * hold
    rng = np.random.default_rng([5, 1])
    scale = rng.uniform(0, 0.01)
    weights, bias = scale * rng.standard_cauchy((3, 32)), scale * rng.standard_cauchy(3)
    for _ in range(2):
        steering, gas, brake = np.tanh(weights @ rng.standard_normal(32) + bias)
        wanted = [steering, (gas + 1) / 2, max(brake, 0)]
        assert car.act(NOTHING)[0].tolist() == pytest.approx(wanted, rel=1e-6)


def test_exploring_gives_whole_moves_where_the_game_has_no_others() -> None:
    policy, many = Exploring(DOOM), 3000
    policy.begin(torch.arange(many))
    moves = policy.act(NOTHING)[:, 0]
    for move in (-1.0, 0.0, 1.0):
        assert float((moves == move).float().mean()) == pytest.approx(1 / 3, abs=0.035)


def test_a_controller_acts_on_what_it_is_shown(car_folder: Path) -> None:
    world = tiny_world(game=CAR_RACING, hit=(-1.0, -4.0, -9.0))
    state, controller = world.start(torch.arange(30)), load_controller(car_folder)
    seen = world.observe(state, "zh")
    said, policy = controller.act(seen), Controlled(controller, CAR_RACING)
    policy.begin(torch.arange(30))
    assert policy.observation == "zh"
    chosen = policy.act(seen)
    torch.testing.assert_close(chosen[:, 0], said[:, 0])
    torch.testing.assert_close(chosen[:, 1], (said[:, 1] + 1) / 2)
    torch.testing.assert_close(chosen[:, 2], said[:, 2].clamp(0, 1))


def test_a_controller_plays_as_many_games_again_when_it_begins_anew() -> None:
    """Rows that are over are forgotten for these games alone."""
    config = controller_config(tiny_world())
    weights = torch.randn(3, config.parameters)
    policy, seen = Controlled(Controller(config, weights), DOOM), torch.randn(3, config.inputs)
    policy.begin(torch.arange(3))
    first = policy.act(seen)
    policy.keep(torch.tensor([True, False, True]))
    assert torch.equal(policy.act(seen[::2]), first[::2])
    policy.begin(torch.arange(3))
    assert torch.equal(policy.act(seen), first)


def test_a_policy_is_found_by_its_name_its_folder_or_its_file(tmp_path: Path) -> None:
    own, other = tmp_path / "world", tmp_path / "other"
    other.mkdir()
    assert find("shipped", own) == str(own)  # no folder yet: who loads it says so
    own.mkdir()
    assert find("shipped", own) == str(own / "controller.safetensors")
    assert find(str(other), own) == str(other / "controller.safetensors")
    assert find(str(other / "agent.zip"), own) == str(other / "agent.zip")
    assert [find(blind, own) for blind in ("random", "explore")] == ["random", "explore"]


@pytest.mark.parametrize(("name", "kind"), [("random", Random), ("explore", Exploring)])
def test_who_looks_at_nothing_is_known_by_a_name(name: str, kind: type) -> None:
    assert refer(name) == Reference(name)
    policy = refer(name).load(None, DOOM)
    assert type(policy) is kind and policy.observation == ""

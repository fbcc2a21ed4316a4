"""What a dream, a game and a result say is the sum, the mean and the order of what happened."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dreamgym.checkpoint import load_controller, read_json, write_json
from dreamgym.models.controller import Controller
from dreamgym.tasks import CAR_RACING
from dreamgym.training import evaluate
from dreamgym.training.evaluate import choice, controller_config, dream, result
from tests.conftest import tiny_world

SEEDS = torch.arange(30)


def test_a_dream_of_survival_pays_its_length_up_to_the_limit() -> None:
    safe, deadly = tiny_world(hit=-50.0), tiny_world(hit=-1.5)
    returns, lengths = dream(safe, None, SEEDS, 1.0, 1.0, limit=17)
    assert returns.tolist() == [17.0] * 30 and lengths.tolist() == [17] * 30
    returns, lengths = dream(deadly, None, SEEDS, 1.0, 1.0, limit=2000)
    assert torch.equal(returns, lengths.float())
    assert 1 <= lengths.min() < lengths.max() < 2000
    assert dream(safe, None, SEEDS[:2], 1.0, 1.0)[1].tolist() == [2100, 2100]  # the game's own


def test_a_dream_of_a_lap_pays_what_its_steps_pay() -> None:
    world = tiny_world(hit=(-50.0, -50.0, 50.0), task=CAR_RACING)  # a fall at once
    assert dream(world, None, SEEDS, 1.0, 1.0)[0].tolist() == [-100.0] * 30
    world = tiny_world(hit=(50.0, -50.0, -50.0), task=CAR_RACING)  # 100 tiles, one a step
    returns, lengths = dream(world, None, SEEDS, 1.0, 1.0)
    assert lengths.tolist() == [100] * 30
    assert returns.tolist() == pytest.approx([100 * (1000 / 100 - 0.1)] * 30, rel=1e-4)


def test_each_dream_has_its_own_weights_seed_and_temperature() -> None:
    world = tiny_world(hit=-2.0)
    config = controller_config(world)
    torch.manual_seed(0)
    weights = torch.randn(30, config.parameters)
    whole, _ = dream(world, Controller(config, weights), SEEDS, 0.5, 2.0)
    mixed = torch.randperm(30)
    again, _ = dream(world, Controller(config, weights[mixed]), SEEDS[mixed], 0.5, 2.0)
    assert torch.equal(again, whole[mixed])


def test_a_dream_keeps_the_temperature_that_it_drew() -> None:
    world, drawn = tiny_world(hit=-1.0), {}
    step = world.step

    def steps(state, action, temperature):  # type: ignore[no-untyped-def]
        for key, tau in zip(state.key.tolist(), temperature[:, 0].tolist(), strict=True):
            assert drawn.setdefault(key, tau) == tau
        return step(state, action, temperature)

    world.step = steps  # type: ignore[method-assign]
    dream(world, None, torch.arange(400), 0.5, 2.5)
    taus = torch.tensor(list(drawn.values()))
    assert len(taus) == len(set(drawn.values())) == 400
    assert 0.5 <= taus.min() < 0.55 and 2.45 < taus.max() <= 2.5
    assert float(taus.mean()) == pytest.approx(1.5, abs=4 * 2 / 12**0.5 / 20)


def test_a_controller_acts_on_what_it_is_shown(folder: Path, car_folder: Path) -> None:
    world = tiny_world(task=CAR_RACING, hit=(-1.0, -4.0, -9.0))
    state, policy = world.start(SEEDS), load_controller(car_folder)
    said = policy.act(world.observe(state, "zh"))
    told = choice(policy, world, state)
    torch.testing.assert_close(told[:, 0], said[:, 0])
    torch.testing.assert_close(told[:, 1], (said[:, 1] + 1) / 2)
    torch.testing.assert_close(told[:, 2], said[:, 2].clamp(0, 1))


def test_games_side_by_side_are_added_up_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three games of 3, 1 and 2 steps that pay 10, 200 and 3,000 a step and one more each time."""

    def turns(task, seeds, player, *rest):  # type: ignore[no-untyped-def]
        for games, rewards in (
            ([0, 1, 2], [10, 200, 3000]), ([0, 2], [11, 3001]), ([0], [12]),
        ):  # fmt: skip
            yield SimpleNamespace(games=np.array(games), rewards=np.array(rewards))

    monkeypatch.setattr(evaluate, "turns", turns)
    games = evaluate.play(evaluate._Games("doom", "", "random", (7, 5, 6), ("", "")))
    assert games == [
        {"seed": 7, "return": 33.0, "length": 3},
        {"seed": 5, "return": 200.0, "length": 1},
        {"seed": 6, "return": 6001.0, "length": 2},
    ]


def backwards(function, jobs, *_, **__):  # type: ignore[no-untyped-def]
    """Workers that answer the last job first."""
    yield from reversed([(number, function(job)) for number, job in enumerate(jobs)])


def known(job) -> list[dict]:  # type: ignore[no-untyped-def]
    """A game pays its seed and the player's first weight, and lasts two frames."""
    weight = 0.0
    if job.weights is not None:
        weight = float(np.frombuffer(job.weights, np.float32)[0])
    return [{"seed": seed, "return": seed + weight, "length": 2} for seed in job.seeds]


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate.workers, "run", backwards)
    monkeypatch.setattr(evaluate, "play", known)


def test_real_games_come_in_the_order_of_their_seeds(workers: None, folder: Path) -> None:
    for seeds in (range(5, 5 + 37), [3, 1, 2], range(10), range(11)):
        games = evaluate.real("doom", folder, "random", seeds, progress=False)
        assert [game["seed"] for game in games] == list(seeds)


def test_a_tournament_has_a_row_for_each_controller(workers: None, folder: Path) -> None:
    config = controller_config(tiny_world())
    players = [Controller(config, torch.full((config.parameters,), w)) for w in (100.0, 300.0)]
    returns, frames = evaluate.tournament("doom", folder, players, range(3))
    assert returns.tolist() == [[100, 101, 102], [300, 301, 302]]
    assert frames == 2 * 3 * 2


def test_a_result_has_the_mean_the_spread_and_the_interval_of_its_games() -> None:
    games = [{"seed": i, "return": r, "length": 1} for i, r in enumerate((2.0, 4.0, 9.0))]
    score = result("doom", "LatentDoom-v0", "shipped", None, 0, games, 12, {}, {"commit": "c"})
    assert score["mean"] == 5
    assert score["sd"] == pytest.approx(((9 + 1 + 16) / 2) ** 0.5)
    assert 2 <= score["ci95"][0] < 5 < score["ci95"][1] <= 9
    assert score["real_frames"] == 12 and score["episodes"] == games
    assert score["commit"] == "c"
    alone = result("doom", "LatentDoom-v0", "shipped", None, 0, games[:1], 0, {}, {})
    assert (alone["mean"], alone["sd"], alone["ci95"]) == (2, 0, [2, 2])


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    drawn = np.random.default_rng(1).normal(50, 10, 400)
    half = 1.96 * drawn.std(ddof=1) / 20
    wanted = (drawn.mean() - half, drawn.mean() + half)
    assert evaluate.confidence(drawn) == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize("env", ["twin", "dream"])
def test_a_score_is_of_the_seeds_the_game_and_the_range_that_are_asked_for(
    env: str, folder: Path, workers: None, tmp_path: Path
) -> None:
    tau = None if env == "twin" else (0.8, 1.2)
    asked = ("doom", str(folder), "shipped", env, 12, 2_000_000, tau)
    score = evaluate.evaluate(*asked, tmp_path / "score.json")
    games = score["episodes"]
    assert [game["seed"] for game in games] == list(range(2_000_000, 2_000_012))
    assert score["env"] == {"twin": "LatentDoom-v0", "dream": "DreamDoom-v0"}[env]
    assert score["temperature"] == {"twin": None, "dream": [0.8, 1.2]}[env]
    assert score["mean"] == pytest.approx(np.mean([game["return"] for game in games]))
    assert read_json(tmp_path / "score.json")["mean"] == score["mean"]
    if env == "dream":
        seeds = torch.arange(2_000_000, 2_000_012)
        paid, lengths = dream(evaluate.load_world(folder), load_controller(folder), seeds, 0.8, 1.2)
        assert [game["return"] for game in games] == paid.tolist()
        assert [game["length"] for game in games] == lengths.tolist()


def test_real_frames_are_the_world_s_and_the_controller_s_own(folder: Path, tmp_path: Path) -> None:
    world = shutil.copytree(folder, tmp_path / "world")
    for name, frames in (("config.json", 1000), ("controller.json", 24)):
        write_json(world / name, read_json(world / name) | {"real_frames": frames})
    for policy, frames in (("shipped", 1024), ("random", 0)):
        score = evaluate.evaluate("doom", str(world), policy, "dream", 2, 0, None, None)
        assert score["real_frames"] == frames

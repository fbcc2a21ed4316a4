"""C is chosen by what its dreams pay on average, and kept by what the real game pays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dreamgym.checkpoint import load_controller, load_world, read_json
from dreamgym.models.controller import Controller
from dreamgym.training import evolve
from dreamgym.training.evolve import Args, evolve
from dreamgym.training.play.games import uniform
from dreamgym.training.play.policies import controller_config
from dreamgym.training.splits import FINAL, VALIDATION

BEST = -0.3


def args(folder: Path, generations: int, **other: Any) -> Args:
    asked = {"population": 16, "rollouts": 2, "validate": 0, "scaled": False, **other}
    return Args(str(folder), generations, **asked)


def paid(weights: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
    """A bandit: on average the best is -0.3, on even seeds 1 or more, on odd ones -1 or less."""
    luck = torch.where(seeds % 2 == 0, 1.0, -1.0)
    return (-(weights - BEST).square() + 4 * luck[:, None] * weights).sum(1)


@pytest.fixture
def bandit(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Dreams and games that pay as the bandit does; returns who dreamed with which seed."""
    asked = []

    def dreamed(world, policy, seeds, low, high, limit):  # type: ignore[no-untyped-def]
        asked.append((policy.weights, seeds))
        return paid(policy.weights, seeds), None

    def played(task, world, policies, seeds, processes):  # type: ignore[no-untyped-def]
        seeds = torch.tensor(list(seeds))
        rows = [paid(each.weights.expand(len(seeds), -1), seeds) for each in policies]
        return torch.stack(rows).numpy(), 7

    monkeypatch.setattr(evolve, "dream", dreamed)
    monkeypatch.setattr(evolve, "tournament", played)
    return asked


@pytest.mark.parametrize("reality", [False, True])
def test_a_member_counts_by_the_mean_of_its_dreams_not_by_the_luckiest(
    reality: bool, folder: Path, tmp_path: Path, bandit: list
) -> None:
    best = evolve(args(folder, 50, reality=reality), tmp_path, progress=False)
    assert (best.weights - BEST).square().mean() < BEST**2 / 6
    assert best.weights.mean() == pytest.approx(BEST, abs=0.1)


def test_all_members_dream_on_the_same_seeds_and_each_generation_on_its_own(
    folder: Path, tmp_path: Path, bandit: list
) -> None:
    evolve(args(folder, 3, rollouts=5, seed=2), tmp_path, progress=False)
    rounds = []
    for weights, seeds in bandit:
        rows = weights.view(16, 5, -1)
        assert (rows == rows[:, :1]).all()  # a member's own, five times
        assert len({tuple(row.tolist()) for row in rows[:, 0]}) == 16
        assert (seeds.view(16, 5) == seeds[:5]).all()
        rounds.append(set(seeds.tolist()))
    assert [len(each) for each in rounds] == [5, 5, 5]
    assert len(set.union(*rounds)) == 15


@pytest.mark.parametrize("seed", [0, 1, 9, 12_345])
def test_dreams_stay_off_the_seeds_of_validation_and_test(
    seed: int, folder: Path, tmp_path: Path, bandit: list
) -> None:
    evolve(args(folder, 2, rollouts=16, population=4, seed=seed), tmp_path, progress=False)
    for _, seeds in bandit:
        assert int(seeds.min()) >= 0 and int(seeds.max()) < VALIDATION


def test_the_curve_tells_the_mean_dream_and_the_best_member_s(
    folder: Path, tmp_path: Path, bandit: list
) -> None:
    evolve(args(folder, 2, low=0.9, high=1.3), tmp_path, progress=False)
    curve = read_json(tmp_path / "evolution.json")["curve"]
    for (weights, seeds), point in zip(bandit, curve, strict=True):
        returns = paid(weights, seeds).view(16, 2)
        assert point["dream"] == pytest.approx(float(returns.mean()), rel=1e-5)
        assert point["dream_best"] == pytest.approx(float(returns.mean(1).max()), rel=1e-5)
        assert point["temperature"] == [0.9, 1.3]
        assert 0 < point["sigma"] < 1
    assert [point["generation"] for point in curve] == [1, 2]


def test_dreams_have_the_range_and_the_limit_that_are_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def dreamed(world, policy, seeds, *rest):  # type: ignore[no-untyped-def]
        asked.append(rest)
        return torch.arange(len(seeds)).float(), None

    monkeypatch.setattr(evolve, "dream", dreamed)
    evolve(args(folder, 1, low=0.7, high=1.4, steps=33), tmp_path, progress=False)
    assert asked == [(0.7, 1.4, 33)]


class Reality:
    """Real games that pay the next number, and who was asked to play them."""

    def __init__(self, patch: pytest.MonkeyPatch, scores: list[float]):
        self.scores, self.players, self.seeds = iter(scores), [], []  # type: ignore[var-annotated]
        patch.setattr(evolve, "score", self.play)

    def play(self, task, world, policy, seeds, *_, **__):  # type: ignore[no-untyped-def]
        self.players.append(policy.weights.clone())
        self.seeds.append(list(seeds))
        score = next(self.scores)  # every second game a point more, every other a point less
        luck = [1.0 if seed % 2 else -1.0 for seed in seeds]
        return [{"return": score + each, "length": 3} for each in luck]


@pytest.mark.parametrize(
    "scores", [(500.0, 900.0, 100.0), (100.0, 500.0, 900.0), (900.0, 500.0, 100.0)]
)
@pytest.mark.parametrize("stopped", [False, True])
def test_of_two_checkpoints_the_better_one_s_weights_are_kept(
    scores: tuple, stopped: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    bandit: list,
) -> None:  # fmt: skip
    reality = Reality(monkeypatch, list(scores))
    asked = {"validate": 2, "games": 4, "finalists": 0}
    if stopped:
        evolve(args(folder, 4, **asked), tmp_path, progress=False)
    kept = evolve(args(folder, 6, **asked), tmp_path, progress=False)
    best = int(np.argmax(scores))
    assert torch.equal(kept.weights, reality.players[best])
    facts = read_json(tmp_path / "controller.json")
    assert (facts["generation"], facts["real"]) == (2 * best + 2, max(scores))
    assert facts["real_frames"] == 3 * 4 * 3
    assert reality.seeds == [list(range(VALIDATION, VALIDATION + 4))] * 3
    curve = read_json(tmp_path / "evolution.json")["curve"]
    assert [point.get("real") for point in curve] == [None, scores[0], None, scores[1], None,
                                                      scores[2]]  # fmt: skip
    assert [p["real_frames"] for p in curve if "real" in p] == [12, 24, 36]


def test_it_is_the_mean_of_the_search_that_plays_the_real_game(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bandit: list
) -> None:
    reality = Reality(monkeypatch, [1.0, 2.0])
    last = evolve(args(folder, 2, validate=1, games=1, finalists=0), tmp_path, progress=False)
    assert torch.equal(last.weights, reality.players[1])
    rows = bandit[0][0].view(16, 2, -1)[:, 0]
    first = reality.players[0]
    assert not any(torch.equal(first, row) for row in rows)  # no single member
    assert first.norm() < rows.norm(dim=1).min()  # and nearer to where all of them began
    assert isinstance(last, Controller)


@pytest.mark.parametrize("final", [(600.0, 700.0), (700.0, 600.0)])
def test_of_two_finalists_the_better_one_s_weights_are_kept(
    final: tuple, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bandit: list
) -> None:
    reality = Reality(monkeypatch, [500.0, 900.0, 100.0, *final])
    asked = args(folder, 3, validate=1, games=2, finalists=2, final_games=6)
    kept = evolve(asked, tmp_path, progress=False)
    second, first = reality.players[0], reality.players[1]  # of validation, in order of play
    assert torch.equal(reality.players[3], first) and torch.equal(reality.players[4], second)
    assert torch.equal(kept.weights, (first, second)[int(np.argmax(final))])
    assert reality.seeds[3] == reality.seeds[4] == list(range(FINAL, FINAL + 6))
    facts = read_json(tmp_path / "controller.json")
    assert (facts["final"], facts["real"]) == (700, 900 if final[0] > final[1] else 500)
    assert evolve.spent(tmp_path) == facts["real_frames"] == 3 * (3 * 2 + 2 * 6)
    read = load_controller(tmp_path / "controller.safetensors")
    assert torch.equal(read.weights, kept.weights)


def test_frames_of_learning_and_of_validation_are_added_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bandit: list
) -> None:
    Reality(monkeypatch, [1.0])
    asked = args(folder, 3, reality=True, validate=2, games=5, finalists=0)
    evolve(asked, tmp_path, progress=False)
    curve = read_json(tmp_path / "evolution.json")["curve"]
    assert [point["real_frames"] for point in curve] == [7, 14 + 15, 21 + 15]
    assert read_json(tmp_path / "controller.json")["real_frames"] == 36


def test_a_search_that_ran_out_of_time_stops_after_a_generation(
    folder: Path, tmp_path: Path, bandit: list
) -> None:
    evolve(args(folder, 9), tmp_path, progress=False, seconds=0)
    assert len(bandit) == 1
    evolve(args(folder, 9), tmp_path, progress=False, seconds=0)
    assert len(bandit) == 1  # one it has already


def test_another_seed_is_another_search(folder: Path, tmp_path: Path, bandit: list) -> None:
    ends = [
        evolve(args(folder, 2, seed=seed), tmp_path / str(i), progress=False).weights
        for i, seed in enumerate((3, 3, 4))
    ]
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


def test_a_search_that_goes_on_begins_there_with_half_the_step(folder: Path) -> None:
    count = 38
    steps, first = np.full(count, 0.2), np.full(count, 5.0)
    anew = args(folder, 1, population=500)
    on = args(folder, 1, population=500, init="some")
    for asked, spread in ((anew, 0.2), (on, 0.1)):
        drawn = np.stack(evolve.strategy(asked, steps, first).ask())
        assert drawn.mean() == pytest.approx(5, abs=0.01)
        assert drawn.std() == pytest.approx(spread, rel=0.05)


def test_without_validation_the_last_mean_is_kept_and_told(
    folder: Path, tmp_path: Path, bandit: list
) -> None:
    evolve(args(folder, 3), tmp_path, progress=False)
    facts = read_json(tmp_path / "controller.json")
    curve = read_json(tmp_path / "evolution.json")["curve"]
    assert facts["generation"] == 3 and facts["dream"] == curve[-1]["dream"]


@pytest.mark.parametrize("hidden", [0, 5])
def test_a_first_step_is_one_over_the_input_s_spread_and_the_root_of_their_number(
    hidden: int, car_folder: Path
) -> None:
    world = load_world(car_folder)
    config = controller_config(world, hidden=hidden)
    steps = evolve.first_steps(world, config, args(car_folder, 1, low=1.0, high=1.0))
    inputs, outputs = config.layers[0]
    weights = steps[: inputs * outputs].reshape(outputs, inputs)
    assert (weights == weights[0]).all()  # each output sees the same
    biases = steps[inputs * outputs : (inputs + 1) * outputs]
    assert biases == pytest.approx([(inputs + 1) ** -0.5] * outputs)
    state, seen = world.start(torch.arange(256)), []
    for _ in range(200):
        seen.append(world.observe(state, config.observation))
        told = uniform(state.key, state.step, world.game)
        state, _, _ = world.step(state, told, torch.ones(256, 1))
    spread = torch.cat(seen).std(0).clamp_min(1e-3).numpy()
    assert weights[0] * spread == pytest.approx([(inputs + 1) ** -0.5] * inputs, rel=1e-4)
    if hidden:  # a hidden unit is tanh of a number of unit spread, about 0.6
        assert steps[-(hidden * 3) - 3 : -3] == pytest.approx([1 / 0.6 / 6**0.5] * 15)
        assert steps[-3:] == pytest.approx([6**-0.5] * 3)


def test_a_finalist_of_before_a_stop_is_called_back_as_it_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bandit: list
) -> None:
    reality = Reality(monkeypatch, [500.0, 900.0, 1.0, 2.0, 100.0])
    asked = {"validate": 1, "games": 2, "finalists": 2, "final_games": 2}
    evolve(args(folder, 2, **asked), tmp_path, progress=False)
    kept = evolve(args(folder, 3, **asked), tmp_path, progress=False)
    assert torch.equal(kept.weights, reality.players[0])

"""A world that foretells everything, or nothing but the mean, is measured as just that."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dreamgym.games import Game
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.doom import GAME as DOOM
from dreamgym.training.data.latents import Latents
from dreamgym.training.measure import examine
from dreamgym.training.play.dreams import play
from dreamgym.world import World
from tests.conftest import HIDDEN, Z, tiny_world

LENGTHS = (30, 7, 121)


def knowing(game: Game, mean: float = 0.0, std: float = 1.0) -> World:
    """A world whose first outcome comes for certain if the action's first number is above 0.

    No other outcome comes, and every latent is N(mean, std²).
    """
    heads, memory = len(game.rules.heads), tiny_world(game=game).memory
    with torch.no_grad():
        for weight in (memory.weight_ih, memory.weight_hh, memory.bias, memory.head.weight):
            weight.zero_()
        memory.bias[:HIDDEN] = 50  # the first gates are open, those of the past closed
        memory.bias[HIDDEN : 2 * HIDDEN] = -50
        memory.bias[3 * HIDDEN :] = 50
        memory.weight_ih[2 * HIDDEN, Z] = 50  # the first cell is the action's sign
        memory.head.weight[-heads, 0] = 80
        memory.head.bias.zero_()
        parts = memory.head.bias[: 3 * 5 * Z].view(3, 5 * Z)
        parts[1], parts[2] = mean, math.log(std)
        memory.head.bias[-heads + 1 :] = -50
    starts = (torch.zeros(2, Z), torch.zeros(2, Z), torch.full((2,), 200.0))
    return World(game, tiny_world().vision, memory, starts)


def data(game: Game, reward: Tensor | None = None, whole: float = 200.0) -> Latents:
    """Games of coin-tossed actions, whose first outcome is what the action was."""
    torch.manual_seed(0)
    count = sum(LENGTHS)
    action = torch.randint(2, (count, len(game.low))) * 2.0 - 1
    action[LENGTHS[0] : sum(LENGTHS[:2])] = -1  # nothing ever happens in the second
    outcomes = torch.zeros(count, len(game.rules.heads), dtype=torch.bool)
    outcomes[:, 0] = action[:, 0] > 0
    if reward is None:
        reward = 1000 * outcomes[:, 0] / whole - 0.1
    return Latents(
        torch.full((count, Z), 2.0).half(), torch.full((count, Z), -20.0).half(), action, outcomes,
        reward, torch.tensor(LENGTHS), torch.full((count, 1), whole), torch.tensor([0, 0, 1]), "",
    )  # fmt: skip


EPISODES = np.arange(3)


def test_a_world_that_knows_each_hit_is_right_at_every_horizon() -> None:
    seen = data(DOOM)
    report = examine.memory(knowing(DOOM), seen, EPISODES)
    hit, count = report["hit"], int(seen.outcomes[:, 0].sum())
    assert [hit[f"auc_within_{k}"] for k in (1, 10, 50)] == [1, 1, 1]
    assert (hit["auc"], hit["recall_at_half"], hit["precision_at_half"]) == (1, 1, 1)
    assert hit["counted"] == count and hit["expected"] == pytest.approx(count)
    assert hit["mean_where_it_happened"] == pytest.approx(1)
    assert hit["mean_elsewhere"] == pytest.approx(0, abs=1e-6)
    low, high = hit["calibration"]
    assert (low["count"], high["count"]) == (sum(LENGTHS) - count, count)
    assert (low["happened"], high["happened"]) == (0, 1)
    assert (low["from"], high["from"]) == (0, 0.6)
    assert report["death"]["auc"] is None and report["death"]["counted"] == 0


def test_the_likelihood_is_of_the_latents_that_followed() -> None:
    report = examine.memory(knowing(DOOM, mean=3.0, std=0.5), data(DOOM), EPISODES)
    wanted = -0.5 * ((2 - 3) / 0.5) ** 2 - math.log(0.5) - 0.5 * math.log(2 * math.pi)
    assert report["log_likelihood_per_dimension"] == pytest.approx(wanted, abs=1e-2)


def test_a_calibration_table_has_a_row_for_each_range_of_odds() -> None:
    odds = np.array([0.0, 0.0005, 0.001, 0.02, 0.05, 0.2, 0.5, 0.7, 1.0])
    happened = odds > 0.1
    table = examine._calibration(odds, happened)["calibration"]
    assert [row["from"] for row in table] == [0, 1e-3, 1e-2, 0.03, 0.1, 0.3, 0.6]
    assert [row["count"] for row in table] == [2, 1, 1, 1, 1, 1, 2]
    assert [row["happened"] for row in table] == [0, 0, 0, 0, 1, 1, 1]
    assert table[0]["predicted"] == pytest.approx(0.00025)
    assert table[-1]["predicted"] == pytest.approx(0.85)


def test_a_forecast_follows_the_actions_to_the_game_s_end() -> None:
    action = torch.tensor([1.0, -1.0, -1.0, 1.0, 1.0])[:, None]
    zeros = torch.zeros(5, HIDDEN)
    chance = examine._forecast(
        knowing(DOOM), torch.zeros(5, Z), action, zeros, zeros, np.array([0, 3]), 0, steps=4
    )
    assert chance.shape == (2, examine.DREAMS, 4, 2)
    for dream in range(examine.DREAMS):
        assert chance[0, dream, :, 0].round().tolist() == [1, 0, 0, 1]
        assert chance[1, dream, :, 0].round().tolist() == [1, 1, 0, 0]


def test_a_world_that_knows_each_tile_foretells_every_return() -> None:
    seen = data(CAR_RACING)
    report = examine.returns(knowing(CAR_RACING), seen, EPISODES)
    assert {k: row["count"] for k, row in report.items()} == {"1": 5, "10": 4}
    starts = np.cumsum([0, *LENGTHS])
    for k in (1, 10):
        moments = [starts[i] + t for i, n in enumerate(LENGTHS) for t in range(0, n - k + 1, 50)]
        paid = [float(seen.reward[m : m + k].sum()) for m in moments]
        assert report[str(k)]["correlation"] == pytest.approx(1)
        assert report[str(k)]["real"] == pytest.approx(np.mean(paid), rel=1e-5)
        assert report[str(k)]["predicted"] == pytest.approx(np.mean(paid), rel=1e-5)


def test_play_is_compared_with_the_random_games_alone() -> None:
    reward = torch.ones(sum(LENGTHS))
    reward[: LENGTHS[0]] = 2
    reward[sum(LENGTHS[:2]) :] = 1000  # of the second data folder
    report = examine.plays(knowing(DOOM), data(DOOM, reward), many=9)
    real = [60, 7]
    assert (report["real_mean"], report["real_sd"]) == (np.mean(real), np.std(real))
    assert report["critical_at_5_percent"] == pytest.approx(1.358 * (1 / 9 + 1 / 2) ** 0.5)
    assert report["dream_mean_dodging"] == 30  # as long as the longest of them
    assert report["dream_mean_standing"] < 30  # hit at every second step
    assert 0 < report["kolmogorov_smirnov"] <= 1 and report["dream_sd"] >= 0


@pytest.mark.parametrize(("odds", "move"), [(80.0, -1.0), (-80.0, 1.0)])
def test_the_safest_move_is_the_one_that_m_expects_no_hit_of(odds: float, move: float) -> None:
    """M foretells a hit of a step to the right, or to the left."""
    world = knowing(DOOM)
    with torch.no_grad():
        world.memory.head.weight[-2, 0] = odds
    policy = examine.Careful(world)
    seen = world.observe(world.start(torch.arange(5)), policy.observation)
    assert policy.act(seen).tolist() == [[move]] * 5


def test_a_careful_player_asks_m_of_the_state_that_it_is_in() -> None:
    world = tiny_world()
    state, tau = world.start(torch.arange(400)), torch.ones(400, 1)
    for _ in range(5):
        state, _, _ = world.step(state, torch.ones(400, 1), tau)
    moves = torch.tensor([-1.0, 0.0, 1.0])
    risks = [
        world.memory.step(state.z, move.expand(400, 1), state.h, state.c)[0].heads[:, 0]
        for move in moves
    ]
    policy = examine.Careful(world)
    chosen = policy.act(world.observe(state, policy.observation))[:, 0]
    assert torch.equal(chosen, moves[torch.stack(risks).argmin(0)])
    assert len(chosen.unique()) > 1


def test_who_stands_still_does_nothing() -> None:
    assert examine.Still(knowing(CAR_RACING)).act(torch.ones(2, Z)).tolist() == [[0, 0, 0]] * 2


def test_an_object_is_looked_for_in_its_box_with_a_ring_of_two_pixels() -> None:
    truth = np.full((64, 64, 3), 0.3)
    truth[20:24, 30:34] = 0.9
    guess = np.full((64, 64, 3), 0.3)
    guess[20:24, 30:34] = 0.9
    far = truth.copy()
    far[17, :] = far[26, :] = far[:, 27] = far[:, 36] = 50.0  # three pixels off: not of the ring
    assert examine.contrast(far, guess, 30, 20, 4, 4)
    for row, column in ((18, 31), (25, 31), (21, 28), (21, 35)):  # the ring's last pixels
        near = guess.copy()
        near[row, column] = 50.0
        assert not examine.contrast(truth, near, 30, 20, 4, 4)
    assert examine.contrast(truth, guess, 30.9, 20.9, 2.2, 2.2)
    assert examine.contrast(truth, guess, 0, 0, 64, 64) is None  # no ring
    assert examine.contrast(truth, guess, 64, 3, 5, 5) is None
    faint = np.full((64, 64, 3), 0.3)
    faint[20:24, 30:34] += 0.04 / 3**0.5
    assert examine.contrast(faint, guess, 30, 20, 4, 4) is None
    faint[20:24, 30:34] += 0.02 / 3**0.5
    assert examine.contrast(faint, guess, 30, 20, 4, 4)


def test_odds_are_averaged_where_it_happened_and_elsewhere() -> None:
    report = examine._calibration(np.array([0.9, 0.4, 0.2, 0.3]), np.array([1, 1, 0, 0], bool))
    assert report["mean_where_it_happened"] == pytest.approx(0.65)
    assert report["mean_elsewhere"] == pytest.approx(0.25)
    assert (report["expected"], report["counted"]) == (pytest.approx(1.8), 2)
    assert (report["recall_at_half"], report["precision_at_half"]) == (0.5, 1)


@pytest.mark.parametrize("game", [DOOM, CAR_RACING])
def test_a_world_is_examined_on_what_it_has_not_seen_and_on_policy_apart(
    game: Game, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, list[list[int]]] = {"memory": [], "returns": []}

    def measure(name: str) -> None:
        monkeypatch.setattr(examine, name, lambda w, s, held: asked[name].append(held.tolist()))

    measure("memory")
    measure("returns")
    monkeypatch.setattr(examine, "vision", lambda *_: {"error": 1.0})
    monkeypatch.setattr(examine, "plays", lambda *_: {})
    monkeypatch.setattr(examine, "load_world", lambda folder: tiny_world(game=game, hit=-1.0))
    seen = data(game)
    seen.lengths, seen.source = torch.ones(80).long(), torch.arange(80) // 40
    seen.task = game.name
    monkeypatch.setattr(examine, "load", lambda folder: seen)
    monkeypatch.setattr(examine, "load_vision", lambda folder, task: tiny_world().vision)
    monkeypatch.setattr(examine, "fingerprint", lambda vision: seen.vision)
    report = examine.examine(game.name, tmp_path)
    assert asked["memory"] == [[19, 39], [59, 79]]
    assert asked["returns"] == (asked["memory"] if game is CAR_RACING else [])
    assert {"vision", "plays", "memory", "memory_on_policy"} <= report.keys()
    assert ("returns" in report) == (game is CAR_RACING)


def test_calibration_counts_what_was_expected_and_what_happened() -> None:
    odds = np.array([0.9, 0.8, 0.2, 0.0005])
    report = examine._calibration(odds, np.array([True, False, False, False]))
    assert report["expected"] == odds.sum() and report["counted"] == 1
    assert report["recall_at_half"] == 1 and report["precision_at_half"] == 0.5
    assert sum(row["count"] for row in report["calibration"]) == 4


def test_an_object_counts_as_rebuilt_if_half_its_contrast_is_there() -> None:
    truth = np.full((64, 64, 3), 0.3)
    truth[20:24, 30:34] = [0.9, 0.8, 0.3]
    box = (30, 20, 4, 4)
    assert examine.contrast(truth, truth, *box)
    assert not examine.contrast(truth, np.full_like(truth, 0.3), *box)
    assert not examine.contrast(truth, 0.3 + 0.4 * (truth - 0.3), *box)
    assert examine.contrast(truth, 0.3 + 0.6 * (truth - 0.3), *box)
    assert examine.contrast(np.full_like(truth, 0.3), truth, *box) is None  # nothing to be seen
    assert examine.contrast(truth, truth, -9, -9, 4, 4) is None  # off the picture


def test_lives_in_a_dream_of_known_hits() -> None:
    """Every step hits; 4 of 8 faces kill at once, 4 hits in a row kill for certain by 21 · 5."""
    world = tiny_world(hit=50.0)
    _, lengths, *_ = play(world, examine.Still(world), torch.arange(2000), 1.0, 1.0)
    assert lengths.max() <= 5
    assert abs(float((lengths == 1).float().mean()) - 0.5) < 0.05

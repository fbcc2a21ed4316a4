"""What is played is what is written: a made-up game whose every number says where it belongs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dreamgym import games
from dreamgym.checkpoint import load_controller
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.doom import GAME as DOOM
from dreamgym.models.controller import Controller
from dreamgym.training import collect, evaluate
from dreamgym.training.data.episodes import Episode, episode_path
from dreamgym.training.play import games as real_games
from dreamgym.training.play.games import Idle, Learned, Uniform, keys, turns, uniform
from dreamgym.training.play.policies import HOLD
from tests.conftest import tiny_world

LENGTHS = {4: 3, 5: 1, 6: 5}
"""Steps of a made-up game with this seed."""


class Counted:
    """A game whose frame is all of one number, 10 · seed + step; a step costs its number of health.

    The one with seed 5 is truncated, the others terminate.
    """

    def __init__(self) -> None:
        self.told: list[float] = []

    def look(self) -> tuple[np.ndarray, dict[str, float]]:
        frame = np.full((64, 64, 3), 10 * self.seed + self.step_number, np.uint8)
        return frame, {"health": 100 - self.step_number * (self.step_number + 1) / 2}

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, float]]:
        self.seed, self.step_number = seed, 0
        return self.look()

    def step(self, action: np.ndarray) -> tuple[Any, ...]:
        self.told.append(float(action[0]))
        self.step_number += 1
        frame, info = self.look()
        over = self.step_number == LENGTHS[self.seed]
        return (
            frame,
            float(self.step_number),
            over and self.seed != 5,
            over and self.seed == 5,
            info,
        )


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Counted]]:
    """The made-up games, in the order of the seeds."""
    made = [Counted() for _ in range(3)]
    monkeypatch.setattr(games, "_game", lambda task, number: made[number])
    yield made


class Said:
    """A player that does 1, 2, 3, … and writes down what it is shown."""

    def __init__(self) -> None:
        self.rows, self.seen, self.steps = np.arange(3), [], 0  # type: ignore[var-annotated]

    def begin(self, frames: torch.Tensor) -> None:
        self.seen.append(frames[:, 0, 0, 0].tolist())

    def act(self) -> np.ndarray:
        self.steps += 1
        return self.rows[:, None] + self.steps / 10

    def follow(self, going: np.ndarray, frames: torch.Tensor) -> None:
        self.rows = self.rows[going]
        self.seen.append(frames[:, 0, 0, 0].tolist())


def test_a_turn_is_the_frame_before_the_action_and_what_came_of_it(played: list) -> None:
    player = Said()
    seen = [
        (t.games.tolist(), t.frames[:, 0, 0, 0].tolist(), t.budget.tolist(), t.told[:, 0].tolist(),
         t.rewards.tolist(), t.terminated.tolist(), t.truncated.tolist(), t.budget_after.tolist())
        for t in turns("doom", (4, 5, 6), player)
    ]  # fmt: skip
    assert seen == [
        ([0, 1, 2], [40, 50, 60], [100] * 3, [0.1, 1.1, 2.1], [1] * 3, [False] * 3,
         [False, True, False], [99] * 3),
        ([0, 2], [41, 61], [99] * 2, [0.2, 2.2], [2] * 2, [False] * 2, [False] * 2, [97] * 2),
        ([0, 2], [42, 62], [97] * 2, [0.3, 2.3], [3] * 2, [True, False], [False] * 2, [94] * 2),
        ([2], [63], [94], [2.4], [4], [False], [False], [90]),
        ([2], [64], [90], [2.5], [5], [True], [False], [85]),
    ]  # fmt: skip
    assert player.seen == [[40, 50, 60], [41, 61], [42, 62], [63], [64]]
    assert [game.told for game in played] == [
        [0.1, 0.2, 0.3], [1.1], [2.1, 2.2, 2.3, 2.4, 2.5],
    ]  # fmt: skip


def test_games_are_cut_off_after_so_many_steps_and_no_earlier(played: list) -> None:
    ends = [
        (turn.games.tolist(), turn.terminated.tolist(), turn.truncated.tolist())
        for turn in turns("doom", (4, 5, 6), Said(), 3)
    ]
    assert ends == [
        ([0, 1, 2], [False] * 3, [False, True, False]),
        ([0, 2], [False] * 2, [False] * 2),
        ([0, 2], [True, False], [False, True]),  # what has ended is not cut off
    ]


def test_an_episode_on_the_disk_is_what_was_played(played: list, tmp_path: Path) -> None:
    args = collect.Args("doom", 3, seed=4)
    assert collect.play(collect._Job(args, str(tmp_path), range(0, 3))) == 3
    for index, (seed, length) in enumerate(LENGTHS.items()):
        episode = Episode.load(episode_path(tmp_path, index))
        steps = np.arange(length)
        assert episode.frames[:, 3, 3, 1].tolist() == (10 * seed + steps).tolist()
        assert episode.actions[:, 0].tolist() == played[index].told
        assert episode.rewards.tolist() == (steps + 1).tolist()
        assert episode.budget.tolist() == [100 - n * (n + 1) / 2 for n in range(length + 1)]
        ends = steps == length - 1
        assert episode.terminated.tolist() == (ends & (seed != 5)).tolist()
        assert episode.truncated.tolist() == (ends & (seed == 5)).tolist()
        types = (episode.actions.dtype, episode.rewards.dtype, episode.budget.dtype)
        assert types == (np.float32,) * 3


def test_an_episode_that_is_there_is_not_written_again(played: list, tmp_path: Path) -> None:
    args = collect.Args("doom", 2, seed=4)
    episode_path(tmp_path, 0).write_bytes(b"there")
    assert collect.play(collect._Job(args, str(tmp_path), range(0, 3))) == 1
    assert episode_path(tmp_path, 0).read_bytes() == b"there"
    assert len(Episode.load(episode_path(tmp_path, 1))) == 1
    assert not episode_path(tmp_path, 2).exists()  # more than was asked for


def test_each_episode_has_a_seed_of_its_own(
    inside: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Counted()
    monkeypatch.setattr(games, "_game", lambda task, number: made)
    assert collect.collect(collect.Args("doom", 3, seed=4), tmp_path, progress=False) == 3 + 1 + 5
    firsts = [Episode.load(episode_path(tmp_path, i)).frames[0, 0, 0, 0] for i in range(3)]
    assert firsts == [40, 50, 60]
    assert len(inside) == 3
    episode_path(tmp_path, 1).unlink()
    collect.collect(collect.Args("doom", 3, seed=4), tmp_path, progress=False)
    assert [list(job.indices) for job in inside[3:]] == [[1]]


def test_a_controller_s_games_share_the_same_ten_however_many_are_left(
    inside: list, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "play", lambda job: 0)
    asked = collect.Args("doom", 25, policy="shipped", world=str(folder))

    def go() -> None:
        inside.clear()
        with pytest.raises(ValueError, match="is damaged"):  # nothing was played after all
            collect.collect(asked, tmp_path, progress=False)

    go()
    for index in (*range(12), 14):
        np.savez(episode_path(tmp_path, index), rewards=np.ones(2))
    go()
    assert [list(job.indices) for job in inside] == [list(range(10, 20)), list(range(20, 30))]


@pytest.mark.parametrize(("seed", "episodes"), [(-1, 1), (999_999, 2), (1_000_000, 1)])
def test_seeds_of_validation_and_test_are_not_for_training(
    seed: int, episodes: int, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="are not for training"):
        collect.collect(collect.Args("doom", episodes, seed), tmp_path / "out", progress=False)


def test_the_last_seed_of_training_is_one(inside: list, tmp_path: Path, played: list) -> None:
    LENGTHS[999_999] = 1
    played[0].look = lambda: (np.ones((64, 64, 3), np.uint8), {"health": 0.0})
    assert collect.collect(collect.Args("doom", 1, 999_999), tmp_path, progress=False) == 1
    del LENGTHS[999_999]


class Shown:
    """A world that writes down what the player makes of it."""

    def __init__(self) -> None:
        self.world, self.followed = tiny_world(), []  # type: ignore[var-annotated]
        follow = self.world.follow

        def follows(state, action, frames):  # type: ignore[no-untyped-def]
            self.followed.append((state.key.tolist(), action[:, 0].tolist(), frames[:, 0, 0, 0]))
            return follow(state, action, frames)

        self.world.follow = follows  # type: ignore[method-assign]


def test_m_is_told_what_each_game_did_and_v_sees_what_came_of_it(
    played: list, folder: Path
) -> None:
    shown, seeds = Shown(), (4, 5, 6)
    player = Learned(shown.world, load_controller(folder), seeds)
    told = [turn.told[:, 0].tolist() for turn in turns("doom", seeds, player)]
    key = keys(seeds).tolist()
    rows = [each[0] for each in shown.followed]
    assert rows == [[key[0], key[2]], [key[0], key[2]], [key[2]], [key[2]]]
    acted = [each[1] for each in shown.followed]
    assert acted == [told[0][::2], told[1], told[2][1:], told[3]]
    assert [each[2].tolist() for each in shown.followed] == [[41, 61], [42, 62], [63], [64]]


def test_each_game_is_played_by_its_own_row_of_weights(played: list) -> None:
    world = tiny_world()
    config = load_config(world)
    rows = torch.stack([torch.full((config.parameters,), w) for w in (0.0, 0.5, -0.5)])
    together = Learned(world, Controller(config, rows), (4, 5, 6))
    told = [turn.told[:, 0].tolist() for turn in turns("doom", (4, 5, 6), together)]
    for row, seed in enumerate((4, 5, 6)):
        alone = Learned(world, Controller(config, rows[row]), [seed])
        own = [turn.told[0, 0] for turn in turns("doom", [seed], alone)]
        among = [t[[g for g in going].index(row)] for t, going in zip(told, GOING, strict=True)
                 if row in going]  # fmt: skip
        assert own == among


GOING = ([0, 1, 2], [0, 2], [0, 2], [2], [2])


def load_config(world):  # type: ignore[no-untyped-def]
    return evaluate.controller_config(world)


def test_a_whim_is_a_function_of_its_game_alone(folder: Path) -> None:
    world, policy = tiny_world(), load_controller(folder)
    still = Controller(policy.config, torch.zeros(policy.config.parameters))
    wanted = np.full((2, 1), 0.25, np.float32)

    def whims(seeds: list[int], row: int) -> list[float]:
        player = Learned(world, still, seeds, explore=0.3)
        return [float(player._distracted(wanted[: len(seeds)])[row, 0]) for _ in range(300)]

    assert whims([7, 8], 0) == whims([7], 0) != whims([8], 0) == whims([7, 8], 1)
    drawn = np.array(whims([7], 0))
    assert -1 <= drawn.min() < -0.5 and 0.5 < drawn.max() <= 1
    assert HOLD == 10


def test_uniform_play_takes_every_move_as_often_and_each_step_anew() -> None:
    key = keys(range(20_000))
    moves = uniform(key, torch.zeros_like(key), DOOM)[:, 0]
    for move in (-1.0, 0.0, 1.0):
        assert float((moves == move).float().mean()) == pytest.approx(1 / 3, abs=0.014)
    drives = uniform(key, torch.zeros_like(key), CAR_RACING)
    for part, low, high in zip(drives.T, (-1, 0, 0), (1, 1, 1), strict=True):
        assert low <= part.min() < low + 0.01 and high - 0.01 < part.max() <= high
        assert float(part.mean()) == pytest.approx((low + high) / 2, abs=0.02)
    assert float(torch.corrcoef(drives.T)[0, 1].abs()) < 0.03
    later = uniform(key, torch.ones_like(key), CAR_RACING)
    assert float(torch.corrcoef(torch.stack((drives[:, 0], later[:, 0])))[0, 1].abs()) < 0.03


def test_players_that_look_at_nothing_lose_no_step_when_others_end() -> None:
    for kind in (Uniform, Idle):
        two, one = kind(DOOM, [3, 9]), kind(DOOM, [9])
        frames = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
        steps = []
        for step in range(60):
            steps.append((two.act()[-1].tolist(), one.act()[0].tolist()))
            two.follow(
                np.array([False, True] if step == 20 else [True] * (1 + (step < 20))), frames
            )
            one.follow(np.array([True]), frames)
        assert all(mine == alone for mine, alone in steps)
        assert len({tuple(mine) for mine, _ in steps}) > 2


def test_random_play_is_the_same_game_for_the_same_seed_as_ever() -> None:
    """A data set is a function of its seeds, and random play of a stream of its own."""
    doom, car = (real_games.exploring(task, 5) for task in (DOOM, CAR_RACING))
    rng = np.random.default_rng([5, 1])
    hold, first = rng.integers(1, HOLD + 1), np.float32(rng.uniform(-1, 1))
    assert [doom().item() for _ in range(hold)] == [first] * hold != [doom().item()] * hold
    rng = np.random.default_rng([5, 1])
    scale = rng.uniform(0, 0.01)
    weights, bias = scale * rng.standard_cauchy((3, 32)), scale * rng.standard_cauchy(3)
    for _ in range(2):
        assert car() == pytest.approx(np.tanh(weights @ rng.standard_normal(32) + bias), rel=1e-6)

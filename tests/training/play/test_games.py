"""Real games side by side: what is played is what is told, each game by itself, whoever plays."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dreamgym import noise
from dreamgym.checkpoint import load_controller, save_world, world_fingerprint, write_json
from dreamgym.games.doom import GAME as DOOM
from dreamgym.models.controller import Controller
from dreamgym.training.play import games
from dreamgym.training.play.games import Job, score, tournament, turns
from dreamgym.training.play.policies import (
    Controlled,
    Exploring,
    Random,
    Reference,
    controller_config,
    refer,
)
from dreamgym.world import State
from tests.conftest import Inside, tiny_world
from tests.training.conftest import Counted

SEEDS = (3, 1, 4)


def lengths(policy, seeds=SEEDS) -> list[int]:
    steps = np.zeros(len(seeds), int)
    for turn in turns("doom", seeds, policy):
        steps[turn.games] += 1
    return steps.tolist()


@pytest.mark.parametrize("kind", [Random, Exploring])
def test_a_game_does_not_depend_on_its_neighbours(kind) -> None:
    together = lengths(kind(DOOM))
    assert len(set(together)) > 1
    assert together == [lengths(kind(DOOM), [seed])[0] for seed in SEEDS]


def test_turns_tell_each_step_once_and_end_each_game_once() -> None:
    ended = []
    health: dict[int, float] = {}
    for turn in turns("doom", SEEDS, Exploring(DOOM)):
        assert turn.frames.shape == (len(turn.games), 64, 64, 3)
        assert turn.frames.reshape(len(turn.games), -1).any(1).all()
        counts = turn.counts[:, 0], turn.counts_after[:, 0]
        for game, before, after in zip(turn.games, *counts, strict=True):
            assert health.get(game, 100) == before
            health[game] = after
        ended += turn.games[turn.terminated | turn.truncated].tolist()
    assert sorted(ended) == [0, 1, 2]
    assert set(health.values()) == {0}


class Said:
    """Does 1, 2, 3, … in each game, and writes down what it is asked."""

    def __init__(self, observation: str = ""):
        self.observation = observation
        self.sizes: list[int] = []

    def begin(self, seeds: Tensor) -> None:
        self.seeds, self.rows, self.steps = seeds.tolist(), torch.arange(len(seeds)), 0

    def act(self, observation: Tensor) -> Tensor:
        assert len(observation) == len(self.rows)
        self.sizes.append(observation.shape[1])
        self.steps += 1
        return self.rows[:, None] + self.steps / 10

    def keep(self, rows: Tensor) -> None:
        self.rows = self.rows[rows]


class Shown:
    """A tiny world that writes down what it is shown and told."""

    def __init__(self) -> None:
        self.world = tiny_world()
        self.seen: list[list[int]] = []
        self.followed: list[tuple[list[int], list[float]]] = []
        encode, follow = self.world.encode, self.world.follow

        def encodes(frames: Tensor) -> tuple[Tensor, Tensor]:
            self.seen.append(frames[:, 0, 0, 0].tolist())
            return encode(frames)

        def follows(state: State, action: Tensor, frames: Tensor) -> State:
            self.followed.append((state.key.tolist(), action[:, 0].tolist()))
            return follow(state, action, frames)

        self.world.encode = encodes  # type: ignore[method-assign]
        self.world.follow = follows  # type: ignore[method-assign]


FRAMES = [[40, 50, 60], [41, 61], [42, 62], [63], [64]]
"""The number of each frame that a player of the made-up games is shown."""


def test_a_turn_is_the_frame_before_the_action_and_what_came_of_it(counted: list[Counted]) -> None:
    policy, shown = Said("zh"), Shown()
    told = [
        (t.games.tolist(), t.frames[:, 0, 0, 0].tolist(), t.counts[:, 0].tolist(),
         t.actions[:, 0].round(3).tolist(), t.rewards.tolist(), t.terminated.tolist(),
         t.truncated.tolist(), t.counts_after[:, 0].tolist())
        for t in turns("doom", (4, 5, 6), policy, shown.world)
    ]  # fmt: skip
    assert told == [
        ([0, 1, 2], [40, 50, 60], [100] * 3, pytest.approx([0.1, 1.1, 2.1]), [1] * 3, [False] * 3,
         [False, True, False], [99] * 3),
        ([0, 2], [41, 61], [99] * 2, pytest.approx([0.2, 2.2]), [2] * 2, [False] * 2, [False] * 2,
         [97] * 2),
        ([0, 2], [42, 62], [97] * 2, pytest.approx([0.3, 2.3]), [3] * 2, [True, False],
         [False] * 2, [94] * 2),
        ([2], [63], [94], pytest.approx([2.4]), [4], [False], [False], [90]),
        ([2], [64], [90], pytest.approx([2.5]), [5], [True], [False], [85]),
    ]  # fmt: skip
    assert policy.seeds == [4, 5, 6] and policy.sizes == [shown.world.size("zh")] * 5
    assert shown.seen == FRAMES
    assert [game.taken for game in counted] == [
        pytest.approx(each)
        for each in ([0.1, 0.2, 0.3], [1.1], [2.1, 2.2, 2.3, 2.4, 2.5])
    ]  # fmt: skip


def test_a_policy_that_looks_at_nothing_needs_no_world(counted: list[Counted]) -> None:
    shown = Shown()
    for world in (None, shown.world):
        assert len(list(turns("doom", (4, 5, 6), Said(), world))) == 5
    assert not shown.seen


def test_games_are_cut_off_after_so_many_steps_and_no_earlier(counted: list[Counted]) -> None:
    ends = [
        (turn.games.tolist(), turn.terminated.tolist(), turn.truncated.tolist())
        for turn in turns("doom", (4, 5, 6), Said(), steps=3)
    ]
    assert ends == [
        ([0, 1, 2], [False] * 3, [False, True, False]),
        ([0, 2], [False] * 2, [False] * 2),
        ([0, 2], [True, False], [False, True]),  # what has ended is not cut off
    ]


def test_m_is_told_what_each_game_did_and_v_sees_what_came_of_it(
    counted: list[Counted], folder: Path
) -> None:
    shown, seeds = Shown(), (4, 5, 6)
    policy = Controlled(load_controller(folder), DOOM)
    taken = [turn.actions[:, 0].tolist() for turn in turns("doom", seeds, policy, shown.world)]
    key = noise.key(torch.tensor(seeds), torch.zeros(3, dtype=torch.int64)).tolist()
    rows = [each[0] for each in shown.followed]
    assert rows == [[key[0], key[2]], [key[0], key[2]], [key[2]], [key[2]]]
    acted = [each[1] for each in shown.followed]
    assert acted == [taken[0][::2], taken[1], taken[2][1:], taken[3]]
    assert shown.seen == FRAMES


GOING = ([0, 1, 2], [0, 2], [0, 2], [2], [2])
"""The made-up games that are still going, at each step."""


def test_each_game_is_played_by_its_own_row_of_weights(counted: list[Counted]) -> None:
    world = tiny_world()
    config = controller_config(world)
    rows = torch.stack([torch.full((config.parameters,), w) for w in (0.0, 0.5, -0.5)])
    together = Controlled(Controller(config, rows), DOOM)
    taken = [turn.actions[:, 0].tolist() for turn in turns("doom", (4, 5, 6), together, world)]
    for row, seed in enumerate((4, 5, 6)):
        alone = Controlled(Controller(config, rows[row]), DOOM)
        own = [turn.actions[0, 0] for turn in turns("doom", [seed], alone, world)]
        among = [t[going.index(row)] for t, going in zip(taken, GOING, strict=True) if row in going]
        assert own == among


def test_games_side_by_side_are_added_up_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three games of 3, 1 and 2 steps that pay 10, 200 and 3,000 a step and one more each time."""

    def played(*_: Any) -> Iterator[SimpleNamespace]:
        for numbers, rewards in (
            ([0, 1, 2], [10, 200, 3000]), ([0, 2], [11, 3001]), ([0], [12]),
        ):  # fmt: skip
            yield SimpleNamespace(games=np.array(numbers), rewards=np.array(rewards))

    monkeypatch.setattr(games, "turns", played)
    assert games.play(Job("doom", "", "", Reference("random"), (7, 5, 6))) == [
        {"seed": 7, "return": 33.0, "length": 3},
        {"seed": 5, "return": 200.0, "length": 1},
        {"seed": 6, "return": 6001.0, "length": 2},
    ]


class Backwards(Inside):
    """Workers that answer the last job first."""

    def map(self, function, jobs, timeout=0):  # type: ignore[no-untyped-def]
        yield from reversed(list(super().map(function, jobs, timeout)))


def known(job: Job) -> list[dict[str, float]]:
    """A game pays its seed and the player's first weight, and lasts two frames."""
    weight = 0.0
    if job.policy.weights:
        weight = float(np.frombuffer(job.policy.weights, np.float32)[0])
    return [{"seed": seed, "return": seed + weight, "length": 2} for seed in job.seeds]


def test_real_games_come_in_the_order_of_their_seeds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(games, "play", known)
    for seeds in (range(5, 5 + 37), [3, 1, 2], range(10), range(11)):
        played = score("doom", folder, "random", seeds, Backwards(), progress=False)
        assert [game["seed"] for game in played] == list(seeds)


def test_a_tournament_has_a_row_for_each_controller(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(games, "play", known)
    config = controller_config(tiny_world())
    players = [Controller(config, torch.full((config.parameters,), w)) for w in (100.0, 300.0)]
    returns, frames = tournament("doom", folder, players, range(3), Backwards())
    assert returns.tolist() == [[100, 101, 102], [300, 301, 302]]
    assert frames == 2 * 3 * 2


def test_a_tournament_is_each_controller_s_own_games(folder: Path, inside: Inside) -> None:
    config = load_controller(folder).config
    players = [Controller(config, torch.full((config.parameters,), w)) for w in (-1.0, 0.0, 1.0)]
    returns, frames = tournament("doom", folder, players, range(2), inside)
    alone = [score("doom", folder, player, range(2), inside, progress=False) for player in players]
    assert returns.tolist() == [[game["return"] for game in played] for played in alone]
    assert frames == returns.sum()  # in Doom a frame pays 1


def test_games_are_one_world_s_and_one_policy_s(folder: Path, tmp_path: Path) -> None:
    """Whatever takes their place while they are played."""
    world = shutil.copytree(folder, tmp_path / "world")
    job = Job("doom", str(world), "other", refer(load_controller(folder)), (0,))
    with pytest.raises(ValueError, match="world was changed while it was in use: begin anew"):
        games.play(job)
    policy = tmp_path / "policy.zip"
    policy.touch()
    write_json(tmp_path / "policy.json", {"algo": "ppo"})
    job = Job("doom", str(world), world_fingerprint(world), Reference(str(policy), "other"), (0,))
    with pytest.raises(ValueError, match=r"policy.zip was changed while it played: begin anew"):
        games.play(job)


def test_a_controller_is_read_once_for_all_its_games(
    folder: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search may write another one over it meanwhile."""
    monkeypatch.setattr(games, "play", known)
    score("doom", folder, folder / "controller.safetensors", range(25), inside, progress=False)
    sent = {job.policy.weights for job in inside.jobs}
    weights = load_controller(folder).weights
    assert len(inside.jobs) == 3 and sent == {weights.numpy().tobytes()}
    policy = inside.jobs[0].policy.load(None, DOOM)
    assert torch.equal(policy.controller.weights, weights)


def test_a_world_is_loaded_once_a_process_until_it_changes(folder: Path, tmp_path: Path) -> None:
    path = shutil.copytree(folder, tmp_path / "world")
    mark = world_fingerprint(path)
    world = games.loaded(path, mark)
    assert games.loaded(str(path), mark) is world
    save_world(path, tiny_world(seed=1))
    with pytest.raises(ValueError, match="was changed while it was in use"):
        games.loaded(path, mark)
    assert games.loaded(path, world_fingerprint(path)) is not world

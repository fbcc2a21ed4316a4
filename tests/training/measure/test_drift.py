"""Dreams that replay a game: of a game that is itself a dream, the drift is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dreamgym import games, noise
from dreamgym.checkpoint import save_world, world_fingerprint
from dreamgym.games.car_racing import GAME as CAR
from dreamgym.games.doom import GAME as DOOM
from dreamgym.training.measure.drift import (
    DREAMS,
    HORIZONS,
    SPACING,
    Replay,
    drift,
    onward,
    replay,
)
from dreamgym.training.play.games import Job
from dreamgym.training.play.policies import load, refer
from dreamgym.world import World
from tests.conftest import tiny_world
from tests.envs.spring import LIMIT
from tests.envs.test_own import SPRING, own_world


def dreamt(world: World, steps: int, seed: int, temperature: float) -> Replay:
    """A dream under random actions, told as if it had been a real game."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1, 1, (steps, len(world.game.low))).astype(np.float32)
    state, shown = world.start(torch.tensor([seed])), len(world.game.rules.counts)
    rows, counts = [], [state.counts[0, :shown].numpy().copy()]
    for action in torch.from_numpy(actions)[:, None]:
        before, tau = state.clone(), torch.full((1, 1), temperature)
        state, reward, dead = world.step(state, action, tau)
        rows.append((before.z[0].numpy(), before.h[0].numpy(), before.c[0].numpy(), float(reward)))
        counts.append(state.counts[0, :shown].numpy().copy())
        if dead:
            break
    z, h, c, rewards = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    return Replay(z, h[::SPACING], c[::SPACING], actions[: len(z)], rewards, np.array(counts))


@pytest.mark.parametrize("game", [DOOM, CAR], ids=["doom", "car_racing"])
def test_a_dream_without_chance_does_not_drift_from_itself(game: games.Game) -> None:
    """Outcomes are certain: in Doom nobody is hit, in CarRacing each step touches a tile."""
    certain = -50.0 if game is DOOM else (50.0,)
    world = tiny_world(certain, game=game)
    played = [dreamt(world, 180, seed, 0.0) for seed in range(3)]
    report = drift(world, played, 0.0)
    assert list(report) == [str(steps) for steps in HORIZONS] and json.dumps(report)
    lengths = np.array([len(each.z) for each in played])
    for steps in HORIZONS:
        row = report[str(steps)]
        begun = np.concatenate([np.arange(0, length, SPACING) for length in lengths])
        ends = np.concatenate([np.full(-(-length // SPACING), length) for length in lengths])
        assert row["moments"] == len(begun) and row["go_on"] == (begun + steps < ends).sum()
        if row["go_on"]:
            assert row["latent"] < 1e-3 and row["picture"] < 0.01 and row["still"] > 0.01
        if steps <= 20:  # later, games were cut off that their dreams go on from
            assert row["reward"]["dream"] == pytest.approx(row["reward"]["real"], rel=1e-4)
            lost = row[game.rules.counts[0]]
            assert lost["dream"] == pytest.approx(lost["real"], abs=1e-4)
            assert lost["real"] == (steps if game is CAR else 0)
    assert report["20"]["go_on"] > 3


class Steering:
    """A policy that acts as z says."""

    observation = "z"

    def __init__(self, actions: int):
        self.actions = actions

    def begin(self, seeds: torch.Tensor) -> None:
        self.many = len(seeds)

    def act(self, observation: torch.Tensor) -> torch.Tensor:
        assert len(observation) == self.many
        return torch.tanh(observation[:, : self.actions])

    def keep(self, rows: torch.Tensor) -> None:
        raise NotImplementedError


def brightness(pictures: np.ndarray) -> np.ndarray:
    return np.asarray(pictures.mean((1, 2, 3)))


def test_a_policy_meets_in_a_dream_of_its_game_what_it_met_there() -> None:
    """The games are dreams too, so the two agree in what is paid, missed and lost."""
    chances = (-2.5, -50.0, -50.0, -2.0)  # of a tile, of two, of a fall, and of a miss
    world, policy, many = tiny_world(chances, game=CAR), Steering(3), 24
    state, rows, counts = world.start(torch.arange(many)), [], []
    policy.begin(torch.zeros(many))
    for _ in range(120):
        action, before = policy.act(state.z), state.clone()
        counts.append(state.counts[:, :2].numpy().copy())
        state, reward, dead = world.step(state, action, torch.ones(many, 1))
        assert not dead.any()
        rows.append([each.numpy() for each in (before.z, before.h, before.c, action, reward)])
    z, h, c, actions, rewards = (np.stack(column, 1) for column in zip(*rows, strict=True))
    ends = np.stack([*counts, state.counts[:, :2].numpy()], 1)
    played = [
        Replay(z[n], h[n, ::SPACING], c[n, ::SPACING], actions[n], rewards[n], ends[n])
        for n in range(many)
    ]
    middle = float(np.median(brightness(world.decode(torch.from_numpy(z[:, 20])).numpy())))
    world, other = (
        tiny_world(chances, game=replace(CAR, lost=lost))
        for lost in (
            lambda pictures: brightness(pictures) > middle,
            lambda pictures: brightness(pictures) <= middle,
        )
    )
    report = onward(world, played, policy, 1.0)
    assert list(report) == [str(steps) for steps in HORIZONS] and json.dumps(report)
    for name in ("reward", "tiles_left", "tiles_missed", "lost"):
        row = report["20"][name]
        assert row["dream"] == pytest.approx(row["real"], rel=0.25), name
    assert 0.1 < report["20"]["lost"]["real"] < 0.9
    swapped = onward(other, played, policy, 1.0)
    for side in ("real", "dream"):
        assert swapped["20"]["lost"][side] == pytest.approx(
            1 - report["20"]["lost"][side], abs=1e-6
        )
    assert report["20"]["tiles_missed"]["real"] < 0 < report["20"]["tiles_left"]["real"]
    doom = tiny_world(-50.0)
    assert "lost" not in onward(doom, [dreamt(doom, 60, 0, 1.0)], Steering(1), 1.0)["5"]


def test_only_games_that_go_on_say_who_is_lost() -> None:
    """From its only moment inside both spans the long game goes on; the short one has ended."""
    short, long = (dreamt(tiny_world(-50.0), steps, 0, 1.0) for steps in (15, 45))
    asked: list[int] = []

    def lost(pictures: np.ndarray) -> np.ndarray:
        asked.append(len(pictures))
        return np.zeros(len(pictures), bool)

    world = tiny_world(-50.0, game=replace(DOOM, lost=lost))
    report = onward(world, [short, long], Steering(1), 1.0)
    assert asked == [2, 2 * DREAMS, 2, 2 * DREAMS, 1, DREAMS]  # after 1, 5 and 20 steps
    assert "lost" not in report["100"]


@pytest.mark.parametrize("name", ["random", "explore"])
def test_a_policy_that_sees_nothing_plays_on_too(name: str) -> None:
    world = tiny_world(-50.0)
    report = onward(world, [dreamt(world, 30, 0, 1.0)], load(name, world, world.game), 1.0)
    assert report["20"]["reward"]["dream"] == 20


def test_frames_that_have_nothing_to_do_with_each_other_are_far_apart() -> None:
    world = tiny_world(-50.0)
    rng = np.random.default_rng(0)
    other = dreamt(world, 150, 1, 1.0)
    noise = other._replace(z=rng.normal(0, 3, other.z.shape).astype(np.float32))
    assert drift(world, [noise], 1.0)["5"]["still"] == pytest.approx(2**0.5, rel=0.1)


def test_a_dream_that_pays_more_than_the_game_shows_by_how_much() -> None:
    """The game ends after 60 steps of 1; in its dreams nobody dies."""
    world = tiny_world(-50.0)
    short = dreamt(world, 60, 0, 1.0)
    row = drift(world, [short], 1.0)["100"]
    assert row["reward"]["real"] == (60 + 10) / 2  # from the steps 0 and 50
    assert row["reward"]["dream"] == 100 and row["go_on"] == 0 and "latent" not in row


def test_a_dream_goes_on_no_longer_than_a_game_may() -> None:
    """A game of the spring is cut off after 40 steps; its dreams begin at the first one."""
    world = own_world()
    report = drift(world, [dreamt(world, LIMIT, 0, 1.0)], 1.0)
    for few in ("20", "100"):
        steps = min(int(few), LIMIT)
        dreams = [dreamt_for(world, lane, steps) for lane in range(DREAMS)]
        assert report[few]["reward"]["dream"] == pytest.approx(np.mean(dreams), rel=1e-3)


def dreamt_for(world: World, lane: int, steps: int) -> float:
    """What the dream of a lane pays in so many steps, by the actions of the dream of seed 0."""
    played = dreamt(world, LIMIT, 0, 1.0)
    state = world.start(torch.tensor([0]))
    state.key = noise.key(torch.tensor([lane]), torch.tensor([0]))
    paid = 0.0
    for action in torch.from_numpy(played.actions)[:steps, None]:
        state, reward, _ = world.step(state, action, torch.ones(1, 1))
        paid += float(reward[0])
    return paid


def test_a_dream_that_ends_pays_no_more() -> None:
    world = tiny_world(50.0)  # a hit in every step: 21 to 168 of 100 health
    row = drift(tiny_world(50.0), [dreamt(tiny_world(-50.0), 120, 0, 1.0)], 1.0)["100"]
    assert row["reward"]["dream"] <= 5 and row["health"]["dream"] == 100
    assert row["reward"]["real"] > 50 and row["health"]["real"] == 0
    assert world.rules.counts == ("health",)


def test_games_are_recorded_as_v_and_m_see_them(tmp_path) -> None:  # type: ignore[no-untyped-def]
    save_world(tmp_path, own_world())
    job = Job(SPRING, str(tmp_path), world_fingerprint(tmp_path), refer("random"), (1, 2))
    played = replay(job)
    assert len(played) == 2
    for each in played:
        steps = len(each.rewards)
        assert each.z.shape == (steps, 4) and each.actions.shape == (steps, 1)
        assert each.counts.shape == (steps + 1, 0) and len(each.h) == len(each.c) == 1
        assert not each.h.any()  # the first moment is the game's first frame
    report = drift(own_world(), played, 1.0)
    assert report["1"]["moments"] == 2 and "picture" not in report["1"]
    assert DREAMS > 1

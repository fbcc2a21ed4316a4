"""What a dream pays is the sum of its steps, each dream by itself, whoever plays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dreamgym.checkpoint import load_controller, load_world
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.doom import GAME as DOOM
from dreamgym.models.controller import Controller
from dreamgym.training.play.dreams import play
from dreamgym.training.play.policies import Controlled, Random, controller_config
from dreamgym.world import State
from tests.conftest import tiny_world, with_moments

SEEDS = torch.arange(30)


def test_a_dream_of_survival_pays_its_length_up_to_the_limit() -> None:
    safe, deadly, random = tiny_world(hit=-50.0), tiny_world(hit=-1.5), Random(DOOM)
    returns, lengths, *_ = play(safe, random, SEEDS, 1.0, 1.0, limit=17)
    assert returns.tolist() == [17.0] * 30 and lengths.tolist() == [17] * 30
    returns, lengths, *_ = play(deadly, random, SEEDS, 1.0, 1.0, limit=2000)
    assert torch.equal(returns, lengths.float())
    assert 1 <= lengths.min() < lengths.max() < 2000
    assert play(safe, random, SEEDS[:2], 1.0, 1.0)[1].tolist() == [2100, 2100]  # the game's own


def test_a_dream_of_a_lap_pays_what_its_steps_pay() -> None:
    random = Random(CAR_RACING)
    world = tiny_world(hit=(-50.0, -50.0, 50.0), game=CAR_RACING)  # a fall at once
    assert play(world, random, SEEDS, 1.0, 1.0)[0].tolist() == [-100.0] * 30
    world = tiny_world(hit=(50.0, -50.0, -50.0), game=CAR_RACING)  # 100 tiles, one a step
    returns, lengths, *_ = play(world, random, SEEDS, 1.0, 1.0)
    assert lengths.tolist() == [100] * 30
    assert returns.tolist() == pytest.approx([100 * (1000 / 100 - 0.1)] * 30, rel=1e-4)


def test_each_dream_has_its_own_weights_seed_and_temperature() -> None:
    world = tiny_world(hit=-2.0)
    config = controller_config(world)
    torch.manual_seed(0)
    weights = torch.randn(30, config.parameters)
    whole, *_ = play(world, Controlled(Controller(config, weights), DOOM), SEEDS, 0.5, 2.0)
    mixed = torch.randperm(30)
    policy = Controlled(Controller(config, weights[mixed]), DOOM)
    again, *_ = play(world, policy, SEEDS[mixed], 0.5, 2.0)
    assert torch.equal(again, whole[mixed])


def test_a_dream_keeps_the_temperature_that_it_drew() -> None:
    world, drawn = tiny_world(hit=-1.0), {}
    step = world.step

    def steps(state, action, temperature):  # type: ignore[no-untyped-def]
        for key, tau in zip(state.key.tolist(), temperature[:, 0].tolist(), strict=True):
            assert drawn.setdefault(key, tau) == tau
        return step(state, action, temperature)

    world.step = steps  # type: ignore[method-assign]
    play(world, Random(DOOM), torch.arange(400), 0.5, 2.5)
    taus = torch.tensor(list(drawn.values()))
    assert len(taus) == len(set(drawn.values())) == 400
    assert 0.5 <= taus.min() < 0.55 and 2.45 < taus.max() <= 2.5
    assert float(taus.mean()) == pytest.approx(1.5, abs=4 * 2 / 12**0.5 / 20)


@pytest.mark.parametrize("pause", [2, 7, 1000])
@pytest.mark.parametrize("name", ["folder", "car_folder"])
def test_dreams_that_are_over_count_no_more_however_late_one_looks(
    name: str, pause: int, request: pytest.FixtureRequest
) -> None:
    """A GPU is asked now and then, a CPU every step: what they pay is the same."""
    path = request.getfixturevalue(name)
    world = load_world(path)
    asked = (Controlled(load_controller(path), world.game), torch.arange(40), 1.0, 1.2, 400)
    wanted, lengths, *_ = play(world, *asked, pause=1)
    assert len(set(lengths.tolist())) > 3
    late, late_lengths, *_ = play(world, *asked, pause=pause)
    assert torch.equal(late, wanted) and torch.equal(late_lengths, lengths)


@pytest.mark.parametrize("name", ["folder", "car_folder"])
def test_a_step_with_its_controller_never_waits_for_the_device(
    name: str, request: pytest.FixtureRequest
) -> None:
    """A graph without a break: nothing in it asks what a tensor holds, as CUDA graphs need it."""
    path: Path = request.getfixturevalue(name)
    world = load_world(path).to("cpu", form="torch")
    policy = Controlled(load_controller(path), world.game)
    policy.begin(torch.arange(32))
    state, tau = world.start(torch.arange(32)), torch.ones(32, 1)

    def step(state: State):  # type: ignore[no-untyped-def]
        return world.step(state, policy.act(world.observe(state, policy.observation)), tau)

    graph = torch.compile(step, backend="eager", fullgraph=True)
    for got, wanted in zip(graph(state)[1:], step(state)[1:], strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("pause", [1, 7, 1000])
def test_short_cuts_dreams_that_begin_inside_games_and_no_others(pause: int) -> None:
    world = with_moments(tiny_world(hit=-50.0))  # nobody dies; moments at steps 10, 20, …, 400
    begun = world.start(SEEDS, anywhere=0.5).step
    inside = begun > 0
    assert 5 < inside.sum() < 25

    def lengths(**asked: int) -> torch.Tensor:
        form = {"limit": 60, "pause": pause, "anywhere": 0.5, **asked}
        returns, found, *_ = play(world, Random(DOOM), SEEDS, 1.0, 1.0, **form)  # type: ignore[arg-type]
        assert torch.equal(returns, found.float())
        return found

    assert torch.equal(lengths(short=17), torch.where(inside, 17, 60))
    assert lengths(short=0).tolist() == [60] * 30  # as the others
    assert lengths(short=100).tolist() == [60] * 30  # and never longer than them
    assert lengths(short=17, anywhere=0).tolist() == [60] * 30


def test_no_dream_outlasts_the_game_wherever_it_begins() -> None:
    """A real game that has begun ends at the game's limit, and so do its dreams."""
    car = tiny_world(hit=(-50.0,), game=CAR_RACING)
    world = with_moments(car, 60)
    assert world.moments is not None
    world.moments.step = 960 + torch.arange(60) % 40
    left = 1000 - world.start(SEEDS, anywhere=1.0).step
    assert len(set(left.tolist())) > 10
    for short in (0, 15, 300):
        form = {"anywhere": 1.0, "short": short}
        _, lengths, *_ = play(world, Random(CAR_RACING), SEEDS, 1.0, 1.0, **form)  # type: ignore[arg-type]
        assert torch.equal(lengths, left.clamp_max(short or 1000))


def test_a_dream_inside_a_game_pays_what_its_steps_pay() -> None:
    """Its lap ends with tiles that the real game has missed, and is charged from its own step."""
    world = with_moments(tiny_world(hit=(50.0,), game=CAR_RACING))  # a tile a step
    state = world.start(SEEDS, anywhere=1.0)
    left, missed, _ = state.counts.unbind(1)
    ahead = left - missed
    assert 20 < ahead.min() < ahead.max()
    returns, lengths, *_ = play(world, Random(CAR_RACING), SEEDS, 1.0, 1.0, anywhere=1.0)
    assert torch.equal(lengths, ahead.long())
    rest = (1000 - state.step - ahead) * (missed > 0)  # frames
    torch.testing.assert_close(returns, 10 * ahead - 0.1 * ahead - 0.1 * rest, atol=0.01, rtol=0)


def test_dreams_that_begin_at_first_frames_are_the_same_beside_those_that_do_not() -> None:
    world = with_moments(tiny_world(hit=-2.0))
    first = world.start(SEEDS, anywhere=0.5).step == 0
    whole, lengths, *_ = play(world, Random(DOOM), SEEDS, 1.0, 1.2, limit=300)
    mixed, mixed_lengths, *_ = play(
        world, Random(DOOM), SEEDS, 1.0, 1.2, limit=300, anywhere=0.5, short=4
    )
    assert torch.equal(mixed[first], whole[first])
    assert torch.equal(mixed_lengths[first], lengths[first]) and lengths[first].max() > 4
    assert mixed_lengths[~first].max() <= 4


def test_nobody_begins_inside_games_that_the_world_does_not_know() -> None:
    with pytest.raises(ValueError, match="this world knows no moments inside games"):
        play(tiny_world(), Random(DOOM), SEEDS, 1.0, 1.0, anywhere=0.5)

"""C imitates agents that it could be itself, so that what it should learn is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamgym.checkpoint import load_controller, load_world, save_agent, save_world
from dreamgym.cli import main
from dreamgym.envs import actions
from dreamgym.games import Game, get
from dreamgym.games.car_racing import GAME as CAR
from dreamgym.games.doom import GAME as DOOM
from dreamgym.models.agent import Agent, AgentConfig
from dreamgym.training import distil
from dreamgym.training.distil import Args
from dreamgym.world import World
from tests.conftest import tiny_world
from tests.envs.test_own import PANEL, own_world

QUICK: dict[str, Any] = {"rounds": 4, "dreams": 40, "steps": 400, "temperature": 1.0}


def linear(world: World, acts: str, kind: str, seed: int = 0) -> Agent:
    """An agent without hidden layers, of a random direction of what it sees.

    In Doom it goes right as surely as it does not go left, as C does.
    """
    torch.manual_seed(seed)
    game, inputs = world.game, world.size(kind)
    outputs = len(game.moves) if acts == "moves" else len(game.low)
    parts = game.choices if acts == "parts" else ()
    agent = Agent(AgentConfig(inputs, outputs, acts=acts, observation=kind, clip=0.0, parts=parts))
    state = world.start(torch.arange(200))
    seen = world.observe(state, kind)
    agent.mean.copy_(seen.mean(0))
    agent.spread.copy_(seen.std(0).clamp_min(0.1))
    with torch.no_grad():
        agent.layers[0].weight.normal_(0, (0.1 if acts == "parts" else 3) / inputs**0.5)
        agent.layers[0].bias.zero_()
        if game is DOOM:
            agent.mean.zero_()  # C of Doom has no bias
            agent.layers[0].weight[0] = -agent.layers[0].weight[2]
            agent.layers[0].weight[1] = 0
    if acts == "box":
        agent.low.copy_(torch.tensor(game.low))
        agent.high.copy_(torch.tensor(game.high))
    return agent


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def imitate(world: World, agent: Agent, **asked: Any) -> tuple[Any, World]:
        save_world(tmp_path / "world", world, torch.float32)
        save_agent(tmp_path / "agent.safetensors", agent, algo="ppo", real_frames=1234)
        args = Args(str(tmp_path / "world"), str(tmp_path / "agent.safetensors"), **QUICK | asked)
        file = distil.distil(args, tmp_path / "out", progress=False)
        return load_controller(file), load_world(tmp_path / "world")

    return imitate


@pytest.mark.parametrize(
    ("world", "acts", "kind"),
    [
        (tiny_world(-50.0), "moves", "zh"),
        (own_world("CartPole-v1"), "moves", "own"),
        (own_world(PANEL), "parts", "own"),
    ],
    ids=["doom", "cartpole", "several"],
)
def test_c_chooses_as_the_agent_does(world: World, acts: str, kind: str, run: Any) -> None:
    agent = linear(world, acts, kind)
    controller, world = run(world, agent)
    state = world.start(torch.arange(5000, 5400))
    agreed = []
    for _ in range(5):
        seen = world.observe(state, kind)
        ours = actions.from_outputs(controller.act(seen), world.game)
        theirs = torch.from_numpy(actions.to_vectors(agent.act(seen).numpy(), world.game, False))
        many = len(world.game.choices)
        same = (ours * theirs).sum(1) / many if many else (ours == theirs).all(1).float()
        agreed.append(same.mean())
        state, *_ = world.step(state, theirs, torch.ones(400, 1))
    assert torch.stack(agreed).mean() > 0.85


def test_c_steers_as_the_agent_does(run: Any) -> None:
    """Its action is a tanh of a sum; the agent's is the sum, so they differ a little."""
    world = tiny_world((-50.0,), game=CAR)
    agent = linear(world, "box", "zh")
    with torch.no_grad():
        agent.layers[0].weight *= 0.2
        agent.layers[0].bias.copy_(torch.tensor([0.3, 0.5, 0.4]))
    controller, world = run(world, agent)
    seen = world.observe(world.start(torch.arange(5000, 5400)), "zh")
    ours, theirs = actions.from_outputs(controller.act(seen), CAR), agent.act(seen)
    assert (ours - theirs).square().mean(0).sum() < 0.1 * theirs.var(0).sum()


def test_what_c_of_doom_is_told_is_the_cross_entropy_of_three_moves() -> None:
    """C's output is 0: left, stay and right have the chances of a logistic variable."""
    agent = Agent(AgentConfig(4, 3))
    loss = distil.difference(DOOM, agent)
    told = torch.log(torch.tensor([[0.2, 0.5, 0.3]]))
    edge = torch.atanh(torch.tensor(DOOM.deadband))
    side = torch.sigmoid(-edge)
    wanted = -(0.5 * torch.log(side) + 0.5 * torch.log(1 - 2 * side))
    assert loss(torch.zeros(1, 1), told) == pytest.approx(float(wanted), rel=1e-5)
    assert loss(torch.full((1, 1), 30.0), torch.tensor([[0.0, 0.0, 99.0]])) < 1e-4


def test_a_finished_run_is_kept_and_repeats_itself(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = tiny_world(-3.0)
    agent = linear(world, "moves", "zh")
    first, _ = run(world, agent, rounds=2, steps=20)
    record = json.loads((tmp_path / "out/distillation.json").read_text())
    assert record["finished"] and len(record["dream"]) == 1
    told = json.loads((tmp_path / "out/controller.json").read_text())
    assert told["dream"] == max(record["dream"]) and told["temperature"] == [1.0, 1.0]
    assert told["real_frames"] == 1234  # the agent's
    with monkeypatch.context() as patch:
        patch.setattr(distil, "_imitate", lambda *_: pytest.fail("begun again"))
        assert torch.equal(run(world, agent, rounds=2, steps=20)[0].weights, first.weights)
    (tmp_path / "out/distillation.json").unlink()
    again, _ = run(world, agent, rounds=2, steps=20)
    assert torch.equal(again.weights, first.weights)
    with pytest.raises(ValueError, match="begun with steps 20, not 21"):
        run(world, agent, rounds=2, steps=21)


def test_the_best_of_all_rounds_is_kept(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([9.0, 5.0, 7.0, 6.0])
    weights = []

    def play(world: World, policy: Any, *_: Any) -> Any:
        policy.begin(torch.arange(4))
        policy.act(world.observe(world.start(torch.arange(4)), "zh"))
        if hasattr(policy.policy, "controller"):
            weights.append(policy.policy.controller.weights)
        return type("Played", (), {"returns": torch.full((4,), next(scores))})

    monkeypatch.setattr(distil.dreams, "play", play)
    monkeypatch.setattr(distil, "EVERY", 1)
    world = tiny_world(-3.0)
    kept, _ = run(world, linear(world, "moves", "zh"), rounds=4, steps=5)
    assert len(weights) == 3 and not torch.equal(weights[1], weights[2])
    assert torch.allclose(kept.weights, weights[1])
    assert json.loads((tmp_path / "out/distillation.json").read_text())["dream"] == [5, 7, 6]


@pytest.mark.parametrize(
    ("game", "acts", "words"),
    [
        (CAR, "squashed", "acts by squashed, and C of Gymnasium's CarRacing cannot"),
        (CAR, "moves", "acts by moves, and C of Gymnasium's CarRacing cannot"),
    ],
)
def test_an_agent_that_c_cannot_imitate_is_named(
    game: Game, acts: str, words: str, run: Any
) -> None:
    world = tiny_world((-3.0,), game=game)
    with pytest.raises(ValueError, match=words):
        run(world, linear(world, acts, "zh"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "x"], "world is missing"),
        (["--world", "doom"], "out is missing"),
        (["--world", "doom", "--out", "x", "--rounds", "1"], "rounds is 1: give 2 or more"),
        (["--world", "doom", "--out", "x", "--policy", "gone.safetensors"], "gone.json does not"),
    ],
)
def test_what_is_missing_is_named(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["distil", *words]) == 2
    assert message in capsys.readouterr().err


def test_an_agent_that_acts_from_minus_1_to_1_is_imitated_within_them() -> None:
    """Beyond its ends, where the game would clip its action, C is asked for the end."""
    agent = Agent(AgentConfig(2, 1, acts="unit"))
    loss = distil.difference(get("Pendulum-v1"), agent)
    outputs = torch.atanh(torch.tensor([[0.5], [-0.25]]))
    assert loss(outputs, torch.tensor([[0.5], [-0.25]])).item() == pytest.approx(0, abs=1e-9)
    assert loss(outputs, torch.tensor([[5.0], [-0.25]])).item() == pytest.approx(0.125)

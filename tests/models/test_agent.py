"""An agent's arithmetic against numbers worked out by hand, and its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dreamgym.checkpoint import (
    CheckpointError,
    is_agent,
    load_agent,
    read_json,
    save_agent,
    save_controller,
    write_json,
)
from dreamgym.games.doom import GAME as DOOM
from dreamgym.models.agent import Agent, AgentConfig
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.training.play.policies import Networked, load
from tests.conftest import tiny_world


def small(**shape: object) -> Agent:
    """Two inputs, one hidden layer of two units that hands on its inputs, two outputs."""
    agent = Agent(AgentConfig(2, 2, 2, 1, **{"activation": "relu", **shape}))  # type: ignore[arg-type]
    with torch.no_grad():
        for layer in agent.layers:
            assert isinstance(layer, nn.Linear)
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
        agent.mean.copy_(torch.tensor([1.0, 0.0]))
        agent.spread.copy_(torch.tensor([2.0, 0.5]))
        agent.low.copy_(torch.tensor([-1.0, 0.0]))
    return agent


def test_inputs_are_scaled_and_clipped() -> None:
    seen = torch.tensor([[3.0, 1.0], [101.0, 0.25]])
    assert small()(seen).tolist() == [[1.0, 2.0], [10.0, 0.5]]
    assert small(clip=0.0)(seen).tolist() == [[1.0, 2.0], [50.0, 0.5]]
    assert small(activation="tanh")(seen[:1])[0].tolist() == pytest.approx(
        [0.76159, 0.96403], abs=1e-4
    )


def test_outputs_become_actions_in_three_ways() -> None:
    seen = torch.tensor([[3.0, 1.0], [2.0, 0.1]])  # outputs (1, 2) and (0.5, 0.2)
    assert small(acts="moves").act(seen).tolist() == [1, 0]
    assert small(acts="box").act(seen)[0].tolist() == [1.0, 1.0]
    squashed = small(acts="squashed").act(seen)[1].tolist()
    assert squashed == pytest.approx([0.46212, 0.5 * (1 + 0.19738)], abs=1e-4)


def test_an_agent_predicts_as_stable_baselines3_does() -> None:
    agent, seen = small(acts="moves"), np.array([[3.0, 1.0], [2.0, 0.1]], np.float32)
    chosen, state = agent.predict(seen)
    assert chosen.tolist() == [1, 0] and state is None
    alone, _ = agent.predict(seen[1])
    assert alone.shape == () and int(alone) == 0
    driven, _ = small(acts="box").predict(seen[0], None, np.array([True]), deterministic=True)
    assert driven.tolist() == [1.0, 1.0]


def test_an_agent_comes_back_from_its_file_bit_for_bit(tmp_path: Path) -> None:
    torch.manual_seed(1)
    agent, path = Agent(AgentConfig(6, 3, 5, 2)), tmp_path / "agent.safetensors"
    save_agent(path, agent, world="doom")
    assert is_agent(path) and read_json(path.with_suffix(".json"))["world"] == "doom"
    seen = torch.randn(9, 6)
    for found in (load_agent(path), load_agent(tmp_path)):
        assert torch.equal(found(seen), agent(seen))
    controller = tmp_path / "controller.safetensors"
    save_controller(controller, Controller(ControllerConfig(6, 1), torch.zeros(6)))
    assert not is_agent(controller)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="acts is 'wild': choose one of moves, parts, bits, box, unit, squashed"
    ):
        Agent(AgentConfig(acts="wild"))
    with pytest.raises(ValueError, match=r"parts is \(2, 2\): 3 outputs have another sum"):
        Agent(AgentConfig(acts="parts", parts=(2, 2)))
    path = tmp_path / "agent.safetensors"
    save_agent(path, Agent(AgentConfig(6, 3, 5, 2)))
    with pytest.raises(
        ValueError,
        match=r"sees 6 numbers \(zhc\) and has 3 outputs, this world of doom shows 38 as zhc",
    ):
        load(path, tiny_world(), DOOM)
    facts = read_json(path.with_suffix(".json"))
    for wrong, message in (
        ({"activation": "sine"}, "activation is 'sine'"), ({"units": 7}, "has shape"),
        ({"depth": 0.5}, "AgentConfig.depth"),
    ):  # fmt: skip
        write_json(path.with_suffix(".json"), facts | {"config": facts["config"] | wrong})
        with pytest.raises(CheckpointError, match=message):
            load_agent(path)


def test_an_agent_s_moves_are_the_game_s() -> None:
    world = tiny_world()
    agent = Agent(AgentConfig(world.size("z"), 3, 4, 1, observation="z"))
    policy = Networked(agent, DOOM)
    policy.begin(torch.arange(4))
    seen = world.start(torch.arange(4)).z
    moves = agent.act(seen)
    assert policy.act(seen).tolist() == [[float(move) - 1] for move in moves]

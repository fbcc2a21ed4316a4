"""C is the paper's linear controller, alone and as a population."""

from __future__ import annotations

import math

import pytest
import torch

from dreamgym.models.controller import Controller, ControllerConfig

DOOM = ControllerConfig()
CAR_RACING = ControllerConfig(inputs=288, actions=3, bias=True)
HIDDEN = ControllerConfig(inputs=32, actions=3, bias=True, observation="z", hidden=40)
CONFIGS = pytest.mark.parametrize(
    "config", [DOOM, CAR_RACING, HIDDEN], ids=["doom", "car_racing", "hidden"]
)


@pytest.mark.parametrize(
    ("config", "count"), [(DOOM, 1088), (CAR_RACING, 867), (HIDDEN, 33 * 40 + 41 * 3)]
)
def test_parameters_are_as_many_as_the_papers(config: ControllerConfig, count: int) -> None:
    assert config.parameters == count


def test_action_is_tanh_of_a_weighted_sum() -> None:
    config = ControllerConfig(inputs=2, actions=2, bias=True)
    controller = Controller(config, torch.tensor([1.0, 2.0, 3.0, 4.0, 0.5, -0.5]))
    action = controller.act(torch.tensor([[0.1, -0.2]]))
    expected = [[math.tanh(0.1 - 0.4 + 0.5), math.tanh(0.3 - 0.8 - 0.5)]]
    torch.testing.assert_close(action, torch.tensor(expected))


def test_a_hidden_layer_is_torch_s_own() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(HIDDEN.parameters, generator=generator)
    layers = torch.nn.Sequential(
        torch.nn.Linear(32, 40), torch.nn.Tanh(), torch.nn.Linear(40, 3), torch.nn.Tanh()
    )
    torch.nn.utils.vector_to_parameters(weights, layers.parameters())
    seen = torch.randn(5, 32, generator=generator)
    torch.testing.assert_close(Controller(HIDDEN, weights).act(seen), layers(seen))


@CONFIGS
def test_each_row_of_a_population_acts_as_its_member_alone(config: ControllerConfig) -> None:
    generator = torch.Generator().manual_seed(0)
    population = Controller(config, 0.1 * torch.randn(4, config.parameters, generator=generator))
    seen = torch.randn(9, config.inputs, generator=generator)
    member = torch.tensor([3, 0, 1, 1, 2, 0, 3, 3, 2])
    together = population[member].act(seen)
    alone = [Controller(config, population.weights[m]).act(seen) for m in member]
    expected = torch.stack([actions[row] for row, actions in enumerate(alone)])
    torch.testing.assert_close(together, expected)
    assert together.shape == (9, config.actions)


@CONFIGS
def test_one_controller_acts_in_whatever_rows_are_kept(config: ControllerConfig) -> None:
    generator = torch.Generator().manual_seed(0)
    controller = Controller(config, 0.1 * torch.randn(config.parameters, generator=generator))
    seen, rows = torch.randn(9, config.inputs, generator=generator), torch.tensor([7, 2])
    torch.testing.assert_close(controller[rows].act(seen[rows]), controller.act(seen)[rows])


@CONFIGS
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 1089)])
def test_a_wrong_number_of_weights_is_named(config: ControllerConfig, shape: tuple) -> None:
    message = f"weights has {shape[-1]} numbers, this controller {config.parameters}"
    with pytest.raises(ValueError, match=message):
        Controller(config, torch.zeros(shape))

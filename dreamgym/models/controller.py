"""C, the controller: one or two layers from an observation to an action."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class ControllerConfig:
    """Shape of C. The defaults are those for Doom (World Models, §A.3 and the paper's code).

    Doom: 64 + 2·512 inputs, 1 action and no bias: 1,088 weights. CarRacing: 32 + 256 inputs, 3
    actions and a bias for each: 867 weights.
    """

    inputs: int = 1088
    actions: int = 1
    bias: bool = False
    observation: str = "zhc"
    """The kind of observation that C takes, see `world.OBSERVATIONS`."""
    hidden: int = 0
    """Units of a hidden layer. 0 for no such layer, as in the paper; its ablation has 40 units."""

    @property
    def layers(self) -> list[tuple[int, int]]:
        """The numbers of inputs and outputs of each layer."""
        return list(pairwise((self.inputs, *[self.hidden] * bool(self.hidden), self.actions)))

    @property
    def parameters(self) -> int:
        return sum((inputs + self.bias) * outputs for inputs, outputs in self.layers)


class Controller:
    """Linear layers, each followed by tanh: one controller, or N as a batch.

    Args:
        config: the shape.
        weights: (P,) for one controller, or (N, P) for one controller for each of N observations,
            with P = `config.parameters`. Layer by layer: first the matrix row by row, then biases.

    Raises:
        ValueError: if the weights are not P numbers.
    """

    def __init__(self, config: ControllerConfig, weights: Tensor):
        if weights.shape[-1] != config.parameters:
            raise ValueError(
                f"weights has {weights.shape[-1]} numbers, this controller {config.parameters}"
            )
        self.config = config
        self.weights = weights

    def __getitem__(self, rows: Tensor) -> Controller:
        """Return the controllers of some rows, given by indices or a mask."""
        return Controller(self.config, self.weights[rows]) if self.weights.ndim > 1 else self

    def act(self, observation: Tensor) -> Tensor:
        """Return actions (N, A) in [-1, 1] for observations (N, I)."""
        x, rest = observation, self.weights
        for inputs, outputs in self.config.layers:
            size, biases = inputs * outputs, outputs * self.config.bias
            weight, bias, rest = rest.split((size, biases, rest.shape[-1] - size - biases), dim=-1)
            out = (weight.unflatten(-1, (outputs, inputs)) * x[:, None, :]).sum(-1)  # (N, O)
            x = torch.tanh(out + bias if biases else out)
        return x

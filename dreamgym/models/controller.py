"""C: a linear layer, or two, from what the agent sees to what it does."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class ControllerConfig:
    """Shape of C: 64 + 2·512 inputs, 1 action, no bias, 1088 weights for Doom; 288 inputs, 3
    actions, with bias, 867 for CarRacing (World Models, §A.3 and the paper's code)."""

    inputs: int = 1088
    actions: int = 1
    bias: bool = False
    observation: str = "zhc"
    """What the inputs are, see `world.OBSERVATIONS`."""
    hidden: int = 0
    """Units between inputs and actions; 0: none, the paper's C (its ablation has 40)."""

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each layer."""
        return list(pairwise((self.inputs, *[self.hidden] * bool(self.hidden), self.actions)))

    @property
    def parameters(self) -> int:
        return sum((inputs + self.bias) * outputs for inputs, outputs in self.layers)


class Controller:
    """tanh of linear maps, with weights (P,) for all rows or (N, P), each row its own."""

    def __init__(self, config: ControllerConfig, weights: Tensor):
        if weights.shape[-1] != config.parameters:
            raise ValueError(
                f"weights has {weights.shape[-1]} numbers, this controller {config.parameters}"
            )
        self.config = config
        self.weights = weights

    def __getitem__(self, rows: Tensor) -> Controller:
        """Keep the weights of some rows."""
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

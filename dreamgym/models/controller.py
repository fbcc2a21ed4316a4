"""C: one linear layer from what the agent sees to what it does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ControllerConfig:
    """Shape of C: 64 + 2·512 inputs, 1 action, no bias, 1088 weights for Doom; 288 inputs, 3
    actions, with bias, 867 for CarRacing (World Models, §A.3 and the paper's code)."""

    inputs: int = 1088
    actions: int = 1
    bias: bool = False

    @property
    def parameters(self) -> int:
        return (self.inputs + self.bias) * self.actions


class Controller:
    """tanh of a linear map, with weights (P,) for all rows or (N, P), each row its own."""

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
        inputs, actions = self.config.inputs, self.config.actions
        weight, bias = self.weights.split((inputs * actions, actions * self.config.bias), dim=-1)
        weight = weight.unflatten(-1, (actions, inputs))  # (A, I) or (N, A, I)
        out = (weight * observation[:, None, :]).sum(-1)  # (N, A)
        return torch.tanh(out + bias if self.config.bias else out)

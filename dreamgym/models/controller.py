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
    """tanh of a linear map, for one weight vector or a whole population at once.

    Args:
        config: the shape.
        weights: (P,) for one controller, or (M, P) for a population of M.
    """

    def __init__(self, config: ControllerConfig, weights: Tensor):
        if weights.shape[-1] != config.parameters:
            raise ValueError(
                f"weights has {weights.shape[-1]} numbers, this controller {config.parameters}"
            )
        self.config = config
        self.weights = weights

    def act(self, observation: Tensor, member: Tensor | None = None) -> Tensor:
        """Return actions (N, A) in [-1, 1] for observations (N, I).

        Args:
            member: (N,) which member of the population acts in each row; None for one controller.
        """
        rows = self.weights if member is None else self.weights[member]  # (P,) or (N, P)
        inputs, actions = self.config.inputs, self.config.actions
        weight = rows[..., : inputs * actions].unflatten(-1, (actions, inputs))
        out = (weight * observation[:, None, :]).sum(-1)  # (N, A)
        if self.config.bias:
            out = out + rows[..., inputs * actions :]
        return torch.tanh(out)

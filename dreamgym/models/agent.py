"""An agent: the network of hidden layers by which an algorithm of Stable-Baselines3 acts.

It is the acting part alone, so it needs neither Stable-Baselines3 nor a pickle.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
"""The functions after a hidden layer."""
DISCRETE = ("moves", "parts", "bits")
"""How the last layer becomes a discrete action. `moves`: the one whose output is the greatest.
`parts`: of several choices, each the one whose output is the greatest among its own. `bits`: of
several bits, each is 1 if its output is above 0."""
ACTS = (*DISCRETE, "box", "unit", "squashed")
"""How it becomes an action, else: `box`: the outputs are the continuous action, clipped to its
ends. `unit`: so they are, with -1 and 1 as the ends. `squashed`: so is their tanh."""


@dataclass(frozen=True)
class AgentConfig:
    """Shape of an agent. The defaults are those of a linear one in Doom."""

    inputs: int = 1088
    outputs: int = 3
    units: int = 64
    """Units of each hidden layer."""
    depth: int = 0
    """How many hidden layers there are; 0: none, as in C."""
    activation: str = "tanh"
    """One of `ACTIVATIONS`."""
    acts: str = "moves"
    """One of `ACTS`."""
    clip: float = 10.0
    """Standard deviations beyond which an input is clipped, see `sb3.Scaled`; 0: none is."""
    observation: str = "zhc"
    """The kind of observation that the agent takes, see `world.OBSERVATIONS`."""
    parts: tuple[int, ...] = field(default=(), metadata={"later": True})
    """The possibilities of each choice, if it acts by `parts`."""


class Agent(nn.Module):
    """Hidden layers between an observation and an action.

    Raises:
        ValueError: if the config names an activation or a way to act that does not exist, or parts
            that do not make up the outputs.
    """

    mean: Tensor  # (I,) what an input is on average
    spread: Tensor  # (I,) its standard deviation
    low: Tensor  # (O,) the ends of a continuous action; not used for a discrete one
    high: Tensor  # (O,)

    def __init__(self, config: AgentConfig):
        super().__init__()
        for what, known in {"activation": ACTIVATIONS, "acts": ACTS}.items():
            if (given := getattr(config, what)) not in known:
                raise ValueError(f"{what} is {given!r}: choose one of {', '.join(known)}")
        self.config = config
        if config.acts == "parts" and sum(config.parts) != config.outputs:
            raise ValueError(f"parts is {config.parts}: {config.outputs} outputs have another sum")
        sizes = [config.inputs, *[config.units] * config.depth, config.outputs]
        self.layers = nn.ModuleList(map(nn.Linear, sizes, sizes[1:]))
        self.register_buffer("mean", torch.zeros(config.inputs))
        self.register_buffer("spread", torch.ones(config.inputs))
        self.register_buffer("low", -torch.ones(config.outputs))
        self.register_buffer("high", torch.ones(config.outputs))

    def forward(self, observation: Tensor) -> Tensor:
        """Return the outputs of the last layer (N, O) for observations (N, I)."""
        x = (observation - self.mean) / self.spread
        if self.config.clip:
            x = x.clamp(-self.config.clip, self.config.clip)
        activation = ACTIVATIONS[self.config.activation]()
        *hidden, last = self.layers
        for layer in hidden:
            x = activation(layer(x))
        return torch.as_tensor(last(x))

    @property
    def discrete(self) -> bool:
        """Whether it acts by discrete actions."""
        return self.config.acts in DISCRETE

    @torch.no_grad()
    def act(self, observation: Tensor) -> Tensor:
        """Return actions for observations (N, I): int64 discrete ones, or (N, O) continuous ones.

        Moves are (N,), parts and bits (N, P).
        """
        outputs = self(observation)
        if self.config.acts == "parts":
            each = outputs.split(self.config.parts, dim=1)
            return torch.stack([part.argmax(1) for part in each], dim=1)
        if self.config.acts == "bits":
            return (outputs > 0).long()
        if self.config.acts == "moves":
            return torch.as_tensor(outputs.argmax(1))
        if self.config.acts == "box":
            return outputs.clamp(self.low, self.high)
        outputs = outputs.clamp(-1, 1) if self.config.acts == "unit" else torch.tanh(outputs)
        return self.low + 0.5 * (outputs + 1.0) * (self.high - self.low)

    def predict(
        self,
        observation: np.ndarray,
        state: None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[Any, None]:
        """Return the action for an observation (I,), or the actions for several (N, I), and None.

        The arguments and the pair are those of Stable-Baselines3, whose `evaluate_policy` takes an
        agent as it is. An agent has no state and does not explore, so it needs none of the others.
        """
        seen = torch.from_numpy(np.asarray(observation, np.float32))
        chosen = self.act(seen if seen.ndim > 1 else seen[None]).numpy()
        return (chosen if seen.ndim > 1 else chosen[0]), None

"""M: the mixture-density LSTM of *World Models* (2018), §A.2.

The paper's model for Doom is an LSTM of 512 cells. Its inputs are z (64), the action (1) and a
restart flag (1), and it has 961 outputs: 1,678,785 parameters. Ours has no restart flag, because
its state is set to zero at the start of an episode. It has one output for each name in `heads`:
1,676,737 + 513 · (heads - 1) parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class MemoryConfig:
    """Shape and loss of M."""

    z_size: int = 64
    action_size: int = 1
    hidden: int = 512
    """Cells: 512 for Doom, 256 for CarRacing (World Models, §A.2)."""
    mixtures: int = 5
    """Gaussians for each latent dimension. Each dimension has its own mixture weights."""
    heads: tuple[str, ...] = ("hit", "death")
    """Names of the yes-or-no outcomes of the action taken. M predicts a logit for each."""
    residual: int = field(default=0, metadata={"later": True})
    """How many of the first numbers of z are foretold by their change. The exact numbers of a small
    game change little in a step; a picture's latents do not keep so still."""
    paid: bool = field(default=False, metadata={"later": True})
    """Whether the last two numbers of z are what the step pays: the last but one if the game goes
    on, the last if the step ends it. The first outcome must then be the end."""
    unit: bool = field(default=False, metadata={"later": True})
    """Whether the numbers of an action are -1 to 1, see `games.Game.unit`."""
    floor: float = field(default=0.0, metadata={"later": True})
    """Standard deviation of noise that the loss adds to every Gaussian (the variances add up). A
    number that follows exactly from those before would else make its Gaussian ever narrower, and
    its gradient drown all others."""
    outcome: float = 2.0
    """Weight of the heads' summed cross-entropy in the loss, in which the negative log-likelihood
    of z (the mean of its dimensions) has weight 1. The value is our choice. Rare outcomes get no
    extra weight, so that the predicted probabilities stay calibrated."""


class Prediction(NamedTuple):
    """M's prediction: a mixture of K Gaussians for each number of the next z, and O outcomes."""

    logits: Tensor  # (..., K, Z) mixture weights, not normalised
    mean: Tensor  # (..., K, Z)
    logstd: Tensor  # (..., K, Z)
    heads: Tensor  # (..., O) logits


class MDNRNN(nn.Module):
    """M: an LSTM with one bias vector and a linear head that outputs a `Prediction`."""

    def __init__(self, config: MemoryConfig):
        super().__init__()
        self.config = config
        cells, inputs = config.hidden, config.z_size + config.action_size
        self.weight_ih = nn.Parameter(torch.empty(4 * cells, inputs))
        self.weight_hh = nn.Parameter(torch.empty(4 * cells, cells))
        self.bias = nn.Parameter(torch.zeros(4 * cells))
        self.head = nn.Linear(cells, 3 * config.mixtures * config.z_size + len(config.heads))
        for weight in (self.weight_ih, self.weight_hh):
            nn.init.xavier_uniform_(weight)
        with torch.no_grad():  # forget gate: Gers et al. 2000, and the paper's forget_bias
            self.bias[cells : 2 * cells] = 1.0

    def step(
        self, z: Tensor, action: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Prediction, Tensor, Tensor]:
        """Take in z (N, Z) and action (N, A); return M's prediction and the new h and c (N, H).

        Matrix products run in the precision of the weights, and everything else in float32.
        """
        h, c = self.remember(z, action, h, c)
        return self.predict(h, z), h, c

    def remember(self, z: Tensor, action: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Take in z (N, Z) and action (N, A); return the new h and c (N, H)."""
        x = torch.cat((z, action), 1).to(self.bias.dtype)
        gates = torch.addmm(self.bias, x, self.weight_ih.T)
        gates = torch.addmm(gates, h.to(self.bias.dtype), self.weight_hh.T)
        return self.cells(gates, c)

    @staticmethod
    def cells(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new h and c (N, H) from the gates' inputs (N, 4H) and the old c (N, H)."""
        i, f, g, o = gates.float().chunk(4, dim=1)  # (N, H) each
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def unroll(
        self, z: Tensor, action: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Take in z (B, T, Z) and actions (B, T, A); return h (B, T, H) and the last (h, c).

        Args:
            state: (h, c), both (B, H), from before the first step; None for zeros.
        """
        x = torch.cat((z, action), dim=2)
        if state is None:
            state = (
                x.new_zeros(len(x), self.config.hidden),
                x.new_zeros(len(x), self.config.hidden),
            )
        weights = [self.weight_ih, self.weight_hh, self.bias, torch.zeros_like(self.bias)]
        out, h, c = torch.lstm(
            x, (state[0][None], state[1][None]), weights, True, 1, 0.0, self.training, False, True
        )
        return out, (h[0], c[0])

    def predict(self, h: Tensor, z: Tensor) -> Prediction:
        """Return the prediction for the hidden state h (..., H), after z (..., Z) was taken in."""
        return self.parts(self.head(h.to(self.head.weight.dtype)), z)

    def parts(self, out: Tensor, before: Tensor) -> Prediction:
        """Split the outputs of the head (..., 3KZ + O) into a prediction.

        Args:
            before: (..., Z), the z from before the step.
        """
        k, z = self.config.mixtures, self.config.z_size
        mixture, heads = out.float().split((3 * k * z, len(self.config.heads)), dim=-1)
        logits, mean, logstd = mixture.unflatten(-1, (3, k, z)).unbind(-3)
        if kept := self.config.residual:
            mean = torch.cat((mean[..., :kept] + before[..., None, :kept], mean[..., kept:]), -1)
        return Prediction(logits, mean, logstd, heads)

    def loss(
        self, prediction: Prediction, z_next: Tensor, outcomes: Tensor, known: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a prediction and its parts: means over the steps with known targets.

        Args:
            z_next: (..., Z), the latents that followed.
            outcomes: (..., O) in {0, 1}, what followed from the actions.
            known: (..., 2) in {0, 1}: whether z_next is known, and whether the outcomes are.

        Returns:
            The loss, and `nll` (nats for each latent dimension; if z holds what a step pays,
            weighed by whether the game ended) and the cross-entropy of each head.
        """
        weight = torch.ones_like(z_next)  # (..., Z)
        if self.config.paid:
            z_next = torch.cat((z_next[..., :-1], z_next[..., -2:-1]), -1)
            weight[..., -2] = 1 - outcomes[..., 0]
            weight[..., -1] = self.config.outcome * outcomes[..., 0]  # rare, so weighed as ends are
        each = -log_likelihood(prediction, z_next, self.config.floor)
        nll = (each * weight).mean(-1)  # (...)
        cross = F.binary_cross_entropy_with_logits(prediction.heads, outcomes, reduction="none")
        nll = (nll * known[..., 0]).sum() / known[..., 0].sum().clamp_min(1)
        cross = (cross * known[..., 1:]).flatten(0, -2).sum(0) / known[..., 1].sum().clamp_min(1)
        loss = nll + self.config.outcome * cross.sum()
        parts = {"nll": nll.detach()}
        return loss, parts | dict(zip(self.config.heads, cross.detach().unbind(), strict=True))


def log_likelihood(prediction: Prediction, z: Tensor, floor: float = 0.0) -> Tensor:
    """Return log p(z) in nats for each dimension of z (..., Z), under this dimension's mixture.

    Args:
        floor: standard deviation of the noise that is added, see `MemoryConfig`.
    """
    logits, mean, logstd, _ = prediction
    if floor:
        logstd = 0.5 * torch.logaddexp(2 * logstd, logstd.new_tensor(2 * math.log(floor)))
    error = (z.unsqueeze(-2) - mean) * torch.exp(-logstd)
    each = -0.5 * error.square() - logstd - 0.5 * math.log(2 * math.pi)  # (..., K, Z)
    return torch.logsumexp(logits + each, dim=-2) - torch.logsumexp(logits, dim=-2)


def sample(prediction: Prediction, uniform: Tensor, normal: Tensor, temperature: Tensor) -> Tensor:
    """Draw the next z (N, Z) from a prediction.

    Args:
        uniform: (N, Z) in (0, 1), picks the Gaussian of each dimension.
        normal: (N, Z) standard normal, the noise within the Gaussian.
        temperature: (N, 1) ≥ 0, divides the logits and multiplies the variances. At 0, z is the
            mean of the likeliest Gaussian.
    """
    logits, mean, logstd, _ = prediction
    best = logits.amax(-2, keepdim=True)
    scale = temperature.clamp_min(torch.finfo(logits.dtype).tiny)[..., None]
    weights = torch.exp((logits - best) / scale).cumsum(-2)  # (N, K, Z)
    k = (weights < uniform.unsqueeze(-2) * weights[..., -1:, :]).sum(-2, keepdim=True)
    mean, logstd = (
        values.gather(-2, k).squeeze(-2) for values in (mean, logstd)
    )  # ~ Cat(softmax(logits / τ))
    return mean + torch.sqrt(temperature) * torch.exp(logstd) * normal  # ~ N(μ_k, τ σ_k²)

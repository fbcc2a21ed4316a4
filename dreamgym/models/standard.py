"""V of a game whose frames are a few numbers: it standardises them and compresses nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EXACT = -30.0
"""log σ² of z around μ: what V sees is exact."""
MOST = torch.finfo(torch.float32).max
"""The ends of rewards of which nothing is known."""


@dataclass(frozen=True)
class StandardConfig:
    """Shape of a `Standard`."""

    inputs: int = 2
    """Numbers in a frame, the last of which is the reward."""

    @property
    def z_size(self) -> int:
        """Latent dimensions: one for each number, and one or two more to make them even."""
        return self.inputs + 2 - self.inputs % 2


class Standard(nn.Module):
    """V: subtracts the mean of each number of a frame, and divides by its standard deviation.

    The last two numbers of z are of the reward. V puts it into the first of them, and 0 into the
    second, which is for M alone: what the step would pay if the game ended there. A landing pays
    100 and ends the game. Foretold apart from the end, it would sometimes pay and not end.
    """

    mean: Tensor
    deviation: Tensor
    paid: Tensor
    """The least and the greatest reward that was seen (2,), as a frame holds it. A dream pays no
    other: what M foretells is squeezed, and a small error far out would become a fortune."""

    def __init__(self, config: StandardConfig):
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.inputs))
        self.register_buffer("deviation", torch.ones(config.inputs))
        self.register_buffer("paid", torch.tensor([-MOST, MOST]))

    @property
    def frame(self) -> tuple[int, ...]:
        return (self.config.inputs,)

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and log σ², both (N, Z) float32, of frames (N, F) float32."""
        z = (frames - self.mean) / self.deviation
        spare = self.config.z_size - self.config.inputs - 1  # 0 or 1, to make their number even
        mean = torch.cat((F.pad(z[:, :-1], (0, spare)), F.pad(z[:, -1:], (0, 1))), dim=1)
        return mean, torch.full_like(mean, EXACT)

    def decode(self, z: Tensor) -> Tensor:
        """Return frames (N, F) float32 of latents z (N, Z)."""
        kept = torch.cat((z[:, : self.config.inputs - 1], z[:, -2:-1]), dim=1)
        return kept * self.deviation + self.mean

    def reward(self, z: Tensor, over: Tensor) -> Tensor:
        """Return the rewards (N,) in latents z (N, Z) that M has foretold.

        Args:
            over: (N,) bool, whether the game ends with the step.
        """
        foretold = torch.where(over, z[:, -1], z[:, -2]) * self.deviation[-1] + self.mean[-1]
        return unsqueezed(foretold.clamp(*self.paid))

    def bound(self, rewards: Tensor) -> None:
        """Let dreams pay no more and no less than rewards (N,) that the game has paid."""
        paid = squeezed(rewards)
        self.paid.copy_(torch.stack((paid.min(), paid.max())))


def squeezed(rewards: Tensor) -> Tensor:
    """Return sign(r) ln(1 + |r|) of rewards (N,), as a frame holds them."""
    return torch.sign(rewards) * torch.log1p(rewards.abs())


def unsqueezed(rewards: Tensor) -> Tensor:
    """Return rewards (N,), as the game pays them, from those of frames."""
    return torch.sign(rewards) * torch.expm1(rewards.abs())

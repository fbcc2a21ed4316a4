"""V of a user's own game that shows pictures: a `VAE` for the picture, a `Standard` for the reward.

A frame is one vector: the bytes of a picture, then those of the squeezed reward.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .standard import Standard, StandardConfig
from .vae import VAE, VisionConfig

PIXELS = 64 * 64 * 3
"""Bytes of a picture, which is (64, 64, 3) uint8 in a `VAE`."""
PAY = 4
"""Bytes of a reward, a float32."""


@dataclass(frozen=True)
class SightConfig:
    """Shape and loss of a `Sight`; `VisionConfig` says more of the loss."""

    latents: int = 32
    """Latent dimensions of the picture (World Models, §A.1)."""
    reconstruction: float = VisionConfig.reconstruction
    """Weight of the squared error of pixels in the loss."""
    floor: float = VisionConfig.floor
    """Least KL for each latent dimension of the picture, in nats."""

    @property
    def z_size(self) -> int:
        """Latent dimensions: those of the picture, and two of the reward."""
        return self.latents + StandardConfig(1).z_size


class Sight(nn.Module):
    """V: encodes frames (N, 12292) uint8 as z (N, Z), the picture's latents before the reward."""

    frame = (PIXELS + PAY,)

    def __init__(self, config: SightConfig):
        super().__init__()
        self.config = config
        self.vae = VAE(VisionConfig(config.latents, config.reconstruction, config.floor))
        self.standard = Standard(StandardConfig(1))

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and log σ², both (N, Z) float32, of frames (N, 12292) uint8."""
        return self.join(*self.vae.encode(pictures(frames)), frames)

    def join(self, mean: Tensor, logvar: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and log σ² (N, Z) of frames, given those of their pictures (N, 32)."""
        paid, exact = self.standard.encode(rewards(frames))  # (N, 2)
        return torch.cat((mean, paid), 1), torch.cat((logvar, exact), 1)

    def reward(self, z: Tensor, over: Tensor) -> Tensor:
        """Return the rewards (N,) in latents z (N, Z), see `Standard.reward`."""
        return self.standard.reward(z[:, self.config.latents :], over)

    def bound(self, rewards: Tensor) -> None:
        """Let dreams pay no more and no less than rewards (N,), see `Standard.bound`."""
        self.standard.bound(rewards)

    def loss(self, frames: Tensor, rarity: float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the pictures of frames (N, 12292), see `VAE.loss`."""
        return self.vae.loss(pictures(frames), rarity)


Vision = VAE | Sight | Standard
"""The kinds of V."""


def pictures(frames: Tensor) -> Tensor:
    """Return the pictures (N, 64, 64, 3) uint8 in frames (N, 12292)."""
    return frames[:, :PIXELS].reshape(-1, 64, 64, 3)


def rewards(frames: Tensor) -> Tensor:
    """Return the squeezed rewards (N, 1) float32 in frames (N, 12292) uint8."""
    return frames[:, PIXELS:].clone().view(torch.float32)  # a copy begins at a float's address

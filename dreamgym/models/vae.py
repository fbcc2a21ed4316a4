"""V: the convolutional VAE of *World Models* (2018), §A.1.

The layers are exactly the paper's: 4,348,547 parameters with 32 latents, 4,446,915 with 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VECTOR = 16
"""Channels that fill a vector register of a processor; with fewer, a convolution wastes part."""


@dataclass(frozen=True)
class VisionConfig:
    """Shape and loss of V."""

    z_size: int = 64
    """Latent dimensions: 64 for Doom, 32 for CarRacing (World Models, §A.1)."""
    reconstruction: float = 1.0
    """Weight of the squared error in the loss, where the KL term has weight 1; the paper's is 1."""
    floor: float = 0.5
    """Least KL for each latent dimension, in nats: a frame's KL term never falls below this times
    `z_size`, so a smaller KL gains nothing (`kl_tolerance` in the paper's code)."""


class VAE(nn.Module):
    """V: encodes frames (N, 64, 64, 3) uint8 as diagonal Gaussians over z (N, Z), and decodes z.

    Convolutions run in the channels-last order, in which frames are stored.
    """

    frame = (64, 64, 3)

    def __init__(self, config: VisionConfig):
        super().__init__()
        self.config = config
        self.encoder = nn.ModuleList(
            nn.Conv2d(i, o, kernel_size=4, stride=2)
            for i, o in ((3, 32), (32, 64), (64, 128), (128, 256))
        )
        self.mean = nn.Linear(1024, config.z_size)
        self.logvar = nn.Linear(1024, config.z_size)
        self.dense = nn.Linear(config.z_size, 1024)
        self.decoder: Any = nn.ModuleList(
            nn.ConvTranspose2d(i, o, kernel_size=k, stride=2)
            for i, o, k in ((1024, 128, 5), (128, 64, 5), (64, 32, 6), (32, 3, 6))
        )

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and log σ², both (N, Z) float32, of frames (N, 64, 64, 3) uint8."""
        x = pixels(frames)  # (N, 3, 64, 64)
        for layer in self.encoder:
            x = F.relu(layer(x))  # 31, 14, 6, 2 pixels wide
        x = x.flatten(1)  # (N, 1024)
        return self.mean(x).float(), self.logvar(x).float()

    def decode(self, z: Tensor) -> Tensor:
        """Return pixels (N, 3, 64, 64) in [0, 1] of latents z (N, Z)."""
        x = _from_one_pixel(self.dense(z), self.decoder[0])  # 5 pixels wide
        for layer in self.decoder[1:]:
            x = _Deconvolution.apply(F.relu(x), layer.weight)  # 13, 30, 64
            x = x + layer.bias[:, None, None].to(x.dtype)
        return torch.sigmoid(x.float())

    def loss(self, frames: Tensor, rarity: float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of frames (N, 64, 64, 3) uint8 and its parts, as means over the frames.

        The parts are `error`, the squared error of a frame's pixels in [0, 1], and `kl` in nats.

        Args:
            rarity: the share of a pixel's weight that goes by how rare it is, see `weights`. At 0
                every pixel weighs the same, as in the paper.
        """
        mean, logvar = self.encode(frames)
        z = sample(mean, logvar, torch.randn_like(mean))
        truth = pixels(frames)
        squares = (self.decode(z) - truth).square()
        if rarity:
            squares = squares * weights(truth, rarity)
        error = squares.sum((1, 2, 3))  # (N,)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1)  # (N,)
        paid = kl.clamp_min(self.config.floor * self.config.z_size)
        loss = (self.config.reconstruction * error + paid).mean()
        return loss, {"error": error.mean().detach(), "kl": kl.mean().detach()}


def weights(pictures: Tensor, rarity: float) -> Tensor:
    """Return the weights (N, 1, 64, 64) of the pixels of pictures (N, 3, 64, 64); their mean is 1.

    A pixel is rare if it is far from the mean of all pictures at its place: a fireball is, and the
    wall that it flies past is not. So a few pixels that decide a game weigh as much as the many
    that are always there.

    Args:
        rarity: the share of the weight that is proportional to this distance; the rest is the same
            for all pixels.
    """
    distance = (pictures - pictures.mean(0)).square().sum(1, keepdim=True).sqrt()
    return 1 - rarity + rarity * distance / distance.mean().clamp_min(1e-6)


def sample(mean: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """Return z ~ N(μ, σ²) for standard normal noise, all (N, Z)."""
    return mean + torch.exp(0.5 * logvar) * noise


def pixels(frames: Tensor) -> Tensor:
    """Return frames (N, 64, 64, 3) uint8 as (N, 3, 64, 64) in [0, 1], channels last in memory."""
    return frames.permute(0, 3, 1, 2).float() / 255


def _from_one_pixel(x: Tensor, layer: nn.Module) -> Tensor:
    """Apply a transposed convolution to an image of one pixel (N, I).

    That is a matrix product, which is 7 times as fast.
    """
    assert isinstance(layer, nn.ConvTranspose2d) and layer.bias is not None
    weight = layer.weight.permute(0, 2, 3, 1)  # (I, K, K, O)
    y = (x @ weight.reshape(x.shape[1], -1)).view(-1, *weight.shape[1:])
    return (y + layer.bias).permute(0, 3, 1, 2)  # (N, O, K, K)


class _Deconvolution(torch.autograd.Function):
    """A transposed convolution of stride 2, computed as the gradient of a convolution.

    In the forward pass, PyTorch computes a convolution's gradient faster than a transposed
    convolution: up to 3.5 times in bfloat16 on a CPU. For an output of few channels, such as the
    picture's 3, a sub-pixel convolution is 3 times faster still. In the backward pass, the gradient
    of the input is a plain convolution.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        if weight.shape[1] < VECTOR and weight.shape[-1] % 2 == 0:
            return _shuffled(x, weight)
        size = 2 * (x.shape[-1] - 1) + weight.shape[-1]
        wide = x.new_empty((len(x), weight.shape[1], size, size))
        return _convolution_gradient(x, wide, weight, of_input=True)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_x = F.conv2d(gradient, weight, stride=2)
        return to_x, _convolution_gradient(x, gradient, weight, of_input=False)


def _shuffled(x: Tensor, weight: Tensor) -> Tensor:
    """Apply a transposed convolution of stride 2 as a sub-pixel convolution.

    The four phases of the output are the channels of a plain convolution, and are then interleaved.
    """
    inputs, outputs, size, _ = weight.shape
    half = size // 2
    phases = weight.reshape(inputs, outputs, half, 2, half, 2).flip(2, 4)
    phases = phases.permute(1, 3, 5, 0, 2, 4).reshape(4 * outputs, inputs, half, half)
    phases = phases.contiguous(memory_format=torch.channels_last)
    return F.pixel_shuffle(F.conv2d(x, phases, padding=half - 1), 2)


def _convolution_gradient(x: Tensor, wide: Tensor, weight: Tensor, of_input: bool) -> Tensor:
    """Return the gradient of conv2d(wide, weight, stride=2) by its input, or else by its weight.

    Args:
        x: the gradient by the output of this convolution.
    """
    wide = wide.contiguous(memory_format=torch.channels_last)
    geometry = (None, [2, 2], [0, 0], [1, 1], False, [0, 0], 1)  # no bias, stride, padding, …
    wanted = [of_input, not of_input, False]
    gradients = torch.ops.aten.convolution_backward(x, wide, weight, *geometry, wanted)
    return gradients[0 if of_input else 1]

"""Counter-based noise: a number is a function of (seed, episode, step, lane) and of nothing else.

With a stateful random generator, a dream would depend on the other dreams of its batch and on the
order of the draws. Here every number is the hash of its own address. So a dream is the same alone,
in a batch of any size, after a snapshot and in another process. The hash is the finaliser of
SplitMix64 (Steele et al., *Fast Splittable Pseudorandom Number Generators*, 2014), applied to a key
for the seed and the episode and to a counter for the step and the lane.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
"""SplitMix64's increment, as a signed integer, because PyTorch computes with int64."""
MULTIPLIERS = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))
LANES = 1 << 16
"""The number of 64-bit words that are reserved for each step."""
BITS = 23
"""Random bits in a uniform number: one fewer than float32 resolves, so it is never 0 or 1."""


def mix(x: Tensor) -> Tensor:
    """Hash int64 words; a flip of any input bit flips each output bit with probability ~ 1/2."""
    for shift, multiplier in zip((30, 27), MULTIPLIERS, strict=True):
        x = (x ^ _shifted(x, shift)) * multiplier
    return x ^ _shifted(x, 31)


def key(seed: Tensor, episode: Tensor) -> Tensor:
    """Return the keys (N,) of the noise for seeds (N,) and numbers of episodes (N,), all int64."""
    return mix(mix(seed + GOLDEN) + episode * GOLDEN)


def uniform(keys: Tensor, step: Tensor, lanes: int, first: int = 0) -> Tensor:
    """Return float32 numbers (N, lanes) ~ U(0, 1), both ends excluded.

    Args:
        keys: (N,) int64, see `key`.
        step: (N,) int64, the step of each dream.
        lanes: how many numbers to draw for each dream, an even number.
        first: the index of the first word of the step to use. Each word makes two numbers.
    """
    lane = torch.arange(first, first + lanes // 2, device=keys.device)
    counter = step[:, None] * LANES + lane + 1
    words = mix(keys[:, None] + counter * GOLDEN)  # (N, lanes / 2)
    halves = torch.cat((_shifted(words, 64 - BITS), (words >> 8) & ((1 << BITS) - 1)), dim=1)
    return (halves.float() + 0.5) * 2.0**-BITS


def normal(keys: Tensor, step: Tensor, lanes: int, first: int = 0) -> Tensor:
    """Return float32 numbers (N, lanes) ~ N(0, 1); see `uniform` and `gaussian`."""
    return gaussian(uniform(keys, step, lanes, first))


def gaussian(uniforms: Tensor) -> Tensor:
    """Turn numbers (N, lanes) ~ U(0, 1) into as many ~ N(0, 1) by the Box-Muller transform."""
    radius, angle = uniforms.chunk(2, dim=1)
    radius, angle = torch.sqrt(-2 * torch.log(radius)), 2 * math.pi * angle
    return torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros; PyTorch's shift of int64 fills with the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)

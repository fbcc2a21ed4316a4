"""Counter-based noise: a number is a function of (seed, episode, step, lane) and of nothing else.

A generator with a state would tie each dream to its neighbours and to the order of the draws. Here
every number is hashed from its own address, so a dream is the same alone, in a batch of any size,
after a snapshot and in another process. The hash is the finaliser of SplitMix64 (Steele et al.,
*Fast Splittable Pseudorandom Number Generators*, 2014) over a key and a counter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
"""SplitMix64's increment, as the signed integer that torch knows."""
MULTIPLIERS = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))
LANES = 1 << 16
"""Words a step may use."""
BITS = 23
"""Bits of a uniform: one fewer than float32 resolves, so that 0 and 1 are never reached."""


def mix(x: Tensor) -> Tensor:
    """Hash 64-bit words: each input bit flips each output bit with probability about 1/2."""
    for shift, multiplier in zip((30, 27), MULTIPLIERS, strict=True):
        x = (x ^ _shifted(x, shift)) * multiplier
    return x ^ _shifted(x, 31)


def key(seed: Tensor, episode: Tensor) -> Tensor:
    """Return the keys (N,) of episodes (N,) under seeds (N,), all int64."""
    return mix(mix(seed + GOLDEN) + episode * GOLDEN)


def uniform(keys: Tensor, step: Tensor, lanes: int, first: int = 0) -> Tensor:
    """Return float32 numbers (N, lanes) ~ U(0, 1), both ends excluded.

    Args:
        keys: (N,) int64, see `key`.
        step: (N,) int64, the step of each dream.
        lanes: how many numbers a dream gets, an even number.
        first: the first of the step's words to be used; a word makes two numbers.
    """
    lane = torch.arange(first, first + lanes // 2, device=keys.device)
    counter = step[:, None] * LANES + lane + 1
    words = mix(keys[:, None] + counter * GOLDEN)  # (N, lanes / 2)
    halves = torch.cat((_shifted(words, 64 - BITS), (words >> 8) & ((1 << BITS) - 1)), dim=1)
    return (halves.float() + 0.5) * 2.0**-BITS


def normal(keys: Tensor, step: Tensor, lanes: int, first: int = 0) -> Tensor:
    """Return float32 numbers (N, lanes) ~ N(0, 1) by Box and Muller's transform; see `uniform`."""
    radius, angle = uniform(keys, step, lanes, first).chunk(2, dim=1)
    radius, angle = torch.sqrt(-2 * torch.log(radius)), 2 * math.pi * angle
    return torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros; torch's own shift of int64 fills with the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)

"""Seeds: which are ones, and what the noise of an episode is keyed by."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SEED_RANGE = 2**63


@dataclass
class Episodes:
    """Counts the episodes of one environment under its seed: what its noise is keyed by."""

    seed: int | None = None
    number: int = 0

    def next(self, seed: int | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the seed and the number, (1,) each, of the episode that a reset begins."""
        if seed is None and self.seed is not None:
            self.number += 1
        else:
            chosen = rng.integers(SEED_RANGE) if seed is None else seed % SEED_RANGE
            self.seed, self.number = int(chosen), 0
        return np.array([self.seed]), np.array([self.number])


def one(seed: Any) -> int | None:
    """Return a seed as Python's own integer, or None.

    Raises:
        ValueError: if it is no whole number ≥ 0; the message names it.
    """
    if seed is None:
        return None
    try:
        number = -1 if isinstance(seed, (bool, np.bool_)) else operator.index(seed)
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(f"seed is {seed!r}: give a whole number, 0 or more, or None")
    return number


def each(seed: Any, num_envs: int) -> Sequence[int | None]:
    """Return the seeds of N environments: a number s means s, s + 1, …

    Raises:
        ValueError: if one is no seed, or they are not N.
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, (list, tuple, range)) or np.ndim(seed) == 1:
        if len(seed) != num_envs:
            raise ValueError(f"{len(seed)} seeds for {num_envs} environments: give one each")
        return [one(own) for own in seed]
    first = one(seed)
    assert first is not None
    return range(first, first + num_envs)

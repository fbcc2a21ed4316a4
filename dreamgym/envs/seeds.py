"""Seeds: which values are valid, and which (seed, episode) the noise of an episode depends on."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SEED_RANGE = 2**63


@dataclass
class Episodes:
    """The seed of one environment and the number of its episode, which key the episode's noise."""

    seed: int | None = None
    number: int = 0

    def next(self, seed: int | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the seed and the number, both (1,), of the episode that a reset begins.

        Args:
            seed: the seed given to the reset; None means the next episode under the last seed.
            rng: draws a seed if no reset was given one yet.
        """
        if seed is None and self.seed is not None:
            self.number += 1
        else:
            chosen = rng.integers(SEED_RANGE) if seed is None else seed % SEED_RANGE
            self.seed, self.number = int(chosen), 0
        return np.array([self.seed]), np.array([self.number])


def one(seed: Any) -> int | None:
    """Return a seed as Python's `int`, or None.

    Raises:
        ValueError: if it is neither a whole number ≥ 0 nor None.
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
    """Return the seeds of N environments. A single number s stands for s, s + 1, …

    Raises:
        ValueError: if a seed is not valid, or their number is not N.
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

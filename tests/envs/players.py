"""Functions that play `tests.envs.spring`, as a user may write them for `--policy`."""

from __future__ import annotations

import numpy as np


def still(seen: np.ndarray) -> np.ndarray:
    """Pull the mass back to the middle."""
    place, speed = seen
    return np.array([-place - speed])  # double precision, as NumPy has it


def wild(seen: np.ndarray) -> np.ndarray:
    """Push more than the game allows."""
    return np.array([2.5])


number = 7

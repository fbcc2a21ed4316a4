"""Searches that ask for the losses of a population and are told them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol

import numpy as np

SIGMA = 0.1
"""First step size of CMA-ES (the paper's train.py)."""


class Optimiser(Protocol):
    """A search for the P numbers with the smallest loss."""

    @property
    def mean(self) -> np.ndarray:
        """The search's best guess so far, (P,)."""

    def ask(self) -> np.ndarray:
        """Return a population of M members, (M, P)."""

    def tell(self, losses: np.ndarray) -> None:
        """Take in the losses (M,) of the population that was asked for last."""

    def state(self) -> dict[str, np.ndarray]:
        """Return what the rest of the search is a function of, beside its arguments."""


class CMAES:
    """Covariance matrix adaptation (Hansen, 2016), by pycma.

    The search is a function of its arguments and of the losses. So the losses are its state: told
    the same ones again, another search of the same arguments is the same bit for bit.

    Args:
        first: (P,), where it begins.
        population: M.
        seed: of a stream of its own.
        steps: (P,), the first step of each number; None: the same for all.
        scale: of the steps; `SIGMA` if None.
    """

    def __init__(
        self,
        first: np.ndarray,
        population: int,
        seed: int,
        steps: np.ndarray | None = None,
        scale: float | None = None,
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pycma wants matplotlib's pyplot and says so
            import cma
        rng = np.random.RandomState(seed)
        options = {
            "popsize": population,
            "randn": lambda *shape: rng.randn(*shape),
            "seed": np.nan,  # pycma's word for: leave numpy's global stream alone
            "verbose": -9,
            "verb_log": 0,
            "maxiter": np.inf,
        }
        if steps is not None:
            options["CMA_stds"] = steps
        self._search = cma.CMAEvolutionStrategy(first, SIGMA if scale is None else scale, options)
        self._asked: Sequence[np.ndarray] = []
        self._losses: list[np.ndarray] = []

    @property
    def mean(self) -> np.ndarray:
        return np.array(self._search.mean)

    @property
    def sigma(self) -> float:
        """The step size."""
        return float(self._search.sigma)

    def ask(self) -> np.ndarray:
        self._asked = self._search.ask()
        return np.stack(self._asked)

    def tell(self, losses: np.ndarray) -> None:
        self._search.tell(self._asked, losses.tolist())
        self._losses.append(losses)

    def state(self) -> dict[str, np.ndarray]:
        """Return the losses (generations, M) of all populations so far."""
        return {"losses": np.stack(self._losses)}

"""Black-box searches with the ask-and-tell interface: ask for a population, tell its losses."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol

import numpy as np

SIGMA = 0.1
"""First step size of CMA-ES (the paper's train.py)."""


class Optimiser(Protocol):
    """A search for the vector of P numbers that has the smallest loss."""

    @property
    def mean(self) -> np.ndarray:
        """The search's best guess so far, (P,)."""

    def ask(self) -> np.ndarray:
        """Return a population of M members, (M, P)."""

    def tell(self, losses: np.ndarray) -> None:
        """Update the search with the losses (M,) of the population of the last `ask`."""

    def state(self) -> dict[str, np.ndarray]:
        """Return arrays that, with the search's arguments, determine how it goes on."""


class CMAES:
    """Covariance matrix adaptation (Hansen, 2016), by pycma.

    The search depends on nothing but its arguments and the losses, so the losses are its state. A
    new search with the same arguments that is told the same losses is equal to it bit for bit.

    Args:
        first: (P,), the first mean.
        population: M.
        seed: of the search's own random numbers; numpy's global ones are not touched.
        steps: (P,), relative first step size of each number; None: 1 for all.
        scale: first step size of the whole search, a factor on `steps`; `SIGMA` if None.
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
            warnings.simplefilter("ignore")  # pycma warns if it finds no pyplot
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

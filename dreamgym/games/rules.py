"""What M must foretell in a game, how that is read off a recorded episode, and what a dream makes
of it.

What is known of a game is written here and not learned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

DEATHS = ("health", "head")
"""How a dream of `Survival` ends, see there."""


class Played(Protocol):
    """A recorded episode of T steps."""

    rewards: np.ndarray  # (T,) float32
    budget: np.ndarray  # (T + 1,) float32, the game's first count before each action, and at last
    terminated: np.ndarray  # (T,) bool


class Rules(ABC):
    """The rules of a game, as its dreams follow them.

    Dreams come in batches of N. A dream keeps C counts, such as its player's health, and M
    foretells O outcomes of an action by their odds.
    """

    heads: ClassVar[tuple[str, ...]]
    """Names of the O yes-or-no outcomes of an action."""
    counts: ClassVar[tuple[str, ...]]
    """Names by which `info` shows the first of the C counts, in the dream and in the game."""
    harm: ClassVar[str] = ""
    """The outcome that a careful player avoids, if there is one."""

    @abstractmethod
    def outcomes(self, episode: Played) -> np.ndarray:
        """Return what came of each action of an episode: (T, O) bool."""

    @abstractmethod
    def settle(
        self, counts: Tensor, odds: Tensor, draws: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what comes of a step: the counts (N, C), rewards (N,) and which dreams end (N,).

        Args:
            counts: (N, C), from before the step.
            odds: (N, O) in (0, 1), M's for each outcome.
            draws: (N, 2) ~ U(0, 1), to settle them by.
            step: (N,) int64, steps taken before.
        """

    def begin(self, budget: Tensor) -> Tensor:
        """Return the counts (N, C) of dreams whose first count begins with a budget (N,)."""
        return budget[:, None].clone()

    def ending(self, death: str) -> Rules:
        """Return the rules of dreams that end in one of the ways of `DEATHS`.

        Raises:
            ValueError: if there is no such way.
        """
        if death not in DEATHS:
            known = " or ".join(map(repr, DEATHS))
            raise ValueError(f"death is {death!r}: choose {known}")
        return self

    def expected(self, odds: np.ndarray, budget: float) -> tuple[np.ndarray, np.ndarray] | None:
        """Return what M expects each step to pay and the chance that it is the last, both (...).

        None where every step pays the same.

        Args:
            odds: (..., O).
            budget: what the episode began with.
        """
        return None

    def most(self, steps: int) -> float:
        """Return the most that a real episode of so many steps pays; who dreams more is fooled."""
        return float("inf")


@dataclass(frozen=True)
class Survival(Rules):
    """Stay alive: every step pays 1, a hit takes health by known dice, and 0 ends the game."""

    damage: float
    """What a hit takes is this times the roll of a die …"""
    faces: int
    """… with so many faces."""
    death: str = "health"
    """`"health"` adds up the hits that were drawn; `"head"` draws the end itself from M's odds for
    it, as the paper does with a threshold."""
    heads = ("hit", "death")
    counts = ("health",)
    harm = "hit"

    def outcomes(self, episode: Played) -> np.ndarray:
        return np.stack((episode.budget[:-1] > episode.budget[1:], episode.terminated), axis=1)

    def settle(
        self, counts: Tensor, odds: Tensor, draws: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        first, second = draws[:, 0], draws[:, 1]
        hit = first < odds[:, 0]  # ~ Bernoulli(p)
        roll = 1 + (second * self.faces).floor()  # ~ U{1, …, faces}
        health = (counts[:, 0] - self.damage * roll * hit).clamp_min(0)
        dead = health <= 0 if self.death == "health" else first < odds[:, 1]
        return health[:, None], health.new_ones(len(health)), dead

    def ending(self, death: str) -> Survival:
        super().ending(death)
        return replace(self, death=death)


@dataclass(frozen=True)
class Lap(Rules):
    """Drive a lap: a frame costs, a new tile of the track pays, and the last one ends the game.

    A dream counts the tiles that are left and, unseen by `info`, those of the whole track.
    """

    lap: float
    """What all tiles pay together; tracks differ in their number."""
    cost: float
    """What a frame costs."""
    fall: float
    """What leaving the field costs, which also ends the game."""
    pace: float
    """Frames that the fastest car takes for a tile …"""
    fewest: float
    """… of which the shortest tracks have so many."""
    heads = ("tile", "tiles", "fall")  # is there a new tile, are there two, is it a fall
    counts = ("tiles_left",)

    def outcomes(self, episode: Played) -> np.ndarray:
        tiles = episode.budget[:-1] - episode.budget[1:]
        fallen = episode.terminated & (episode.budget[1:] > 0)
        return np.stack((tiles >= 1, tiles >= 2, fallen), axis=1)

    def begin(self, budget: Tensor) -> Tensor:
        return budget[:, None].repeat(1, 2)

    def settle(
        self, counts: Tensor, odds: Tensor, draws: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        import torch  # not above: to import dreamgym is to import the games

        left, whole = counts.unbind(1)
        tiles = (draws[:, :1] < odds[:, :2]).sum(1).minimum(left)  # 0, 1 or 2
        left = left - tiles
        fallen = draws[:, 1] < odds[:, 2]
        reward = self.lap * tiles / whole - self.cost
        reward = reward.masked_fill(fallen, -self.fall)
        return torch.stack((left, whole), dim=1), reward, fallen | (left <= 0)

    def expected(self, odds: np.ndarray, budget: float) -> tuple[np.ndarray, np.ndarray]:
        tiles, fall = odds[..., :2].sum(-1), odds[..., 2]
        pay = self.lap * tiles / budget - self.cost
        return pay * (1 - fall) - self.fall * fall, fall

    def most(self, steps: int) -> float:
        frames = min(float(steps), self.pace * self.fewest)
        return self.lap * frames / (self.pace * self.fewest) - self.cost * frames

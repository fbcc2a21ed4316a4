"""The rules of a game: which outcomes of an action M must predict, and what follows from them.

The rules say how these outcomes are read from a recorded episode, and how a dream turns them into
rewards and ends. What is known about a game is written here and not learned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

DEATHS = ("health", "head")
"""The two ways in which a dream of `Survival` may end, see `Survival.death`."""


class Played(Protocol):
    """A recorded episode of T steps."""

    rewards: np.ndarray  # (T,) float32
    counts: np.ndarray  # (T + 1, C) float32, `Rules.counts` before each action, after the last too
    terminated: np.ndarray  # (T,) bool


class Rules(ABC):
    """The rules of a game, as its dreams follow them.

    Dreams come in batches of N. A dream keeps C counts, such as its player's health. M predicts the
    probabilities of O outcomes of an action, which the code calls odds.
    """

    heads: tuple[str, ...]
    """Names of the O yes-or-no outcomes of an action."""
    counts: ClassVar[tuple[str, ...]]
    """The names in `info` of the first of the C counts, in the dream and in the real game."""
    harm: ClassVar[str] = ""
    """The outcome that a careful player avoids, if there is one."""
    prize: ClassVar[str] = ""
    """The outcome that pays, if there is one. A player for whom none comes any more is lost."""

    @abstractmethod
    def outcomes(self, episode: Played) -> np.ndarray:
        """Return which outcomes followed each action of a recorded episode: (T, O) bool."""

    @abstractmethod
    def settle(
        self, counts: Tensor, odds: Tensor, draws: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what comes of a step: the counts (N, C), rewards (N,) and which dreams end (N,).

        Args:
            counts: (N, C), from before the step.
            odds: (N, O) in (0, 1), the probabilities that M gives the outcomes.
            draws: (N, 2) ~ U(0, 1), random numbers that decide which outcomes happen.
            step: (N,) int64, the number of steps taken before.
        """

    def compiled(self) -> Callable[..., None] | None:
        """Return `settle` compiled for a CPU; None if the rules have no such form.

        It takes counts, odds, draws and step as arrays, as in `settle`, and writes to three more:
        the counts after the step (N, C), the rewards (N,) float32 and which dreams end (N,) bool.
        """
        return None

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

    def foretold(self, heads: tuple[str, ...]) -> Rules:
        """Return the rules of dreams of an M that foretells these outcomes.

        Raises:
            ValueError: if the rules need other ones.
        """
        if heads != self.heads:
            raise ValueError(
                f"M foretells {', '.join(heads) or 'nothing'}; the rules need "
                f"{', '.join(self.heads)}"
            )
        return self

    def expected(self, odds: np.ndarray, budget: float) -> tuple[np.ndarray, np.ndarray] | None:
        """Return each step's expected reward, and the chance that an outcome of M's ends it there.

        Both are (...). None for games in which every step pays the same.

        Args:
            odds: (..., O), the probabilities that M gives the outcomes.
            budget: the first count at the start of the episode.
        """
        return None

    def most(self, steps: int) -> float:
        """Return an upper bound of a real episode's return. A dream that pays more fools C.

        Args:
            steps: the length of the episode.
        """
        return float("inf")


@dataclass(frozen=True)
class Survival(Rules):
    """Stay alive: every step pays 1, a hit takes health by known dice, and 0 ends the game."""

    damage: float
    """A hit takes this much health times the roll of a die."""
    faces: int
    """The number of faces of this die, which rolls 1 to `faces`."""
    death: str = "health"
    """How a dream ends. `"health"`: when the hits have taken all health. `"head"`: with the
    probability of death that M predicts for the step (the paper compares it with a threshold)."""
    heads = ("hit", "death")
    counts = ("health",)
    harm = "hit"

    def outcomes(self, episode: Played) -> np.ndarray:
        health = episode.counts[:, 0]
        return np.stack((health[:-1] > health[1:], episode.terminated), axis=1)

    def settle(
        self, counts: Tensor, odds: Tensor, draws: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        first, second = draws[:, 0], draws[:, 1]
        hit = first < odds[:, 0]  # ~ Bernoulli(p)
        roll = 1 + (second * self.faces).floor()  # ~ U{1, …, faces}
        health = (counts[:, 0] - self.damage * roll * hit).clamp_min(0)
        dead = health <= 0 if self.death == "health" else first < odds[:, 1]
        return health[:, None], health.new_ones(len(health)), dead

    def compiled(self) -> Callable[..., None]:
        from .settle import survival  # not above: to import dreamgym must not import numba

        damage, faces = np.float32(self.damage), np.float32(self.faces)
        return partial(survival, damage, faces, self.death == "health")

    def ending(self, death: str) -> Survival:
        super().ending(death)
        return replace(self, death=death)


@dataclass(frozen=True)
class Lap(Rules):
    """Drive a lap: a frame costs, a new tile of the track pays, and the last tile ends the game.

    A tile that the car passes by is missed: it is left, but no longer ahead. When no tile is ahead,
    the lap is over. If none was missed, the game ends there. Otherwise the real game goes on, for
    the car to fetch them in a second lap. M knows no second lap. So the dream ends there too, and
    charges at once what the frames up to the game's limit would cost.

    A dream counts the tiles that are left, those that were missed and, unseen by `info`, those of
    the whole track.
    """

    lap: float
    """The reward of all tiles together, whatever the number of tiles of a track."""
    cost: float
    """The cost of a frame."""
    fall: float
    """The cost of leaving the field, which also ends the game."""
    pace: float
    """Frames that the fastest car needs for a tile."""
    fewest: float
    """The number of tiles of the shortest tracks."""
    limit: float
    """Frames after which the real game is cut off."""
    heads: tuple[str, ...] = ("tile", "tiles", "fall", "miss", "misses")
    """Is there a new tile, are there two, is it a fall, was a tile missed, were two?"""
    counts = ("tiles_left", "tiles_missed")
    prize = "tile"

    def outcomes(self, episode: Played) -> np.ndarray:
        left, missed = episode.counts.T
        new, lost = left[:-1] - left[1:], missed[1:] - missed[:-1]
        fallen = episode.terminated & (left[1:] > 0)
        return np.stack((new >= 1, new >= 2, fallen, lost >= 1, lost >= 2), axis=1)

    def foretold(self, heads: tuple[str, ...]) -> Lap:
        if heads == self.heads[:3]:  # a world of before tiles were missed: its dreams miss none
            return replace(self, heads=heads)
        super().foretold(heads)
        return self

    def begin(self, budget: Tensor) -> Tensor:
        import torch  # not above: to import dreamgym is to import the games

        return torch.stack((budget, torch.zeros_like(budget), budget), dim=1)

    def settle(
        self, counts: Tensor, odds: Tensor, draws: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        import torch  # not above: to import dreamgym is to import the games

        left, missed, whole = counts.unbind(1)
        first, second = draws[:, :1], draws[:, 1:]
        tiles = (first < odds[:, :2]).sum(1).minimum(left - missed)  # 0, 1 or 2
        left = left - tiles
        lost = (1 - second < odds[:, 3:]).sum(1).minimum(left - missed)  # 0, 1 or 2
        missed = missed + lost
        fallen, over = second[:, 0] < odds[:, 2], left <= missed
        rest = (self.limit - 1 - step).clamp_min(0) * (over & (left > 0))  # frames
        reward = self.lap * tiles / whole - self.cost - self.cost * rest
        reward = reward.masked_fill(fallen, -self.fall)
        return torch.stack((left, missed, whole), dim=1), reward, fallen | over

    def compiled(self) -> Callable[..., None]:
        from .settle import lap  # not above: to import dreamgym must not import numba

        numbers = self.lap, self.cost, self.fall, self.limit
        return partial(lap, *map(np.float32, numbers))

    def expected(self, odds: np.ndarray, budget: float) -> tuple[np.ndarray, np.ndarray]:
        tiles, fall = odds[..., :2].sum(-1), odds[..., 2]  # what was missed costs nothing at once
        pay = self.lap * tiles / budget - self.cost
        return pay * (1 - fall) - self.fall * fall, fall

    def most(self, steps: int) -> float:
        frames = min(float(steps), self.pace * self.fewest)
        return self.lap * frames / (self.pace * self.fewest) - self.cost * frames


class Known:
    """What the author of a game of vectors knows of its reward and its end, written by themselves.

    A subclass has one of the two methods, or both. What it leaves out is learned. N steps come at
    once, as arrays that cannot be written to:

    * `before` and `after`, (N, O) float32: what the game shows before and after the step, flattened
      and in its own units. In a dream this is what M foretells.
    * `action`, (N, A) float32: as M takes it. A choice is one-hot.
    """

    def reward(self, before: np.ndarray, action: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return the rewards (N,)."""
        raise NotImplementedError

    def over(self, before: np.ndarray, action: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return which steps end the game, (N,) bool. Its limit of steps is no such end."""
        raise NotImplementedError

    @property
    def known(self) -> tuple[str, ...]:
        """The names of the methods that are there."""
        here = type(self)
        return tuple(
            name for name in ("reward", "over") if getattr(here, name) is not getattr(Known, name)
        )

    def _said(self, name: str, *given: np.ndarray) -> np.ndarray:
        """Return what a method says of N steps, a new array (N,), after a check.

        Raises:
            ValueError: if the method fails, or returns something else than it should.
        """
        given = tuple(part.view() for part in given)
        for part in given:
            part.flags.writeable = False
        who, many = f"{type(self).__name__}.{name}", len(given[0])
        try:
            said = np.asarray(getattr(self, name)(*given))
        except Exception as error:  # it is the user's own code
            raise ValueError(f"{who} failed: {type(error).__name__}: {error}") from error
        kinds, wanted = ("biuf", "numbers") if name == "reward" else ("b", "bool")
        if said.shape != (many,) or said.dtype.kind not in kinds:
            raise ValueError(
                f"{who} returned {said.dtype} {said.shape} for {many} steps: return {wanted} "
                f"({many},), one for each"
            )
        if not np.isfinite(said).all():
            row = int(np.flatnonzero(~np.isfinite(said))[0])
            numbers = ", ".join(str(part[row].tolist()) for part in given)
            raise ValueError(f"{who} returned {said[row]} for {numbers}: return finite numbers")
        return np.array(said)


def ended(
    known: Known, before: np.ndarray, action: np.ndarray, after: np.ndarray, dead: np.ndarray
) -> np.ndarray:
    """Return which steps end the game, (N,) bool: as its author says, or else `dead`.

    Raises:
        ValueError: if the author's method fails, or returns something else than it should.
    """
    return known._said("over", before, action, after) if "over" in known.known else dead


def paid(
    known: Known, before: np.ndarray, action: np.ndarray, after: np.ndarray, reward: np.ndarray
) -> np.ndarray:
    """Return the rewards (N,) float32: as the game's author says, or else `reward`.

    Raises:
        ValueError: as `ended` does.
    """
    if "reward" not in known.known:
        return reward
    return known._said("reward", before, action, after).astype(np.float32)


@dataclass(frozen=True)
class Learned(Rules):
    """Nothing is known: M learns the reward and the end of a game from what was played.

    The reward is the last number of the frame that follows an action, so M foretells it as it does
    the rest of the frame, by a mixture of Gaussians, and V reads it off the next z. What a step
    pays that ends the game is a number of its own. These rules pay nothing. M gives the chance of
    the end.
    """

    known: Known | None = None
    """What the game's author knows all the same. Then it holds, and not what M foretells."""
    heads = ("end",)
    counts = ()

    def outcomes(self, episode: Played) -> np.ndarray:
        return episode.terminated[:, None]

    def settle(
        self, counts: Tensor, odds: Tensor, draws: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return counts.clone(), draws.new_zeros(len(draws)), draws[:, 0] < odds[:, 0]

    def compiled(self) -> Callable[..., None]:
        from .settle import learned  # not above: to import dreamgym must not import numba

        return learned

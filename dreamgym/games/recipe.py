"""How the world of a game is made: rounds of playing, learning the world and learning in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

SIZES = ("episodes", "frames", "updates", "generations", "budget", "timesteps", "imitated")
"""The parts of a round that take long: games to learn from, frames, and steps of learning."""


@dataclass(frozen=True)
class Round:
    """One round: play real games, train V and M on them, and learn in the dream: C, or an agent."""

    episodes: int
    """Real games to record: random play in the first round, then the last round's policy. With
    a `budget`, the least number of them."""
    steps: int
    """Frames after which these games and C's dreams are cut off; 0 for the game's own limit."""
    frames: int
    """Frames to train V on, starting from the last round's V; 0 to keep that V as it is."""
    updates: int
    """Optimiser steps to train M, on the recordings of all rounds so far."""
    generations: int
    """Generations of CMA-ES to evolve C."""
    even: bool = False
    rarity: float = 0.0
    """Whether V sees late frames as often as early ones, and how much rare pixels weigh; see
    `vision.Args`."""
    rate: float = 1.5e-3
    """Peak of Adam's learning rate for M."""
    length: int = 64
    """Steps through which M's gradients flow back."""
    anew: bool = False
    """Whether M and who learns in the dream start from nothing, not from the last round."""
    chance: float = 0.02
    hold: int = 10
    """In each frame of these games, the chance that a random action interrupts the policy, and the
    most frames for which it is held; see `collect.Args`."""
    budget: int = 0
    """Real frames to record, by as many games as that takes; 0: `episodes` games, however long."""
    rollouts: int = 16
    """Dreams for each member of a generation."""
    validate: int = 10
    """Generations from one validation, in the real game, to the next."""
    games: int = 40
    """Real games in each validation."""
    timesteps: int = 0
    """Steps in which PPO learns an agent in the dream; 0: CMA-ES evolves C and nothing else."""
    falling: float = 0.0
    """PPO's learning rate at first, if it falls to 0; 0: the usual one, which stays."""
    anywhere: float = 0.0
    """Share of PPO's dreams that begin inside real games."""
    short: int = 0
    """Steps after which PPO's dreams are cut off; 0: as C's."""
    imitated: int = 0
    """Steps in which PPO learns C at last, after C has imitated the agent; 0: no C does."""
    evolved: bool = False
    """Whether CMA-ES evolves C beside the agent."""
    finalists: int = 0
    """How many of the best controllers play further real games for the final choice; 0 for none."""
    low: float = 1.0
    high: float = 1.2
    """The ends of the range of temperatures in which C learns."""

    def __post_init__(self) -> None:
        if not 1 <= self.validate <= self.generations:
            raise ValueError(
                f"validate is {self.validate}: give 1 to {self.generations}, the number of "
                "generations, because the best round is chosen by validation"
            )
        if self.imitated and not self.timesteps:
            raise ValueError(f"imitated is {self.imitated}, but no agent learns: give timesteps")
        if self.imitated and self.evolved:
            raise ValueError("imitated and evolved: C comes from one of them, leave out the other")
        if not 0 <= self.low <= self.high < float("inf"):
            raise ValueError(
                f"low is {self.low}, high {self.high}: give the ends of a range of temperatures, "
                "such as 1.0 and 1.2"
            )


def scaled(stage: Round, share: float) -> Round:
    """Return a round of which each of `SIZES` is so many times as large, and 2 or more.

    What is 0, because the round leaves it out, stays 0.

    Raises:
        ValueError: if the share is not above 0.
    """
    if not 0 < share < float("inf"):
        raise ValueError(f"share is {share}: give a number above 0, such as 0.1")
    sizes = {name: getattr(stage, name) for name in SIZES}
    less: dict[str, Any] = {
        name: max(2, round(share * size)) if size else 0 for name, size in sizes.items()
    }
    return replace(stage, **less, validate=min(stage.validate, less["generations"]))

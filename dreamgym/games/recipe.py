"""How the world of a game is made: rounds of playing, learning the world and learning in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Round:
    """One time around."""

    episodes: int
    """Real games, at random in the first round, then by the controller of the round before."""
    steps: int
    """Frames after which such a game, and a dream of C's, is cut off; 0: none."""
    frames: int
    """Frames that V is trained on, going on from the round before's V; 0 keeps that one."""
    updates: int
    """Steps of M on the data of all rounds so far."""
    generations: int
    """Generations of C."""
    anew: bool = False
    """Whether M and C begin anew instead of going on; if V learns more, they do."""
    rollouts: int = 16
    """Dreams a member."""
    validate: int = 10
    """Generations between validations."""
    games: int = 40
    """Real games a validation."""
    finalists: int = 0
    """How many controllers play for the last choice."""
    low: float = 1.0
    high: float = 1.2
    """Ends of the temperature's range in which C learns."""

    def __post_init__(self) -> None:
        if not 1 <= self.validate <= self.generations:
            raise ValueError(
                f"validate is {self.validate}: give 1 to {self.generations}, the generations, for "
                "a round is chosen by its validation"
            )
        if not 0 <= self.low <= self.high < float("inf"):
            raise ValueError(
                f"low is {self.low}, high {self.high}: give the ends of a range of temperatures, "
                "such as 1.0 and 1.2"
            )

"""A made-up game whose every number says where it belongs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dreamgym.training.play import games

LENGTHS = {4: 3, 5: 1, 6: 5}
"""Steps of a made-up game with this seed."""


class Counted:
    """A game whose frame is all of one number, 10 · seed + step; a step costs its number of health.

    The one with seed 5 is truncated, the others terminate.
    """

    def __init__(self) -> None:
        self.taken: list[float] = []

    def look(self) -> tuple[np.ndarray, dict[str, float]]:
        frame = np.full((64, 64, 3), 10 * self.seed + self.step_number, np.uint8)
        return frame, {"health": 100 - self.step_number * (self.step_number + 1) / 2}

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, float]]:
        self.seed, self.step_number = seed, 0
        return self.look()

    def step(self, action: np.ndarray) -> tuple[Any, ...]:
        self.taken.append(float(action[0]))
        self.step_number += 1
        frame, info = self.look()
        over = self.step_number == LENGTHS[self.seed]
        return (
            frame,
            float(self.step_number),
            over and self.seed != 5,
            over and self.seed == 5,
            info,
        )


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Counted]:
    """The made-up games that are played side by side, in the order of the seeds."""
    made = [Counted() for _ in range(3)]
    monkeypatch.setattr(games, "_game", lambda task, maker, number: made[number])
    return made

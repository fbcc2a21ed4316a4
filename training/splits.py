"""Which seeds of real games are for what.

A policy that was chosen by its scores on some games is reported by its scores on other games.
"""

VALIDATION = 1_000_000
"""First seed for validation during a run; the seeds below are for training."""
FINAL = 1_100_000
"""First seed for the final choice between the best policies."""
DEMO = 1_500_000
"""First seed for demonstrations and films."""
TEST = 2_000_000
"""First seed for the scores that are reported."""
SEEDS = 2**31
"""Seeds of games and of dreams are smaller than this, like those of Gymnasium and ViZDoom."""
MOST = 1_000_000
"""Largest number of games in one score: a million seeds are meant for tests."""


def check_seeds(first: int, many: int) -> None:
    """Refuse the seeds of so many games, the first of which is `first`.

    Raises:
        ValueError: if they are not all from 0 to `SEEDS` - 1.
    """
    if first < 0 or first + many > SEEDS:
        raise ValueError(f"seed is {first}: keep seeds from 0 to {SEEDS - 1:,}")

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

"""Which seeds of real games are for what, so that no number is measured on what has chosen it."""

VALIDATION = 1_000_000
"""First seed for choosing; those below are for training …"""
FINAL = 1_100_000
"""… for the last choice …"""
DEMO = 1_500_000
"""… for showing …"""
TEST = 2_000_000
"""… and for the numbers that are reported."""
SEEDS = 2**31
"""All seeds of games and of dreams lie below, as Gymnasium's and ViZDoom's do."""

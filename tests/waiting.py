"""Waiting for other processes. It imports nothing heavy, as what runs in a worker should not."""

import time
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds that a test waits for what another process does."""


def until(true: Callable[[], bool]) -> bool:
    """Wait for something, and tell whether it came."""
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True

"""Threads that share the rows of a batch."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch


def shared(work: Callable[[slice], None], rows: int, fewest: int, torch_inside: bool) -> None:
    """Call `work` for slices that cover the rows, each in a thread of its own.

    There are at most as many slices as PyTorch has threads. A thread carries its rows through the
    whole step. If the threads instead shared out every matrix product, they would have to wait for
    each other at every one.

    Args:
        work: what to do with some rows.
        rows: how many there are.
        fewest: rows for which one more thread pays. Slices begin at multiples of it.
        torch_inside: whether `work` calls PyTorch. The calling thread then only waits, since
            PyTorch would use several threads in it; else it takes the first slice itself.
    """
    parts = min(torch.get_num_threads(), rows // fewest)
    if parts < 2:
        return work(slice(0, rows))
    ends = [rows * part // parts // fewest * fewest for part in range(parts)] + [rows]
    first, *others = (slice(*pair) for pair in pairwise(ends))
    pool = _pool(parts)
    tasks = [pool.submit(work, part) for part in others]
    if torch_inside:
        tasks.append(pool.submit(work, first))
    else:
        work(first)
    for task in tasks:
        task.result()


_pools: dict[int, ThreadPoolExecutor] = {}
_making = threading.Lock()


def _pool(threads: int) -> ThreadPoolExecutor:
    """Return a pool of threads in which PyTorch runs single-threaded.

    PyTorch keeps the number of threads per thread, and a new thread starts with the number that was
    set last anywhere. So a temporary thread reads this number before the pool sets 1, and sets it
    again afterwards. The caller's own number does not change.
    """
    with _making:
        if threads not in _pools:
            pool = ThreadPoolExecutor(threads, "dream", _alone)
            with ThreadPoolExecutor(1) as outside:
                usual = outside.submit(torch.get_num_threads).result()
                for ready in [pool.submit(time.sleep, 0.001) for _ in range(threads)]:
                    ready.result()
                outside.submit(torch.set_num_threads, usual).result()
            _pools[threads] = pool
        return _pools[threads]


def _alone() -> None:
    """Make PyTorch single-threaded in this thread, and let it keep denormal numbers."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)


def _forget() -> None:
    """Drop the pools in a forked child, which has none of its parent's threads."""
    global _making
    _pools.clear()
    _making = threading.Lock()


os.register_at_fork(after_in_child=_forget)

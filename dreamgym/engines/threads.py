"""Threads that work together on one step of a batch."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from itertools import pairwise

import torch


def together(work: Callable[[], None], threads: int, torch_inside: bool = False) -> None:
    """Call `work` in several threads at once, and return when the last call has returned.

    The calls share out what there is to do among themselves, so a thread that starts late or runs
    slowly has a smaller share. One that has not started when the others are done is not waited for.

    Args:
        work: called in each of the threads.
        threads: the most threads that may pay, see `count`.
        torch_inside: whether `work` calls PyTorch. The calling thread then only waits, since
            PyTorch would use several threads in it.
    """
    if count(threads) < 2:
        return work()
    helpers = _helpers(count(threads) - (0 if torch_inside else 1))
    tasks = [_Task(work, helper) for helper in helpers]
    try:
        if not (torch_inside and tasks):
            work()
    finally:
        for task in tasks:
            task.end(cancel=not torch_inside)
    for task in tasks:
        if task.error:
            raise task.error


def count(threads: int) -> int:
    """Return how many threads work together where so many may pay: at least one."""
    return max(1, min(torch.get_num_threads(), threads))


def shared(work: Callable[[slice], None], rows: int, fewest: int, torch_inside: bool) -> None:
    """Call `work` for slices that cover the rows, one slice for each thread that pays.

    A thread carries its rows through the whole of `work`. If the threads instead shared out every
    matrix product, they would have to wait for each other at every one.

    Args:
        work: what to do with some rows.
        rows: how many there are.
        fewest: rows for which one more thread pays. Slices begin at multiples of it.
        torch_inside: see `together`.
    """
    parts = count(rows // fewest)
    ends = [rows * part // parts // fewest * fewest for part in range(parts)] + [rows]
    slices = deque(slice(*pair) for pair in pairwise(ends))

    def some() -> None:
        while slices:
            try:
                mine = slices.popleft()
            except IndexError:  # another thread has taken the last one meanwhile
                return
            work(mine)

    together(some, parts, torch_inside)


class _Helper:
    """A thread that waits for work. PyTorch is single-threaded in it and keeps denormal numbers."""

    task: _Task | None = None

    def __init__(self) -> None:
        self.go, self.ready = threading.Lock(), threading.Event()
        self.go.acquire()
        threading.Thread(target=self._serve, name="dream", daemon=True).start()
        self.ready.wait()

    def _serve(self) -> None:
        torch.get_num_threads()  # this sets up the thread, and would overwrite the number later
        torch.set_num_threads(1)
        torch.set_flush_denormal(False)
        self.ready.set()
        while True:
            self.go.acquire()
            task, self.task = self.task, None  # the arrays of a step need not live longer
            assert task is not None
            try:
                task.work()
            except BaseException as error:
                task.error = error
            task.done.release()
            del task


class _Task:
    """A call of `work` by a helper."""

    error: BaseException | None = None

    def __init__(self, work: Callable[[], None], helper: _Helper):
        self.work, self.helper, self.done = work, helper, threading.Lock()
        self.done.acquire()
        helper.task = self
        helper.go.release()

    def end(self, cancel: bool) -> None:
        """Wait for the end of the call, or cancel it if it has not begun; free the helper."""
        if cancel and self.helper.go.acquire(blocking=False):
            self.helper.task = None
        else:
            self.done.acquire()
        _free.append(self.helper)  # only now: another thread may give it work at once


_free: deque[_Helper] = deque()
"""The helpers that wait for work."""
_made = 0
_making = threading.Lock()


def _helpers(wanted: int) -> list[_Helper]:
    """Take free helpers, and make new ones as long as there are fewer than wanted in all.

    When several threads dream at the same time, they share the helpers, so some get fewer.

    PyTorch keeps the number of threads per thread, and a new thread starts with the number that was
    set last anywhere. So a temporary thread reads this number before a helper sets 1, and sets it
    again afterwards. The caller's own number does not change.
    """
    global _made
    if _made < wanted:
        with _making:
            usual = _elsewhere(torch.get_num_threads)
            while _made < wanted:
                _free.append(_Helper())
                _made += 1
            _elsewhere(lambda: torch.set_num_threads(usual))
    taken: list[_Helper] = []
    while len(taken) < wanted:
        try:
            taken.append(_free.popleft())
        except IndexError:
            break
    return taken


def _elsewhere(call: Callable[[], object]) -> int:
    """Return what a call returns in a new thread."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]  # type: ignore[return-value]


def _forget() -> None:
    """Drop the helpers in a forked child, which has none of its parent's threads."""
    global _made, _making
    _free.clear()
    _made, _making = 0, threading.Lock()


os.register_at_fork(after_in_child=_forget)

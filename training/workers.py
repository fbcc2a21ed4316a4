"""Worker processes that may die or hang without harm."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from traceback import format_exc
from typing import Any

START_TIMEOUT = 120.0
"""Seconds that a new process may take before its first answer, imports included."""
GRACE = 5.0
"""Seconds that a process gets to close its games before it is killed."""
MOST = 64
"""Processes a core; more would only take memory."""
TRIES = 3
"""How often a job is given out before it counts as impossible."""


CERTAIN = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError,
           TypeError, ValueError)  # fmt: skip
"""Errors that a job would meet again; others, such as a game engine's end, it may not."""


class WorkerError(RuntimeError):
    """A job failed, for certain or in every worker that tried it."""


@dataclass
class _Failure:
    """How a job ended without an answer."""

    words: str
    certain: bool = False
    trace: str = ""


class _Worker:
    """One process and the job it holds."""

    def __init__(self, function: Callable[[Any], Any], timeout: float):
        context = get_context("spawn")  # forked engines and thread pools share what they must not
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.timeout = timeout
        self.allowance = START_TIMEOUT + timeout
        self.job: int | None = None
        self.deadline = float("inf")

    def give(self, number: int, job: Any) -> None:
        """Send a job; if the process is dead, that shows when its answer is awaited."""
        with contextlib.suppress(BrokenPipeError):
            self.pipe.send(job)
        self.job, self.deadline = number, time.monotonic() + self.allowance
        self.allowance = self.timeout

    def stop(self) -> None:
        """End the process, by itself if it can, and whatever game engine it has started."""
        self.process.terminate()
        self.process.join(GRACE)
        assert self.process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()  # in case it had no group of its own yet
        self.process.join()
        self.pipe.close()


def _serve(function: Callable[[Any], Any], pipe: connection.Connection) -> None:
    """Answer jobs until the parent says stop or goes away."""
    os.setpgid(0, 0)  # Ctrl-C is the parent's to handle; engines die with this group
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # engines leave nothing behind
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            answer = (True, function(job))
        except Exception as error:
            words = (
                str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            )
            answer = (False, _Failure(words, isinstance(error, CERTAIN), format_exc()))
        with contextlib.suppress(BrokenPipeError):
            pipe.send(answer)


def count(processes: int) -> int:
    """Return a number of processes, 0 standing for one a core: asked before the work.

    Raises:
        ValueError: if it is no whole number, 0 or more.
    """
    cores = os.cpu_count() or 1
    whole = isinstance(processes, int) and not isinstance(processes, bool)
    if not whole or not 0 <= processes <= MOST * cores:
        raise ValueError(
            f"processes is {processes!r}: give 1 or more, up to {MOST * cores}, or 0 for one a core"
        )
    return processes or cores


def run(
    function: Callable[[Any], Any], jobs: Sequence[Any], workers: int = 0, timeout: float = 300.0
) -> Iterator[tuple[int, Any]]:
    """Yield `(number, function(job))` for every job, in the order in which they finish.

    A worker that dies, or that holds a job longer than `timeout` seconds, is replaced and its job
    given out again, so `function` must be a function of its job alone.

    Args:
        function: importable by name; runs in the workers, each with one thread of its own.
        jobs: picklable arguments.
        workers: number of processes; 0 takes one for each core.
        timeout: seconds for one job.

    Raises:
        ValueError: if `workers` is no such number.
        WorkerError: if a job failed for certain, or three times; the message holds the last
            failure, and a note its traceback.
    """
    workers = count(workers)
    waiting, tries = deque(range(len(jobs))), [0] * len(jobs)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # oversubscribed, torch is 5 to 20 times slower
    pool: list[_Worker] = []

    def fail(worker: _Worker, why: _Failure) -> None:
        assert worker.job is not None
        if why.certain or tries[worker.job] >= TRIES:
            number = f"job {worker.job + 1} of {len(jobs)}"
            often = "" if why.certain else f" {tries[worker.job]} times, last"
            error = WorkerError(f"{number} failed{often}: {why.words}")
            error.add_note(why.trace)
            raise error
        waiting.appendleft(worker.job)

    try:
        for _ in range(min(workers, len(jobs))):
            pool.append(_Worker(function, timeout))
        done = 0
        while done < len(jobs):
            for worker in pool:
                if worker.job is None and waiting:
                    number = waiting.popleft()
                    tries[number] += 1
                    worker.give(number, jobs[number])
            busy = [worker for worker in pool if worker.job is not None]
            soonest = min(worker.deadline for worker in busy) - time.monotonic()
            ready = connection.wait([w.pipe for w in busy], timeout=max(0.0, soonest))
            for worker in busy:
                if worker.pipe in ready:
                    try:
                        good, answer = worker.pipe.recv()
                    except (EOFError, OSError):
                        worker.process.join(GRACE)
                        code = worker.process.exitcode
                        good, answer = None, _Failure(f"its process ended ({code})")
                elif time.monotonic() > worker.deadline:
                    good = None
                    answer = _Failure(f"no answer within {worker.timeout:.0f} s")
                else:
                    continue
                if good:
                    done += 1
                    yield worker.job, answer  # type: ignore[misc]
                else:
                    fail(worker, answer)
                worker.job = None
                if good is None:
                    worker.stop()
                    pool[pool.index(worker)] = _Worker(function, timeout)
    finally:
        for worker in pool:
            worker.stop()
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before

"""Where jobs run: in this process, or in worker processes that may die or hang without harm."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from traceback import format_exc
from typing import Any, Protocol, TypeVar

from dreamgym.envs.workers import SPAWN, one_thread

Job = TypeVar("Job")
Answer = TypeVar("Answer")

TIMEOUT = 300.0
"""Default time limit for one job, in seconds."""
START_TIMEOUT = 120.0
"""Extra seconds for the first job of a new process, which has to import everything."""
GRACE = 5.0
"""Seconds that a process gets to close its games before it is killed."""
MOST = 64
"""Largest number of processes for each core; more would only take memory."""
TRIES = 3
"""How often a job may fail before it is given up."""

CERTAIN = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError,
           TypeError, ValueError)  # fmt: skip
"""Errors that would occur again on another try. Others, such as a game engine's crash, may not."""


class WorkerError(RuntimeError):
    """A job failed, either by an error that would occur again or on every try."""


class Executor(Protocol):
    """Runs a function on many jobs.

    The function may run in another process, and run again if that process dies. So it must be
    importable by name, and its answer must depend only on the job. Files may be replaced before a
    job runs, so a job names a world and a policy by their fingerprints too.
    """

    def map(
        self, function: Callable[[Job], Answer], jobs: Sequence[Job], timeout: float = TIMEOUT
    ) -> Iterator[tuple[int, Answer]]:
        """Yield `(number, function(job))` for every job, in the order in which they finish.

        Args:
            jobs: picklable, as the answers are. A job may have a `label`, by which errors call it.
            timeout: seconds for one job, if the executor can stop jobs.
        """


@dataclass(frozen=True)
class InProcess:
    """Runs jobs in this process, one after the other: for tests and debuggers."""

    def map(
        self, function: Callable[[Job], Answer], jobs: Sequence[Job], timeout: float = TIMEOUT
    ) -> Iterator[tuple[int, Answer]]:
        """Yield `(number, function(job))` for every job; errors are raised unchanged."""
        yield from ((number, function(job)) for number, job in enumerate(jobs))


@dataclass(frozen=True)
class Local:
    """Runs jobs in worker processes on this machine, each with one thread.

    The processes live as long as one call of `map`.

    Raises:
        ValueError: if `processes` is not a whole number from 0 to `MOST` for each core.
    """

    processes: int = 0
    """Number of worker processes; 0: one for each core."""

    def __post_init__(self) -> None:
        asked, most = self.processes, MOST * (os.cpu_count() or 1)
        whole = isinstance(asked, int) and not isinstance(asked, bool)
        if not whole or not 0 <= asked <= most:
            raise ValueError(
                f"processes is {asked!r}: give 1 or more, up to {most}, or 0 for one a core"
            )

    def map(
        self, function: Callable[[Job], Answer], jobs: Sequence[Job], timeout: float = TIMEOUT
    ) -> Iterator[tuple[int, Answer]]:
        """Yield `(number, function(job))` for every job, in the order in which they finish.

        A worker that dies, or that works on a job longer than `timeout` seconds, is replaced, and
        the job is tried again.

        Raises:
            WorkerError: if a job failed with an error of `CERTAIN`, or `TRIES` times. The message
                holds the last failure; its traceback is in a note.
        """
        count = self.processes or os.cpu_count() or 1
        waiting, tries = deque(range(len(jobs))), [0] * len(jobs)
        idle: list[_Worker] = []
        busy: list[_Worker] = []
        try:
            while waiting or busy:
                while waiting and len(busy) < count:
                    busy.append(idle.pop() if idle else _Worker(function))
                    number = waiting.popleft()
                    busy[-1].give(number, jobs[number], timeout)
                soonest = min(worker.deadline for worker in busy) - time.monotonic()
                ready = connection.wait([worker.pipe for worker in busy], max(0.0, soonest))
                now = time.monotonic()
                for worker in [each for each in busy if each.pipe in ready or each.deadline < now]:
                    number, answer = worker.number, worker.answer()
                    busy.remove(worker)
                    if not worker.pipe.closed:
                        idle.append(worker)
                    tries[number] += 1
                    if not isinstance(answer, _Failure):
                        yield number, answer
                    elif answer.certain or tries[number] >= TRIES:
                        often = "" if answer.certain else f" {tries[number]} times, last"
                        which = getattr(jobs[number], "label", f"job {number + 1} of {len(jobs)}")
                        error = WorkerError(f"{which} failed{often}: {answer.words}")
                        error.add_note(answer.trace)
                        raise error
                    else:
                        waiting.appendleft(number)
        finally:
            _stop(idle + busy)


@dataclass
class _Failure:
    """Why a job gave no answer."""

    words: str
    certain: bool = False
    trace: str = ""


class _Worker:
    """One worker process and its current job."""

    def __init__(self, function: Callable[[Any], Any]):
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(function, theirs), daemon=True)
        with one_thread():
            self.process.start()
        theirs.close()
        self.allowance = START_TIMEOUT

    def give(self, number: int, job: Any, timeout: float) -> None:
        """Send a job; that the process is dead is noticed only by `answer`."""
        self.number, self.timeout = number, timeout
        self.deadline = time.monotonic() + self.allowance + timeout
        self.allowance = 0.0
        with contextlib.suppress(ConnectionError):
            self.pipe.send(job)

    def answer(self) -> Any:
        """Return the job's answer or failure; stop the process if it died or ran out of time."""
        try:
            if self.pipe.poll():
                return self.pipe.recv()
            words = f"no answer within {self.timeout:.0f} s"
        except (EOFError, OSError):
            self.process.join(GRACE)
            words = f"its process ended ({self.process.exitcode})"
        _stop([self])
        return _Failure(words)


def _stop(workers: Sequence[_Worker]) -> None:
    """End workers and the game engines they have started: first by SIGTERM, then by SIGKILL."""
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(GRACE)
        assert worker.process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.kill()  # in case it had not made its process group yet
        worker.process.join()
        worker.pipe.close()


def _serve(function: Callable[[Any], Any], pipe: connection.Connection) -> None:
    """Answer jobs until the parent stops this process or is gone."""
    os.setpgid(0, 0)  # the parent handles Ctrl-C; engines are killed with the group
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # an orderly exit: engines clean up
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            job = pipe.recv()
            try:
                pipe.send(function(job))
            except Exception as error:
                kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
                pipe.send(_Failure(f"{kind}{error}", isinstance(error, CERTAIN), format_exc()))

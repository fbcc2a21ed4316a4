"""Where jobs run: in worker processes, which may die or hang without harm, or in this process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from traceback import format_exc
from typing import Any, Protocol, TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")

TIMEOUT = 300.0
"""Seconds for one job, if its caller names no others."""
START_TIMEOUT = 120.0
"""Seconds that a new process may take longer over its first answer, imports included."""
GRACE = 5.0
"""Seconds that a process gets to close its games before it is killed."""
MOST = 64
"""Processes a core; more would only take memory."""
TRIES = 3
"""How often a job is given out before it counts as impossible."""
THREADS = "OMP_NUM_THREADS"
SPAWN = get_context("spawn")  # forked engines and thread pools share what they must not

CERTAIN = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError,
           TypeError, ValueError)  # fmt: skip
"""Errors that a job would meet again; others, such as a game engine's end, it may not."""


class WorkerError(RuntimeError):
    """A job failed, for certain or in every worker that tried it."""


class Executor(Protocol):
    """Runs a function on many jobs.

    The function is importable by name and a function of its job alone, for it may run in another
    process, and again if that one dies. So a job names a world and a policy by their fingerprints:
    others may have taken their place before it runs.
    """

    def map(
        self, function: Callable[[Job], Answer], jobs: Sequence[Job], timeout: float = TIMEOUT
    ) -> Iterator[tuple[int, Answer]]:
        """Yield `(number, function(job))` for every job, in the order in which they finish.

        Args:
            jobs: picklable, as the answers are.
            timeout: seconds for one job, where it can be stopped.
        """


@dataclass(frozen=True)
class InProcess:
    """This process, one job after the other: for tests and debuggers."""

    def map(
        self, function: Callable[[Job], Answer], jobs: Sequence[Job], timeout: float = TIMEOUT
    ) -> Iterator[tuple[int, Answer]]:
        """Yield `(number, function(job))` for every job; errors come as they are."""
        yield from ((number, function(job)) for number, job in enumerate(jobs))


@dataclass(frozen=True)
class Local:
    """Worker processes of this machine, each with one thread, which live as long as one `map`.

    Raises:
        ValueError: if `processes` is no whole number, 0 or more.
    """

    processes: int = 0
    """0: one for each core."""

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

        A worker that dies, or that holds a job longer than `timeout` seconds, is replaced and its
        job given out again.

        Raises:
            WorkerError: if a job failed for certain, or three times; the message holds the last
                failure, and a note its traceback.
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
                        which = f"job {number + 1} of {len(jobs)}"
                        error = WorkerError(f"{which} failed{often}: {answer.words}")
                        error.add_note(answer.trace)
                        raise error
                    else:
                        waiting.appendleft(number)
        finally:
            _stop(idle + busy)


@dataclass
class _Failure:
    """How a job ended without an answer."""

    words: str
    certain: bool = False
    trace: str = ""


class _Worker:
    """One process and the job it holds."""

    def __init__(self, function: Callable[[Any], Any]):
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(function, theirs), daemon=True)
        with _one_thread():
            self.process.start()
        theirs.close()
        self.allowance = START_TIMEOUT

    def give(self, number: int, job: Any, timeout: float) -> None:
        """Send a job; if the process is dead, that shows when its answer is awaited."""
        self.number, self.timeout = number, timeout
        self.deadline = time.monotonic() + self.allowance + timeout
        self.allowance = 0.0
        with contextlib.suppress(ConnectionError):
            self.pipe.send(job)

    def answer(self) -> Any:
        """Return what the job came to, an answer or a failure; stop a process that is of no use."""
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
    """End processes, by themselves if they can, and whatever game engines they have started."""
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(GRACE)
        assert worker.process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.kill()  # in case it had no group of its own yet
        worker.process.join()
        worker.pipe.close()


def _serve(function: Callable[[Any], Any], pipe: connection.Connection) -> None:
    """Answer jobs until the parent says stop or goes away."""
    os.setpgid(0, 0)  # Ctrl-C is the parent's to handle; engines die with this group
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # engines leave nothing behind
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            job = pipe.recv()
            try:
                pipe.send(function(job))
            except Exception as error:
                kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
                pipe.send(_Failure(f"{kind}{error}", isinstance(error, CERTAIN), format_exc()))


_starting = threading.Lock()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let a process that is started meanwhile have one thread."""
    with _starting:
        before = os.environ.get(THREADS)
        os.environ[THREADS] = "1"  # oversubscribed, torch is 5 to 20 times slower
        try:
            yield
        finally:
            del os.environ[THREADS]
            if before is not None:
                os.environ[THREADS] = before

"""Real games in worker processes, stepped together: frames and outcomes come by shared memory.

A worker plays several games, one after the other. A step costs one short message to every worker
and one back, however many games there are.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import weakref
from collections.abc import Iterator, Sequence
from multiprocessing import connection, get_context
from typing import Any, NamedTuple

import numpy as np
from gymnasium.envs.registration import load_env_creator

from dreamgym.games import Game

THREADS = "OMP_NUM_THREADS"
SPINS = ("GOMP_SPINCOUNT", "10000")
"""How often PyTorch's threads look for work before they sleep, where a policy and a dream take
turns, as GNU's OpenMP reads it; by itself OpenMP has 30 times as many."""
GRACE = 5.0
"""Seconds that a worker gets to close its games before it is killed."""
SPAWN = get_context("spawn")  # a fork would share the parent's engines and threads


class Board(NamedTuple):
    """What the processes share of N games, in the order of the games."""

    actions: np.ndarray  # (N, A) float32, vectors as M takes them
    frames: np.ndarray  # (N, …), see `Game.frame`, of the episode that is under way
    last: np.ndarray  # (N, …), the last frames of the episodes that have ended
    rewards: np.ndarray  # (N,) float64
    terminated: np.ndarray  # (N,) bool
    truncated: np.ndarray  # (N,) bool
    infos: np.ndarray  # (N, I) float64, the numbers in the games' infos, see `Game.info`
    last_infos: np.ndarray  # (N, I) float64


class Plan(NamedTuple):
    """What a worker plays."""

    game: str
    """The game's entry point, see `Game.real`."""
    arguments: dict[str, Any]
    numbers: range
    """Which of the games are this worker's."""
    info: tuple[str, ...]
    """The names of the numbers in the game's `info`."""
    limit: float
    """Steps after which an episode is truncated."""


class Games:
    """N real games in P processes. A game that ends begins its next episode in the same step.

    Args:
        game: which game.
        number: N.
        processes: P; 0 for one for each core. There are never more than games.
        limit: steps after which an episode is truncated.
        **arguments: of the pixel environment.

    Raises:
        RuntimeError: if a game cannot be made.
    """

    def __init__(self, game: Game, number: int, processes: int, limit: float, **arguments: Any):
        shown, told = (game.frame_type, game.frame), (np.float64, (len(game.info),))
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
            "actions": (np.float32, (len(game.low),)), "frames": shown, "last": shown,
            "rewards": (np.float64, ()), "terminated": (np.bool_, ()), "truncated": (np.bool_, ()),
            "infos": told, "last_infos": told,
        }  # fmt: skip
        layout = {name: (kind, (number, *shape)) for name, (kind, shape) in shapes.items()}
        size = sum(np.dtype(kind).itemsize * int(np.prod(shape)) for kind, shape in layout.values())
        memory = SPAWN.RawArray("b", size + 8 * len(layout))
        self.board = _board(memory, layout)
        many = min(number, processes or os.cpu_count() or 1)
        self._workers: list[_Worker] = []
        self._end = weakref.finalize(self, _close, self._workers)
        for each in range(many):
            numbers = range(number * each // many, number * (each + 1) // many)
            plan = Plan(game.real, game.arguments | arguments, numbers, game.info, limit)
            self._workers.append(_Worker(plan, memory, layout))
        self._tell([None] * many)

    @property
    def alive(self) -> bool:
        """Whether the games can be played: they have not been closed and none has failed."""
        return bool(self._workers)

    def reset(self, numbers: Sequence[int], seeds: Sequence[int | None]) -> None:
        """Begin new episodes of some games, with a seed for each, or None to go on without one."""
        asked = dict(zip(numbers, seeds, strict=True))
        self._tell(
            [{n: asked[n] for n in each.plan.numbers if n in asked} for each in self._workers]
        )

    def step(self) -> None:
        """Take the actions that are on the board."""
        self._tell([None] * len(self._workers))

    def close(self) -> None:
        """End the games and their processes."""
        self._end()

    def _tell(self, messages: Sequence[object]) -> None:
        """Send each worker a message and wait until all have done what it says."""
        try:
            for worker, message in zip(self._workers, messages, strict=True):
                worker.ask(message)
            for worker in self._workers:
                worker.wait()
        except BaseException:  # some games are a step ahead of others
            self.close()
            raise


def _board(memory: Any, layout: dict[str, tuple[Any, tuple[int, ...]]]) -> Board:
    """Return the arrays that lie one after the other in a piece of memory, at multiples of 8."""
    arrays, at = {}, 0
    for name, (kind, shape) in layout.items():
        arrays[name] = np.frombuffer(memory, kind, int(np.prod(shape)), at).reshape(shape)
        at += -(-arrays[name].nbytes // 8) * 8
    return Board(**arrays)


class _Worker:
    """One process and its games."""

    def __init__(self, plan: Plan, memory: Any, layout: dict[str, Any]):
        self.plan = plan
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(
            target=_serve, args=(theirs, plan, memory, layout), daemon=True, name="games"
        )
        with one_thread():
            self.process.start()
        theirs.close()

    def ask(self, message: object) -> None:
        """Send a message; that the process is dead is noticed by `wait`."""
        with contextlib.suppress(ConnectionError):
            self.pipe.send(message)

    def wait(self) -> None:
        """Wait for the answer, which is None or an error."""
        try:
            error = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join(GRACE)
            numbers = ", ".join(map(str, self.plan.numbers))
            raise RuntimeError(
                f"the process of games {numbers} has ended ({self.process.exitcode}): "
                "make the environments anew"
            ) from None
        if error is not None:
            raise error


def _close(workers: list[_Worker]) -> None:
    """Let workers end by closing their pipes; kill those that do not."""
    for worker in workers:
        worker.pipe.close()
    for worker in workers:
        worker.process.join(GRACE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
    workers.clear()


def _serve(pipe: connection.Connection, plan: Plan, memory: Any, layout: dict[str, Any]) -> None:
    """Play games as the parent says, until it closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    board = _board(memory, layout)
    with contextlib.suppress(EOFError, ConnectionError), contextlib.ExitStack() as stack:
        table: _Table | None = None
        while True:
            message = pipe.recv()
            try:
                if table is None:
                    table = stack.enter_context(contextlib.closing(_Table(plan, board)))
                elif message is None:
                    table.step()
                else:
                    table.reset(message)
            except Exception as error:
                pipe.send(RuntimeError(f"{type(error).__name__} in a real game: {error}"))
            else:
                pipe.send(None)


class _Table:
    """The games of one worker."""

    def __init__(self, plan: Plan, board: Board):
        from dreamgym.engines import canvas  # noqa: F401  # games draw faster by compiled code

        make: Any = load_env_creator(plan.game)
        self.plan, self.board = plan, board
        self.games = {number: make(continuous=True, **plan.arguments) for number in plan.numbers}
        self.steps = dict.fromkeys(plan.numbers, 0)

    def reset(self, seeds: dict[int, int | None]) -> None:
        for number, seed in seeds.items():
            self._begin(number, seed)

    def step(self) -> None:
        board = self.board
        for number, game in self.games.items():
            frame, reward, terminated, truncated, info = game.step(board.actions[number])
            self.steps[number] += 1
            truncated = bool(truncated or self.steps[number] >= self.plan.limit)
            board.rewards[number], board.terminated[number] = reward, terminated
            board.truncated[number] = truncated
            self._show(number, frame, info, board.frames, board.infos)
            if terminated or truncated:
                self._show(number, frame, info, board.last, board.last_infos)
                self._begin(number, None)

    def close(self) -> None:
        for game in self.games.values():
            game.close()

    def _begin(self, number: int, seed: int | None) -> None:
        frame, info = self.games[number].reset(seed=seed)
        self.steps[number] = 0
        self._show(number, frame, info, self.board.frames, self.board.infos)

    def _show(
        self, number: int, frame: np.ndarray, info: dict[str, Any], frames: np.ndarray,
        infos: np.ndarray,
    ) -> None:  # fmt: skip
        frames[number] = frame
        infos[number] = [info[name] for name in self.plan.info]


_starting = threading.Lock()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Give processes that are started inside this context one thread each."""
    with _starting:
        before = os.environ.get(THREADS)
        os.environ[THREADS] = "1"  # oversubscribed, torch is 5 to 20 times slower
        try:
            yield
        finally:
            del os.environ[THREADS]
            if before is not None:
                os.environ[THREADS] = before

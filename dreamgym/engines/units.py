"""Units of a step that several threads take from one list, for code that numba compiles.

A thread takes the next unit that nobody has taken, does it and counts it as done. So a thread that
starts late or runs slowly does less, and each weight of M is read by one thread alone.

Large batches are first cut into whole blocks of rows, each of which one thread carries through all
parts of a step. The rows that are left make one last block, the tail. All threads work on it
together, a part at a time: a unit is a few rows, or a few columns of a product for all rows. A
single picture is such a tail, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from dreamgym.compiling import compiled
from dreamgym.engines.threads import together

PATIENCE = 200_000
"""How often a thread looks whether the part before is done, until it goes to sleep for a while. It
takes longer than a unit, because to sleep and wake up takes longer than most units do."""
NAP = 1e-4
"""Seconds for which a thread sleeps that has waited long for the others. It only happens if the
processor does something else meanwhile."""


def work(step: Callable[..., int], threads: int, sizes: np.ndarray, *given: object) -> None:
    """Let threads do all units of a step.

    Args:
        step: compiled code that each thread calls as `step(held, sizes, counters, *given)`. `held`
            is a unit that it has taken before, or -1. `counters` count the units taken, those done
            in each part, and the threads that have failed. It returns a unit that it has taken and
            that may not begin yet, or -1 if none is left.
        threads: the most threads that may pay.
        sizes: for each part of the step, the number of its units. A part needs the whole of the
            part before.
    """
    counters = np.zeros(len(sizes) + 2, np.int64)

    def some() -> None:
        held = -1
        try:
            while (held := step(held, sizes, counters, *given)) >= 0:
                time.sleep(NAP)
        except BaseException:
            counters[-1] = 1  # so that nobody waits for this thread's units
            raise

    together(some, threads)


def divide(rows: int, threads: int, block: int) -> tuple[int, int]:
    """Return how many whole blocks of rows there are, and the first row of the tail.

    Args:
        rows: of the batch.
        threads: how many threads there are; for a single one there is no tail.
        block: the number of rows of a whole block.
    """
    if threads < 2:
        return -(-rows // block), rows
    round = threads * block
    first = max(0, rows - block) // round * round
    return first // block, first


def _take(_: Any, counters: Any, at: Any) -> Any:
    """Count one more and return the count before, as one operation that no thread can split."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, values[0])
        place, one = builder.gep(array.data, [values[1]]), ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", place, one, "acq_rel")

    return types.int64(counters, types.int64), generate


def _read(_: Any, counters: Any, at: Any) -> Any:
    """Return a count. Whatever was written before it was counted can be read afterwards."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, values[0])
        return builder.load_atomic(builder.gep(array.data, [values[1]]), "acquire", 8)

    return types.int64(counters, types.int64), generate


take: Any = intrinsic(_take)
read: Any = intrinsic(_read)


@compiled
def find(number, wholes, sizes):  # type: ignore[no-untyped-def]
    """Return the part to which a unit belongs, and its number there; part -1 is a whole block.

    There are no more units if the part is none of `sizes`.

    Args:
        number: of the unit among all.
        wholes: the number of whole blocks.
        sizes: for each part, the number of its units.
    """
    if number < wholes:
        return -1, number
    number -= wholes
    for part in range(len(sizes)):
        if number < sizes[part]:
            return part, number
        number -= sizes[part]
    return len(sizes), number


@compiled
def may_begin(part, sizes, counters):  # type: ignore[no-untyped-def]
    """Wait until a unit of a part may begin; return whether it may.

    Returns:
        1 if it may, 0 if the thread should sleep and ask again, -1 if another thread has failed.
    """
    if part <= 0:
        return 1
    for _ in range(PATIENCE):
        if read(counters, part) >= sizes[part - 1]:  # counter 0 counts the units that are taken
            return 1
        if read(counters, len(sizes) + 1):
            return -1
    return 0


@compiled
def pick(held, wholes, sizes, counters):  # type: ignore[no-untyped-def]
    """Return the number of the next unit, its part and its number there, once it may begin.

    If no unit may, the part is none of `sizes`, and the first is what a step returns, see `work`.

    Args:
        held: a unit that was taken before, or -1.
        wholes, sizes: see `find`.
    """
    number = held if held >= 0 else take(counters, 0)
    part, at = find(number, wholes, sizes)
    may = may_begin(part, sizes, counters)
    if may < 1 or part == len(sizes):
        return number if may == 0 else -1, len(sizes), at
    return number, part, at

"""A step of M on a CPU in float32: one call of compiled code, from z and action to the next z.

Rows are taken in blocks, whose intermediate numbers stay in a core's cache, and `engines.units`
says how threads share them. The gates of 16 cells lie side by side in the packed weight, so that
the cells follow as soon as their sums are there. `engines.kernels` says what happens between the
products, and `MDNRNN.step` and `mdn_rnn.sample` are the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from dreamgym.compiling import compiled
from dreamgym.engines import kernels, tiles, units
from dreamgym.engines.threads import count, shared
from dreamgym.engines.tiles import TILE, WIDTH
from dreamgym.games.rules import Rules
from dreamgym.models.mdn_rnn import MDNRNN

f32, i64 = np.float32, np.int64
BLOCK = 8 * TILE
"""Rows of a whole block. The inputs of so many (110 KB for Doom) fit into any second-level cache,
and the weights are read once for a hundred million operations."""
WHOLE, COPY, GATES, HEAD, DRAW = range(-1, 4)
"""The parts of a step: all of it for a whole block; for the tail, copy the inputs side by side,
compute the gates and cells, compute the outputs of the head, and draw."""
PANELS = 4
"""Panels of the head in a unit: as many as a product of a single row takes at once."""


class Moment(NamedTuple):
    """The state of N dreams as arrays in memory; see `world.State`."""

    z: np.ndarray  # (N, Z)
    h: np.ndarray  # (N, H)
    c: np.ndarray  # (N, H)
    step: np.ndarray  # (N,)
    key: np.ndarray  # (N,)
    counts: np.ndarray  # (N, C)


class Step:
    """M's step, and what the rules make of it, for a batch of N dreams.

    Args:
        memory: M, float32, on the CPU.
        rules: the game's.
        bound: z is clipped to ± this.
    """

    def __init__(self, memory: MDNRNN, rules: Rules, bound: float):
        config, cells = memory.config, memory.config.hidden
        self.heads, self.rules, self.settle = config.heads, rules, rules.compiled()
        groups = -(-cells // WIDTH)
        cell = np.arange(groups * WIDTH).reshape(groups, 1, WIDTH)
        order = np.where(cell < cells, cell + cells * np.arange(4)[:, None], -1)  # (groups, 4, 16)
        gates = torch.cat((memory.weight_ih, memory.weight_hh), dim=1).numpy()
        gates_bias = np.where(order < 0, np.float32(0), memory.bias.numpy()[order]).ravel()
        self.gates = (tiles.pack(gates, order.ravel()), gates_bias)
        head = tiles.pack(memory.head.weight.numpy())
        head_bias = np.zeros(len(head) * WIDTH, np.float32)
        head_bias[: len(memory.head.bias)] = memory.head.bias.numpy()
        self.head = (head, head_bias)
        self.mixtures, self.bound = config.mixtures, np.float32(bound)
        self.residual = config.residual

    def remember(self, before: Moment, action: np.ndarray, h: np.ndarray, c: np.ndarray) -> None:
        """Write M's h and c (N, H) after a moment's z and an action (N, A); see `MDNRNN.step`."""
        self._work(_remember, len(h), 0, *self.gates, before.z, action, before.h, before.c, h, c)

    def dream(
        self, before: Moment, action: np.ndarray, temperature: np.ndarray, after: Moment
    ) -> tuple[np.ndarray, np.ndarray]:
        """Dream one step and return the rewards and which dreams end, both (N,).

        Args:
            before: the state of N dreams.
            action: (N, A) float32.
            temperature: (N, 1) float32.
            after: where to write the next state; it may be `before` itself.
        """
        n = len(before.z)
        odds, draws = np.empty((n, len(self.heads)), np.float32), np.empty((n, 2), np.float32)
        reward, dead = np.empty(n, np.float32), np.empty(n, np.bool_)
        self._work(
            _dream, n, len(self.head[0]), *self.gates, before.z, action, before.h, before.c,
            after.h, after.c, *self.head, self.mixtures, self.residual, self.bound, before.key,
            before.step, temperature, after.z, odds, draws,
        )  # fmt: skip
        if self.settle:
            self.settle(before.counts, odds, draws, before.step, after.counts, reward, dead)
        else:
            told = (torch.from_numpy(each) for each in (before.counts, odds, draws, before.step))
            after.counts[:], reward[:], dead[:] = (
                part.numpy() for part in self.rules.settle(*told)
            )
        np.add(before.step, 1, out=after.step)
        return reward, dead

    def _work(self, step: Callable[..., int], rows: int, panels: int, *given: object) -> None:
        """Let threads share a step.

        Args:
            step: `_remember` or `_dream`.
            rows: the number of dreams.
            panels: the panels of the head that the step needs.
        """
        threads = count(rows // TILE)
        wholes, tail, sizes = _share(rows, threads, len(self.gates[0]) // 4, panels)
        x = np.empty((rows - tail, self.gates[0].shape[1]), np.float32)
        out = np.empty((rows - tail, panels * WIDTH), np.float32)
        units.work(step, threads, sizes, wholes, tail, x, out, *given)

    def products(self, rows: int) -> Callable[[], None]:
        """Return a function that does a step's two products for so many rows, and nothing else."""
        (gates, gates_bias), (head, head_bias) = self.gates, self.head
        x = np.zeros((rows, gates.shape[1]), np.float32)
        h = np.zeros((rows, head.shape[1]), np.float32)

        def work(part: slice) -> None:
            sums = np.empty((BLOCK, len(gates_bias)), np.float32)
            out = np.empty((BLOCK, len(head_bias)), np.float32)
            for first in range(part.start, part.stop, BLOCK):
                n = min(BLOCK, part.stop - first)
                tiles.multiply_rows(x, first, n, gates, 0, len(gates), gates_bias, sums, 0)
                tiles.multiply_rows(h, first, n, head, 0, len(head), head_bias, out, 0)

        return lambda: shared(work, rows, TILE, torch_inside=False)


@lru_cache
def _share(rows: int, threads: int, groups: int, panels: int) -> tuple[int, int, np.ndarray]:
    """Return the number of whole blocks, the first row of the tail and how many units parts have.

    Args:
        rows: of the batch.
        threads: how many threads there are.
        groups: the groups of 16 cells.
        panels: the panels of the head that the step needs.
    """
    wholes, tail = units.divide(rows, threads, BLOCK)
    few = -(-(rows - tail) // TILE)
    return wholes, tail, np.array([few, groups, -(-panels // PANELS), few if panels else 0])


@compiled
def _remember(  # type: ignore[no-untyped-def]
    held, sizes, counters, wholes, tail, shared_x, _, gates, bias, z, action, h, c, new_h, new_c
):
    """Write M's h and c (N, H), perhaps over those from before.

    Args:
        held, sizes, counters: see `units.work`, and there what is returned.
        wholes, tail: see `units.divide`.
        shared_x: scratch memory for the inputs of the tail.
    """
    rows = min(len(z), BLOCK) if wholes else 0
    x = np.empty((rows, shared_x.shape[1]), f32)
    sums = np.empty((max(rows, len(z) - tail), 4 * WIDTH), f32)
    old, some_h, some_c = np.zeros(WIDTH, f32), np.empty(WIDTH, f32), np.empty(WIDTH, f32)
    while True:
        number, part, at = units.pick(held, wholes, sizes, counters)
        if part == len(sizes):
            return number
        first, n, row = _rows(part, at, tail, len(z))
        inputs = x if part == WHOLE else shared_x
        if part in (WHOLE, COPY):
            _copy(first, n, inputs, row, z, action, h)
        if part in (WHOLE, GATES):
            begin, end = (0, sizes[GATES]) if part == WHOLE else (at, at + 1)
            for group in range(begin, end):
                _cells(
                    first, n, group, inputs, gates, bias, sums, old, some_h, some_c, c, new_h,
                    new_c,
                )  # fmt: skip
        if part != WHOLE:
            units.take(counters, 1 + part)
        held = -1


@compiled
def _dream(  # type: ignore[no-untyped-def]
    held, sizes, counters, wholes, tail, shared_x, shared_out, gates, gates_bias, z, action, h, c,
    new_h, new_c, head, head_bias, mixtures, residual, bound, key, step, temperature, new_z, odds,
    draws,
):  # fmt: skip
    """Write the next z, h and c, the odds and the numbers for the rules; see `_remember`.

    Each kernel is called in one place, since the compiler copies it to every one.
    """
    rows = min(len(z), BLOCK) if wholes else 0
    x = np.empty((rows, shared_x.shape[1]), f32)
    sums = np.empty((max(rows, len(z) - tail), 4 * WIDTH), f32)
    old, some_h, some_c = np.zeros(WIDTH, f32), np.empty(WIDTH, f32), np.empty(WIDTH, f32)
    out = np.empty((rows, shared_out.shape[1]), f32)
    while True:
        number, part, at = units.pick(held, wholes, sizes, counters)
        if part == len(sizes):
            return number
        first, n, row = _rows(part, at, tail, len(z))
        inputs, outs = (x, out) if part == WHOLE else (shared_x, shared_out)
        if part in (WHOLE, COPY):
            _copy(first, n, inputs, row, z, action, h)
        if part in (WHOLE, GATES):
            begin, end = (0, sizes[GATES]) if part == WHOLE else (at, at + 1)
            for group in range(begin, end):
                _cells(
                    first, n, group, inputs, gates, gates_bias, sums, old, some_h, some_c, c, new_h,
                    new_c,
                )  # fmt: skip
        if part in (WHOLE, HEAD):
            panel, end = (0, len(head)) if part == WHOLE else (at * PANELS, (at + 1) * PANELS)
            many = min(end, len(head)) - panel
            tiles.multiply_rows(new_h, first, n, head, panel, many, head_bias, outs, panel * WIDTH)
        if part in (WHOLE, DRAW):
            if residual:
                _shift(first, n, mixtures, residual, outs[row:], z)
            _draw(first, n, mixtures, bound, outs[row:], key, step, temperature, new_z, odds, draws)
        if part != WHOLE:
            units.take(counters, 1 + part)
        held = -1


@compiled(inline="always")
def _rows(part, at, tail, end):  # type: ignore[no-untyped-def]
    """Return a unit's first row, how many rows it has, and the row of its scratch memory."""
    if part == WHOLE:
        return at * BLOCK, min(BLOCK, end - at * BLOCK), 0
    if part in (COPY, DRAW):
        first = tail + at * TILE
        return first, min(TILE, end - first), at * TILE
    return tail, end - tail, 0


@compiled(inline="always")
def _copy(first, rows, x, row, z, action, h):  # type: ignore[no-untyped-def]
    """Write the inputs of some rows side by side to x, from its row `row` on."""
    size, actions, cells = z.shape[1], action.shape[1], h.shape[1]
    for i in range(rows):
        for j in range(size):
            x[row + i, j] = z[first + i, j]
        for j in range(actions):
            x[row + i, size + j] = action[first + i, j]
        for j in range(cells):
            x[row + i, size + actions + j] = h[first + i, j]


@compiled(inline="always")
def _cells(  # type: ignore[no-untyped-def]
    first, rows, group, x, gates, bias, sums, old, some_h, some_c, c, new_h, new_c
):
    """Write h and c of a group of 16 cells for some rows, whose inputs are the first rows of x.

    `sums` (≥ rows, 64), `old`, `some_h` and `some_c` (16,) are scratch memory.
    """
    tiles.multiply_rows(x, i64(0), rows, gates, 4 * group, i64(4), bias, sums, i64(0))
    begin = group * WIDTH
    count = min(WIDTH, c.shape[1] - begin)
    for i in range(rows):
        for j in range(count):
            old[j] = c[first + i, begin + j]
        for j in range(WIDTH):  # a constant number, so that no cell is left to a slow end
            some_h[j], some_c[j] = kernels.cell(
                sums[i, j], sums[i, WIDTH + j], sums[i, 2 * WIDTH + j], sums[i, 3 * WIDTH + j],
                old[j],
            )  # fmt: skip
        for j in range(count):
            new_h[first + i, begin + j] = some_h[j]
            new_c[first + i, begin + j] = some_c[j]


@compiled(inline="always")
def _shift(first, rows, mixtures, residual, out, z):  # type: ignore[no-untyped-def]
    """Add the first numbers of z to the means of some rows; see `MemoryConfig.residual`.

    The outputs of the head for these rows are the first rows of `out`.
    """
    size = z.shape[1]
    for i in range(rows):
        for k in range(mixtures, 2 * mixtures):
            for j in range(residual):
                out[i, k * size + j] += z[first + i, j]


@compiled(inline="always")
def _draw(  # type: ignore[no-untyped-def]
    first, rows, mixtures, bound, out, key, step, temperature, new_z, odds, draws
):
    """Draw for some rows, whose outputs of the head are the first rows of `out`."""
    kernels.draw_rows(mixtures, first, rows, out, key, step, temperature, new_z, draws)
    size, outcomes = new_z.shape[1], odds.shape[1]
    for i in range(rows):
        for j in range(outcomes):
            odds[first + i, j] = kernels.sigmoid(out[i, 3 * mixtures * size + j])
        for j in range(size):
            value = new_z[first + i, j]
            new_z[first + i, j] = -bound if value < -bound else bound if value > bound else value

"""A step of M on a CPU in float32: one call of compiled code, from z and action to the next z.

The rows are taken in blocks, whose intermediate numbers stay in a core's cache. The gates of 16
cells lie side by side in the packed weight, so that a block's cells follow as soon as their sums
are there. `engines.kernels` says what happens between the products, and `MDNRNN.step` and
`mdn_rnn.sample` are the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numba import njit

from dreamgym.engines import kernels, tiles
from dreamgym.engines.threads import shared
from dreamgym.engines.tiles import FLAGS, TILE, WIDTH
from dreamgym.games.rules import Rules
from dreamgym.models.mdn_rnn import MDNRNN

f32 = np.float32
BLOCK = 8 * TILE
"""Rows of a block. The inputs of so many (110 KB for Doom) fit into any second-level cache, and the
weights are read once for a hundred million operations."""


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
        self.weights = (*self.gates, head, head_bias, config.mixtures, np.float32(bound))

    def remember(self, before: Moment, action: np.ndarray, h: np.ndarray, c: np.ndarray) -> None:
        """Write M's h and c (N, H) after a moment's z and an action (N, A); see `MDNRNN.step`."""

        def work(rows: slice) -> None:
            given = (before.z, action, before.h, before.c, h, c)
            _remember(*self.gates, *_some(given, rows))

        shared(work, len(h), TILE, torch_inside=False)

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
        given = (before.z, action, before.h, before.c, before.key, before.step, temperature)
        dreamt = (*given, after.z, after.h, after.c, odds, draws)
        settled = (before.counts, odds, draws, after.counts, reward, dead)

        def work(rows: slice) -> None:
            _dream(*self.weights, *_some(dreamt, rows))
            if self.settle:
                self.settle(*_some(settled, rows))

        shared(work, n, TILE, torch_inside=False)
        if not self.settle:
            told = (torch.from_numpy(each) for each in (before.counts, odds, draws, before.step))
            after.counts[:], reward[:], dead[:] = (
                part.numpy() for part in self.rules.settle(*told)
            )
        np.add(before.step, 1, out=after.step)
        return reward, dead

    def products(self, rows: int) -> Callable[[], None]:
        """Return a function that does a step's two products for so many rows, and nothing else."""
        gates, gates_bias, head, head_bias, *_ = self.weights
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


def _some(arrays: tuple[np.ndarray, ...], rows: slice) -> tuple[np.ndarray, ...]:
    """Return some rows of arrays. All of them are the arrays themselves: a view takes its time."""
    if rows == slice(0, len(arrays[0])):
        return arrays
    return tuple(each[rows] for each in arrays)


@njit(**FLAGS)
def _remember(gates, bias, z, action, h, c, new_h, new_c):  # type: ignore[no-untyped-def]
    """Write M's h and c (N, H), perhaps over those from before."""
    rows, size = z.shape
    cells, actions = h.shape[1], action.shape[1]
    x = np.empty((min(rows, BLOCK), size + actions + cells), np.float32)
    sums = np.empty((min(rows, BLOCK), 4 * WIDTH), np.float32)
    old, some_h, some_c = np.zeros(WIDTH, f32), np.empty(WIDTH, f32), np.empty(WIDTH, f32)
    for first in range(0, rows, BLOCK):
        n = min(BLOCK, rows - first)
        for i in range(n):
            for j in range(size):
                x[i, j] = z[first + i, j]
            for j in range(actions):
                x[i, size + j] = action[first + i, j]
            for j in range(cells):
                x[i, size + actions + j] = h[first + i, j]
        for group in range(len(gates) // 4):
            tiles.multiply_rows(x, 0, n, gates, 4 * group, 4, bias, sums, 0)
            begin = group * WIDTH
            count = min(WIDTH, cells - begin)
            for i in range(n):
                for j in range(count):
                    old[j] = c[first + i, begin + j]
                for j in range(WIDTH):  # a constant number, so that no cell is left to a slow end
                    some_h[j], some_c[j] = kernels.cell(
                        sums[i, j], sums[i, WIDTH + j], sums[i, 2 * WIDTH + j],
                        sums[i, 3 * WIDTH + j], old[j],
                    )  # fmt: skip
                for j in range(count):
                    new_h[first + i, begin + j] = some_h[j]
                    new_c[first + i, begin + j] = some_c[j]


@njit(**FLAGS)
def _dream(  # type: ignore[no-untyped-def]
    gates, gates_bias, head, head_bias, mixtures, bound, z, action, h, c, key, step, temperature,
    new_z, new_h, new_c, odds, draws,
):  # fmt: skip
    """Write the next z, h and c, the odds and the numbers for the rules."""
    _remember(gates, gates_bias, z, action, h, c, new_h, new_c)
    rows, size = z.shape
    outcomes = odds.shape[1]
    out = np.empty((min(rows, BLOCK), len(head) * WIDTH), np.float32)
    for first in range(0, rows, BLOCK):
        n = min(BLOCK, rows - first)
        tiles.multiply_rows(new_h, first, n, head, 0, len(head), head_bias, out, 0)
        kernels.draw_rows(mixtures, first, n, out, key, step, temperature, new_z, draws)
        for i in range(n):
            for j in range(outcomes):
                odds[first + i, j] = kernels.sigmoid(out[i, 3 * mixtures * size + j])
            for j in range(size):
                value = new_z[first + i, j]
                new_z[first + i, j] = (
                    -bound if value < -bound else bound if value > bound else value
                )

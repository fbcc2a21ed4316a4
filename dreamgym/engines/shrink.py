"""Pictures scaled down by averaging, equal to the bit to Pillow's `resize` with its `BOX` filter.

Pillow averages along rows first, rounds, and then averages along columns. A pixel of the picture
belongs to the share of the small pixel in which its centre lies. The mean of a share is its sum
times the inverse of its size, in fixed point.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from dreamgym.engines.canvas import drawn

BITS = 22
"""Bits after the point: a weight of at most 1 and a number of 8 bits then fit into 31 (Pillow)."""

u8, u16, u32, u64 = np.uint8, np.uint16, np.uint32, np.uint64
HALF, ONE, THREE = u32(1 << (BITS - 1)), u64(1), u64(3)

Shares = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of each small pixel: the first of the pixels that it averages, how many, and their weight."""


def shrink(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a picture (H, W, 3) uint8, averaged to a size (h, w) that is no larger."""
    rows, columns, _ = picture.shape
    height, width = size
    flat = np.ascontiguousarray(picture).reshape(rows, -1)
    sums = np.empty(3 * width, u32), np.empty(3 * width, u16)
    narrow, small = np.empty((rows, 3 * width), u8), np.empty((height, 3 * width), u8)
    _shrink(flat, *_plan(rows, columns, *size), *sums, narrow, small)
    return small.reshape(height, width, 3)


@cache
def _plan(rows: int, columns: int, height: int, width: int) -> tuple[Shares, Shares]:
    """Return the shares of a row's pixels, with a weight for each color, and of the rows."""
    first, many, weights = _shares(columns, width)
    return (first, many, np.repeat(weights, 3)), _shares(rows, height)


def _shares(large: int, small: int) -> Shares:
    """Deal out the pixels of a row to fewer pixels."""
    centres = np.arange(small) + 0.5
    scale = large / small
    place = (np.arange(large) + 0.5)[:, None] - centres * scale
    inside = (place > -scale / 2) & (place <= scale / 2)  # (large, small)
    many = inside.sum(0)
    # Unsigned, because compiled code asks of every signed index whether it counts from the end.
    weights = np.floor(2.0**BITS / many + 0.5)
    return inside.argmax(0).astype(u64), many.astype(u64), weights.astype(u32)


@drawn
def _shrink(picture, across, down, wide, tall, narrow, small):  # type: ignore[no-untyped-def]
    """Write the means of rows to `narrow` (H, 3w), and their means to `small` (h, 3w).

    Args:
        picture: (H, 3W).
        across, down: see `_plan`.
        wide, tall: room for the sums of one row, (3w,).
    """
    first, many, scale = across
    for y in range(len(narrow)):
        row = picture[y]
        for i in range(len(first)):
            at = THREE * first[i]
            red, green, blue = u32(row[at]), u32(row[at + ONE]), u32(row[at + ONE + ONE])
            for _ in range(ONE, many[i]):
                at += THREE
                red = u32(red + row[at])
                green = u32(green + row[at + ONE])
                blue = u32(blue + row[at + ONE + ONE])
            wide[3 * i], wide[3 * i + 1], wide[3 * i + 2] = red, green, blue
        for j in range(len(wide)):
            narrow[y, j] = u32(u32(scale[j] * wide[j]) + HALF) >> u32(BITS)
    first, many, weights = down
    for y in range(len(small)):
        tall[:] = 0
        for row in range(first[y], first[y] + many[y]):
            for j in range(len(tall)):
                tall[j] += narrow[row, j]
        for j in range(len(tall)):
            small[y, j] = u32(u32(weights[y] * tall[j]) + HALF) >> u32(BITS)

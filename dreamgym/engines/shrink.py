"""Pictures scaled down, equal to the bit to Pillow's `resize` with its `BOX` or `BILINEAR` filter.

Pillow takes means along rows first, rounds them, and then takes means along columns, in fixed
point. With `BOX`, a pixel of the picture belongs to the share of the small pixel in which its
centre lies, and the mean of a share is its sum times the inverse of its size. With `BILINEAR`, a
small pixel is a mean of all pixels as far as the centres of the next small pixels, where the
weights fall to 0.
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
Means = tuple[np.ndarray, np.ndarray]
"""Of n small pixels: the first of the k pixels that each averages (n,), and the weights (k, n)."""


def box(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a picture (H, W, 3) uint8, averaged to a size (h, w) that is no larger."""
    rows, columns, _ = picture.shape
    height, width = size
    flat = np.ascontiguousarray(picture).reshape(rows, -1)
    sums = np.empty(3 * width, u32), np.empty(3 * width, u16)
    narrow, small = np.empty((rows, 3 * width), u8), np.empty((height, 3 * width), u8)
    _average(flat, *_plan(rows, columns, *size), *sums, narrow, small)
    return small.reshape(height, width, 3)


def bilinear(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a picture (H, W, 3) uint8, interpolated to a size (h, w) that is no larger."""
    rows, columns, _ = picture.shape
    height, width = size
    flat = np.ascontiguousarray(picture).reshape(rows, -1)
    across, down = _weights(columns, width, 3), _weights(rows, height, 1)
    near, sums = np.empty(across[1].shape, u8), np.empty(3 * width, u32)
    narrow, small = np.empty((rows, 3 * width), u8), np.empty((height, 3 * width), u8)
    _interpolate(flat, across, down, near, sums, narrow, small)
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


@cache
def _weights(large: int, small: int, channels: int) -> Means:
    """Return how the pixels of a row become fewer, with a weight for each of so many channels."""
    scale = large / small
    away = (np.arange(large) + 0.5)[:, None] - (np.arange(small) + 0.5) * scale  # (large, small)
    shares = np.maximum(0, 1 - np.abs(away * (1 / scale)))
    weights = np.floor(shares * (1 / shares.sum(0)) * 2.0**BITS + 0.5)
    many = np.count_nonzero(weights, axis=0).max()
    first = np.minimum((weights > 0).argmax(0), large - many)  # at the border some weights are 0
    near = np.take_along_axis(weights, first + np.arange(many)[:, None], axis=0)
    return first.astype(u64), near.repeat(channels, axis=1).astype(u32)


@drawn
def _average(picture, across, down, wide, tall, narrow, small):  # type: ignore[no-untyped-def]
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


@drawn
def _interpolate(picture, across, down, near, sums, narrow, small):  # type: ignore[no-untyped-def]
    """Write the means of rows to `narrow` (H, 3w), and their means to `small` (h, 3w).

    Args:
        picture: (H, 3W).
        across, down: see `_weights`.
        near, sums: room for the pixels that a row's means are made of, (k, 3w), and for a row.
    """
    first, weights = across
    for y in range(len(narrow)):
        row = picture[y]
        for k in range(len(near)):  # side by side, so that a processor takes many at once
            for i in range(len(first)):
                at = THREE * (first[i] + u64(k))
                near[k, 3 * i] = row[at]
                near[k, 3 * i + 1] = row[at + ONE]
                near[k, 3 * i + 2] = row[at + ONE + ONE]
        sums[:] = HALF
        for k in range(len(near)):
            for j in range(len(sums)):
                sums[j] = u32(sums[j] + u32(weights[k, j] * near[k, j]))
        for j in range(len(sums)):
            narrow[y, j] = sums[j] >> u32(BITS)
    first, weights = down
    for y in range(len(small)):
        sums[:] = HALF
        for k in range(len(weights)):
            weight, row = weights[k, y], narrow[first[y] + u64(k)]
            for j in range(len(sums)):
                sums[j] = u32(sums[j] + u32(weight * row[j]))
        for j in range(len(sums)):
            small[y, j] = sums[j] >> u32(BITS)

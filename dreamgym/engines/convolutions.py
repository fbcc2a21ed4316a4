"""V on a CPU in float32: compiled, as quick for one frame as for a frame of a batch.

For one frame PyTorch takes longer to rearrange V's weights, anew at each call, than to multiply by
them. Here they are rearranged once. Pictures lie in memory row by row, pixel by pixel, as in a
frame, so the pixels under one row of a kernel lie side by side: they are a row of a matrix product
as they are, and nothing is copied. `models.vae` is the reference.

Threads take whole frames, and share those that are left over by rows of a layer's picture.

A frame has the same bits alone as in a batch of any size. On a processor with AVX2 alone these are
the bits that oneDNN and MKL give a single frame: each sum is taken in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided

from dreamgym.compiling import compiled
from dreamgym.engines import kernels, units
from dreamgym.engines.threads import count, shared
from dreamgym.engines.tiles import WIDTH, multiply, outlined, pack, shorten, widen
from dreamgym.models.vae import VAE

f32 = np.float32
KERNEL = 4
"""Rows and columns of the encoder's kernels. Every layer has a stride of 2."""
FRAMES = 8
"""Frames that meet a large weight together. Their numbers fit into any second-level cache."""
LANES = 4
"""Running sums of MKL's product of one row."""
BAND = 4
"""Rows of the encoder's first layer in a unit. Its rows share half of the frame's rows that they
look at, and these must be turned into numbers."""
PANELS = 4
"""Panels of the encoder's last layer in a unit."""
LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)

Packed = tuple[np.ndarray, np.ndarray]
"""A weight, rearranged, and a bias (O,)."""


class Convolutions:
    """V's encoder and decoder for a batch of frames.

    Args:
        vision: V, float32, on the CPU. Its weights are copied.
    """

    def __init__(self, vision: VAE):
        weights = {name: each.numpy() for name, each in vision.state_dict().items()}

        def layer(name: str) -> Packed:
            return weights[f"{name}.weight"], weights[f"{name}.bias"]

        look, *windows, last = (layer(f"encoder.{number}") for number in range(4))
        both = zip(layer("mean"), layer("logvar"), strict=True)
        posterior, centre = (np.concatenate(parts) for parts in both)
        self.encoder = (
            _whole(*look),
            *(_windows(*each) for each in windows),
            _whole(*last),
            _columns(posterior, centre, len(posterior)),
        )
        self.z_size = vision.config.z_size
        first, bias = layer("decoder.0")  # (I, O, 5, 5): one pixel becomes 5 × 5
        spread = first.transpose(2, 3, 1, 0).reshape(-1, len(first))  # (25 O, I)
        self.decoder = (
            _columns(*layer("dense"), len(first)),
            _columns(spread, bias, len(bias)),
            _taps(*layer("decoder.1")),
            _rows(*layer("decoder.2")),
            _phases(*layer("decoder.3")),
            _limits(),
        )

    def encode(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return μ and log σ², both (N, Z) float32, of frames (N, 64, 64, 3) uint8."""
        frames = np.ascontiguousarray(frames)
        out = np.empty((len(frames), 2 * self.z_size), np.float32)
        _each(_encode, _encode_one, SEEN, ENCODED, frames, self.encoder, out)
        return out[:, : self.z_size].copy(), out[:, self.z_size :].copy()

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return the pictures (N, 64, 64, 3) uint8 of latents z (N, Z)."""
        z = np.ascontiguousarray(z)
        out = np.empty((len(z), 64, 64, 3), np.uint8)
        _each(_decode, _decode_one, DRAWN, DECODED, z, self.decoder, out)
        return out


def _each(
    many: Callable[..., None],
    one: Callable[..., int],
    sizes: np.ndarray,
    shapes: tuple[tuple[int, ...], ...],
    given: np.ndarray,
    layers: tuple[Any, ...],
    out: np.ndarray,
) -> None:
    """Let threads encode or decode all that is given, (N, …).

    Args:
        many, one: what several do, each by one thread, and one by all threads, see `units.work`.
        sizes, shapes: of `one`, the units of its parts and the pictures between them.
    """
    threads = count(int(sizes.max()))
    alone = len(given) // threads * threads  # each thread takes as many
    if alone:
        shared(lambda rows: many(given[rows], *layers, out[rows]), alone, 1, False)
    for row in range(alone, len(given)):
        between = (np.empty(shape, np.float32) for shape in shapes)
        units.work(one, threads, sizes, given[row], *layers, *between, out[row])


def _stack(weight: np.ndarray) -> np.ndarray:
    """Pack weights (O, T, I) as T matrices (T, P, I, 16), all in 16 bits or none."""
    outputs, taps, inputs = weight.shape
    panels = pack(weight.reshape(outputs, -1)).reshape(-1, taps, inputs, WIDTH)
    return np.ascontiguousarray(panels.transpose(1, 0, 2, 3))


def _whole(weight: np.ndarray, bias: np.ndarray) -> Packed:
    """Rearrange a convolution (O, I, K, K) as one matrix of all pixels of the kernel."""
    return pack(weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)), bias


def _windows(weight: np.ndarray, bias: np.ndarray) -> Packed:
    """Rearrange a convolution (O, I, K, K): a matrix for each row of the kernel."""
    outputs, _, size, _ = weight.shape
    return _stack(weight.transpose(0, 2, 3, 1).reshape(outputs, size, -1)), bias


def _taps(weight: np.ndarray, bias: np.ndarray) -> Packed:
    """Rearrange a transposed convolution (I, O, K, K): a matrix for each pixel of the kernel."""
    inputs, outputs, _, _ = weight.shape
    return _stack(weight.transpose(1, 2, 3, 0).reshape(outputs, -1, inputs)), bias


def _rows(weight: np.ndarray, bias: np.ndarray) -> Packed:
    """Rearrange a transposed convolution (I, O, K, K): a matrix for each row of the kernel.

    The outputs of a matrix are (K, O).
    """
    inputs, _, size, _ = weight.shape
    return _stack(weight.transpose(3, 1, 2, 0).reshape(-1, size, inputs)), bias


def _phases(weight: np.ndarray, bias: np.ndarray) -> Packed:
    """Rearrange a transposed convolution (I, O, K, K) as a convolution of K / 2 by K / 2.

    The outputs of a matrix are (K / 2, 2, 2, O): of each pixel the four that it becomes.
    """
    inputs, outputs, size, _ = weight.shape
    half = size // 2
    phases = weight.reshape(inputs, outputs, half, 2, half, 2)[:, :, ::-1, :, ::-1]
    return _stack(phases.transpose(4, 3, 5, 1, 2, 0).reshape(-1, half, inputs)), bias


def _columns(weight: np.ndarray, bias: np.ndarray, part: int) -> Packed:
    """Rearrange a matrix (O, I) as (O / part, I, part)."""
    columns = weight.reshape(-1, part, weight.shape[1]).transpose(0, 2, 1)
    return shorten(np.ascontiguousarray(columns)), bias


@cache
def _limits() -> np.ndarray:
    """Return the least number (257,) whose sigmoid PyTorch rounds to each level of a pixel.

    The first is -∞ and the last, beyond level 255, ∞.
    """
    levels = torch.arange(1, 256)
    low, high = torch.full((255,), -20.0), torch.full((255,), 20.0)
    while ((middle := (low + high) / 2) > low).logical_and(middle < high).any():
        reached = torch.sigmoid(middle).mul_(255).round_() >= levels
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return np.concatenate(([-np.inf], high.numpy(), [np.inf])).astype(np.float32)


@compiled(fastmath={"nsz"})  # products are rounded before they are added
def _product(x, weight, out, first, end):  # type: ignore[no-untyped-def]
    """Write x Wᵀ (N, O) to `out`; each product is rounded before it is added, as MKL does.

    Args:
        x: (N, I).
        weight: see `_columns`.
        first, end: of the weight's parts.
    """
    outlined()
    rows, part = len(x), weight.shape[2]
    sums = np.empty((rows, part), np.float32)
    for number in range(first, end):
        sums[:] = 0
        for k in range(x.shape[1]):
            column = weight[number, k]
            for row in range(rows):
                value = x[row, k]
                for j in range(part):
                    sums[row, j] += value * widen(column[j])
        for row in range(rows):
            for j in range(part):
                out[row, number * part + j] = sums[row, j]


@compiled(fastmath={"nsz"})  # products are rounded before they are added
def _product_of_lanes(x, weight, out):  # type: ignore[no-untyped-def]
    """Write x Wᵀ (N, O) to `out`, as MKL multiplies a single row by a matrix of long rows.

    There are four sums, of every fourth input each, but the first inputs all go to the first sum.
    See `_product`.
    """
    outlined()
    part = weight.shape[2]
    sums = np.empty((LANES, part), np.float32)
    for row in range(len(x)):
        for lane in range(LANES):
            for j in range(part):
                sums[lane, j] = 0
        for k in range(x.shape[1]):
            value, column, into = x[row, k], weight[0, k], sums[0 if k < LANES else k % LANES]
            for j in range(part):
                into[j] += value * widen(column[j])
        for j in range(part):
            out[row, j] = (sums[0, j] + sums[2, j]) + (sums[1, j] + sums[3, j])


@compiled
def _add(x, bias):  # type: ignore[no-untyped-def]
    """Add a bias (O,) to x (N, O)."""
    for row in x:
        for j in range(len(bias)):
            row[j] += bias[j]


@compiled
def _relu(x, bias):  # type: ignore[no-untyped-def]
    """Add a bias (O,) to x (N, O), and keep what is positive."""
    for row in x:
        for j in range(len(bias)):
            value = row[j] + bias[j]
            row[j] = f32(0) if value < 0 else value


@compiled
def _look(frame, w, bias, out, first, end):  # type: ignore[no-untyped-def]
    """Write rows of the encoder's first layer to `out` (S, S, O), for a frame (64, 64, 3) uint8.

    A kernel's row has few numbers here, so those of all its rows are copied side by side.
    """
    outlined()
    size, line = len(out), KERNEL * frame.shape[2]
    levels, step = frame[2 * first : 2 * end + 2].reshape(-1), 2 * frame.shape[2]
    numbers, windows = np.empty(len(levels), f32), np.empty((size, KERNEL, line), f32)
    for j in range(len(levels)):
        numbers[j] = LEVELS[levels[j]]
    rows = numbers.reshape(2 * (end - first) + 2, -1)
    for y in range(first, end):
        for at in range(size):
            for row in range(KERNEL):
                for j in range(line):
                    windows[at, row, j] = rows[2 * (y - first) + row, at * step + j]
        out[y] = 0
        flat = windows.reshape(size, KERNEL * line)
        multiply(flat[:, :], w, 0, len(w), None, out[y][:, :], 0)
        _relu(out[y], bias)


@compiled
def _convolve(x, w, bias, out, first, end):  # type: ignore[no-untyped-def]
    """Write rows of a layer of the encoder to `out` (S, S, O), for x (W, W, I); see `_windows`."""
    outlined()
    size, channels, item = len(out), x.shape[2], 4
    for y in range(first, end):
        out[y] = 0
        for row in range(KERNEL):
            windows = as_strided(
                x[2 * y + row], (size, KERNEL * channels), (2 * channels * item, item)
            )
            multiply(windows, w[row], 0, w.shape[1], None, out[y][:, :], 0)
        _relu(out[y], bias)


@compiled
def _cut(x, windows):  # type: ignore[no-untyped-def]
    """Copy what the last layer of the encoder sees of x (6, 6, I) for its pixels (4, 4, 4, I)."""
    for pixel in range(4):
        for row in range(KERNEL):
            for column in range(KERNEL):
                place = x[2 * (pixel // 2) + row, 2 * (pixel % 2) + column]
                for j in range(len(place)):
                    windows[pixel, row, column, j] = place[j]


@compiled
def _conclude(d, bias, posterior, centre, out):  # type: ignore[no-untyped-def]
    """Write μ and log σ² (N, 2Z), for sums d (N, 4, I) of the last layer of the encoder."""
    flat = np.empty((len(d), 4 * d.shape[2]), f32)
    for k in range(len(d)):
        _relu(d[k], bias)
        for j in range(d.shape[2]):
            for pixel in range(4):
                flat[k, 4 * j + pixel] = d[k, pixel, j]
    _product_of_lanes(flat, posterior, out)
    _add(out, centre)


@compiled
def _encode(frames, first, second, third, last, posterior, out):  # type: ignore[no-untyped-def]
    """Write μ and log σ² (N, 2Z) of frames (N, 64, 64, 3) uint8."""
    a, b, c = np.empty((31, 31, 32), f32), np.empty((14, 14, 64), f32), np.empty((6, 6, 128), f32)
    most = max(1, min(FRAMES, len(frames)))
    windows = np.empty((most, 4, KERNEL, KERNEL, c.shape[2]), f32)
    d = np.empty((most, 4, 256), f32)
    for begin in range(0, len(frames), most):
        n = min(most, len(frames) - begin)
        for k in range(n):
            _look(frames[begin + k], *first, a, 0, len(a))
            _convolve(a, *second, b, 0, len(b))
            _convolve(b, *third, c, 0, len(c))
            _cut(c, windows[k])
        d[:] = 0
        rows, pixels = windows[:n].reshape(4 * n, -1), d[:n].reshape(4 * n, -1)
        multiply(rows[:, :], last[0], 0, len(last[0]), None, pixels[:, :], 0)
        _conclude(d[:n], last[1], *posterior, out[begin : begin + n])


ENCODED = (31, 31, 32), (14, 14, 64), (6, 6, 128), (1, 4, 256)
"""The shapes of what lies between the encoder's layers."""
SEEN = np.array([-(-31 // BAND), 14, 6, 256 // WIDTH // PANELS, 1])
"""The units in which threads share an encoder's layers: bands of rows, rows, panels."""


@compiled
def _encode_one(  # type: ignore[no-untyped-def]
    held, sizes, counters, frame, first, second, third, last, posterior, a, b, c, d, out
):
    """Write μ and log σ² (2Z,) of a frame (64, 64, 3) uint8.

    Args:
        held, sizes, counters: see `units.work`, and there what is returned.
        a, b, c, d: see `ENCODED`.
    """
    windows = np.empty((4, KERNEL, KERNEL, c.shape[2]), f32)
    while True:
        number, part, at = units.pick(held, 0, sizes, counters)
        if part == len(sizes):
            return number
        if part == 0:
            _look(frame, *first, a, at * BAND, min(len(a), (at + 1) * BAND))
        elif part == 1:
            _convolve(a, *second, b, at, at + 1)
        elif part == 2:
            _convolve(b, *third, c, at, at + 1)
        elif part == 3:
            _cut(c, windows)
            rows, columns = windows.reshape(4, -1), d[0][:, at * PANELS * WIDTH :]
            columns[:, : PANELS * WIDTH] = 0
            multiply(rows[:, :], last[0], at * PANELS, PANELS, None, columns[:, :], 0)
        else:
            _conclude(d, last[1], *posterior, out.reshape(1, -1))
        units.take(counters, 1 + part)
        held = -1


@compiled
def _decode(z, dense, first, second, third, last, limits, out):  # type: ignore[no-untyped-def]
    """Write the pictures (N, 64, 64, 3) uint8 of latents z (N, Z)."""
    most = max(1, min(FRAMES, len(z)))
    hidden = np.empty((most, len(dense[1])), f32)
    a = np.empty((most, 5, 5, len(first[1])), f32)
    b, c = np.empty((13, 13, 64), f32), np.empty((30, 30, 32), f32)
    for begin in range(0, len(z), most):
        n = min(most, len(z) - begin)
        _product_of_lanes(z[begin : begin + n], dense[0], hidden[:n])
        _add(hidden[:n], dense[1])
        _product(hidden[:n], first[0], a[:n].reshape(n, -1), 0, len(first[0]))
        _relu(a[:n].reshape(25 * n, -1), first[1])
        for k in range(n):
            _spread(a[k], *second, b, 0, len(b))
            _widen(b, *third, c, 0, len(c))
            _interleave(c, *last, limits, out[begin + k], 0, 32)


DECODED = (1, 5, 5, 128), (13, 13, 64), (30, 30, 32)
"""The shapes of what lies between the decoder's layers."""
DRAWN = np.array([25, 13, 30, 32])
"""The units in which threads share a decoder's layers: pixels and then rows."""


@compiled
def _decode_one(  # type: ignore[no-untyped-def]
    held, sizes, counters, z, dense, first, second, third, last, limits, a, b, c, out
):
    """Write the picture (64, 64, 3) uint8 of latents z (Z,).

    Args:
        held, sizes, counters: see `units.work`, and there what is returned.
        a, b, c: see `DECODED`.
    """
    hidden, ready = np.empty((1, len(dense[1])), f32), False
    while True:
        number, part, at = units.pick(held, 0, sizes, counters)
        if part == len(sizes):
            return number
        if part == 0:
            if not ready:  # each thread computes it for itself, sooner than it could wait for it
                _product_of_lanes(z.reshape(1, -1), dense[0], hidden)
                _add(hidden, dense[1])
                ready = True
            _product(hidden, first[0], a.reshape(1, -1), at, at + 1)
            _relu(a.reshape(25, -1)[at : at + 1], first[1])
        elif part == 1:
            _spread(a[0], *second, b, at, at + 1)
        elif part == 2:
            _widen(b, *third, c, at, at + 1)
        else:
            _interleave(c, *last, limits, out, at, at + 1)
        units.take(counters, 1 + part)
        held = -1


@compiled
def _spread(x, w, bias, out, first, end):  # type: ignore[no-untyped-def]
    """Write rows of a layer of the decoder to `out` (S, S, O), for x (W, W, I); see `_taps`.

    A sum goes through the kernel's rows and, in each, its columns.
    """
    outlined()
    size, width = len(out), len(x)
    kernel = size - 2 * (width - 1)
    for y in range(first, end):
        out[y] = 0
        for row in range(y % 2, kernel, 2):
            if 0 <= y - row < 2 * width:
                for column in range(kernel):
                    into = out[y, column : column + 2 * width - 1 : 2]
                    tap = w[row * kernel + column]
                    multiply(x[(y - row) // 2][:, :], tap, 0, len(tap), None, into, 0)
        _relu(out[y], bias)


@compiled
def _widen(x, w, bias, out, first, end):  # type: ignore[no-untyped-def]
    """Write rows of a layer of the decoder to `out` (S, S, O), for x (W, W, I); see `_rows`.

    A sum goes through the rows of one column of the kernel, and then the columns are added up.
    """
    outlined()
    width, outputs, kernel = len(x), len(bias), len(w)
    sums = np.empty((width, w.shape[1] * WIDTH), np.float32)
    columns = sums.reshape(width, kernel, outputs)
    for y in range(first, end):
        sums[:] = 0
        for row in range(y % 2, kernel, 2):
            if 0 <= y - row < 2 * width:
                multiply(x[(y - row) // 2][:, :], w[row], 0, w.shape[1], None, sums[:, :], 0)
        out[y] = 0
        for column in range(kernel):
            for at in range(width):
                into, part = out[y, 2 * at + column], columns[at, column]
                for j in range(outputs):
                    into[j] += part[j]
        _relu(out[y], bias)


@compiled
def _interleave(x, w, bias, limits, out, first, end):  # type: ignore[no-untyped-def]
    """Write pixels of the decoder's last layer to `out` (S, S, O), for x (W, W, I); see `_phases`.

    A sum goes as in `_widen`. The first and the end count pairs of rows. See `_limits`.
    """
    outlined()
    width, half, outputs = len(x), len(w), len(bias)
    sums = np.empty((width, w.shape[1] * WIDTH), np.float32)
    quads = np.empty((width + half - 1, 2, 2, outputs), np.float32)
    pair = np.empty((2, 2 * len(quads), outputs), np.float32)
    numbers = pair.reshape(-1)
    many = quads[0].size
    for y in range(first, end):
        sums[:] = 0
        for row in range(half):
            if 0 <= y + row - (half - 1) < width:
                multiply(x[y + row - (half - 1)][:, :], w[row], 0, w.shape[1], None, sums[:, :], 0)
        quads[:] = 0
        flat = quads.reshape(len(quads), -1)
        for column in range(half):
            for at in range(width):
                into = flat[at + half - 1 - column]
                part = sums[at, column * many : (column + 1) * many]
                for j in range(many):
                    into[j] += part[j]
        for at in range(len(quads)):
            for below in range(2):
                for right in range(2):
                    for j in range(outputs):
                        pair[below, 2 * at + right, j] = quads[at, below, right, j] + bias[j]
        pixels = out[2 * y : 2 * y + 2].reshape(-1)
        for j in range(len(numbers)):
            number = numbers[j]
            level = np.int64(kernels.sigmoid(number) * f32(255) + f32(0.5))  # off by 1 at most
            level += (number >= limits[level + 1]) - (number < limits[level])
            pixels[j] = level

"""V on a CPU in float32: compiled, as quick for one frame as for a frame of a batch.

For one frame PyTorch takes longer to rearrange V's weights, anew at each call, than to multiply by
them. Here they are rearranged once. Pictures lie in memory row by row, pixel by pixel, as in a
frame, so the pixels under one row of a kernel lie side by side: they are a row of a matrix product
as they are, and nothing is copied. `models.vae` is the reference.

A frame has the same bits alone as in a batch of any size. On a processor with AVX2 alone these are
the bits that oneDNN and MKL give a single frame: each sum is taken in their order.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from dreamgym.compiling import compiled
from dreamgym.engines.threads import shared
from dreamgym.engines.tiles import WIDTH, multiply, outlined, pack, shorten, widen
from dreamgym.models.vae import VAE

KERNEL = 4
"""Rows and columns of the encoder's kernels. Every layer has a stride of 2."""
FRAMES = 8
"""Frames that meet a large weight together. Their numbers fit into any second-level cache."""
LANES = 4
"""Running sums of MKL's product of one row."""
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

        *windows, (last, bias) = (layer(f"encoder.{number}") for number in range(4))
        whole = pack(last.transpose(0, 2, 3, 1).reshape(len(last), -1))
        both = zip(layer("mean"), layer("logvar"), strict=True)
        posterior, centre = (np.concatenate(parts) for parts in both)
        self.encoder = (
            *(_windows(*each) for each in windows),
            (whole, bias),
            _columns(posterior, centre, len(posterior)),
        )
        self.z_size = vision.config.z_size
        first, bias = layer("decoder.0")  # (I, O, 5, 5): one pixel becomes 5 × 5
        spread = first.transpose(2, 3, 1, 0).reshape(-1, len(first))  # (25 O, I)
        self.decoder = (
            _columns(*layer("dense"), len(first)),
            _columns(spread, bias, len(spread) // 5),
            _taps(*layer("decoder.1")),
            _rows(*layer("decoder.2")),
            _phases(*layer("decoder.3")),
        )

    def encode(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return μ and log σ², both (N, Z) float32, of frames (N, 64, 64, 3) uint8."""
        frames = np.ascontiguousarray(frames)
        out = np.empty((len(frames), 2 * self.z_size), np.float32)
        shared(lambda rows: _encode(frames[rows], *self.encoder, out[rows]), len(frames), 1, False)
        return out[:, : self.z_size].copy(), out[:, self.z_size :].copy()

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return the numbers whose sigmoids are the pixels, (N, 64, 64, 3), of latents z (N, Z)."""
        z = np.ascontiguousarray(z)
        out = np.empty((len(z), 64, 64, 3), np.float32)
        shared(lambda rows: _decode(z[rows], *self.decoder, out[rows]), len(z), 1, False)
        return out


def _stack(weight: np.ndarray) -> np.ndarray:
    """Pack weights (O, T, I) as T matrices (T, P, I, 16), all in 16 bits or none."""
    outputs, taps, inputs = weight.shape
    panels = pack(weight.reshape(outputs, -1)).reshape(-1, taps, inputs, WIDTH)
    return np.ascontiguousarray(panels.transpose(1, 0, 2, 3))


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


@compiled(fastmath={"nsz"})  # products are rounded before they are added
def _product(x, weight, out):  # type: ignore[no-untyped-def]
    """Write x Wᵀ (N, O) to `out`; each product is rounded before it is added, as MKL does.

    Args:
        x: (N, I).
        weight: see `_columns`.
    """
    outlined()
    rows, part = len(x), weight.shape[2]
    sums = np.empty((rows, part), np.float32)
    for number in range(len(weight)):
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
            row[j] = np.float32(0) if value < 0 else value


@compiled
def _convolve(x, w, bias, out):  # type: ignore[no-untyped-def]
    """Write a layer of the encoder to `out` (S, S, O), for x (W, W, I); see `_windows`."""
    outlined()
    size, channels, item = len(out), x.shape[2], 4
    for y in range(size):
        out[y] = 0
        for row in range(KERNEL):
            windows = as_strided(
                x[2 * y + row], (size, KERNEL * channels), (2 * channels * item, item)
            )
            multiply(windows, w[row], 0, w.shape[1], None, out[y][:, :], 0)
        _relu(out[y], bias)


@compiled
def _encode(frames, first, second, third, last, posterior, out):  # type: ignore[no-untyped-def]
    """Write μ and log σ² (N, 2Z) of frames (N, 64, 64, 3) uint8."""
    shown = np.empty(frames.shape[1:], np.float32)
    a = np.empty((31, 31, 32), np.float32)
    b = np.empty((14, 14, 64), np.float32)
    c = np.empty((6, 6, 128), np.float32)
    most = max(1, min(FRAMES, len(frames)))
    windows = np.empty((most, 4, KERNEL, KERNEL, c.shape[2]), np.float32)
    d = np.empty((most, 4, 256), np.float32)
    flat = np.empty((most, 4 * d.shape[2]), np.float32)
    for begin in range(0, len(frames), most):
        n = min(most, len(frames) - begin)
        for k in range(n):
            levels, numbers = frames[begin + k].reshape(-1), shown.reshape(-1)
            for j in range(len(levels)):
                numbers[j] = LEVELS[levels[j]]
            _convolve(shown, *first, a)
            _convolve(a, *second, b)
            _convolve(b, *third, c)
            for pixel in range(4):
                for row in range(KERNEL):
                    for column in range(KERNEL):
                        place = c[2 * (pixel // 2) + row, 2 * (pixel % 2) + column]
                        for j in range(len(place)):
                            windows[k, pixel, row, column, j] = place[j]
        d[:] = 0
        rows, pixels = windows[:n].reshape(4 * n, -1), d[:n].reshape(4 * n, -1)
        multiply(rows[:, :], last[0], 0, len(last[0]), None, pixels[:, :], 0)
        _relu(pixels, last[1])
        for k in range(n):
            for j in range(d.shape[2]):
                for pixel in range(4):
                    flat[k, 4 * j + pixel] = d[k, pixel, j]
        _product_of_lanes(flat[:n], posterior[0], out[begin : begin + n])
        _add(out[begin : begin + n], posterior[1])


@compiled
def _decode(z, dense, first, second, third, last, out):  # type: ignore[no-untyped-def]
    """Write the numbers (N, 64, 64, 3) that the sigmoid makes pixels of latents z (N, Z)."""
    most = max(1, min(FRAMES, len(z)))
    hidden = np.empty((most, len(dense[1])), np.float32)
    a = np.empty((most, 5, 5, len(first[1])), np.float32)
    b = np.empty((13, 13, 64), np.float32)
    c = np.empty((30, 30, 32), np.float32)
    for begin in range(0, len(z), most):
        n = min(most, len(z) - begin)
        _product_of_lanes(z[begin : begin + n], dense[0], hidden[:n])
        _add(hidden[:n], dense[1])
        _product(hidden[:n], first[0], a[:n].reshape(n, -1))
        _relu(a[:n].reshape(25 * n, -1), first[1])
        for k in range(n):
            _spread(a[k], *second, b)
            _widen(b, *third, c)
            _interleave(c, *last, out[begin + k])


@compiled
def _spread(x, w, bias, out):  # type: ignore[no-untyped-def]
    """Write a layer of the decoder to `out` (S, S, O), for x (W, W, I); see `_taps`.

    A sum goes through the kernel's rows and, in each, its columns.
    """
    outlined()
    size, width = len(out), len(x)
    kernel = size - 2 * (width - 1)
    for y in range(size):
        out[y] = 0
        for row in range(y % 2, kernel, 2):
            if 0 <= y - row < 2 * width:
                for column in range(kernel):
                    into = out[y, column : column + 2 * width - 1 : 2]
                    tap = w[row * kernel + column]
                    multiply(x[(y - row) // 2][:, :], tap, 0, len(tap), None, into, 0)
        _relu(out[y], bias)


@compiled
def _widen(x, w, bias, out):  # type: ignore[no-untyped-def]
    """Write a layer of the decoder to `out` (S, S, O), for x (W, W, I); see `_rows`.

    A sum goes through the rows of one column of the kernel, and then the columns are added up.
    """
    outlined()
    size, width, outputs = len(out), len(x), len(bias)
    kernel = len(w)
    sums = np.empty((width, w.shape[1] * WIDTH), np.float32)
    columns = sums.reshape(width, kernel, outputs)
    for y in range(size):
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
def _interleave(x, w, bias, out):  # type: ignore[no-untyped-def]
    """Write the last layer of the decoder to `out` (S, S, O), for x (W, W, I); see `_phases`.

    A sum goes as in `_widen`.
    """
    outlined()
    width, half, outputs = len(x), len(w), len(bias)
    sums = np.empty((width, w.shape[1] * WIDTH), np.float32)
    quads = np.empty((width + half - 1, 2, 2, outputs), np.float32)
    many = quads[0].size
    for y in range(len(quads)):
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
                        number = quads[at, below, right, j] + bias[j]
                        out[2 * y + below, 2 * at + right, j] = number

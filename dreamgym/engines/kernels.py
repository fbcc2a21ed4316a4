"""M's step on a CPU: everything between the matrix products, compiled by numba.

Plain PyTorch reads and writes a batch some forty times between one matrix product and the next.
Here the gates of the LSTM take one pass over the batch, and so does the draw of the next z with its
noise. `models.mdn_rnn` and `noise` define the same computations, and the tests compare both. The
noise alone is here too, for the starts of dreams and for V's draws. Every function works row by
row, so a dream does not depend on the others in its batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import types
from numba.extending import overload
from torch import Tensor

from dreamgym.compiling import compiled
from dreamgym.noise import BITS, GOLDEN, LANES, MULTIPLIERS, gaussian

i32, u32, u64, f32 = np.int32, np.uint32, np.uint64, np.float32
G, M0, M1 = (u64(word % (1 << 64)) for word in (GOLDEN, *MULTIPLIERS))


def cells(gates: Tensor, c: Tensor, h: Tensor, after: Tensor) -> None:
    """Write the new h and c (N, H) of the LSTM into `h` and `after`; see `MDNRNN.cells`."""
    _cells(*(_array(each) for each in (gates, c, h, after)))


def draw(
    out: Tensor, mixtures: int, key: Tensor, step: Tensor, temperature: Tensor, z: Tensor,
    chance: Tensor,
) -> None:  # fmt: skip
    """Draw the next z (N, Z) and two numbers ~ U(0, 1) for the rules (N, 2).

    Args:
        out: (N, 3KZ + O), the outputs of M's head, see `MDNRNN.parts`.
        mixtures: K, the number of Gaussians.
        key, step: (N,) int64, the address of the noise, see `noise.uniform`.
        temperature: (N, 1), see `mdn_rnn.sample`.
        z, chance: where to write the results.
    """
    arrays = (_array(each) for each in (out, key, step, temperature, z, chance))
    draw_rows(mixtures, 0, len(out), *arrays)


def key(seed: Tensor, episode: Tensor) -> Tensor:
    """Return what `noise.key` returns, to the bit."""
    return torch.from_numpy(_keys(seed.numpy(), episode.numpy()))


def uniform(keys: Tensor, step: Tensor, lanes: int, first: int = 0) -> Tensor:
    """Return what `noise.uniform` returns, to the bit."""
    return torch.from_numpy(_uniforms(keys.numpy(), step.numpy(), lanes, first))


def normal(keys: Tensor, step: Tensor, lanes: int, first: int = 0) -> Tensor:
    """Return what `noise.normal` returns, to the bit."""
    return gaussian(uniform(keys, step, lanes, first))


def _array(tensor: Tensor) -> np.ndarray:
    """Return a tensor's memory as an array; bfloat16, which NumPy lacks, as uint16 of its bits."""
    return (tensor.view(torch.uint16) if tensor.dtype is torch.bfloat16 else tensor).numpy()


def single(x: Any) -> Any:
    """Return a float32 as it is, and the uint16 bits of a bfloat16 as a float32."""
    raise NotImplementedError("only compiled code calls it")


@overload(single, inline="always", strict=False)
def _single(x: Any) -> Any:
    if x == types.uint16:
        return lambda x: u32(u32(x) << u32(16)).view(f32)
    return lambda x: x


@compiled(forceinline=True)
def exp(x):  # type: ignore[no-untyped-def]
    """Return eˣ, off by at most 2 units in the last place: 2ⁿ times Cephes' polynomial (`expf`)."""
    x = min(max(x, f32(-87.0)), f32(88.0))
    n = np.rint(x * f32(1.44269504))
    r = x - n * f32(0.693359375) + n * f32(2.12194440e-4)  # ln 2 in two parts
    p = f32(1.9875691500e-4)
    p = p * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    p = p * r * r + r + f32(1)
    return p * i32((i32(n) + i32(127)) << i32(23)).view(f32)


@compiled(forceinline=True)
def log(x):  # type: ignore[no-untyped-def]
    """Return ln x, for x that is not denormal, by Cephes' polynomial (`logf`) on [√½, √2)."""
    bits = i32(f32(x).view(i32) - i32(0x3F3504F3))  # √½, so that the exponent rounds to nearest
    n = i32(bits >> i32(23))
    m = i32(i32(bits & i32(0x7FFFFF)) + i32(0x3F3504F3)).view(f32) - f32(1)
    p = f32(7.0376836292e-2)
    p = p * m + f32(-1.1514610310e-1)
    p = p * m + f32(1.1676998740e-1)
    p = p * m + f32(-1.2420140846e-1)
    p = p * m + f32(1.4249322787e-1)
    p = p * m + f32(-1.6668057665e-1)
    p = p * m + f32(2.0000714765e-1)
    p = p * m + f32(-2.4999993993e-1)
    p = p * m + f32(3.3333331174e-1)
    square = m * m
    return p * m * square - f32(0.5) * square + m + f32(n) * f32(0.69314718)


@compiled(forceinline=True)
def turn(u):  # type: ignore[no-untyped-def]
    """Return cos 2πu and sin 2πu for u in (0, 1): Cephes' polynomials on an eighth of a turn."""
    q = np.rint(u * f32(4))
    x = (u - q * f32(0.25)) * f32(6.28318531)
    square = x * x
    s = f32(-1.9515295891e-4) * square + f32(8.3321608736e-3)
    s = (s * square + f32(-1.6666654611e-1)) * square * x + x
    c = f32(2.443315711809948e-5) * square + f32(-1.388731625493765e-3)
    c = (c * square + f32(4.166664568298827e-2)) * square * square - f32(0.5) * square + f32(1)
    quarter = i32(q) & i32(3)
    swap = (quarter & i32(1)) == i32(1)
    cosine, sine = (s, c) if swap else (c, s)
    cosine = -cosine if (quarter == i32(1)) | (quarter == i32(2)) else cosine
    sine = -sine if quarter >= i32(2) else sine
    return cosine, sine


@compiled(forceinline=True)
def sigmoid(x):  # type: ignore[no-untyped-def]
    return f32(1) / (f32(1) + exp(-x))


@compiled(forceinline=True)
def tanh(x):  # type: ignore[no-untyped-def]
    return f32(2) * sigmoid(x + x) - f32(1)


@compiled(forceinline=True)
def cell(i, f, g, o, c):  # type: ignore[no-untyped-def]
    """Return h and c of one cell from the sums before its gates and the c before."""
    keep = sigmoid(f) * c
    new = sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(keep + new), keep + new


@compiled
def _cells(gates, c, h, after):  # type: ignore[no-untyped-def]
    rows, size = c.shape
    for row in range(rows):
        for j in range(size):
            h[row, j], after[row, j] = cell(
                single(gates[row, j]), single(gates[row, size + j]),
                single(gates[row, 2 * size + j]), single(gates[row, 3 * size + j]), c[row, j],
            )  # fmt: skip


@compiled(forceinline=True)
def _mix(x):  # type: ignore[no-untyped-def]
    """See `noise.mix`."""
    x = (x ^ (x >> u64(30))) * M0
    x = (x ^ (x >> u64(27))) * M1
    return x ^ (x >> u64(31))


@compiled(forceinline=True)
def _unit(bits):  # type: ignore[no-untyped-def]
    return (f32(i32(bits)) + f32(0.5)) * f32(2.0**-BITS)


@compiled
def _keys(seed, episode):  # type: ignore[no-untyped-def]
    keys = np.empty(len(seed), np.int64)
    for row in range(len(seed)):
        keys[row] = np.int64(_mix(_mix(u64(seed[row]) + G) + u64(episode[row]) * G))
    return keys


@compiled
def _uniforms(keys, step, lanes, first):  # type: ignore[no-untyped-def]
    half = lanes // 2
    drawn = np.empty((len(keys), lanes), f32)
    for row in range(len(keys)):
        start = u64(keys[row]) + (u64(step[row]) * u64(LANES) + u64(first + 1)) * G
        for j in range(half):
            word = _mix(start + u64(j) * G)
            drawn[row, j] = _unit(word >> u64(64 - BITS))
            drawn[row, half + j] = _unit((word >> u64(8)) & u64((1 << BITS) - 1))
    return drawn


@compiled(inline="always")
def draw_rows(  # type: ignore[no-untyped-def]
    mixtures, first, rows, out, key, step, tau, z, chance
):
    """Draw for some rows from `first` on; their outputs are the first rows of `out`. See `draw`."""
    size = z.shape[1]
    half, count = size // 2, mixtures * size
    high, low = np.empty(size + 1, u64), np.empty(size + 1, u64)
    mixture, normal, best = np.empty(size, f32), np.empty(size, f32), np.empty(size, f32)
    chosen, mean, spread = np.empty(size, f32), np.empty(size, f32), np.empty(size, f32)
    weight, head = np.empty((mixtures, size), f32), np.empty(3 * count, f32)
    for row in range(first, first + rows):
        for j in range(3 * count):
            head[j] = single(out[row - first, j])
        start = u64(key[row]) + (u64(step[row]) * u64(LANES) + u64(1)) * G
        for j in range(size + 1):
            word = _mix(start + u64(j) * G)
            high[j] = word >> u64(64 - BITS)
            low[j] = (word >> u64(8)) & u64((1 << BITS) - 1)
        for j in range(half):
            mixture[j], mixture[half + j] = _unit(high[j]), _unit(low[j])
            radius = np.sqrt(f32(-2) * log(_unit(high[half + j])))
            cosine, sine = turn(_unit(low[half + j]))
            normal[j], normal[half + j] = radius * cosine, radius * sine
        chance[row, 0], chance[row, 1] = _unit(high[size]), _unit(low[size])
        scale = f32(1) / max(tau[row, 0], f32(1.2e-38))
        wide = np.sqrt(tau[row, 0])
        for j in range(size):
            best[j] = head[j]
        for k in range(1, mixtures):
            for j in range(size):
                best[j] = max(best[j], head[k * size + j])
        for k in range(mixtures):
            for j in range(size):
                below = weight[k - 1, j] if k else f32(0)
                weight[k, j] = below + exp((head[k * size + j] - best[j]) * scale)
        for j in range(size):
            chosen[j] = mixture[j] * weight[mixtures - 1, j]
            mean[j], spread[j] = head[count + j], head[2 * count + j]
        for k in range(1, mixtures):  # the first Gaussian whose cumulative weight reaches `chosen`
            for j in range(size):
                beyond = weight[k - 1, j] < chosen[j]
                mean[j] = head[count + k * size + j] if beyond else mean[j]
                spread[j] = head[2 * count + k * size + j] if beyond else spread[j]
        for j in range(size):
            z[row, j] = mean[j] + wide * exp(spread[j]) * normal[j]

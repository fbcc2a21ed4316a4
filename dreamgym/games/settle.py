"""What comes of a step, compiled by numba: `Rules.settle` for dreams on a CPU.

The arrays are those of `Rules.settle`; `after` (N, C), `reward` and `dead` (N,) are written. The
arithmetic is the same, operation by operation in float32.
"""

from __future__ import annotations

import numpy as np

from dreamgym.compiling import compiled

f32 = np.float32


@compiled(fastmath=False)
def survival(  # type: ignore[no-untyped-def]
    damage, faces, by_health, counts, odds, draws, step, after, reward, dead
):
    """See `rules.Survival`."""
    for row in range(len(counts)):
        hit = draws[row, 0] < odds[row, 0]
        roll = f32(1) + np.floor(draws[row, 1] * faces)
        health = counts[row, 0] - (damage * roll if hit else f32(0))
        after[row, 0] = health if health > f32(0) else f32(0)
        reward[row] = f32(1)
        dead[row] = after[row, 0] <= f32(0) if by_health else draws[row, 0] < odds[row, 1]


@compiled(fastmath=False)
def lap(  # type: ignore[no-untyped-def]
    lap, cost, fall, limit, counts, odds, draws, step, after, reward, dead
):
    """See `rules.Lap`."""
    for row in range(len(counts)):
        left, missed, whole = counts[row, 0], counts[row, 1], counts[row, 2]
        tiles = lost = f32(0)
        for head in range(2):
            tiles += f32(1) if draws[row, 0] < odds[row, head] else f32(0)
        for head in range(3, odds.shape[1]):
            lost += f32(1) if f32(1) - draws[row, 1] < odds[row, head] else f32(0)
        tiles = min(tiles, left - missed)
        left -= tiles
        missed += min(lost, left - missed)
        fallen, over = draws[row, 1] < odds[row, 2], left <= missed
        rest = max(limit - f32(1) - f32(step[row]), f32(0)) if over and left > f32(0) else f32(0)
        reward[row] = -fall if fallen else lap * tiles / whole - cost - cost * rest
        after[row, 0], after[row, 1], after[row, 2] = left, missed, whole
        dead[row] = fallen or over


@compiled(fastmath=False)
def learned(counts, odds, draws, step, after, reward, dead):  # type: ignore[no-untyped-def]
    """See `rules.Learned`."""
    for row in range(len(counts)):
        for column in range(counts.shape[1]):
            after[row, column] = counts[row, column]
        reward[row] = f32(0)
        dead[row] = draws[row, 0] < odds[row, 0]

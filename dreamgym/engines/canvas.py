"""Polygons as pygame draws them and scales them down, to the bit, but without the large picture.

A game may draw 1,000 × 800 pixels to show 96 × 96. Most of them lie in places of a single color,
whose mean is known without drawing them. So a picture is made here in bands, one for each row of
the small picture, and a band in cells, one for each pixel of that row. A cell has a single color
until an edge crosses it, and only then pixels of its own.

The rules are those of SDL_gfx and pygame, down to their roundings: lines are cut off at the border
before they are drawn, polygons are filled between crossings that are rounded row by row, and the
means are taken in fixed point, first along rows and then along columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from dreamgym.compiling import compiled

CORNERS = 8
"""Corners of a polygon at most."""
LANES = 12
"""Rows of a band at most, and a multiple of what a processor adds at once."""
REACH = 2
"""Pixels around the picture in which polygons are drawn too: smooth edges are 1 pixel wider."""

NONE, STRAIGHT, STEEP, SHALLOW = range(4)
"""Kinds of lines."""

f32, i64, u64 = np.float32, np.int64, np.uint64
OPEN = u64(2**64 - 1)
"""Instead of a cell's color: its pixels have colors of their own."""
FIELD, MASK = u64(16), u64(0xFFFF)
"""A color is one integer of 64 bits: red, green and blue in fields of 16 bits, red lowest."""
EVEN = MASK | MASK << u64(32)
CHANNELS = u64(0xFF) | u64(0xFF) << u64(16) | u64(0xFF) << u64(32)


def drawn(function: Callable[..., Any]) -> Any:
    """Decorate a function that draws to be compiled, without counting references to arrays.

    No function here makes an array. Counting took half of the time, because a pixel is drawn by a
    call of its own.
    """
    try:
        return compiled(function, fastmath=False, _nrt=False)
    except KeyError:  # another version of numba has no such flag
        return compiled(function, fastmath=False)


class Axis(NamedTuple):
    """How `large` pixels in a row make `small` ones, each the mean of its share, in fixed point."""

    ends: np.ndarray  # (small,) the last pixel of each share; the next share takes the rest of it
    weights: np.ndarray  # (small,) how much of its last pixel belongs to a share, of 2 ** bits
    owner: np.ndarray  # (large,) the share that each pixel begins in
    inverse: int  # 2 ** 16 over the length of a share
    bits: int


def axis(large: int, small: int, bits: int) -> Axis:
    """Lay out an axis with weights of `bits` bits, in which every rounding goes down."""
    whole = 1 << bits
    share = left = whole * large // small
    ends: list[int] = []
    weights, owner = [], []
    for pixel in range(large):
        owner.append(len(ends))
        left -= whole
        if left <= 0:
            ends.append(pixel)
            weights.append(left + whole)
            left += share
    return Axis(np.array(ends), np.array(weights), np.array(owner), (whole << 16) // share, bits)


class Cells(NamedTuple):
    """A band while it is drawn."""

    flat: np.ndarray  # (S,) the color of each cell, or OPEN
    pixels: np.ndarray  # (LANES, L) the colors in open cells
    ends: np.ndarray  # (S,) and
    owner: np.ndarray  # (L,), see Axis


class Canvas:
    """Draws the upper rows of a picture, in small.

    Args:
        size: width and height of the picture as it is drawn, upside down.
        small: width and height of the whole small picture.
        rows: rows of the small picture that are wanted.
        bits: the precision of the means: 14 by pygame's SSE2 and NEON, 16 by its plain C.
    """

    def __init__(self, size: tuple[int, int], small: tuple[int, int], rows: int, bits: int):
        self.size = size
        # Plain tuples, because numba takes 0.1 ms to find out the types of named ones.
        across, down = (axis(*pair, bits) for pair in zip(size, small, strict=True))
        assert np.diff(down.ends, prepend=-1).max() <= LANES
        self.across, self.down = tuple(across), tuple(down)
        self.picture = np.empty((rows, small[0], 3), np.uint8)
        self.shapes = _shapes(0)
        self.band = np.empty(small[0], u64), np.empty((LANES, size[0]), u64)
        self.cuts = np.empty((LANES, 4 * CORNERS), i64), np.empty(LANES, i64)
        self.means = tuple(np.empty(small[0], u64) for _ in range(4))

    def draw(
        self, corners: np.ndarray, sizes: np.ndarray, colors: np.ndarray, smooth: int,
        view: tuple[float, float, float, float, float],
    ) -> np.ndarray:  # fmt: skip
        """Return the small picture, (rows, width, 3) uint8, of P polygons, the last one on top.

        Args:
            corners: (P, CORNERS, 2) float64, on the ground.
            sizes: (P,) int64, the number of corners that count.
            colors: (P, 3) float64, of which the whole part is taken.
            smooth: the number of polygons, the first ones, that are quadrilaterals drawn as by
                gfxdraw's `aapolygon` and `filled_polygon`; the rest are drawn as by `draw.polygon`.
            view: cos, sin, zoom, x, y. A point is turned, then enlarged, then shifted.
        """
        if len(self.shapes[0]) < len(corners):
            self.shapes = _shapes(len(corners))
        _draw(corners, sizes, colors, smooth, view, self.size, self.across, self.down,
              self.shapes, self.band, self.cuts, self.means, self.picture)  # fmt: skip
        return self.picture.copy()


def _shapes(n: int) -> tuple[np.ndarray, ...]:
    """Return room for what `_prepare` finds out of n polygons."""
    which, tops, bottoms = np.empty((3, n), i64)
    return which, tops, bottoms, np.empty((n, CORNERS, 2), i64), np.empty((n, 4, 8), i64)


@drawn
def _draw(  # type: ignore[no-untyped-def]
    corners, sizes, colors, smooth, view, size, across, down, shapes, band, cuts, means, picture
):
    across, down = Axis(*across), Axis(*down)
    cells = Cells(band[0], band[1], across.ends, across.owner)
    means[0][:] = OPEN
    means[2][:] = 0
    lowest = size[1] - 1 - down.ends[len(picture) - 1]
    found = _prepare(corners, sizes, smooth, view, size, lowest, shapes)
    first = size[1] - 1
    for row in range(len(picture)):
        end = size[1] - 1 - down.ends[row]
        _paint(sizes, colors, smooth, found, shapes, first, end, cuts, cells)
        _mean(first - end + 1, across, cells, means)
        _finish(means, down, row, picture)
        first = end - 1


@drawn
def _prepare(corners, sizes, smooth, view, size, lowest, shapes):  # type: ignore[no-untyped-def]
    """Write where polygons are seen and return the number of those that may be seen.

    Args:
        lowest: the last row that is shown, in the picture as it is drawn.
        shapes: for each polygon found, its number, first and last row, corners (4, 2) and lines.
    """
    which, tops, bottoms, points, lines = shapes
    found = i64(0)
    for p in range(len(corners)):
        top, bottom = _look(corners, p, sizes[p], view, points, found)
        if not _touches(points, found, sizes[p], top, bottom, size, lowest):
            continue
        which[found], tops[found], bottoms[found] = p, top, bottom
        if p < smooth:
            for i in range(4):
                _line(points, found, i, size, lines)
        found += 1
    return found


@drawn
def _paint(sizes, colors, smooth, found, shapes, first, end, cuts, cells):  # type: ignore[no-untyped-def]
    """Paint a band, from row `first` back to row `end` of the picture as it is drawn."""
    which, tops, bottoms, points, lines = shapes
    crossings, many = cuts
    lanes = first - end + 1
    cells.flat[:] = 0
    for k in range(found):
        if tops[k] > first or bottoms[k] < end:
            continue
        p = which[k]
        red, green, blue = u64(colors[p, 0]), u64(colors[p, 1]), u64(colors[p, 2])
        color = red | green << FIELD | blue << (FIELD + FIELD)
        _cut(points, k, sizes[p], p < smooth, tops[k], bottoms[k], first, end, crossings, many)
        _clip(crossings, many, lanes, len(cells.owner))
        if p < smooth:
            for i in range(4):
                _trace(lines, k, i, color, first, end, crossings, cells)
        _fill(crossings, many, lanes, color, cells)


@drawn
def _look(corners, p, n, view, points, k):  # type: ignore[no-untyped-def]
    """Write where the corners are seen, in whole pixels; return the first and the last row."""
    cos, sin, zoom, right, up = view
    top, bottom = i64(2**62), i64(-(2**62))
    for i in range(n):
        x, y = corners[p, i, 0], corners[p, i, 1]
        points[k, i, 0] = i64((cos * x - sin * y) * zoom + right)
        points[k, i, 1] = i64((sin * x + cos * y) * zoom + up)
        top, bottom = min(top, points[k, i, 1]), max(bottom, points[k, i, 1])
    return top, bottom


@drawn
def _touches(points, k, n, top, bottom, size, lowest):  # type: ignore[no-untyped-def]
    """Tell whether a polygon may be seen."""
    left, right = points[k, 0, 0], points[k, 0, 0]
    for i in range(1, n):
        left, right = min(left, points[k, i, 0]), max(right, points[k, i, 0])
    seen = left <= size[0] + REACH and right >= -REACH
    return seen and top <= size[1] + REACH and bottom >= lowest - REACH


@drawn
def _cut(points, k, n, smooth, top, bottom, first, end, cuts, many):  # type: ignore[no-untyped-def]
    """Write where a polygon's sides cross each row of a band: inside is between two crossings."""
    many[:] = 0
    for i in range(n):
        j = (i or n) - 1
        x1, y1, x2, y2 = points[k, j, 0], points[k, j, 1], points[k, i, 0], points[k, i, 1]
        if y1 > y2:
            x1, y1, x2, y2 = x2, y2, x1, y1
        if y1 == y2:
            continue
        for y in range(max(y1, end), min(y2 if y2 == bottom else y2 - 1, first) + 1):
            lane = first - y
            if smooth:
                cut = i64(65536 * (y - y1) / (y2 - y1)) * (x2 - x1) + 65536 * x1
            else:
                away = f32((y - y1) * (x2 - x1)) / f32(y2 - y1)
                cut = x1 + i64(np.ceil(away) if many[lane] & 1 else np.floor(away))
            cuts[lane, many[lane]] = cut
            many[lane] += 1
    for lane in range(first - end + 1):
        if many[lane] > 1:
            _sort(cuts, lane, many[lane])
        if smooth:
            for i in range(many[lane]):
                cuts[lane, i] = (cuts[lane, i] + (1 - 2 * (i & 1)) + 32768) >> 16
    if not smooth:
        _level(points, k, n, top, bottom, first, end, cuts, many)


@njit(inline="always")
def _sort(values, row, n):  # type: ignore[no-untyped-def]
    for i in range(1, n):
        value, j = values[row, i], i
        while j > 0 and values[row, j - 1] > value:
            values[row, j] = values[row, j - 1]
            j -= 1
        values[row, j] = value


@drawn
def _level(points, k, n, top, bottom, first, end, cuts, many):  # type: ignore[no-untyped-def]
    """Add the level sides, which `draw.polygon` draws on their own."""
    for i in range(n):
        j = (i or n) - 1
        x1, y1, x2, y2 = points[k, j, 0], points[k, j, 1], points[k, i, 0], points[k, i, 1]
        if y1 == y2 and end <= y1 <= first and (top < y1 < bottom or top == bottom):
            lane = first - y1
            cuts[lane, many[lane]], cuts[lane, many[lane] + 1] = x1, x2
            many[lane] += 2


@drawn
def _clip(cuts, many, lanes, width):  # type: ignore[no-untyped-def]
    """Bring each span in order and into the picture; the first span is empty if there is none."""
    for lane in range(lanes):
        if many[lane] == 0:
            cuts[lane, 0], cuts[lane, 1] = width, -1
        for j in range(0, many[lane], 2):
            one, other = cuts[lane, j], cuts[lane, j + 1]
            cuts[lane, j] = max(min(one, other), 0)
            cuts[lane, j + 1] = min(max(one, other), width - 1)


@drawn
def _line(points, k, i, size, lines):  # type: ignore[no-untyped-def]
    """Prepare a smooth line: kind, first pixel (x, y), then by kind.

    STRAIGHT: x and y from, x and y to. STEEP, SHALLOW: x and y of the upper end, direction of x,
    steps, and how far the line moves sideways in a step, of 2 ** 32. After k steps it has moved k
    times as far, so that a line can be continued at any row.
    """
    j = (i + 1) % 4
    shown, x1, y1, x2, y2 = _shorten(
        points[k, i, 0], points[k, i, 1], points[k, j, 0], points[k, j, 1], size
    )
    line = lines[k, i]
    line[0] = NONE
    if not shown:
        return
    line[1], line[2] = x1, y1
    if y1 > y2:
        x1, y1, x2, y2 = x2, y2, x1, y1
    across, down = abs(x2 - x1), y2 - y1
    line[3], line[4], line[5] = x1, y1, 1 if x2 > x1 else -1
    if across == 0 or down == 0:
        line[0] = STRAIGHT
        line[3], line[4], line[5], line[6] = min(x1, x2), y1, max(x1, x2), y2
    elif down > across:
        line[0], line[6], line[7] = STEEP, down, ((across << 16) // down) << 16
    else:
        line[0], line[6], line[7] = SHALLOW, across, ((down << 16) // across) << 16


@drawn
def _shorten(x1, y1, x2, y2, size):  # type: ignore[no-untyped-def]
    """Cut a line off at the border: whether anything is left, and the ends, perhaps exchanged."""
    width, height = size
    while True:
        one, other = _beyond(x1, y1, width, height), _beyond(x2, y2, width, height)
        if one & other:
            return False, x1, y1, x2, y2
        if one | other == 0:
            return True, x1, y1, x2, y2
        if one == 0:
            x1, y1, x2, y2, one = x2, y2, x1, y1, other
        slope = f32(y2 - y1) / f32(x2 - x1) if x1 != x2 else f32(1)
        if one & 3:
            side = 0 if one & 1 else width - 1
            y1 += i64(f32(side - x1) * slope)
            x1 = side
        else:
            side = 0 if one & 4 else height - 1
            if x1 != x2:
                x1 += i64(f32(side - y1) / slope)
            y1 = side


@drawn
def _beyond(x, y, width, height):  # type: ignore[no-untyped-def]
    """Return the sides beyond which a point lies: 1 left, 2 right, 4 top, 8 bottom."""
    return (x < 0) * 1 | (x >= width) * 2 | (y < 0) * 4 | (y >= height) * 8


@drawn
def _trace(lines, k, i, color, first, end, cuts, cells):  # type: ignore[no-untyped-def]
    """Draw what a band sees of a line."""
    line = lines[k, i]
    kind, x, y, way, steps, slope = line[0], line[3], line[4], line[5], line[6], line[7]
    if kind == NONE:
        return
    if kind == STRAIGHT:
        for row in range(max(y, end), min(line[6], first) + 1):
            for column in range(x, line[5] + 1):
                _dot(column, row, color, 256, first, end, cuts, cells)
        return
    _dot(line[1], line[2], color, 256, first, end, cuts, cells)
    if kind == STEEP:
        for step in range(max(1, end - y), min(steps - 1, first - y) + 1):
            moved = step * slope
            part = (moved >> 24) & 255
            column, row = x + way * (moved >> 32), y + step
            _dot(column, row, color, (255 * (255 - part)) >> 8, first, end, cuts, cells)
            _dot(column + way, row, color, (255 * part) >> 8, first, end, cuts, cells)
    elif first >= y:
        start = max(1, -((-(end - y - 1) << 32) // slope))  # the first step that reaches the band
        for step in range(start, min(steps, -((-(first - y + 1) << 32) // slope))):
            moved = step * slope
            part = (moved >> 24) & 255
            column, row = x + way * step, y + (moved >> 32)
            _dot(column, row, color, (255 * (255 - part)) >> 8, first, end, cuts, cells)
            _dot(column, row + 1, color, (255 * part) >> 8, first, end, cuts, cells)


@njit(inline="always")
def _dot(x, y, color, share, first, end, cuts, cells):  # type: ignore[no-untyped-def]
    """Mix a color into a pixel of the band, `share` of 256, unless the filling will cover it."""
    lane = first - y
    if end <= y <= first and not cuts[lane, 0] <= x <= cuts[lane, 1]:
        cell = cells.owner[x]
        if cells.flat[cell] != color:
            if cells.flat[cell] != OPEN:
                _open(cell, cells)
            below = cells.pixels[lane, x] * u64(256 - share)
            cells.pixels[lane, x] = ((below + color * u64(share)) >> u64(8)) & CHANNELS


@drawn
def _open(cell, cells):  # type: ignore[no-untyped-def]
    """Give a cell pixels of its own."""
    color = cells.flat[cell]
    start = cells.ends[cell - 1] + 1 if cell else 0
    for lane in range(LANES):
        for x in range(start, cells.ends[cell] + 1):
            cells.pixels[lane, x] = color
    cells.flat[cell] = OPEN


@drawn
def _fill(cuts, many, lanes, color, cells):  # type: ignore[no-untyped-def]
    """Fill the spans of a band: whole cells at once where all rows cover them."""
    left, right = i64(0), i64(len(cells.owner) - 1)
    for lane in range(lanes):
        left, right = max(left, cuts[lane, 0]), min(right, cuts[lane, 1])
    start, stop = i64(0), i64(-1)
    if left <= right:
        start, stop = cells.owner[left], cells.owner[right]
        if left > 0 and cells.owner[left - 1] == start:
            start += 1
        if cells.ends[stop] > right:
            stop -= 1
        for cell in range(start, stop + 1):
            cells.flat[cell] = color
    for lane in range(lanes):
        for j in range(0, many[lane], 2):
            x = cuts[lane, j]
            while x <= cuts[lane, j + 1]:
                cell = cells.owner[x]
                if start <= cell <= stop:
                    x = cells.ends[stop] + 1
                    continue
                after = min(cuts[lane, j + 1], cells.ends[cell]) + 1
                if cells.flat[cell] != color:
                    if cells.flat[cell] != OPEN:
                        _open(cell, cells)
                    for pixel in range(x, after):
                        cells.pixels[lane, pixel] = color
                x = after


@drawn
def _mean(lanes, across, cells, means):  # type: ignore[no-untyped-def]
    """Take the means along the rows of a band.

    Args:
        means: four arrays (S,). A color, and the mean of a cell of that color alone: it is kept
            because the next bands need it too. The sum of the rows' means but for the last row.
            The mean of the last row, of which the next band takes a part.
    """
    known, flat, sums, last = means
    whole, before, left, rest = 1 << across.bits, cells.flat[0], i64(-1), i64(0)
    for cell in range(len(cells.flat)):
        color, right, weight = cells.flat[cell], across.ends[cell], across.weights[cell]
        if color != OPEN and before == color:
            if known[cell] != color:
                known[cell] = color
                inside = color * u64(right - left - 1)
                flat[cell] = _share(color, rest, inside, color, weight, across)
            sums[cell] += flat[cell] * u64(lanes - 1)
            last[cell] = flat[cell]
        else:
            total, mean = u64(0), u64(0)
            for lane in range(lanes):
                total += mean
                one = cells.pixels[lane, left] if before == OPEN else before
                other, inside = color, color * u64(right - left - 1)
                if color == OPEN:
                    other, inside = cells.pixels[lane, right], u64(0)
                    for x in range(left + 1, right):
                        inside += cells.pixels[lane, x]
                mean = _share(one, rest, inside, other, weight, across)
            sums[cell] += total
            last[cell] = mean
        before, left, rest = color, right, whole - weight


@drawn
def _finish(means, down, row, picture):  # type: ignore[no-untyped-def]
    """Write a row of the small picture, and begin the sums of the next one with its part."""
    weight = down.weights[row]
    rest = (1 << down.bits) - weight
    for cell in range(len(means[0])):
        total, last = means[2][cell], means[3][cell]
        color = _share(u64(0), 0, total, last, weight, down)
        for channel in range(3):
            picture[row, cell, channel] = color & MASK
            color >>= FIELD
        green = _part(last >> FIELD & MASK, rest, down.bits)
        means[2][cell] = _part(last & EVEN, rest, down.bits) | green << FIELD


@njit(inline="always")
def _share(before, rest, inside, last, weight, axis):  # type: ignore[no-untyped-def]
    """Return the mean of a share: part of one pixel, whole pixels, part of another.

    Red and blue are computed at once and green apart, as a product needs twice as many bits.
    """
    even = _part(before & EVEN, rest, axis.bits) + (inside & EVEN)
    even += _part(last & EVEN, weight, axis.bits)
    odd = _part(before >> FIELD & MASK, rest, axis.bits) + (inside >> FIELD & MASK)
    odd += _part(last >> FIELD & MASK, weight, axis.bits)
    return _part(even, axis.inverse, 16) | _part(odd, axis.inverse, 16) << FIELD


@njit(inline="always")
def _part(fields, weight, bits):  # type: ignore[no-untyped-def]
    """Return `weight` of 2 ** bits of every second field, the others being 0."""
    return fields * u64(weight) >> u64(bits) & EVEN

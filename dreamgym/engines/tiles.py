"""Matrix products by tiles, for code that numba compiles: x (N, I) ↦ x Wᵀ + b (N, O).

Every number of a product is one sum, taken in order by fused multiply-adds, and the bias is added
last. So a row has the same bits alone as in a batch of any size, however the tiles fall. oneDNN's
packed products add in the same order. A sum may also go on from where an earlier product left it:
that is how a convolution adds up the rows of its kernel.

A product of few rows is bound by reading the weights. Weights that 16 bits hold exactly, such as
those of the shipped worlds, are kept in 16 bits and widened in registers. That changes no bit.
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from dreamgym.compiling import compiled

WIDTH = 16
"""Outputs of a panel: a cache line of float32, or two of AVX2's registers."""
TILE = 6
"""Most rows of a tile. With two registers for each row, 4 of AVX2's 16 remain for the operands."""
ARM = platform.machine().lower() in ("arm64", "aarch64")


def supported() -> bool:
    """Return whether this processor multiplies and adds in one instruction, as nearly all do."""
    return ARM or _has("fma")


def pack(weight: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    """Lay out a weight (O, I) float32 as panels (P, I, 16), as float32 or as bits of float16.

    Args:
        weight: the matrix.
        order: (16 P,) the outputs in the order of the panels, -1 for a column of zeros. None: as
            they are.
    """
    if order is None:
        order = np.full(-(-len(weight) // WIDTH) * WIDTH, -1)
        order[: len(weight)] = np.arange(len(weight))
    rows = np.where(order[:, None] < 0, np.float32(0), weight[order])  # (16 P, I)
    return shorten(
        np.ascontiguousarray(rows.reshape(-1, WIDTH, weight.shape[1]).transpose(0, 2, 1))
    )


def shorten(weight: np.ndarray) -> np.ndarray:
    """Return a weight float32 as the bits of float16, if these hold all of its numbers exactly."""
    with np.errstate(over="ignore"):
        short = weight.astype(np.float16)
    exact = np.array_equal(short, weight)
    return short.view(np.uint16) if exact and (ARM or _has("f16c")) else weight


def _outlined(_: Any) -> Any:
    """Keep the function that calls this apart from its callers, which else compile it again."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


outlined: Any = intrinsic(_outlined)


def _widen(_: Any, number: Any) -> Any:
    """Return a number of a weight, float32 or the bits of float16, as float32."""

    def generate(_: Any, builder: Any, signature: Any, values: Any) -> Any:
        if signature.args[0] != types.uint16:
            return values[0]
        return builder.fpext(builder.bitcast(values[0], ir.HalfType()), ir.FloatType())

    return types.float32(number), generate


widen: Any = intrinsic(_widen)


def _has(feature: str) -> bool:
    """Return whether numba compiles for a processor with a feature, which is usually this one."""
    chosen: str | None = config.CPU_FEATURES  # type: ignore[attr-defined]  # of the environment
    if chosen is not None:
        return f"+{feature}" in chosen.split(",")
    return bool(binding.get_host_cpu_features().get(feature, False))


def _tile(rows: int, panels: int) -> Any:
    """Return the product of so many rows and so many panels, for numba to compile.

    The sums stay in registers from the first input to the last, which numba's own loops can't say.
    """

    @intrinsic
    def multiply(
        _: Any, x: Any, first: Any, w: Any, panel: Any, bias: Any, out: Any, row: Any, at: Any
    ) -> Any:
        """Write rows of x Wᵀ + b, the first of x being `first`, to `out` from (row, at) on.

        If b is None, x Wᵀ is added to what `out` holds.
        """

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            given = [
                _given(context, builder, kind, value)
                for kind, value in zip(signature.args, values, strict=True)
            ]
            _sums(builder, rows, panels, w.dtype == types.uint16, *given)
            return context.get_dummy_value()

        return types.void(x, first, w, panel, bias, out, row, at), generate

    return multiply


def _given(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Return an argument as the code of a tile takes it: None, a number or an array's parts."""
    if kind == types.none:
        return None
    is_array = isinstance(kind, types.Array)
    return context.make_array(kind)(context, builder, value) if is_array else value


def _sums(
    b: Any, rows: int, panels: int, half: bool, x: Any, first: Any, w: Any, panel: Any, bias: Any,
    out: Any, row: Any, at: Any,
) -> None:  # fmt: skip
    """Build the loop over the inputs in which `rows` × `panels` × 16 sums grow."""
    i64, single = ir.IntType(64), ir.FloatType()
    wide = ir.VectorType(single, WIDTH)
    weights = ir.VectorType(ir.HalfType(), WIDTH) if half else wide
    size, inputs = (2 if half else 4), b.extract_value(x.shape, 1)
    x_row, out_row = b.extract_value(x.strides, 0), b.extract_value(out.strides, 0)
    fma = cgutils.get_or_insert_function(
        b.module, ir.FunctionType(wide, [wide] * 3), f"llvm.fma.v{WIDTH}f32"
    )

    def number(value: int) -> Any:
        return ir.Constant(i64, value)

    def pointer(array: Any, offset: Any, kind: Any) -> Any:
        begin = b.ptrtoint(array.data, i64)
        return b.inttoptr(b.add(begin, offset), kind.as_pointer())

    def load(array: Any, offset: Any, kind: Any) -> Any:
        value = b.load(pointer(array, offset, kind))
        value.align = 2
        return value

    def spread(value: Any) -> Any:
        none = ir.Constant(wide, ir.Undefined)
        first = b.insert_element(none, value, ir.Constant(ir.IntType(32), 0))
        return b.shuffle_vector(
            first, none, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), None)
        )

    def place(r: int, p: int) -> Any:
        column = b.mul(b.add(at, number(p * WIDTH)), number(4))
        return pointer(out, b.add(b.mul(b.add(row, number(r)), out_row), column), wide)

    def held(r: int, p: int) -> Any:
        value = b.load(place(r, p))
        value.align = 4
        return value

    panel_bytes = b.mul(inputs, number(WIDTH * size))
    first_x, first_w = b.mul(first, x_row), b.mul(panel, panel_bytes)
    zero = ir.Constant(wide, [0.0] * WIDTH)
    begun = [[held(r, p) if bias is None else zero for p in range(panels)] for r in range(rows)]
    before, loop, done = b.block, b.append_basic_block("inputs"), b.append_basic_block("done")
    b.branch(loop)
    b.position_at_end(loop)
    k = b.phi(i64)
    k.add_incoming(number(0), before)
    sums = [[b.phi(wide) for _ in range(panels)] for _ in range(rows)]
    columns = []
    for p in range(panels):
        offset = b.add(b.mul(number(p), panel_bytes), b.mul(k, number(WIDTH * size)))
        column = load(w, b.add(first_w, offset), weights)
        columns.append(b.fpext(column, wide) if half else column)
    grown = []
    for r in range(rows):
        offset = b.add(b.mul(number(r), x_row), b.mul(k, number(4)))
        value = spread(load(x, b.add(first_x, offset), single))
        grown.append([b.call(fma, [value, columns[p], sums[r][p]]) for p in range(panels)])
    further = b.add(k, number(1))
    k.add_incoming(further, loop)
    for r in range(rows):
        for p in range(panels):
            sums[r][p].add_incoming(begun[r][p], before)
            sums[r][p].add_incoming(grown[r][p], loop)
    b.cbranch(b.icmp_signed("<", further, inputs), loop, done)
    b.position_at_end(done)
    for p in range(panels):
        if bias is not None:
            added = load(bias, b.mul(b.add(panel, number(p)), number(WIDTH * 4)), wide)
        for r in range(rows):
            whole = grown[r][p] if bias is None else b.fadd(grown[r][p], added)
            b.store(whole, place(r, p)).align = 4


WIDE = _has("avx512f")
"""Whether a register holds a whole panel. There are twice as many of these registers, so a tile of
several rows takes two panels at once: a panel alone has too few sums under way."""
_1x4, _1x1, _2x2, _2x1, _3x1, _4x1, _5x1, _6x1 = (
    _tile(*shape) for shape in ((1, 4), (1, 1), (2, 2), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1))
)
_3x2, _4x2, _5x2, _6x2 = (_tile(rows, 2) for rows in (3, 4, 5, 6))


@compiled
def multiply(x, w, panel, panels, bias, out, at):  # type: ignore[no-untyped-def]
    """Write columns of x Wᵀ + b to `out` from column `at` on.

    Args:
        x: (N, I) float32, whose rows may lie anywhere, and even overlap.
        w: (P, I, 16) panels, see `pack`.
        panel, panels: the first panel, and how many.
        bias: (16 P,) float32; None to go on with the sums that `out` holds.
        out: (N, M) float32, with M ≥ at + 16 · panels. Its rows may lie anywhere.
    """
    outlined()
    multiply_rows(x, 0, len(x), w, panel, panels, bias, out, at)


@compiled
def multiply_rows(x, first, rows, w, panel, panels, bias, out, at):  # type: ignore[no-untyped-def]
    """Write the product of some rows of x, from `first` on, to the first rows of `out`.

    An addition waits for the last one to the same sum, so a processor must have some 8 sums under
    way. That is why one or two rows meet several panels at once, and why the rows are dealt out
    evenly among the tiles instead of leaving a last one of a single row.
    """
    end, tiles = panel + panels, (rows + TILE - 1) // TILE
    if rows == 1:
        while panel + 4 <= end:
            _1x4(x, first, w, panel, bias, out, 0, at)
            panel, at = panel + 4, at + 4 * WIDTH
    elif rows == 2:
        while panel + 2 <= end:
            _2x2(x, first, w, panel, bias, out, 0, at)
            panel, at = panel + 2, at + 2 * WIDTH
    if WIDE and rows > 2:
        while panel + 2 <= end:
            for tile in range(tiles):
                row = rows * tile // tiles
                size = rows * (tile + 1) // tiles - row
                if size == 6:
                    _6x2(x, first + row, w, panel, bias, out, row, at)
                elif size == 5:
                    _5x2(x, first + row, w, panel, bias, out, row, at)
                elif size == 4:
                    _4x2(x, first + row, w, panel, bias, out, row, at)
                else:
                    _3x2(x, first + row, w, panel, bias, out, row, at)
            panel, at = panel + 2, at + 2 * WIDTH
    while panel < end:
        for tile in range(tiles):
            row = rows * tile // tiles
            size = rows * (tile + 1) // tiles - row
            if size == 6:
                _6x1(x, first + row, w, panel, bias, out, row, at)
            elif size == 5:
                _5x1(x, first + row, w, panel, bias, out, row, at)
            elif size == 4:
                _4x1(x, first + row, w, panel, bias, out, row, at)
            elif size == 3:
                _3x1(x, first + row, w, panel, bias, out, row, at)
            elif size == 2:
                _2x1(x, first + row, w, panel, bias, out, row, at)
            else:
                _1x1(x, first + row, w, panel, bias, out, row, at)
        panel, at = panel + 1, at + WIDTH

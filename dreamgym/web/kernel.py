"""The page's kernel, assembled as WebAssembly: `add(out, weight, x, inputs, rows, length, stride)`.

To each of `rows` rows of `out`, which lie `stride` numbers apart, it adds the `length` numbers of
the weight's row for input k, times x[k], for all inputs k. With one row this is a product of a
matrix and a vector. With the rows of a convolution's kernel it is one pixel of a transposed
convolution. An input of 0, such as one that a rectifier has cut off, is skipped.

All lengths are bytes, except `inputs` and `rows`. `length` is a multiple of 16.
"""

from __future__ import annotations

I32, F32, V128, NOTHING = 0x7F, 0x7D, 0x7B, 0x40
OUT, WEIGHT, X, INPUTS, ROWS, LENGTH, STRIDE, LAST, ROW, TO, FROM, END, VALUE, WIDE = range(14)
"""The parameters and the local variables, by their numbers."""
ADD, SUB, MUL, SHIFT, BELOW = 0x6A, 0x6B, 0x6C, 0x74, 0x49
"""Instructions on whole numbers."""


def get(variable: int) -> bytes:
    return bytes((0x20, variable))


def put(variable: int) -> bytes:
    return bytes((0x21, variable))


def number(value: int) -> bytes:
    return b"\x41" + _leb(value, signed=True)


def moved(variable: int, *by: bytes) -> bytes:
    """Increase a variable by what some instructions compute."""
    return get(variable) + b"".join(by) + bytes((ADD,)) + put(variable)


def loop(*body: bytes) -> bytes:
    """Repeat a body as long as what it leaves on the stack is not 0."""
    return bytes((0x03, NOTHING)) + b"".join(body) + b"\x0d\x00\x0b"


def simd(instruction: int, *more: int) -> bytes:
    return b"\xfd" + _leb(instruction) + bytes(more)


def kernel() -> bytes:
    """Return the module as bytes. It imports the memory `env.memory` and exports `add`."""
    load, store, splat, add, multiply = 0x00, 0x0B, 0x13, 0xE4, 0xE6
    numbers = loop(
        get(TO), get(TO), simd(load, 2, 0),
        get(WIDE), get(WEIGHT), simd(load, 2, 0), simd(multiply), simd(add), simd(store, 2, 0),
        moved(WEIGHT, number(16)), moved(TO, number(16)),
        get(TO), get(END), bytes((BELOW,)),
    )  # fmt: skip
    rows = loop(
        get(FROM), put(TO), get(FROM), get(LENGTH), bytes((ADD,)), put(END),
        numbers,
        moved(FROM, get(STRIDE)),
        get(ROW), number(1), bytes((SUB,)), put(ROW), get(ROW),
    )  # fmt: skip
    used = get(VALUE) + simd(splat) + put(WIDE) + get(OUT) + put(FROM) + get(ROWS) + put(ROW) + rows
    skipped = moved(WEIGHT, get(ROWS), get(LENGTH), bytes((MUL,)))
    inputs = loop(
        get(X), b"\x2a\x02\x00", put(VALUE),  # f32.load
        get(VALUE), b"\x43\x00\x00\x00\x00\x5c",  # f32.ne 0
        bytes((0x04, NOTHING)), used, b"\x05", skipped, b"\x0b",
        moved(X, number(4)),
        get(X), get(LAST), bytes((BELOW,)),
    )  # fmt: skip
    last = get(X) + get(INPUTS) + number(2) + bytes((SHIFT, ADD)) + put(LAST)
    variables = _many(bytes((5, I32)), bytes((1, F32)), bytes((1, V128)))
    code = variables + last + inputs + b"\x0b"
    return b"\0asm\x01\0\0\0" + b"".join((
        _section(1, _many(b"\x60" + _many(*[bytes((I32,))] * 7) + b"\0")),  # its type
        _section(2, _many(_name("env") + _name("memory") + b"\x02\x00\x01")),  # import
        _section(3, _many(b"\0")),  # the function
        _section(7, _many(_name("add") + b"\0\0")),  # export
        _section(10, _many(_leb(len(code)) + code)),
    ))  # fmt: skip


def _leb(value: int, signed: bool = False) -> bytes:
    """Return a whole number, 0 or more, as WebAssembly writes it: seven bits a byte."""
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        if value == 0 and not (signed and byte & 0x40):
            return bytes((*out, byte))
        out.append(byte | 0x80)


def _many(*items: bytes) -> bytes:
    return _leb(len(items)) + b"".join(items)


def _name(text: str) -> bytes:
    return _leb(len(text)) + text.encode()


def _section(number: int, content: bytes) -> bytes:
    return bytes((number,)) + _leb(len(content)) + content

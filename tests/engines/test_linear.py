"""M's matrix products: right, and row by row the same in any company."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dreamgym.engines.linear import BLOCK, Linear, supports_bfloat16

SIZES = (*range(1, 2 * BLOCK + 2), 63, 100, 255)


def layer(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """An odd number of inputs, as M's is, and outputs that fill no tile."""
    random = torch.Generator().manual_seed(0)
    shapes = ((37, 577), (37,))
    return tuple(torch.randn(s, generator=random).to(dtype) for s in shapes)  # type: ignore[return-value]


def rows(n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, 577, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_the_product(dtype: torch.dtype, packed: bool) -> None:
    weight, bias = layer(dtype)
    x = rows(19, dtype)
    exact = x.double() @ weight.double().T + bias.double()
    y = Linear(weight, bias, packed)(x)
    assert y.dtype is dtype and y.shape == (19, 37)
    # float32 adds 577 products and a bias in any order, and one rounding to the dtype follows
    sums = x.double().abs() @ weight.double().abs().T + bias.double().abs()
    error = 578 * torch.finfo(torch.float32).eps * sums + exact.abs() * torch.finfo(dtype).eps
    assert bool(((y.double() - exact).abs() <= error).all())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_is_the_same_in_any_company(dtype: torch.dtype, packed: bool) -> None:
    linear, x = Linear(*layer(dtype), packed), rows(256)
    many = linear(x)
    assert all(torch.equal(linear(x[:n]), many[:n]) for n in SIZES)
    assert torch.equal(linear(x[100:107]), many[100:107])


def test_rows_that_round_differently_are_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    def moody(self: Linear, x: Tensor) -> Tensor:  # as some libraries multiply
        return (x @ self.weight.T + self.bias) * (1 if len(x) % BLOCK == 0 else 1 + 1e-6)

    monkeypatch.setattr(Linear, "_multiply", moody)
    linear, x = Linear(*layer(torch.float32)), rows(64)
    assert linear.block == BLOCK
    assert all(torch.equal(linear(x[:n]), linear(x)[:n]) for n in (1, 5, 16, 17))


@pytest.mark.parametrize(
    ("capabilities", "told", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False}, "AVX512", False),
        ({"avx512_bf16": True}, "AVX512", True),
        ({"avx512_bf16": True}, "AVX2", False),  # by ATEN_CPU_CAPABILITY, see `make test-small`
        ({"bf16": True}, "DEFAULT", True),  # Arm
        ({}, "AVX2", False),
    ],
)
def test_bfloat16_is_for_processors_that_know_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], told: str, expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: told)
    assert supports_bfloat16("cpu") is expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_what_cannot_be_packed_is_multiplied_all_the_same(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    def refuse(*_: object) -> None:  # as oneDNN does on a processor without AVX-512
        raise RuntimeError("mkldnn_reorder_linear_weight: bf16 path needs the cpu support")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", refuse)
    linear, x = Linear(*layer(dtype), packed=True), rows(32)
    assert linear.tiles is None
    assert torch.equal(linear(x), F.linear(x.to(dtype), linear.weight, linear.bias))

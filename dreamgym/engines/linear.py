"""M's matrix products, in which no row depends on how many others there are.

A dream must not depend on its neighbours, down to the last bit; the usual libraries multiply a
single row in another order than a batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 16
"""Rows are computed in multiples of this where fewer would round differently."""
TILE = 512
"""Rows that a packed weight is laid out for. For 16 or more all numbers of rows round alike; for 1
a single row does not. Measured."""


class Linear:
    """x (N, I) ↦ x Wᵀ + b (N, O), in the precision of the weight.

    Args:
        weight: (O, I).
        bias: (O,).
        packed: whether a CPU that can lays the weight out once, as its tiles want it, instead of in
            every call, as PyTorch's compiler does with constant weights and by the same operators
            of oneDNN's. A float32 product is then a fifth to a third faster and rounds a single row
            as it does a batch; a bfloat16 one is faster by a tenth, for one row twice as fast.
    """

    def __init__(self, weight: Tensor, bias: Tensor, packed: bool = False):
        self.weight = torch.nn.Parameter(weight, requires_grad=False)  # a CUDA graph copies others
        self.bias, self.tiles = bias, None
        if packed:
            with contextlib.suppress(AttributeError, RuntimeError):  # not built in, or not for this
                self.tiles = torch.ops.mkldnn._reorder_linear_weight(weight, TILE)
        self.block = self._fewest()

    def __call__(self, x: Tensor) -> Tensor:
        n = len(x)
        extra = -n % (self.block if n < BLOCK else BLOCK)
        x = x.to(self.weight.dtype)
        if extra:
            x = F.pad(x, (0, 0, 0, extra))
        return self._multiply(x)[:n]

    def _multiply(self, x: Tensor) -> Tensor:
        if self.tiles is None:
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.tiles, self.bias, "none", [], "")

    def _fewest(self) -> int:
        """Return 1 if few rows round as they do among many, or `BLOCK`: tried, not known."""
        x = torch.arange(BLOCK**2 * self.weight.shape[1], device=self.weight.device)
        x = x.view(BLOCK**2, -1).float().sin_().to(self.weight.dtype)
        many = self._multiply(x)
        same = (torch.equal(self._multiply(x[:n]), many[:n]) for n in range(1, BLOCK))
        return 1 if all(same) else BLOCK


def supports_bfloat16(device: str | torch.device) -> bool:
    """Return whether a device multiplies in bfloat16 by itself; others take longer than float32."""
    device = torch.device(device)
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if not hasattr(torch.cpu, "get_capabilities"):  # an older PyTorch
        return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    if torch.backends.cpu.get_cpu_capability() in ("NO AVX", "AVX2"):
        return False  # as PyTorch was told by ATEN_CPU_CAPABILITY, whatever the processor can
    known: Mapping[str, bool] = torch.cpu.get_capabilities()
    names = ("avx512_bf16", "amx_bf16", "bf16")
    return device.type == "cpu" and any(known.get(name) for name in names)

"""M's matrix products, in which a row has the same bits in a batch of any size.

A dream must not depend on the others in its batch, not even in the last bit. But many libraries add
the products of a single row in another order than those of a batch, and so round differently.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 16
"""Batches are padded to a multiple of this many rows, small ones only where they need it."""
TILE = 512
"""The number of rows for which oneDNN packs a weight. With 16 or more here, a row has the same bits
in a batch of any size; with 1, a row alone has other bits than in a batch (as measured)."""


class Linear:
    """x (N, I) ↦ x Wᵀ + b (N, O), in the precision of the weight.

    Args:
        weight: (O, I).
        bias: (O,).
        packed: whether oneDNN rearranges the weight once, here, and not in every call. PyTorch's
            compiler does the same with constant weights, by the same operators. A float32 product
            is then a fifth to a third faster, and a row alone is rounded as in a batch. A bfloat16
            product is a tenth faster, and twice as fast for a single row. Without effect where the
            processor or the build of PyTorch cannot do it.
    """

    def __init__(self, weight: Tensor, bias: Tensor, packed: bool = False):
        # A Parameter, because a CUDA graph would copy any other tensor in each run.
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.bias, self.tiles = bias, None
        if packed:
            with contextlib.suppress(AttributeError, RuntimeError):  # this build or processor can't
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
        """Return 1 if 1 to 15 rows are rounded as in a large batch, else `BLOCK`, by trying it."""
        x = torch.arange(BLOCK**2 * self.weight.shape[1], device=self.weight.device)
        x = x.view(BLOCK**2, -1).float().sin_().to(self.weight.dtype)
        many = self._multiply(x)
        same = (torch.equal(self._multiply(x[:n]), many[:n]) for n in range(1, BLOCK))
        return 1 if all(same) else BLOCK


def supports_bfloat16(device: str | torch.device) -> bool:
    """Return whether a device has instructions for products in bfloat16.

    On other devices, bfloat16 takes longer than float32.
    """
    device = torch.device(device)
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if not hasattr(torch.cpu, "get_capabilities"):  # an older PyTorch
        return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    if torch.backends.cpu.get_cpu_capability() in ("NO AVX", "AVX2"):
        return False  # ATEN_CPU_CAPABILITY may limit PyTorch to less than the processor can do
    known: Mapping[str, bool] = torch.cpu.get_capabilities()
    names = ("avx512_bf16", "amx_bf16", "bf16")
    return device.type == "cpu" and any(known.get(name) for name in names)

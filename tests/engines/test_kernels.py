"""The compiled step says what the plain one says, row by row and on any number of threads."""

import numpy as np
import pytest
import torch

from dreamgym import noise
from dreamgym.engines import kernels
from dreamgym.models.mdn_rnn import MDNRNN, MemoryConfig, sample

ROWS, K, Z, CELLS = 300, 5, 64, 96
PRECISIONS = [torch.float32, torch.bfloat16]


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_cells_are_the_reference_s(precision):
    gates = numbers(ROWS, 4 * CELLS, scale=4.0).to(precision)
    gates[0], gates[1] = 200.0, -200.0  # both ends of exp
    c = numbers(ROWS, CELLS, seed=1, scale=3.0)
    h, after = torch.empty_like(c), torch.empty_like(c)
    kernels.cells(gates, c, h, after)
    wanted_h, wanted_c = MDNRNN.cells(gates, c)
    torch.testing.assert_close(h, wanted_h, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(after, wanted_c, atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.0, 0.1, 1.0, 1.3, 1e9])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_draw_is_the_reference_s_number_by_number(precision, temperature):
    memory = MDNRNN(MemoryConfig(Z, 1, CELLS))
    out = numbers(ROWS, 3 * K * Z + 2, scale=2.0).to(precision)
    key = noise.key(torch.arange(ROWS), torch.arange(ROWS) % 3)
    step, tau = torch.arange(ROWS) * 7, torch.full((ROWS, 1), temperature)
    z, chance = torch.empty(ROWS, Z), torch.empty(ROWS, 2)
    kernels.draw(out, K, key, step, tau, z, chance)
    mixture, normal = noise.uniform(key, step, Z), noise.normal(key, step, Z, first=Z // 2)
    wanted = sample(memory.parts(out, z), mixture, normal, tau)
    error = (z - wanted).abs() / (1 + wanted.abs() + temperature**0.5)
    # A sum that rounds otherwise may pick the neighbouring component: once in a million numbers.
    assert (error > 1e-4).sum() <= 1
    assert torch.equal(chance, noise.uniform(key, step, 2, first=Z))


def test_a_poisoned_row_stays_poisoned_and_alone():
    """NaN must not be drawn as a number, nor touch its neighbours."""
    out = numbers(4, 3 * K * Z + 2)
    key, step, tau = torch.arange(4), torch.zeros(4, dtype=torch.int64), torch.ones(4, 1)
    clean, z, chance = torch.empty(4, Z), torch.empty(4, Z), torch.empty(4, 2)
    kernels.draw(out, K, key, step, tau, clean, chance)
    out[1] = float("nan")
    kernels.draw(out, K, key, step, tau, z, chance)
    assert torch.isnan(z[1]).all()
    assert torch.equal(z[[0, 2, 3]], clean[[0, 2, 3]])


def test_the_exponential_is_close_and_stays_finite_beyond_its_ends():
    x = np.linspace(-90, 90, 3601, dtype=np.float32)
    wanted = np.exp(np.clip(x.astype(np.float64), -87, 88))
    found = np.array([kernels.exp(each) for each in x])
    np.testing.assert_allclose(found, wanted, rtol=3e-7)

"""A product by tiles is the sum that it says, in order, for any number of rows."""

import numpy as np
import pytest
import torch

from dreamgym.engines import tiles

pytestmark = pytest.mark.skipif(not tiles.supported(), reason="no fused multiply-add here")
OUTPUTS, INPUTS = 100, 37


def made(short: bool, seed: int = 0):
    """Return a weight (O, I), that 16 bits hold if `short`, and a bias (O,)."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(OUTPUTS, INPUTS)).astype(np.float16 if short else np.float32)
    return weight.astype(np.float32), rng.normal(size=OUTPUTS).astype(np.float32)


def product(x, weight, bias, order=None):
    panels = tiles.pack(weight, order)
    long = np.zeros(len(panels) * tiles.WIDTH, np.float32)
    long[: len(bias)] = bias
    out = np.full((len(x), 8 + len(long)), np.nan, np.float32)
    tiles.multiply(x, panels, 0, len(panels), long, out, 8)
    assert np.isnan(out[:, :8]).all()
    return out[:, 8:]


def in_order(x, weight, bias):
    """Return the sums of fused multiply-adds: exact in float64, rounded to float32 at each."""
    sums = np.zeros((len(x), len(weight)), np.float32)
    for k in range(x.shape[1]):
        exact = x[:, k, None].astype(np.float64) * weight[None, :, k].astype(np.float64)
        sums = (sums.astype(np.longdouble) + exact.astype(np.longdouble)).astype(np.float32)
    return sums + bias


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("rows", range(1, 15))
def test_every_number_of_rows_gives_the_sums_in_order(rows, short):
    weight, bias = made(short)
    x = np.random.default_rng(1).normal(size=(rows, INPUTS)).astype(np.float32)
    found = product(x, weight, bias)
    assert np.array_equal(found[:, :OUTPUTS], in_order(x, weight, bias))
    assert (found[:, OUTPUTS:] == 0).all()
    wanted = torch.nn.functional.linear(*map(torch.from_numpy, (x, weight, bias)))
    np.testing.assert_allclose(found[:, :OUTPUTS], wanted, atol=1e-5)


def test_weights_are_kept_in_16_bits_only_where_these_hold_them():
    weight, _ = made(short=True)
    assert tiles.pack(weight).dtype in (np.uint16, np.float32)  # the latter: it can't widen them
    weight[3, 4] += np.float32(2**-20)
    assert tiles.pack(weight).dtype == np.float32
    weight[3, 4] = 1e6  # beyond the largest
    assert tiles.pack(weight).dtype == np.float32


def test_an_order_deals_the_outputs_to_the_panels():
    weight, _ = made(short=True)
    order = np.full(32, -1)
    order[[0, 20, 31]] = [99, 0, 7]
    x = np.random.default_rng(1).normal(size=(5, INPUTS)).astype(np.float32)
    found = product(x, weight, np.zeros(0, np.float32), order)
    plain = product(x, weight, np.zeros(OUTPUTS, np.float32))
    assert np.array_equal(found[:, [0, 20, 31]], plain[:, [99, 0, 7]])
    assert (np.delete(found, [0, 20, 31], axis=1) == 0).all()


def test_some_panels_alone_are_the_same_numbers():
    weight, bias = made(short=False)
    x = np.random.default_rng(1).normal(size=(9, INPUTS)).astype(np.float32)
    whole, panels = product(x, weight, bias), tiles.pack(weight)
    long = np.zeros(len(panels) * tiles.WIDTH, np.float32)
    long[:OUTPUTS] = bias
    part = np.empty((9, 32), np.float32)
    tiles.multiply(x, panels, 2, 2, long, part, 0)
    assert np.array_equal(part, whole[:, 32:64])


def test_what_is_not_finite_stays_so_and_in_its_row():
    weight, bias = made(short=True)
    x = np.random.default_rng(1).normal(size=(8, INPUTS)).astype(np.float32)
    clean = product(x, weight, bias)
    x[2, 3], x[5, 0] = np.nan, np.inf
    found = product(x, weight, bias)
    assert not np.isfinite(found[[2, 5], :OUTPUTS]).any()
    kept = [0, 1, 3, 4, 6, 7]
    assert np.array_equal(found[kept], clean[kept])


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_a_sum_goes_on_from_where_another_product_left_it(rows):
    weight, _ = made(short=True)
    x = np.random.default_rng(1).normal(size=(rows, INPUTS)).astype(np.float32)
    whole = product(x, weight, np.zeros(OUTPUTS, np.float32))
    parts = np.zeros((rows, 2, whole.shape[1]), np.float32)
    for some in (slice(0, 20), slice(20, INPUTS)):
        panels = tiles.pack(weight[:, some])
        tiles.multiply(x[:, some], panels, 0, len(panels), None, parts[:, 1], 0)  # rows lie apart
    assert np.array_equal(parts[:, 1], whole) and not parts[:, 0].any()

"""The compiled step says what the plain one says, row by row and on any number of threads."""

import multiprocessing

import numpy as np
import pytest
import torch

from dreamgym import noise
from dreamgym.engines import kernels
from dreamgym.models.mdn_rnn import MDNRNN, MemoryConfig, sample
from tests.conftest import tiny_world

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
    wanted = sample(memory.parts(out), mixture, normal, tau)
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


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_dream_is_the_same_on_any_number_of_threads(world, threads):
    """And a thread's own number of threads is nobody else's."""
    state, tau = world.start(torch.arange(ROWS)), torch.ones(ROWS, 1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        wanted, _, _ = world.step(state, torch.zeros(ROWS, 1), tau)
        torch.set_num_threads(threads)
        after, _, _ = world.step(state, torch.zeros(ROWS, 1), tau)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(after.z, wanted.z) and torch.equal(after.h, wanted.h)


def test_an_error_in_a_thread_reaches_the_caller():
    def broken(rows: slice) -> None:
        if rows.start:
            raise ArithmeticError("row 32 is broken")

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(ArithmeticError, match="row 32"):
            kernels.shared(broken, 64)
    finally:
        torch.set_num_threads(before)


def _dream(send, threads: int) -> None:
    torch.set_num_threads(threads)
    world = tiny_world()
    state, _, _ = world.step(world.start(torch.arange(99)), torch.zeros(99, 1), torch.ones(99, 1))
    send.send(state.z.sum().item())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_dreams_after_its_parent_has():
    """With a thread of its own: PyTorch's, after a fork, wait for ever."""
    fork, before = multiprocessing.get_context("fork"), torch.get_num_threads()
    receive, send = fork.Pipe(False)
    try:
        _dream(send, 2)
        child = fork.Process(target=_dream, args=(send, 1))
        child.start()
        mine = receive.recv()
        assert receive.poll(60), "the child hangs"
        assert receive.recv() == mine
        child.join(10)
    finally:
        torch.set_num_threads(before)
    assert child.exitcode == 0


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_every_mode_of_autograd_may_dream(world, mode):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with mode():
            state, action = world.start(torch.arange(99)), torch.zeros(99, 1)
            action.requires_grad_(mode is torch.enable_grad)
            after, _, _ = world.step(state, action, torch.ones(99, 1))
            assert torch.isfinite(after.z).all()
    finally:
        torch.set_num_threads(before)


def test_the_exponential_is_close_and_stays_finite_beyond_its_ends():
    x = np.linspace(-90, 90, 3601, dtype=np.float32)
    wanted = np.exp(np.clip(x.astype(np.float64), -87, 88))
    found = np.array([kernels.exp(each) for each in x])
    np.testing.assert_allclose(found, wanted, rtol=3e-7)


def test_a_thread_of_a_pool_is_alone_and_counts_small_numbers(monkeypatch):
    monkeypatch.setattr(kernels, "_pools", {})
    small = torch.tensor(1e-310, dtype=torch.float64)
    assert torch.set_flush_denormal(True)
    try:
        pool = kernels._pool(2)
        kept = [pool.submit(lambda: (small * 1).item()) for _ in range(2)]
        assert [each.result() for each in kept] == [1e-310, 1e-310]
        assert pool.submit(torch.get_num_threads).result() == 1
        assert (small * 1).item() == 0  # as the caller has set it
    finally:
        torch.set_flush_denormal(False)

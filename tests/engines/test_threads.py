"""Threads share a batch's rows, and nobody else's threads or settings change."""

import multiprocessing
import threading
import time

import pytest
import torch

from dreamgym.engines import threads as pools
from tests.conftest import tiny_world

ROWS = 300


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


@pytest.mark.parametrize("torch_inside", [True, False])
def test_an_error_in_a_thread_reaches_the_caller(torch_inside):
    def broken(rows: slice) -> None:
        if rows.start:
            raise ArithmeticError("row 32 is broken")

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(ArithmeticError, match="row 32"):
            pools.shared(broken, 64, 32, torch_inside)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("torch_inside", [True, False])
@pytest.mark.parametrize(
    ("rows", "fewest"), [(64, 32), (65, 32), (100, 6), (5, 6), (11, 6), (12, 6)]
)
def test_the_slices_cover_the_rows_once(rows, fewest, torch_inside):
    before, seen = torch.get_num_threads(), []
    try:
        torch.set_num_threads(3)
        pools.shared(seen.append, rows, fewest, torch_inside)
    finally:
        torch.set_num_threads(before)
    assert sorted(row for each in seen for row in range(rows)[each]) == list(range(rows))
    assert len(seen) == max(1, min(3, rows // fewest))
    assert all(each.start % fewest == 0 for each in seen)


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


def test_a_helper_is_alone_and_counts_small_numbers():
    small, seen = torch.tensor(1e-310, dtype=torch.float64), []

    def look() -> None:
        seen.append(((small * 1).item(), torch.get_num_threads()))
        time.sleep(0.01)  # so that every thread takes a turn

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    assert torch.set_flush_denormal(True)
    try:
        pools.together(look, 2, torch_inside=True)
        assert seen == [(1e-310, 1)] * 2
        assert (small * 1).item() == 0  # as the caller has set it
        assert torch.get_num_threads() == 2
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


def test_threads_that_dream_at_the_same_time_each_dream_their_own(world):
    """They share the helpers, and none waits for the other's."""
    states = [world.start(torch.arange(first, first + 40)) for first in (0, 1000)]
    wanted, found = [], [None, None]

    def dream(state):
        for _ in range(30):
            state, _, _ = world.step(state, torch.zeros(40, 1), torch.ones(40, 1))
        return state.z

    def run(number):
        torch.set_num_threads(2)
        found[number] = dream(states[number])

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        wanted = [dream(state) for state in states]
        for _ in range(5):
            threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive(), "a thread waits for ever"
            assert all(map(torch.equal, found, wanted))
    finally:
        torch.set_num_threads(before)


def test_a_helper_that_another_thread_takes_at_once_is_not_taken_back():
    """A call that has ended frees its helper only when it no longer looks at it."""
    helper = pools._helpers(1)[0]
    task = pools._Task(lambda: None, helper)
    assert task.done.acquire(timeout=10)
    task.done.release()
    assert helper not in pools._free
    task.end(cancel=True)
    assert helper in pools._free


def test_a_failure_in_one_thread_lets_the_others_end(monkeypatch):
    """Nobody waits for the units of a thread that has failed."""
    world = tiny_world()
    state = world.start(torch.arange(30))

    def broken(held, sizes, counters, *given):
        if threading.current_thread() is threading.main_thread():
            counters[0] += 1  # takes a unit that it never does
            time.sleep(0.05)
            raise ArithmeticError("the first unit is lost")
        return compiled(held, sizes, counters, *given)

    from dreamgym.engines import step

    compiled = step._dream
    monkeypatch.setattr(step, "_dream", broken)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ArithmeticError, match="is lost"):
            world.step(state, torch.zeros(30, 1), torch.ones(30, 1))
    finally:
        torch.set_num_threads(before)

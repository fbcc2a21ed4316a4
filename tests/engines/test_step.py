"""The whole step, compiled, is PyTorch's step; and over its own state it is the same step."""

import copy
import pickle
from dataclasses import fields

import numpy as np
import pytest
import torch

from dreamgym import games
from dreamgym.engines import tiles
from tests.conftest import tiny_world

pytestmark = pytest.mark.skipif(not tiles.supported(), reason="no fused multiply-add here")
ROWS = 200


@pytest.mark.parametrize("cells", [8, 16, 40])
def test_the_step_is_pytorch_s(cells):
    """Numbers of cells that fill panels, and that don't."""
    world = tiny_world(hidden=cells)
    plain = world.to("cpu", form="torch")
    state, tau = world.start(torch.arange(ROWS)), torch.full((ROWS, 1), 1.1)
    for step in range(3):
        action = torch.full((ROWS, 1), step - 1.0)
        wanted, pay, dead = plain.step(state, action, tau)
        state, reward, over = world.step(state, action, tau)
        for field in fields(state):
            torch.testing.assert_close(
                getattr(state, field.name), getattr(wanted, field.name), atol=1e-4, rtol=1e-4
            )
        assert torch.equal(reward, pay) and torch.equal(over, dead)


@pytest.mark.parametrize("rows", [1, 5, 12, 100])
def test_over_its_own_state_it_is_the_same_step(rows):
    world = tiny_world()
    state, tau = world.start(torch.arange(rows)), torch.ones(rows, 1)
    own = state.clone()
    for _ in range(3):
        action = torch.ones(rows, 1)
        state, reward, dead = world.step(state, action, tau)
        after, pay, over = world.advance(own, action.numpy(), tau)
        assert after is own
        assert reward.tolist() == pay.tolist() and dead.tolist() == over.tolist()
        for field in fields(state):
            assert torch.equal(getattr(own, field.name), getattr(state, field.name))


def test_a_step_leaves_the_state_before_it_alone():
    world = tiny_world()
    state = world.start(torch.arange(9))
    before = state.clone()
    world.step(state, torch.ones(9, 1), torch.ones(9, 1))
    for field in fields(state):
        assert torch.equal(getattr(state, field.name), getattr(before, field.name))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_of_a_state_is_not_stepped_with_it(copied):
    """Its arrays, made for the step, are its own."""
    world = tiny_world()
    state = world.start(torch.arange(3))
    world.advance(state, np.ones((3, 1), np.float32), torch.ones(3, 1))
    other = copied(state)
    kept = other.clone()
    world.advance(state, np.ones((3, 1), np.float32), torch.ones(3, 1))
    assert torch.equal(other.z, kept.z) and torch.equal(other.step, kept.step)
    world.advance(other, np.ones((3, 1), np.float32), torch.ones(3, 1))
    assert torch.equal(other.z, state.z) and torch.equal(other.counts, state.counts)


def test_a_state_s_arrays_follow_what_is_put_in_its_place():
    state = tiny_world().start(torch.arange(3))
    state.arrays()
    state.z = torch.ones(3, 5)
    assert state.arrays().z.shape == (3, 5)


@pytest.mark.parametrize("name", [*sorted(games.GAMES), "car_racing of three heads"])
@pytest.mark.parametrize("death", ["health", "head"])
def test_compiled_rules_settle_as_pytorch_does_to_the_bit(name, death):
    rules = games.get(name.split()[0]).rules.ending(death)
    if name.endswith("heads"):
        rules = rules.foretold(rules.heads[:3])
    rng = np.random.default_rng(0)
    n = 20_000
    budget = torch.from_numpy(rng.integers(1, 120, n).astype(np.float32))
    counts = rules.begin(budget)
    if counts.shape[1] == 3:  # left, missed, whole
        counts[:, 2] += 30
        counts[:, 1] = (counts[:, 0] * torch.from_numpy(rng.random(n, np.float32))).floor()
        counts[::2, 1] = (counts[::2, 0] - 2).clamp_min(0)  # the end is near
    step = torch.from_numpy(rng.integers(0, 1500, n))
    odds = torch.from_numpy(rng.random((n, len(rules.heads)), np.float32))
    draws = torch.from_numpy(rng.random((n, 2), np.float32))
    draws[:5], odds[5:10] = float("nan"), float("nan")
    wanted = rules.settle(counts, odds, draws, step)
    found = np.empty(counts.shape, np.float32), np.empty(n, np.float32), np.empty(n, np.bool_)
    settle = rules.compiled()
    assert settle is not None
    settle(counts.numpy(), odds.numpy(), draws.numpy(), step.numpy(), *found)
    assert np.array_equal(found[0][5:], wanted[0][5:].numpy(), equal_nan=True)
    assert np.array_equal(found[1][5:], wanted[1][5:].numpy(), equal_nan=True)
    assert np.array_equal(found[2][5:], wanted[2][5:].numpy())

"""The simulator: a dream is a function of (world, seed, actions)."""

import copy
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.doom import GAME as DOOM
from dreamgym.games.doom import HEALTH
from dreamgym.models.mdn_rnn import MDNRNN, MemoryConfig
from dreamgym.models.vae import VAE, VisionConfig
from dreamgym.models.vae import sample as sample_latent
from dreamgym.world import BOUND, World
from tests.conftest import HIDDEN, Z, tiny_world

ONE = torch.ones(1, 1)
NEEDS_A_COMPILER = pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
COMPILED = pytest.param("compiled", marks=NEEDS_A_COMPILER)


def rollout(world, seeds, steps=40, temperature=1.0):
    """Return the z of every step (T, N, Z) under actions that depend on the seed alone."""
    seeds = torch.tensor(seeds)
    state, out = world.start(seeds), []
    tau = torch.full((len(seeds), 1), temperature)
    for t in range(steps):
        state, _, _ = world.step(state, ((seeds + t) % 3 - 1).float()[:, None], tau)
        out.append(state.z)
    return torch.stack(out)


@pytest.mark.parametrize("size", [1, 2, 7, 16, 64, 1024])
def test_a_dream_is_the_same_alone_and_in_a_batch(world, size):
    alone = rollout(world, [5])[:, 0]
    batch = rollout(world, list(range(5, 5 + size)))[:, 0]
    assert torch.equal(alone, batch)


def test_a_dream_does_not_depend_on_its_slot(world):
    forward, backward = rollout(world, list(range(40))), rollout(world, list(range(40))[::-1])
    assert torch.equal(forward, backward.flip(1))


def test_seeds_and_episodes_diverge(world):
    seeds = torch.arange(500)
    first = world.start(seeds).z
    again = world.start(seeds, torch.ones_like(seeds)).z
    assert len(torch.unique(torch.cat((first, again)), dim=0)) == 1000


def test_dreams_start_from_the_stored_first_frames_with_an_empty_memory():
    world = tiny_world()
    mean, logvar, budget = world.starts
    world.starts = (mean, torch.full_like(logvar, -60.0), budget)
    state = world.start(torch.arange(300))
    distance = (state.z[:, None] - mean).abs().amax(2)  # (300, 8)
    assert (distance.amin(1) < 1e-6).all()
    assert set(distance.argmin(1).tolist()) == set(range(8))
    assert not state.h.any() and not state.c.any()
    assert (state.counts[:, 0] == HEALTH).all()


def test_health_falls_by_what_a_hit_takes_and_its_end_is_the_dream_s():
    world = tiny_world(hit=50.0)  # every step is a hit
    state = world.start(torch.arange(4000))
    tau = torch.ones(4000, 1)
    state, reward, dead = world.step(state, torch.zeros(4000, 1), tau)
    taken = HEALTH - state.counts[:, 0]
    assert (reward == 1).all()
    assert torch.equal(dead, state.counts[:, 0] <= 0)
    survivors = taken[~dead] / DOOM.rules.damage
    assert set(survivors.tolist()) == {1, 2, 3, 4}
    share = dead.float().mean().item()
    killing = 4 / DOOM.rules.faces  # 5, 6, 7 and 8 times 21
    assert abs(share - killing) < 4 * np.sqrt(0.25 / 4000)
    assert (state.step == 1).all()
    state.counts[:] = 1 + DOOM.rules.damage
    state, _, dead = world.step(state, torch.zeros(4000, 1), tau)
    assert (state.step == 2).all()
    assert set(state.counts[~dead, 0].tolist()) == {
        1.0
    }  # a roll of 1 leaves the last point of health
    assert (state.counts[dead] == 0).all()


def test_a_lap_pays_a_thousand_in_tiles_and_costs_a_tenth_a_frame():
    world = tiny_world((50.0, -50.0, -50.0), game=CAR_RACING)  # one tile a step, no fall
    state = world.start(torch.arange(5))
    tau, paid = torch.ones(5, 1), torch.zeros(5)
    for step in range(100):  # the tiny world's tracks have 100 tiles
        state, reward, dead = world.step(state, torch.zeros(5, 3), tau)
        paid += reward
        assert dead.all() == (step == 99) and (state.counts[:, 0] == 99 - step).all()
    assert torch.allclose(paid, torch.full((5,), 1000 - 0.1 * 100), atol=1e-3)


def test_the_last_tiles_are_not_paid_twice():
    world = tiny_world((50.0, 50.0, -50.0), game=CAR_RACING)  # two tiles a step
    state = world.start(torch.arange(3))
    state.counts[:, 0] = torch.tensor([1.0, 2.0, 3.0])
    state, reward, dead = world.step(state, torch.zeros(3, 3), torch.ones(3, 1))
    assert torch.allclose(reward, torch.tensor([10.0, 20.0, 20.0]) - 0.1)
    assert dead.tolist() == [True, True, False] and state.counts[:, 0].tolist() == [0, 0, 1]


def test_a_fall_pays_minus_a_hundred_and_nothing_else():
    world = tiny_world((50.0, -50.0, 50.0), game=CAR_RACING)
    _, reward, dead = world.step(world.start(torch.arange(4)), torch.zeros(4, 3), torch.ones(4, 1))
    assert (reward == -100).all() and dead.all()


def test_two_tiles_come_as_often_as_m_says():
    world = tiny_world((0.0, -1.0, -50.0), game=CAR_RACING)  # P(1 or more) 0.5, P(2) 0.27
    state = world.start(torch.arange(20_000))
    prediction, _, _ = world.memory.step(state.z, torch.zeros(20_000, 3), state.h, state.c)
    odds = torch.sigmoid(prediction.heads).mean(0)
    after, _, _ = world.step(state, torch.zeros(20_000, 3), torch.ones(20_000, 1))
    taken = state.counts[:, 0] - after.counts[:, 0]
    for count in (1, 2):
        share = (taken >= count).float().mean().item()
        assert abs(share - odds[count - 1].item()) < 0.015


def test_a_world_whose_memory_foretells_something_else_is_refused():
    doom, car = tiny_world(), tiny_world(game=CAR_RACING)
    with pytest.raises(ValueError, match=r"M foretells hit, death; .*: train M for car_racing"):
        World(CAR_RACING, car.vision, doom.memory, car.starts)


def test_without_hits_nothing_dies():
    world = tiny_world(hit=-50.0)
    state = world.start(torch.arange(64))
    for _ in range(20):
        state, _, dead = world.step(state, torch.zeros(64, 1), torch.ones(64, 1))
        assert not dead.any()
    assert (state.counts[:, 0] == HEALTH).all()


def test_the_death_head_can_end_a_dream_instead():
    world = tiny_world(hit=0.0, death="head")
    _, _, dead = world.step(world.start(torch.arange(4000)), torch.zeros(4000, 1), torch.ones(1, 1))
    chance = torch.sigmoid(
        world.memory.step(
            world.start(torch.arange(4000)).z,
            torch.zeros(4000, 1),
            torch.zeros(4000, HIDDEN),
            torch.zeros(4000, HIDDEN),
        )[0].heads[:, 1]
    )
    assert abs(dead.float().mean() - chance.mean()) < 4 * np.sqrt(0.25 / 4000)


def test_temperature_zero_dreams_the_same_whatever_the_noise(world):
    state = world.start(torch.arange(50))
    state.z[:] = state.z[0]
    after, _, _ = world.step(state, torch.zeros(50, 1), torch.zeros(50, 1))
    assert torch.allclose(after.z, after.z[:1].expand_as(after.z))


def test_an_absurd_temperature_stays_within_bounds(world):
    after, _, _ = world.step(world.start(torch.arange(50)), torch.zeros(50, 1), 1e9 * ONE)
    assert torch.isfinite(after.z).all() and (after.z.abs() <= BOUND).all()


def test_a_range_of_temperatures_is_drawn_evenly_and_by_seed(world):
    state = world.start(torch.arange(5000))
    drawn = world.draw_temperature(state, 1.0, 1.3)[:, 0]
    assert drawn.min() >= 1.0 and drawn.max() <= 1.3
    assert abs(drawn.mean() - 1.15) < 0.01
    assert torch.equal(drawn, world.draw_temperature(state, 1.0, 1.3)[:, 0])


def test_the_twin_s_memory_takes_in_what_was_seen(world):
    random = torch.Generator().manual_seed(3)
    frames = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8, generator=random)
    state = world.start(torch.arange(3))
    action = torch.tensor([[-1.0], [0.0], [1.0]])
    after = world.follow(state, action, frames)
    _, h, c = world.memory.step(state.z, action, state.h, state.c)
    assert torch.allclose(after.h, h, atol=1e-6) and torch.allclose(after.c, c, atol=1e-6)
    mean, logvar = world.vision.encode(frames)
    noise = (after.z - mean) / torch.exp(0.5 * logvar)
    assert noise.abs().max() < 6 and noise.std() > 0.3  # sampled, not the mean
    assert torch.allclose(after.z, sample_latent(mean, logvar, noise), atol=1e-5)


@pytest.mark.parametrize("kind", ["z", "zh", "zhc"])
def test_an_observation_has_the_paper_s_parts_in_order(world, kind):
    state = world.start(torch.arange(2))
    state.h += 1
    state.c += 2
    expected = {"z": [state.z], "zh": [state.z, state.h], "zhc": [state.z, state.c, state.h]}
    assert torch.equal(world.observe(state, kind), torch.cat(expected[kind], 1))
    assert world.size(kind) == {"z": Z, "zh": Z + HIDDEN, "zhc": Z + 2 * HIDDEN}[kind]


def test_a_copy_steps_as_its_original_unless_told_otherwise(world):
    plain = world.to("cpu", form="torch")
    assert world.fused and not plain.fused and not plain.to("cpu", torch.bfloat16).fused
    assert plain.to("cpu", form="auto").fused
    with pytest.raises(ValueError, match="form is 'numba': choose one of auto, torch, compiled"):
        world.to("cpu", form="numba")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_dreams_the_same_to_the_bit(world, copied):
    assert torch.equal(rollout(copied(world), [1, 2, 3]), rollout(world, [1, 2, 3]))


@pytest.mark.parametrize("form", ["auto", "torch"])
def test_it_foretells_outcomes_as_often_as_they_come(world, form):
    model, n = world.to("cpu", form=form), 20_000
    state, action = model.start(torch.zeros(n, dtype=torch.int64)), torch.ones(n, 1)
    state.key = torch.arange(n)  # the same moment, but noise of its own for each
    odds = model.foretell(state, action)
    assert odds.shape == (n, 2) and (odds == odds[0]).all()
    hurt = model.step(state.clone(), action, ONE.expand(n, 1))[0].counts[:, 0] < state.counts[:, 0]
    hit = float(odds[0, model.memory.config.heads.index("hit")])
    assert abs(float(hurt.float().mean()) - hit) < 4 * np.sqrt(hit * (1 - hit) / n)
    with pytest.raises(ValueError, match="give"):
        model.foretell(state, action[:3])


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", ["auto", "torch", COMPILED])
def test_each_mode_dreams_the_same_outcome(world, precision, form):
    """20,000 dreams each: a tenth fewer or more hits would be found with a power above 0.99.

    About 0.4 are hit; a tenth is 0.03, which is six standard errors.
    """
    n, hit = 20_000, []
    other = world.to("cpu", precision, form)
    for seed, model in ((0, world.to("cpu", form="torch")), (n, other)):
        state = model.start(torch.arange(seed, seed + n))
        for _ in range(10):
            state, _, _ = model.step(state, torch.zeros(n, 1), torch.ones(n, 1))
        hit.append((state.counts[:, 0] < HEALTH).float().mean().item())
    assert 0.3 < hit[0] < 0.5
    assert abs(hit[0] - hit[1]) < 3 * np.sqrt(2 * hit[0] * (1 - hit[0]) / n)


@pytest.mark.parametrize(
    "form",
    ["auto", "torch", pytest.param("compiled", marks=[NEEDS_A_COMPILER, pytest.mark.slow])],
)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_paper_s_size_dreams_the_same_alone_and_in_a_batch(precision, form):
    """Blocks of a matrix product depend on its size, so the tiny world proves nothing here."""
    torch.manual_seed(0)
    starts = (torch.randn(8, 64), torch.zeros(8, 64), torch.full((8,), 100.0))
    world = World(DOOM, VAE(VisionConfig()), MDNRNN(MemoryConfig()), starts)
    world = world.to("cpu", precision, form)
    alone, some, many = (rollout(world, list(range(5, 5 + n)), steps=12) for n in (1, 17, 1024))
    assert torch.equal(alone[:, 0], many[:, 0])
    assert torch.equal(some, many[:, :17])


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_picture_is_the_same_alone_and_in_a_batch(world, precision):
    """And in bfloat16 within 4 of 255 levels of what it is in float32."""
    z = torch.randn(40, Z, generator=torch.Generator().manual_seed(0))
    some = world.to("cpu", precision)
    pictures, reference = some.decode(z), world.decode(z)
    assert torch.equal(some.decode(z[3:4])[0], pictures[3])
    difference = (pictures.int() - reference.int()).abs().max()
    assert difference <= (4 if precision is torch.bfloat16 else 0)


def test_a_world_has_v_and_m_of_its_own() -> None:
    torch.manual_seed(0)
    memory, other = MDNRNN(MemoryConfig(Z, 1, HIDDEN)), MDNRNN(MemoryConfig(Z, 1, HIDDEN))
    starts = (torch.zeros(8, Z), torch.zeros(8, Z), torch.full((8,), 100.0))
    world = World(DOOM, VAE(VisionConfig(z_size=Z)), memory, starts)
    before = rollout(world, [1, 2, 3])
    memory.load_state_dict(other.state_dict())
    assert torch.equal(rollout(world, [1, 2, 3]), before)
    assert memory.training and all(each.requires_grad for each in memory.parameters())


def test_a_picture_s_numbers_are_255_times_what_v_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    world = tiny_world().to("cpu", form="torch")
    drawn = torch.tensor([0.0, 0.4, 0.5019, 0.9961, 1.0])
    monkeypatch.setattr(
        world.vision, "decode", lambda z: drawn[:, None, None, None].expand(5, 3, 64, 64)
    )
    pictures = world.decode(torch.zeros(5, Z))
    assert pictures.dtype == torch.uint8 and pictures.shape == (5, 64, 64, 3)
    assert pictures[:, 7, 9, 1].tolist() == [0, 102, 128, 254, 255]


def test_dreams_begin_with_their_seeds_first_episode_unless_told_otherwise() -> None:
    world, seeds = tiny_world(), torch.arange(20)
    first, same, next_one = (
        world.start(seeds, episodes)
        for episodes in (None, torch.zeros_like(seeds), torch.ones_like(seeds))
    )
    assert torch.equal(first.z, same.z) and torch.equal(first.key, same.key)
    assert not (first.key == next_one.key).any()


@pytest.mark.parametrize("rows", [1, 3])
def test_what_has_another_shape_is_refused(rows: int) -> None:
    world = tiny_world()
    state, tau = world.start(torch.arange(rows)), torch.ones(rows, 1)
    for action in (torch.zeros(rows, 2), torch.zeros(rows + 1, 1), torch.zeros(rows)):
        with pytest.raises(ValueError, match="one for each dream"):
            world.step(state, action, tau)
        with pytest.raises(ValueError, match="one for each dream"):
            world.advance(state, action.numpy(), tau)
        with pytest.raises(ValueError, match="one for each dream"):
            world.follow(state, action, torch.zeros(rows, 64, 64, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="frames are"):
        world.encode(torch.zeros(rows, 32, 32, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="give latents"):
        world.decode(torch.zeros(rows, world.size("z") + 1))


def test_a_state_may_lie_in_memory_in_any_order() -> None:
    world = tiny_world()
    state, action, tau = world.start(torch.arange(5)), torch.zeros(5, 1), torch.ones(5, 1)
    state, _, _ = world.step(state, action, tau)
    wanted, _, _ = world.step(state, action, tau)
    turned = replace(state, h=state.h.T.contiguous().T, c=state.c.T.contiguous().T)
    assert not turned.h.is_contiguous()
    found, _, _ = world.step(turned, action, tau)
    assert torch.equal(found.z, wanted.z) and torch.equal(found.c, wanted.c)

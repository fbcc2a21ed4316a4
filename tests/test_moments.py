"""Dreams begin at moments inside real games: kept on the disk, and drawn by their seeds."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

import dreamgym  # noqa: F401
from dreamgym import noise
from dreamgym.checkpoint import CheckpointError, load_tensors, load_world, save_tensors, save_world
from dreamgym.games import Game
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.doom import GAME as DOOM
from dreamgym.world import State, World
from tests.conftest import tiny_world, with_moments

GAMES = pytest.mark.parametrize("game", [DOOM, CAR_RACING], ids=["doom", "car_racing"])
PARTS = [field.name for field in fields(State)]
INSIDE = {"start": "anywhere"}


def made(game: Game = CAR_RACING, many: int = 40) -> World:
    return with_moments(tiny_world(-4.0, game=game), many)


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of worlds with moments, by their games."""
    folders = {}
    for game in (DOOM, CAR_RACING):
        folders[game.name] = str(tmp_path_factory.mktemp(game.name))
        save_world(folders[game.name], made(game), torch.float32)
    return folders


def which(state: State, moments: State) -> list[int | None]:
    """Return the moment at which each dream is, all of it, or None."""
    same = (state.z[:, None] == moments.z).all(2)  # (N, R)
    found: list[int | None] = []
    for row, hits in enumerate(same):
        found.append(int(hits.nonzero()[0]) if hits.any() else None)
        if (at := found[-1]) is not None:
            for part in ("h", "c", "step", "counts"):
                assert torch.equal(getattr(state, part)[row], getattr(moments, part)[at])
    return found


@GAMES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_moments_come_back_from_the_disk(game: Game, dtype: torch.dtype, tmp_path: Path) -> None:
    world = made(game)
    save_world(tmp_path, world, dtype)
    again = load_world(tmp_path)
    assert world.moments is not None and again.moments is not None
    for part in ("z", "h", "c", "step", "counts"):
        kept, read = getattr(world.moments, part), getattr(again.moments, part)
        whole = part == "step"
        assert torch.equal(read, kept if whole else kept.to(dtype).float())
        assert read.dtype is (torch.int64 if whole else torch.float32)
    seeds = torch.arange(50)
    if dtype is torch.float32:
        for part in PARTS:
            one, other = (getattr(each.start(seeds, anywhere=1.0), part) for each in (world, again))
            assert torch.equal(one, other)


def test_a_world_without_moments_has_none_on_the_disk_either(tmp_path: Path) -> None:
    save_world(tmp_path, tiny_world())
    assert set(load_tensors(tmp_path / "starts.safetensors")) == {"mean", "logvar", "budget"}
    assert load_world(tmp_path).moments is None


@GAMES
@pytest.mark.parametrize(
    "copied",
    [
        lambda world: world.to("cpu"),
        lambda world: world.to("cpu", torch.bfloat16, "torch"),
        lambda world: pickle.loads(pickle.dumps(world)),
        copy.deepcopy,
    ],
    ids=["moved", "in bfloat16", "pickled", "copied"],
)
def test_a_copy_of_a_world_keeps_its_moments(game: Game, copied: Callable[[World], World]) -> None:
    world = made(game)
    other = copied(world)
    assert world.moments is not None and other.moments is not None
    for part in PARTS:
        assert torch.equal(getattr(other.moments, part), getattr(world.moments, part))


@pytest.mark.parametrize("game", [DOOM, CAR_RACING], ids=["doom", "car_racing"])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("z", None), ("h", None), ("c", None), ("step", None), ("counts", None),
        ("z", lambda part: part[:, :-2]), ("z", lambda part: part[:-1]),
        ("z", lambda part: part[0]), ("z", lambda part: part[0, 0]),
        ("h", lambda part: part[:, :-1]), ("h", lambda part: part.long()),
        ("c", lambda part: part[:-1]), ("c", lambda part: part.T),
        ("step", lambda part: part[:-1]), ("step", lambda part: part.float()),
        ("step", lambda part: part[:, None]), ("step", lambda part: part.int()),
        ("counts", lambda part: part[:, :0]), ("counts", lambda part: part[:, 0]),
        ("counts", lambda part: torch.cat((part, part), 1)), ("counts", lambda part: part.long()),
    ],
)  # fmt: skip
def test_moments_that_are_damaged_are_named(
    game: Game, name: str, change: Callable[[Tensor], Tensor] | None, tmp_path: Path
) -> None:
    save_world(tmp_path, made(game))
    path = tmp_path / "starts.safetensors"
    tensors = load_tensors(path)
    part = tensors.pop(f"moment.{name}")
    save_tensors(path, tensors | ({f"moment.{name}": change(part)} if change else {}))
    with pytest.raises(CheckpointError, match=r"starts.safetensors: 'moment\.\w+' must be \('R'"):
        load_world(tmp_path)


def test_a_world_with_no_moment_among_its_moments_is_named(tmp_path: Path) -> None:
    save_world(tmp_path, made())
    path = tmp_path / "starts.safetensors"
    kept = load_tensors(path)
    save_tensors(path, {k: v[:0] if k.startswith("moment.") else v for k, v in kept.items()})
    with pytest.raises(CheckpointError, match=r"'moment\.z' must be .* with one R ≥ 1"):
        load_world(tmp_path)


def test_a_moment_that_is_no_number_is_named(tmp_path: Path) -> None:
    save_world(tmp_path, made())
    path = tmp_path / "starts.safetensors"
    kept = load_tensors(path)
    kept["moment.h"][3, 5] = torch.nan
    save_tensors(path, kept)
    with pytest.raises(CheckpointError, match=r"tensor 'moment\.h' holds NaN"):
        load_world(tmp_path)


@GAMES
def test_a_dream_anywhere_begins_at_a_moment_with_a_key_of_its_own(game: Game) -> None:
    world, seeds, episodes = made(game), torch.arange(4000), torch.arange(4000) % 3
    state = world.start(seeds, episodes, anywhere=1.0)
    found = which(state, world.moments)
    assert torch.equal(state.key, noise.key(seeds, episodes))
    shares = np.bincount(found, minlength=40) / 4000  # type: ignore[arg-type]
    assert shares == pytest.approx(1 / 40, abs=4.5 * (1 / 40 / 4000) ** 0.5)
    assert (state.step > 0).all() and state.counts.shape[1] == (1 if game is DOOM else 3)
    other = world.start(seeds, episodes + 1, anywhere=1.0)
    assert np.mean(np.equal(found, which(other, world.moments))) < 0.05  # of another episode


@GAMES
def test_half_of_the_dreams_begin_inside_and_the_rest_as_ever(game: Game) -> None:
    world, seeds = made(game), torch.arange(2000)
    plain, half, all_ = (world.start(seeds, anywhere=chance) for chance in (0.0, 0.5, 1.0))
    within = torch.tensor([at is not None for at in which(half, world.moments)])
    assert float(within.float().mean()) == pytest.approx(0.5, abs=4 * 0.5 / 2000**0.5)
    for part in PARTS:
        assert torch.equal(getattr(half, part)[within], getattr(all_, part)[within])
        assert torch.equal(getattr(half, part)[~within], getattr(plain, part)[~within])
    assert not half.step[~within].any() and not half.h[~within].any()
    fewer = world.start(seeds, anywhere=0.2).step > 0
    assert float(fewer.float().mean()) == pytest.approx(0.2, abs=4 * 0.4 / 2000**0.5)
    assert (within | ~fewer).all()
    drawn = [np.bincount([at for at in which(each, world.moments) if at is not None], minlength=40)
             for each in (half, all_)]  # fmt: skip
    assert (drawn[0] > 8).all() and (drawn[0] < drawn[1]).all()  # whichever moment it is
    tau = [world.draw_temperature(each, 0.5, 1.5) for each in (plain, half, all_)]
    assert torch.equal(tau[0], tau[1]) and torch.equal(tau[0], tau[2])
    assert abs(float(np.corrcoef(within.float(), tau[0][:, 0])[0, 1])) < 4 / 2000**0.5


def test_the_moments_themselves_are_never_dreamt_over() -> None:
    world = made()
    assert world.moments is not None
    kept = world.moments.clone()
    state = world.start(torch.arange(100), anywhere=1.0)
    for _ in range(3):
        state, _, _ = world.advance(state, np.ones((100, 3), np.float32), torch.ones(100, 1))
    for part in PARTS:
        assert torch.equal(getattr(world.moments, part), getattr(kept, part))


def test_a_dream_goes_on_from_its_moment_as_the_world_says() -> None:
    """One step by PyTorch and by compiled code: the step, the counts and the charge go on."""
    world = with_moments(tiny_world((-50.0, -50.0, -50.0, 50.0, -50.0), game=CAR_RACING))
    for each in (world, world.to("cpu", form="torch")):
        state = each.start(torch.arange(60), anywhere=1.0)
        after, reward, dead = each.step(state.clone(), torch.zeros(60, 3), torch.ones(60, 1))
        assert torch.equal(after.step, state.step + 1)
        assert torch.equal(after.counts, state.counts + torch.tensor([0.0, 1.0, 0.0]))
        assert not dead.any() and torch.allclose(reward, torch.full((60,), -0.1))
        state.counts[:, 1] = state.counts[:, 0] - 1  # one tile is ahead, and will be missed
        _, reward, dead = each.step(state.clone(), torch.zeros(60, 3), torch.ones(60, 1))
        assert dead.all()
        torch.testing.assert_close(reward, -0.1 - 0.1 * (999 - state.step).float())


def env_of(inside: dict[str, str], game: Game, **arguments: Any) -> gym.Env:
    return gym.make(game.dream_id, world=inside[game.name], **arguments)


def envs_of(
    inside: dict[str, str], game: Game, many: int, **arguments: Any
) -> gym.vector.VectorEnv:
    return gym.make_vec(game.dream_id, num_envs=many, world=inside[game.name], **arguments)


@GAMES
def test_a_lane_that_begins_anywhere_is_the_dream_alone_bit_for_bit(
    game: Game, inside: dict[str, str]
) -> None:
    envs = envs_of(inside, game, 5, temperature=(0.9, 1.3))
    lanes = [env_of(inside, game, temperature=(0.9, 1.3)).unwrapped for _ in range(5)]
    names = game.rules.counts
    observations, infos = envs.reset(seed=21, options=INSIDE)
    begun = set()
    for lane, env in enumerate(lanes):
        observation, info = env.reset(seed=21 + lane, options=INSIDE)
        assert np.array_equal(observation, observations[lane])
        assert info == {name: infos[name][lane] for name in (*names, "temperature")}
        begun.add(int(env._state.step[0]))  # type: ignore[attr-defined]
    assert len(begun) > 1 and min(begun) > 0
    envs.action_space.seed(0)
    for _ in range(30):
        actions = envs.action_space.sample()
        observations, rewards, terminated, _, infos = envs.step(actions)
        for lane, env in enumerate(lanes):
            observation, reward, dead, _, info = env.step(actions[lane])
            assert (np.float32(reward), dead) == (np.float32(rewards[lane]), terminated[lane])
            if dead:  # the next episode of both begins at a first frame again
                observation, info = env.reset()
                assert not env._state.h.any()  # type: ignore[attr-defined]
            assert np.array_equal(observation, observations[lane])
            assert all(info[name] == infos[name][lane] for name in names)


@GAMES
def test_the_counts_in_info_are_the_moment_s(game: Game, inside: dict[str, str]) -> None:
    env = env_of(inside, game)
    moments = env.unwrapped.world.moments  # type: ignore[attr-defined]
    told = set()
    for seed in range(30):
        _, info = env.reset(seed=seed, options=INSIDE)
        (at,) = which(env.unwrapped._state, moments)  # type: ignore[attr-defined]
        assert [info[name] for name in game.rules.counts] == [
            float(count) for count in moments.counts[at][: len(game.rules.counts)]
        ]
        told.add(info[game.rules.counts[0]])
    assert len(told) > 10
    _, info = env.reset(seed=0)
    assert info[game.rules.counts[0]] == 100
    assert np.array_equal(env.reset(seed=0)[0], env.reset(seed=0, options={"start": "first"})[0])


def test_only_the_lanes_that_are_asked_begin_anywhere(inside: dict[str, str]) -> None:
    envs: Any = envs_of(inside, CAR_RACING, 6)
    envs.reset(seed=3)
    mask = np.array([True, False, True, False, False, True])
    envs.reset(options=INSIDE | {"reset_mask": mask})
    assert ((envs.unwrapped._state.step > 0).numpy() == mask).all()
    envs.reset(options={"reset_mask": mask})
    assert not (envs.unwrapped._state.step > 0).any()


@GAMES
def test_a_dream_begun_anywhere_repeats_and_goes_on_from_a_snapshot(
    game: Game, inside: dict[str, str]
) -> None:
    def dream(env: Any) -> list[Any]:
        told: list[Any] = []
        env.action_space.seed(0)
        while len(told) < 25 and not (told and told[-1][2]):
            came = env.step(env.action_space.sample())
            told.append([came[0].tolist(), *came[1:3]])
        return told

    one, other, fresh = (env_of(inside, game).unwrapped for _ in range(3))
    first = one.reset(seed=9, options=INSIDE)[0]
    kept = one.snapshot()  # type: ignore[attr-defined]
    begun = dream(one)
    assert len(begun) > 3
    other.reset(seed=4, options=INSIDE)
    assert np.array_equal(other.reset(seed=9, options=INSIDE)[0], first)
    branch = copy.deepcopy(other)
    assert dream(other) == dream(branch) == begun
    one.restore(kept)  # type: ignore[attr-defined]
    fresh.restore(pickle.loads(pickle.dumps(kept)))  # type: ignore[attr-defined]
    assert dream(one) == dream(fresh) == begun


@pytest.mark.parametrize("batch", [False, True])
def test_a_start_that_is_none_is_named_and_nothing_is_lost(
    batch: bool, inside: dict[str, str]
) -> None:
    env: Any = envs_of(inside, DOOM, 3) if batch else env_of(inside, DOOM)
    env.reset(seed=0, options=INSIDE)
    before = env.unwrapped._state.clone()
    for wrong in ("middle", "", None, 1, True, 0.5, ["anywhere"], {}):
        with pytest.raises(ValueError, match=r"start is .*: choose one of 'first', 'anywhere'"):
            env.reset(seed=5, options={"start": wrong})
    for part in PARTS:
        assert torch.equal(getattr(env.unwrapped._state, part), getattr(before, part))
    with pytest.warns(UserWarning, match="option 'strat': did you mean 'start'"):
        env.reset(seed=0, options={"strat": "anywhere"})


@pytest.mark.parametrize("batch", [False, True])
def test_a_world_that_knows_no_moments_says_so(batch: bool, folder: Path) -> None:
    arguments: dict[str, Any] = {"world": str(folder)}
    env: Any = (
        gym.make_vec("DreamDoom-v0", num_envs=2, **arguments)
        if batch
        else gym.make("DreamDoom-v0", **arguments)
    )
    env.reset(seed=0, options={"start": "first"})
    before = env.unwrapped._state.clone()
    with pytest.raises(ValueError, match="this world knows no moments inside games"):
        env.reset(seed=1, options=INSIDE)
    assert torch.equal(env.unwrapped._state.z, before.z)
    with pytest.raises(ValueError, match="this world knows no moments inside games"):
        tiny_world().start(torch.arange(3), anywhere=0.1)


@GAMES
def test_half_of_all_episodes_may_begin_anywhere(game: Game, inside: dict[str, str]) -> None:
    """Also those that begin by themselves; the option of one `reset` goes before."""
    envs = envs_of(inside, game, 200, anywhere=0.5, max_episode_steps=3)
    state = lambda: envs.unwrapped._state  # type: ignore[attr-defined] # noqa: E731
    envs.reset(seed=0)
    for _ in range(3):
        within = state().step > 0
        assert 60 < within.sum() < 140  # ± 5.7 standard deviations
        for _ in range(3):
            envs.step(envs.action_space.sample())
    envs.reset(seed=0, options={"start": "first"})
    assert not state().step.any()
    envs.reset(seed=0, options=INSIDE)
    assert (state().step > 0).all()
    one = env_of(inside, game, anywhere=0.5)
    envs.reset(seed=0)
    for seed in range(10):
        one.reset(seed=seed)
        assert torch.equal(one.unwrapped._state.z[0], state().z[seed])  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrong", [-0.1, 1.5, "often", None, float("nan")])
def test_a_chance_to_begin_anywhere_that_is_none_is_named(
    wrong: Any, inside: dict[str, str], folder: Path
) -> None:
    with pytest.raises(ValueError, match=r"anywhere is .*: give a probability, from 0 to 1"):
        env_of(inside, DOOM, anywhere=wrong)
    with pytest.raises(ValueError, match="this world knows no moments inside games"):
        gym.make("DreamDoom-v0", world=str(folder), anywhere=0.5)


@GAMES
def test_a_dream_begun_late_takes_as_many_steps_as_its_lane(game: Game, tmp_path: Path) -> None:
    save_world(tmp_path, with_moments(tiny_world(-50.0, game=game), 1))  # at step 10; nobody dies
    form = {"world": str(tmp_path), "max_episode_steps": 50}
    lengths = []
    for env in (gym.make(game.dream_id, **form), gym.make_vec(game.dream_id, num_envs=1, **form)):
        env.reset(seed=0, options=INSIDE)
        steps, over = 0, False
        while not over:
            over = bool(np.all(env.step(env.action_space.sample())[3]))
            steps += 1
        lengths.append(steps)
    assert lengths == [50, 50]

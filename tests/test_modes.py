"""What a process's user has set changes no dream, and no dream changes what he has set."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import dreamgym  # noqa: F401
from dreamgym import modes
from dreamgym.checkpoint import load_world
from dreamgym.engines import threads as pools


@contextlib.contextmanager
def default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def flushing() -> Iterator[None]:
    torch.set_flush_denormal(True)
    try:
        yield
        assert 5e-310 * float("0.5") == 0  # it still is what its user said
    finally:
        torch.set_flush_denormal(False)


SETTINGS: dict[str, Callable[[], Any]] = {
    "float64": default_dtype,
    "another device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "gradients": torch.enable_grad,
    "deterministic": deterministic,
    "flush denormals": flushing,
    "NumPy's errors": lambda: np.errstate(all="raise"),
}
IDS = ("DreamDoom-v0", "LatentDoom-v0", "DreamCarRacing-v0", "LatentCarRacing-v0")


def shown(env: gym.Env[Any, Any], setting: Callable[[], Any]) -> Iterator[np.ndarray]:
    """Yield what three steps show, every other one of them taken under a setting."""
    action = env.action_space.sample() * 0
    with setting():
        yield env.reset(seed=5)[0]
    for step in range(3):
        with setting() if step % 2 else contextlib.nullcontext():
            yield env.step(action)[0]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("id", IDS)
def test_an_episode_is_the_same_under_each_setting(id, setting, folder, car_folder) -> None:
    world = folder if "Doom" in id else car_folder
    env = gym.make(id, world=str(world), disable_env_checker=True)
    usual = list(shown(env, contextlib.nullcontext))
    for one, other in zip(usual, shown(env, SETTINGS[setting]), strict=True):
        assert np.array_equal(one, other)
    env.close()


@pytest.mark.parametrize("form", ["auto", "torch"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_world_that_is_loaded_under_a_setting_is_the_usual_one(
    form: str, setting: str, folder: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(folder, tmp_path / "world")
    usual = gym.make_vec("DreamDoom-v0", 5, world=str(folder), form=form)
    with SETTINGS[setting]():
        envs = gym.make_vec("DreamDoom-v0", 5, world=str(own), form=form)
        assert np.array_equal(envs.reset(seed=3)[0], usual.reset(seed=3)[0])
    for step in range(80):  # many end, and their rows are written over
        with SETTINGS[setting]() if step % 2 else contextlib.nullcontext():
            one, other = envs.step(np.ones(5, int)), usual.step(np.ones(5, int))
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


def test_nothing_that_is_dreamt_carries_a_gradient(folder: Path) -> None:
    world = load_world(folder).to("cpu", form="torch")
    action = torch.zeros(3, 1, requires_grad=True)
    tau = torch.ones(3, 1, requires_grad=True)
    state, reward, dead = world.step(world.start(torch.arange(3)), action, tau)
    seen = world.observe(state, "zhc")
    assert not any(each.requires_grad for each in (state.z, state.h, state.c, reward, dead, seen))


def test_weights_that_change_are_converted_again_in_a_caller_s_autocast() -> None:
    """`ours` turns autocast off by one of its own, which is open as long as V and M learn."""
    x, weight, sums = torch.ones(2, 4), torch.nn.Parameter(torch.ones(4, 3)), []
    with modes.ours():
        for _ in range(3):
            with modes.bfloat16("cpu", enabled=True):
                product = x @ weight
            assert product.dtype is torch.bfloat16
            sums.append(product.sum().item())
            with torch.no_grad():
                weight += 1
    assert sums == [24, 48, 72]


def test_only_modes_enters_autocast() -> None:
    """Whoever enters it elsewhere can meet weights that PyTorch converted long ago."""
    root = Path(__file__).parent.parent
    sources = [path for room in ("dreamgym", "training") for path in (root / room).rglob("*.py")]
    users = {path.name for path in sources if "torch.autocast(" in path.read_text()}
    assert users == {"modes.py"}


def ambient() -> dict[str, Any]:
    """What a process has set, as far as we touch anything of the kind."""
    umask = os.umask(0)
    os.umask(umask)
    return {
        "torch's random numbers": torch.get_rng_state().tolist(),
        "NumPy's": str(np.random.get_state()),
        "Python's": random.getstate(),
        "type": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "threads": torch.get_num_threads(),
        "denormals": 5e-310 * float("0.5"),
        "NumPy's errors": np.geterr(),
        "folder": os.getcwd(),
        "mask": umask,
        "variables": dict(os.environ),
    }


@pytest.mark.parametrize("id", IDS)
def test_what_its_user_has_set_is_left_alone(id, folder, car_folder, tmp_path) -> None:
    own = shutil.copytree(folder if "Doom" in id else car_folder, tmp_path / "world")
    before = ambient()
    env = gym.make(id, world=str(own))
    env.action_space.seed(0)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()
    after = ambient()
    for name, value in before.items():
        if name != "variables":
            assert after[name] == value, name
    changed = {k for k in after["variables"] if after["variables"][k] != os.environ.get(k)}
    assert changed - {"PYTEST_CURRENT_TEST"} == set()


def test_helpers_change_nobody_s_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the caller's, nor that of threads that begin later."""
    before = torch.get_num_threads()
    monkeypatch.setattr(pools, "_free", deque())
    monkeypatch.setattr(pools, "_made", 0)
    numbers: list[int] = []

    def later() -> None:
        numbers.append(torch.get_num_threads())

    def caller() -> None:
        torch.set_num_threads(3)
        other = threading.Thread(target=torch.set_num_threads, args=(2,))
        other.start()
        other.join()  # the last word, with which new threads begin, is 2
        numbers.append(torch.get_num_threads())
        assert len(pools._helpers(3)) == 3
        numbers.append(torch.get_num_threads())
        new = threading.Thread(target=later)
        new.start()
        new.join()

    thread = threading.Thread(target=caller)
    thread.start()
    thread.join()
    torch.set_num_threads(before)
    assert numbers[0] == numbers[1] and numbers[2] == 2


def test_the_user_s_folder_may_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    env = gym.make("PixelDoom-v0", resolution="160x120")
    env.reset(seed=0)
    env.close()
    monkeypatch.chdir(tmp_path)

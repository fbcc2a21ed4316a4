"""Steps per second, dream and reality, ours and stock, in one run on the same cores."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from dreamgym.checkpoint import load_world, world_folder
from dreamgym.models.controller import Controller
from dreamgym.models.memory import MDNRNN
from dreamgym.models.vision import VAE
from dreamgym.sb3 import VecLatentObservation
from dreamgym.tasks import Task
from dreamgym.world import State, World

from . import controller, learner, workers
from .evaluate import choice, controller_config, origin

STOCK = {"car_racing": ("CarRacing-v3",)}
"""The same game as others ship it, to be compared with."""
SECONDS = 3.0
"""How long each row is measured."""
SIZES = (1, 16, 64, 256, 1024, 4096)
TRAINING = (16, 64)
"""Episodes and steps of M's batch, smaller than in training so that a step is soon over."""


def bench(world: str, sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """Measure the real game, the dream, and whatever learns, row by row.

    A row has `what`, `rate` a second, perhaps its `ratio` to the real game or to the stock form of
    the same, for dreams `share`, of the rate at which this machine does M's matrix products alone,
    and for a learner `waiting`, the share of its time that the environments take.
    """
    folder = world_folder(world)
    model, cores = load_world(folder), torch.get_num_threads()
    task, rows = model.task, []

    def add(what: str, rate: float, against: float = 0.0, **more: float) -> float:
        ratio = {"ratio": rate / against} if against else {}
        rows.append({"what": what, "rate": rate} | ratio | more)
        return rate

    def games(name: str) -> float:
        rates = workers.run(real_rate, [(name, seed) for seed in range(cores)], cores)
        return sum(rate for _, rate in rates)

    reality = games(task.pixel_id)
    for name in STOCK.get(task.name, ()):
        add(f"{name}, {cores} processes", games(name), reality)
    add(f"{task.pixel_id}, {cores} processes", reality, reality)
    for precision in (torch.float32, torch.bfloat16):
        word = str(precision).removeprefix("torch.")
        dreaming = model.to("cpu", precision)
        for size in sizes:
            bound = rate_of(products(dreaming, size), size)
            alone = rate_of(dream(dreaming, size), size)
            add(f"dream × {size:,}, {word}", alone, reality, share=alone / bound)
        size = min(1024, sizes[-1])
        driven = rate_of(dream(dreaming, size, driven=True), size)
        add(f"dream × {size:,}, each with a C of its own, {word}", driven, reality)
    plain = rate_of(dream(model.to("cpu", torch.bfloat16, form="torch"), size), size)
    add(f"dream × {size:,}, PyTorch alone, bfloat16", plain, reality)
    for size in sizes:
        seen = rate_of(dream(dreaming, size, decoded=True), size, seconds=SECONDS / 2)
        add(f"dream × {size:,}, decoded to frames, bfloat16", seen, reality)
    _learning(model, add)
    _agents(folder, task, cores, add)
    return {**origin(), "rows": rows}


def _learning(model: World, add: Callable[..., float]) -> None:
    """Add the rows of V's and M's training, each against PyTorch's own layers in float32."""
    frames = torch.randint(0, 256, (128, 64, 64, 3), dtype=torch.uint8)
    config, mixed = model.vision.config, torch.bfloat16
    stock = add("V training, stock layers, float32", rate_of(fit(StockVAE(config), frames), 128))
    add("V training, ours, bfloat16", rate_of(fit(fast(VAE(config)), frames, mixed), 128), stock)
    stock = add("V encoding, stock layers, float32", rate_of(see(StockVAE(config), frames), 128))
    add("V encoding, ours, bfloat16", rate_of(see(fast(VAE(config)), frames, mixed), 128), stock)
    m = model.memory.config
    stock = add("M training, float32", rate_of(remember(MDNRNN(m)), math.prod(TRAINING)))
    add("M training, bfloat16", rate_of(remember(MDNRNN(m), mixed), math.prod(TRAINING)), stock)


def _agents(folder: Path, task: Task, cores: int, add: Callable[..., float]) -> None:
    """Add the rows of CMA-ES and of Stable-Baselines3's PPO, in the dream and in the real game."""
    steps, generations = 100, 3
    args = controller.Args(str(folder), generations, steps=steps, validate=0)
    with TemporaryDirectory() as out:
        began = time.perf_counter()
        controller.evolve(args, out, progress=False)
        rate = generations / (time.perf_counter() - began)
    add(f"CMA-ES, generations of 1,024 dreams of {steps} steps", rate)
    hyper = learner.hyperparameters(learner.Args(str(folder)), task)
    dreams = learner.dreams(learner.Args(str(folder)), task, hyper)
    real: VecEnv = workers_of(task.pixel_id, cores)
    twins = VecLatentObservation(real, str(folder))
    for what, envs, rollouts in (("the dream", dreams, 3), ("the real twin", twins, 1)):
        timed = _Timed(envs)
        kwargs = dict(hyper["kwargs"])
        if what == "the real twin":
            kwargs["batch_size"] = kwargs["n_steps"]
        made = PPO(hyper["policy"], timed, device="cpu", **kwargs)
        made.learn(1)  # to warm up
        timed.spent, began = 0.0, time.perf_counter()
        made.learn(rollouts * made.n_steps * envs.num_envs)
        wall = time.perf_counter() - began
        rate = rollouts * made.n_steps * envs.num_envs / wall
        add(f"PPO, steps in {what} × {envs.num_envs}", rate, waiting=timed.spent / wall)
        envs.close()


def rate_of(work: Callable[[], object], size: float, seconds: float | None = None) -> float:
    """Return how many of `size` a second some work does."""
    seconds, done, began = seconds or SECONDS, 0, 0.0
    while done < 3 or time.perf_counter() - began < seconds:
        if done == 2:  # two to warm up
            began = time.perf_counter()
        work()
        done += 1
    return float((done - 2) * size / (time.perf_counter() - began))


def products(world: World, size: int) -> Callable[[], object]:
    """Return M's two matrix products, of a step of so many dreams, and nothing else."""
    m = world.memory
    weight = torch.cat((m.weight_ih, m.weight_hh), dim=1)
    seen = torch.randn(size, weight.shape[1]).to(weight.dtype)
    h = torch.randn(size, m.config.hidden).to(weight.dtype)
    return lambda: (F.linear(seen, weight, m.bias), m.head(h))


def dream(
    world: World, size: int, driven: bool = False, decoded: bool = False
) -> Callable[[], object]:
    """Return a step of so many dreams, none of which ends."""
    state = world.start(torch.arange(size))
    config = controller_config(world)
    c = Controller(config, 0.01 * torch.randn(size, config.parameters))
    still, temperature = torch.zeros(size, config.actions), torch.ones(size, 1)
    now: list[State] = [state]

    def step() -> None:
        told = choice(c, world, now[0]) if driven else still
        now[0], _, _ = world.step(now[0], told, temperature)
        if decoded:
            world.decode(now[0].z)

    return step


def fast(v: VAE) -> VAE:
    """V as `training.vision` trains it."""
    return v.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def fit(v: VAE, frames: torch.Tensor, mixed: torch.dtype | None = None) -> Callable[[], object]:
    """Return a training step of V."""
    adam = torch.optim.Adam(v.parameters(), fused=mixed is not None)

    def step() -> None:
        with torch.autocast("cpu", mixed, enabled=mixed is not None):
            loss, _ = v.loss(frames)
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def see(v: VAE, frames: torch.Tensor, mixed: torch.dtype | None = None) -> Callable[[], object]:
    """Return V's encoding of some frames."""

    @torch.no_grad()
    def step() -> None:
        with torch.autocast("cpu", mixed, enabled=mixed is not None):
            v.encode(frames)

    return step


def remember(m: MDNRNN, mixed: torch.dtype | None = None) -> Callable[[], object]:
    """Return a training step of M, as `training.memory` takes it."""
    adam = torch.optim.Adam(m.parameters(), fused=True)
    z = torch.randn(TRAINING[0], TRAINING[1] + 1, m.config.z_size)
    told = torch.zeros(*TRAINING, m.config.action_size)
    outcomes, known = torch.zeros(*TRAINING, len(m.config.heads)), torch.ones(*TRAINING, 2)

    def step() -> None:
        with torch.autocast("cpu", mixed, enabled=mixed is not None):
            h, _ = m.unroll(z[:, :-1], told)
            prediction = m.predict(h)
        loss, _ = m.loss(prediction, z[:, 1:], outcomes, known)
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def workers_of(name: str, processes: int) -> VecEnv:
    """Return real games in processes of their own, as users of Stable-Baselines3 make them."""
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import SubprocVecEnv

    return make_vec_env(f"dreamgym:{name}", processes, vec_env_cls=SubprocVecEnv)


class _Timed(VecEnvWrapper):
    """Adds up the seconds that a learner waits for its environments."""

    spent = 0.0

    def reset(self) -> Any:
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        began = time.perf_counter()
        self.venv.step_async(actions)
        self.spent += time.perf_counter() - began

    def step_wait(self) -> VecEnvStepReturn:
        began = time.perf_counter()
        came = self.venv.step_wait()
        self.spent += time.perf_counter() - began
        return came


class StockVAE(VAE):
    """V with PyTorch's own transposed convolutions, to be compared with."""

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        x = self.decoder[0](self.dense(z)[:, :, None, None])
        for layer in self.decoder[1:]:
            x = layer(F.relu(x))
        return torch.sigmoid(x.float())


def real_rate(job: tuple[str, int]) -> float:
    """Steps a second of one real game under random play, frames included."""
    import gymnasium as gym

    import dreamgym  # noqa: F401  registers the environments

    name, seed = job
    env: Any = gym.make(name, continuous=False, disable_env_checker=True).unwrapped
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        _, _, terminated, truncated, _ = env.step(int(rng.integers(env.action_space.n)))
        steps += 1
        if terminated or truncated:
            env.reset()
    return steps / (time.perf_counter() - began)

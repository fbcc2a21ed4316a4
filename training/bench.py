"""Steps per second, dream and reality, ours and stock, in one run on the same cores."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from dreamgym.checkpoint import load_world, world_folder
from dreamgym.models.controller import Controller
from dreamgym.models.vision import VAE, VisionConfig

from . import workers
from .evaluate import choice, controller_config, origin

STOCK = {"car_racing": ("CarRacing-v3",)}
"""The same game as others ship it, to be compared with."""
SECONDS = 5.0
"""How long each row is measured."""


def bench(world: str, sizes: tuple[int, ...] = (1, 16, 256, 1024)) -> dict[str, Any]:
    """Measure the real game, the dream with C in the loop, and V's training, row by row."""
    folder = world_folder(world)
    task, cores = load_world(folder).task, torch.get_num_threads()
    rows: list[dict[str, Any]] = []
    for name in (*STOCK.get(task.name, ()), task.pixel_id):
        rates = workers.run(real_rate, [(name, i) for i in range(cores)], cores)
        rows.append({"what": f"{name}, {cores} processes", "rate": sum(rate for _, rate in rates)})
    for precision in (torch.float32, torch.bfloat16):
        model = load_world(folder).to("cpu", precision)
        for size in sizes:
            label = f"dream × {size:,}, C in the loop, {str(precision).removeprefix('torch.')}"
            rows.append({"what": label, "rate": dream_rate(model, size)})
    reality = next(row["rate"] for row in rows if row["what"].startswith(task.pixel_id))
    for row in rows:
        row["ratio"] = row["rate"] / reality
    plain, ours = vision_rate(StockVAE(VisionConfig()), False), vision_rate(fast_vision(), True)
    rows.append({"what": "V training, stock layers, float32", "rate": plain, "ratio": 1.0})
    rows.append({"what": "V training, ours, bfloat16", "rate": ours, "ratio": ours / plain})
    return {**origin(), "rows": rows}


class StockVAE(VAE):
    """V with PyTorch's own transposed convolutions, to be compared with."""

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        x = self.decoder[0](self.dense(z)[:, :, None, None])
        for layer in self.decoder[1:]:
            x = layer(F.relu(x))
        return torch.sigmoid(x.float())


def fast_vision() -> VAE:
    """V as `training.vision` trains it."""
    return VAE(VisionConfig()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def vision_rate(v: VAE, half: bool, batch: int = 128) -> float:
    """Frames a second of V's training step on random pictures."""
    adam = torch.optim.Adam(v.parameters(), fused=half)
    frames = torch.randint(0, 256, (batch, 64, 64, 3), dtype=torch.uint8)
    steps, began = 0, 0.0
    while steps < 3 or time.perf_counter() - began < SECONDS:
        if steps == 2:  # two to warm up
            began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss, _ = v.loss(frames)
        adam.zero_grad()
        loss.backward()
        adam.step()
        steps += 1
    return (steps - 2) * batch / (time.perf_counter() - began)


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


def dream_rate(world: Any, size: int) -> float:
    """Steps a second of a batch of dreams with a controller, none of which ends."""
    config = controller_config(world)
    state = world.start(torch.arange(size))
    controller = Controller(config, 0.01 * torch.randn(size, config.parameters))
    temperature = world.draw_temperature(state, 1.0, 1.0)
    steps, began = 0, 0.0
    while steps < 3 or time.perf_counter() - began < SECONDS:
        if steps == 2:  # two to warm up
            began = time.perf_counter()
        state, _, _ = world.step(state, choice(controller, world, state), temperature)
        steps += 1
    return (steps - 2) * size / (time.perf_counter() - began)

"""Stage 2: V learns to rebuild frames drawn from all episodes."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from dreamgym.checkpoint import load_module, load_tensors, read_json, save_tensors, write_json
from dreamgym.models.vision import VAE, VisionConfig

from .data import Frames, episode_paths


@dataclass(frozen=True)
class Args:
    """How V is trained."""

    frames: int = 3_000_000
    """Frames seen in all; the paper saw 3 to 30 million."""
    batch: int = 128
    learning_rate: float = 1e-3
    """Peak of Adam's rate, falling as a cosine: ours, a tenth of the paper's steps need it."""
    reconstruction: float = 10.0
    """Weight of the squared error: ours, so that a fireball two pixels wide is worth its nats."""
    z_size: int = 64
    seed: int = 0


SAVE_EVERY = 300.0
"""Seconds between checkpoints."""
WARMUP = 200
"""Steps over which the learning rate rises from zero."""


def train(data: str | Path, out: str | Path, args: Args, progress: bool = True) -> VAE:
    """Train V on every episode in `data`, writing and resuming checkpoints in `out`."""
    out = Path(out)
    frames = Frames(episode_paths(Path(data)))
    torch.set_flush_denormal(True)  # Adam's squares of tiny gradients cost a quarter of the speed
    torch.manual_seed(args.seed)
    v = VAE(VisionConfig(z_size=args.z_size, reconstruction=args.reconstruction))
    v = v.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    adam = torch.optim.Adam(v.parameters(), args.learning_rate, fused=True)
    step, steps = resume(out, v, adam, args), args.frames // args.batch
    log, saved = SummaryWriter(str(out / "log")), time.monotonic()
    bar = tqdm(total=steps, initial=step, unit_scale=args.batch, unit=" frames", desc="V",
               disable=not progress)  # fmt: skip
    with bar, log, ThreadPoolExecutor(1) as reader:
        coming = reader.submit(frames.read, drawn(args, step, len(frames)))
        while step < steps:
            for group in adam.param_groups:
                group["lr"] = args.learning_rate * schedule(step, steps)
            batch = torch.from_numpy(coming.result())
            coming = reader.submit(frames.read, drawn(args, step + 1, len(frames)))
            torch.manual_seed(args.seed + 1_000_003 * step)  # resumed or not, the same noise
            with torch.autocast("cpu", torch.bfloat16):
                loss, parts = v.loss(batch)
            if not torch.isfinite(loss):
                raise FloatingPointError(f"V's loss is {loss.item()} at step {step}: resume, or lower the learning rate")
            adam.zero_grad()
            loss.backward()
            adam.step()
            step += 1
            bar.update()
            if step % 50 == 0:
                bar.set_postfix({k: f"{x.item():.2f}" for k, x in parts.items()})
                for name, value in parts.items():
                    log.add_scalar(f"vision/{name}", value.item(), step * args.batch)
            if step == steps or time.monotonic() - saved > SAVE_EVERY:
                checkpoint(out, v, adam, args, step)
                saved = time.monotonic()
    return v.eval()


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine down to a hundredth."""
    rise = min(1.0, (step + 1) / WARMUP)
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / max(steps, 1))))


def drawn(args: Args, step: int, total: int) -> np.ndarray:
    """Frame numbers (B,) of one step, uniform over the data set."""
    return np.random.default_rng([args.seed, step]).integers(total, size=args.batch)


def checkpoint(out: Path, v: VAE, adam: torch.optim.Adam, args: Args, step: int) -> None:
    """Write everything that the next step depends on as one file."""
    names = [name for name, _ in v.named_parameters()]
    tensors = {f"model.{name}": tensor for name, tensor in v.state_dict().items()}
    for number, state in adam.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"adam.{names[number]}.{key}"] = value
    tensors["step"] = torch.tensor(step)
    save_tensors(out / "training.safetensors", tensors)
    save_tensors(out / "vision.safetensors", v.state_dict())
    write_json(out / "vision.json", {"config": asdict(v.config), "args": asdict(args), "step": step})


def resume(out: Path, v: VAE, adam: torch.optim.Adam, args: Args) -> int:
    """Load the last checkpoint, if there is one, and return its step.

    Raises:
        ValueError: if it was made with other arguments.
    """
    if not (out / "training.safetensors").exists():
        return 0
    old = read_json(out / "vision.json")["args"]
    if old != asdict(args):
        raise ValueError(f"{out} was trained with {old}, not {asdict(args)}: choose another --out")
    tensors = load_tensors(out / "training.safetensors")
    load_module(v, out / "vision.safetensors")
    states = {
        number: {key: tensors[f"adam.{name}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
        for number, (name, _) in enumerate(v.named_parameters())
    }
    adam.load_state_dict(adam.state_dict() | {"state": states})
    return int(tensors["step"])

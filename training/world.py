"""Between stages 3 and 4: V, M and real first frames become a world that dreams."""

from __future__ import annotations

from pathlib import Path

import torch

from dreamgym import tasks
from dreamgym.checkpoint import config_from, load_module, read_json, save_world
from dreamgym.models.memory import MDNRNN, MemoryConfig
from dreamgym.models.vision import VAE, VisionConfig
from dreamgym.world import World

from .latents import Latents

STARTS = 1000
"""First frames that a world keeps (the paper's initial_z.json for Doom)."""


def load_vision(folder: str | Path) -> VAE:
    """Read the V that a run has trained."""
    path = Path(folder) / "vision.json"
    vision = VAE(config_from(VisionConfig, read_json(path).get("config"), path))
    load_module(vision, Path(folder) / "vision.safetensors")
    return vision.eval()


def load_memory(folder: str | Path) -> MDNRNN:
    """Read the M that a run has trained."""
    path = Path(folder) / "memory.json"
    memory = MDNRNN(config_from(MemoryConfig, read_json(path).get("config"), path))
    load_module(memory, Path(folder) / "memory.safetensors")
    return memory.eval()


def assemble(
    task: str, folder: str | Path, latents: Latents, out: str | Path, death: str = "health"
) -> World:
    """Write a run's V and M, with the first frames of its data, as a world."""
    first = latents.starts[:STARTS]
    starts = (latents.mean[first].float(), latents.logvar[first].float())
    world = World(tasks.get(task), load_vision(folder), load_memory(folder), starts, death)
    save_world(out, world, torch.float16, real_frames=int(latents.lengths.sum()))
    return world

"""Between stages 3 and 4: V, M and real first frames become a world that dreams."""

from __future__ import annotations

from pathlib import Path

import torch

from dreamgym import tasks
from dreamgym.checkpoint import config_from, load_module, save_world
from dreamgym.models.memory import MDNRNN
from dreamgym.models.vision import VAE, VisionConfig
from dreamgym.world import World

from .latents import Latents
from .runs import finished

STARTS = 1000
"""First frames that a world keeps (the paper's initial_z.json for Doom)."""


def load_vision(folder: str | Path) -> VAE:
    """Read the V that a run has trained.

    Raises:
        CheckpointError: if it is missing, damaged or not finished.
    """
    path = Path(folder) / "vision.json"
    record = finished(path, f"vision --out {folder}")
    vision = VAE(config_from(VisionConfig, record.get("config"), path))
    load_module(vision, Path(folder) / "vision.safetensors")
    return vision.eval()


def assemble(
    task: str,
    vision: VAE,
    memory: MDNRNN,
    latents: Latents,
    out: str | Path,
    death: str = "health",
    validation: int = 0,
) -> World:
    """Write V and M, with the first frames of their data, as a world.

    Args:
        validation: real frames that have chosen those who played the data.
    """
    first = latents.starts[:STARTS]
    starts = (latents.mean[first].float(), latents.logvar[first].float(), latents.whole[:STARTS])
    world = World(tasks.get(task), vision, memory, starts, death)
    frames = int(latents.lengths.sum()) + validation
    save_world(out, world, torch.float16, real_frames=frames)
    return world

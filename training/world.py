"""Between stages 3 and 4: V, M and real first frames become a world that dreams."""

from __future__ import annotations

from pathlib import Path

import torch

from dreamgym import games
from dreamgym.checkpoint import config_from, load_module, save_world
from dreamgym.models.mdn_rnn import MDNRNN
from dreamgym.models.vae import VAE, VisionConfig
from dreamgym.world import World

from .latents import Latents, fingerprint
from .optimizer import result

STARTS = 1000
"""First frames that a world keeps (the paper's initial_z.json for Doom)."""


def load_vision(folder: str | Path, task: str = "") -> VAE:
    """Read the V that a run has trained.

    Args:
        task: the game that it must be of; any if empty.

    Raises:
        CheckpointError: if it is missing, damaged or not finished.
        ValueError: if it is of another game.
    """
    path = Path(folder) / "vision.json"
    record = result(folder, "vision", f"vision --out {folder}")
    if (game := record["args"].get("task")) and task and game != task:
        raise ValueError(f"{folder} holds a V of {game}, not of {task}: give one of {task}")
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

    Raises:
        ValueError: if the latents are another V's.
    """
    if fingerprint(vision) != latents.vision:
        raise ValueError("the latents are of another V: encode the data with this one")
    first = latents.starts[:STARTS]
    starts = (latents.mean[first].float(), latents.logvar[first].float(), latents.whole[:STARTS])
    world = World(games.get(task), vision, memory, starts, death)
    frames = int(latents.lengths.sum()) + validation
    save_world(out, world, torch.float16, real_frames=frames)
    return world

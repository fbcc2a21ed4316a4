"""The command `film`: an animation of a dream beside the real game."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from PIL import Image

from dreamgym.checkpoint import load_world, world_folder
from dreamgym.envs.arguments import Temperature
from dreamgym.files import check_writable, replacing

from ..flags import Name, Tau, game_for, world_for
from ..play import policies
from ..play.games import check_shown
from ..play.policies import Policy
from ..splits import DEMO, SEEDS

ZOOM = 3
"""Magnification: screen pixels for each pixel of a frame, per axis."""
GAP = 2
"""Width of the gap between the two pictures, in pixels of a frame."""
SKIP = 4
"""Steps from one picture to the next: a GIF cannot show pictures as fast as games do."""


def film(
    world: str,
    policy: str | Path,
    out: str | Path,
    steps: int = 300,
    seed: int = DEMO,
    skip: int = SKIP,
    temperature: Temperature | None = None,
) -> Path:
    """Write a GIF of one policy: on the left it plays in the dream, on the right the real game.

    Args:
        steps: longest film, in steps of the game.
        seed: of the dream and of the real game.
        skip: steps from one picture to the next.
        temperature: of the dream, or the range from which it is drawn; None for the game's own.

    Raises:
        ValueError: if the policy does not fit the world, a number is out of its range, or `out`
            cannot be written.
    """
    if not 0 <= seed < SEEDS:
        raise ValueError(f"seed is {seed}: give 0 to {SEEDS - 1:,}")
    if steps < 1:
        raise ValueError(f"steps is {steps}: give 1 or more")
    check_name(out)
    folder = world_folder(world)
    model = load_world(folder)
    check_shown(model)
    game, player = model.game, policies.load(policy, model, model.game)
    check_writable(out)
    form: dict[str, Any] = {
        "world": str(folder), "observation": player.observation or game.observation,
        "render_mode": "rgb_array", "continuous": True,
    }  # fmt: skip
    dream = _played(gym.make(game.dream_id, temperature=temperature, **form), player, steps, seed)
    real = _played(gym.make(game.latent_id, **form), player, steps, seed)
    length = max(len(dream), len(real))
    pictures = [
        beside([frames[min(t, len(frames) - 1)] for frames in (dream, real)])
        for t in range(0, length, skip)
    ]
    return write(pictures, out, skip / game.fps)


def check_name(out: str | Path) -> None:
    """Refuse the name of a film that says that it is no GIF.

    Raises:
        ValueError: if it does not end in `.gif`.
    """
    if not Path(out).is_dir() and Path(out).suffix.lower() != ".gif":
        raise ValueError(f"out is {out}: a film is a GIF, give a name that ends in .gif")


def beside(frames: Sequence[np.ndarray]) -> Image.Image:
    """Return frames (64, 64, 3) uint8 side by side as one enlarged picture of a film."""
    gap = np.zeros((frames[0].shape[0], GAP, 3), np.uint8)
    row = np.concatenate([part for frame in frames for part in (gap, frame)][1:], axis=1)
    picture = Image.fromarray(row).resize((row.shape[1] * ZOOM, row.shape[0] * ZOOM), 0)
    return picture.quantize(128, Image.Quantize.FASTOCTREE)


def write(pictures: Sequence[Image.Image], out: str | Path, seconds: float) -> Path:
    """Write pictures as a GIF that shows each for so many seconds, and begins again at the end."""
    with replacing(out) as file:
        pictures[0].save(
            file, "GIF", save_all=True, append_images=pictures[1:], loop=0, optimize=True,
            duration=round(1000 * seconds),
        )  # fmt: skip
    return Path(out)


def _played(env: gym.Env, policy: Policy, steps: int, seed: int) -> list[np.ndarray]:
    """Play one episode and return its pictures."""
    policy.begin(torch.tensor([seed]))
    observation, _ = env.reset(seed=seed)
    frames = [env.render()]
    for _ in range(steps):
        action = policy.act(torch.from_numpy(observation)[None])[0].numpy()
        observation, _, terminated, truncated, _ = env.step(action)
        frames.append(env.render())
        if terminated or truncated:
            break
    env.close()
    return frames  # type: ignore[return-value]


def main(
    task: Name = "",
    world: str = "",
    policy: str = "shipped",
    out: str = "dream.gif",
    seed: int = DEMO,
    temperature: Tau = None,
    steps: int = 300,
) -> None:
    """Write an animation of the dream beside the real game.

    Args:
        task: The game; if left out, that of the world, or else doom.
        world: A folder, or the name of a shipped world; if left out, the game's shipped world.
        policy: `shipped`, `agent`, `random`, `explore`, or the file of a policy (see
            `dreamgym evaluate --help`).
        out: GIF file for the animation.
        seed: Seed of the dream and of the real game.
        temperature: Temperature of the dream; if left out, the game's own.
        steps: Longest film, in steps of the game.
    """
    task = game_for(task, world)
    world = world_for(task, world)
    player = policies.find(policy, world_folder(world))
    print(film(world, player, out, steps, seed, temperature=temperature))

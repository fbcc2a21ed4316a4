"""Between stages 2 and 3: every frame as V sees it, so that pixels are read once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dreamgym.files import replacing
from dreamgym.models.vision import VAE
from dreamgym.product import halves
from dreamgym.tasks import Survival, Task

from .data import Episode, episode_paths, read_ahead

SHARD = 200
"""Episodes a file: what a killed process has to encode again."""
FORMAT = 2
"""Version of a shard's columns; older ones are made again."""
BATCH = 256
"""Frames V takes at once."""


@dataclass
class Latents:
    """A data set of E episodes and F frames in V's words, episodes one after the other."""

    mean: Tensor  # (F, Z) float16
    logvar: Tensor  # (F, Z) float16
    action: Tensor  # (F, A) float32, taken at the frame
    outcomes: Tensor  # (F, O) bool, what came of it: see `outcomes`
    reward: Tensor  # (F,) float32, what it paid
    lengths: Tensor  # (E,) int64
    whole: Tensor  # (E,) float32, the budget at the start
    source: Tensor  # (E,) int64, which of the data folders an episode is from
    vision: str  # fingerprint of the V that made them

    @property
    def starts(self) -> Tensor:
        """The numbers (E,) of the first frames."""
        return torch.cumsum(self.lengths, 0) - self.lengths


def encode(
    task: Task,
    data: Sequence[str | Path],
    out: str | Path,
    vision: VAE,
    progress: bool = True,
) -> Latents:
    """Encode every episode in the folders `data` into shards in `out`, skipping those there."""
    out, mark, folders = Path(out), fingerprint(vision), [Path(folder) for folder in data]
    paths = [episode_paths(folder) for folder in folders]  # a shard is of one folder
    shards = [part[i : i + SHARD] for part in paths for i in range(0, len(part), SHARD)]
    vision = vision.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for number, shard in enumerate(tqdm(shards, "encode", unit=" shards", disable=not progress)):
        path = out / f"latents-{number:04d}.npz"
        names = (f"{each.parent.name}/{each.name}" for each in shard)
        what = np.array([mark, f"{task.name} {FORMAT}", *names])
        if _holds(path, what):
            continue
        arrays = [_encoded(task, episode, vision) for episode in read_ahead(shard)]
        columns = {key: np.concatenate([each[key] for each in arrays]) for key in arrays[0]}
        source = np.array([folders.index(episode.parent) for episode in shard])
        with replacing(path) as file:
            np.savez(file, allow_pickle=False, what=what, source=source, **columns)
    for path in sorted(out.glob("latents-*.npz"))[len(shards) :]:
        path.unlink()  # of a larger data set
    return load(out)


def _holds(path: Path, what: np.ndarray) -> bool:
    """Tell whether a shard is there and holds these episodes as this V sees them."""
    if not path.exists():
        return False
    with np.load(path) as arrays:
        return "what" in arrays.files and np.array_equal(arrays["what"], what)


def fingerprint(vision: VAE) -> str:
    """Return a short hash of V's weights."""
    digest = hashlib.sha256()
    for tensor in vision.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def load(folder: str | Path) -> Latents:
    """Read all shards of a folder.

    Raises:
        ValueError: if there are none.
    """
    paths = sorted(Path(folder).glob("latents-*.npz"))
    if not paths:
        raise ValueError(f"no latents in {folder}: run `dreamgym memory` with --out {folder} first")
    shards = [dict(np.load(path)) for path in paths]
    marks = {str(shard.pop("what")[0]) for shard in shards}
    if len(marks) != 1:
        raise ValueError(f"the latents in {folder} are of several Vs: delete latents-*.npz there")
    columns = {key: np.concatenate([shard[key] for shard in shards]) for key in shards[0]}
    tensors = {key: torch.from_numpy(column) for key, column in columns.items()}
    return Latents(**tensors, vision=marks.pop())


def outcomes(task: Task, episode: Episode) -> np.ndarray:
    """Return what came of each action (T, O), one column for each of the task's heads."""
    spent = episode.budget[:-1] - episode.budget[1:]
    if isinstance(task.rules, Survival):
        return np.stack((spent > 0, episode.terminated), axis=1)
    fallen = episode.terminated & (episode.budget[1:] > 0)
    return np.stack((spent >= 1, spent >= 2, fallen), axis=1)


@torch.inference_mode()
def _encoded(task: Task, episode: Episode, vision: VAE) -> dict[str, np.ndarray]:
    frames = torch.from_numpy(episode.frames)
    with torch.autocast("cpu", torch.bfloat16, enabled=halves("cpu")):
        parts = [vision.encode(batch) for batch in frames.split(BATCH)]
    mean, logvar = (torch.cat(part).half().numpy() for part in zip(*parts, strict=True))
    return {
        "mean": mean,
        "logvar": logvar,
        "action": episode.actions.reshape(len(episode), -1),
        "outcomes": outcomes(task, episode),
        "reward": episode.rewards,
        "lengths": np.array([len(episode)]),
        "whole": episode.budget[:1],
    }

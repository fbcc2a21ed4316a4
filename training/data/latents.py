"""Latents: each frame is encoded by V once, before M is trained on the results."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dreamgym.engines.linear import supports_bfloat16
from dreamgym.files import replacing
from dreamgym.games import Game, get
from dreamgym.models.sight import Vision
from dreamgym.models.standard import Standard
from dreamgym.modes import bfloat16

from ..runs import held
from .episodes import DAMAGED, Episode, dataset, read_ahead
from .episodes import fingerprint as episode_fingerprint

SHARD = 200
"""Episodes in one file (a shard); a killed process loses at most one shard of work."""
FORMAT = 5
"""Version of a shard's columns and outcomes; shards of an older version are encoded again."""
BATCH = 256
"""Frames that V encodes at once."""


@dataclass
class Latents:
    """A data set of E episodes and F frames as latents; the episodes lie one after the other."""

    mean: Tensor  # (F, Z) float16, or float32 where V sees numbers
    logvar: Tensor  # (F, Z) float16
    action: Tensor  # (F, A) float32, the action taken at the frame, as M takes it
    outcomes: Tensor  # (F, O) bool, outcomes of the action: see `Rules.outcomes`
    reward: Tensor  # (F,) float32, reward of the action
    lengths: Tensor  # (E,) int64, frames of each episode
    counts: Tensor  # (F, C) float32, the counts of the rules before the action
    source: Tensor  # (E,) int64, index of the data folder of each episode
    vision: str  # fingerprint of the V that encoded the frames
    task: str = ""  # the game
    content: str = ""  # fingerprint of V and of the episodes

    @property
    def closing(self) -> bool:
        """Whether an episode ends with a frame at which no action was taken."""
        return bool(self.task) and get(self.task).rewarded

    @property
    def starts(self) -> Tensor:
        """Index (E,) of each episode's first frame."""
        return torch.cumsum(self.lengths, 0) - self.lengths

    @property
    def game(self) -> Tensor:
        """Index (F,) of the episode of each frame."""
        return torch.arange(len(self.lengths)).repeat_interleave(self.lengths)

    @property
    def whole(self) -> Tensor:
        """The budget (E,) with which the first count of each episode begins."""
        if not self.counts.shape[1]:  # nothing is counted
            return torch.ones(len(self.lengths))
        return self.counts[self.starts, 0]


def encode(
    game: Game,
    data: Sequence[str | Path],
    out: str | Path,
    vision: Vision,
    progress: bool = True,
) -> Latents:
    """Encode all episodes in the folders `data` into shards in `out`, and return the latents.

    Shards that are there already and hold the same episodes, encoded by the same V, are kept.

    Raises:
        ValueError: if the data are unfinished or of another game.
    """
    out, mark, folders = Path(out), fingerprint(vision), [Path(folder) for folder in data]
    paths = [dataset([folder], game.name) for folder in folders]  # no shard mixes two folders
    shards = [part[i : i + SHARD] for part in paths for i in range(0, len(part), SHARD)]
    vision = vision.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    files = [out / f"latents-{number:04d}.npz" for number in range(len(shards))]
    whats = [
        np.array([mark, f"{game.name} {FORMAT}", *map(episode_fingerprint, shard)])
        for shard in shards
    ]
    known = sorted(out.glob("latents-*.npz"))
    if known == files and all(map(_holds, files, whats)):
        return load(out)  # the folder may not be writable, and need not be
    with held(out):
        bar = tqdm(shards, "encode", unit=" shards", disable=not progress)
        for path, shard, what in zip(files, bar, whats, strict=True):
            if _holds(path, what):
                continue
            arrays = [_encoded(game, episode, vision) for episode in read_ahead(shard)]
            columns = {key: np.concatenate([each[key] for each in arrays]) for key in arrays[0]}
            source = np.array([folders.index(episode.parent) for episode in shard])
            with replacing(path) as file:
                np.savez(file, allow_pickle=False, what=what, source=source, **columns)
        for path in sorted(out.glob("latents-*.npz"))[len(shards) :]:
            path.unlink()  # left by a larger data set
        return load(out)


def _holds(path: Path, what: np.ndarray) -> bool:
    """Return whether a shard exists, is readable, and has the given V, game and episodes."""
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            return "what" in arrays.files and np.array_equal(arrays["what"], what)
    except DAMAGED:  # or missing: it is encoded again
        return False


def fingerprint(vision: Vision) -> str:
    """Return a short hash of V's weights, and of how many numbers it makes of numbers."""
    digest = hashlib.sha256()
    if isinstance(vision, Standard):
        digest.update(str(vision.config.z_size).encode())
    for tensor in vision.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def load(folder: str | Path) -> Latents:
    """Read all shards of a folder.

    Raises:
        ValueError: if there are no shards, one is damaged, or they differ in their V or game.
    """
    paths = sorted(Path(folder).glob("latents-*.npz"))
    if not paths:
        raise ValueError(f"no latents in {folder}: run `dreamgym memory` with --out {folder} first")
    shards = [_shard(path) for path in paths]
    whats = [shard.pop("what").tolist() for shard in shards]
    if len({(mark, game) for mark, game, *_ in whats}) != 1:
        raise ValueError(
            f"the latents in {folder} are of several Vs or games: delete latents-*.npz"
        )
    (mark, game, *_), content = whats[0], hashlib.sha256(repr(whats).encode()).hexdigest()[:16]
    columns = {key: np.concatenate([shard[key] for shard in shards]) for key in shards[0]}
    tensors = {key: torch.from_numpy(column) for key, column in columns.items()}
    return Latents(**tensors, vision=mark, task=game.rpartition(" ")[0], content=content)


def _shard(path: Path) -> dict[str, np.ndarray]:
    """Read a shard's columns.

    Raises:
        ValueError: if it is damaged, or of an older dreamgym.
    """
    names = {field.name for field in fields(Latents)} - {"vision", "task", "content"} | {"what"}
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            shard = {name: arrays[name] for name in arrays.files}
    except DAMAGED as error:
        raise ValueError(
            f"{path} is damaged ({error}): delete it and call `dreamgym memory` again"
        ) from error
    if shard.keys() != names or not _fits(shard):
        raise ValueError(
            f"{path} is damaged, or of an older dreamgym: delete it, call `dreamgym memory` again"
        )
    return shard


def _fits(shard: dict[str, np.ndarray]) -> bool:
    """Return whether a shard's columns have matching lengths, and the types `_encoded` writes."""
    kinds = {"logvar": "f2", "action": "f4", "outcomes": "b1", "reward": "f4",
             "lengths": "i8", "counts": "f4", "source": "i8"}  # fmt: skip
    if any(shard[name].dtype != np.dtype(kind) for name, kind in kinds.items()):
        return False
    if shard["mean"].dtype not in (np.float16, np.float32):
        return False
    if shard["reward"].ndim != 1 or shard["lengths"].ndim != 1:
        return False
    what, frames, games = shard["what"], len(shard["reward"]), shard["lengths"].shape
    wide = all(shard[name].ndim == 2 and len(shard[name]) == frames
               for name in ("mean", "logvar", "action", "outcomes", "counts"))  # fmt: skip
    long = (shard["lengths"] > 0).all() and shard["lengths"].sum() == frames
    sourced = shard["source"].shape == games
    marked = what.ndim == 1 and len(what) == 2 + games[0] and what[1].endswith(f" {FORMAT}")
    return bool(wide and long and sourced and marked)


@torch.inference_mode()
def _encoded(game: Game, episode: Episode, vision: Vision) -> dict[str, np.ndarray]:
    frames, taken = torch.from_numpy(episode.frames), episode.actions.reshape(len(episode), -1)
    if game.unit:
        middle, half = game.middle
        taken = (taken - middle) / half
        taken[-1] = 0  # no action follows the last frame
    with bfloat16("cpu", supports_bfloat16("cpu")):
        parts = [vision.encode(batch) for batch in frames.split(BATCH)]
    mean, logvar = (torch.cat(part) for part in zip(*parts, strict=True))
    return {
        "mean": (mean.half() if game.pictures else mean).numpy(),
        "logvar": logvar.half().numpy(),
        "action": taken,
        "outcomes": game.rules.outcomes(episode),
        "reward": episode.rewards,
        "lengths": np.array([len(episode)]),
        "counts": episode.counts[:-1],
    }

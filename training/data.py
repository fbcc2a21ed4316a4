"""Episodes on the disk: one uncompressed `.npz` each, so that frames can be mapped, not read."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dreamgym.files import replacing
from dreamgym.tasks import FRAME

MANIFEST = "manifest.json"


@dataclass
class Episode:
    """One real game of T steps; row t holds what the player saw, did, and got for it."""

    frames: np.ndarray  # (T, 64, 64, 3) uint8, the frame before action t
    actions: np.ndarray  # (T,) or (T, A) float32, as M is told them
    rewards: np.ndarray  # (T,) float32, outcome of action t
    health: np.ndarray  # (T + 1,) float32, before action t; the last after the end
    terminated: np.ndarray  # (T,) bool, outcome of action t
    truncated: np.ndarray  # (T,) bool, outcome of action t

    def __len__(self) -> int:
        return len(self.rewards)

    def save(self, path: Path) -> None:
        with replacing(path) as file:
            np.savez(file, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Episode:
        """Read an episode; its frames stay on the disk until they are touched.

        Raises:
            ValueError: if the file is damaged; the message names it.
        """
        try:
            with np.load(path) as arrays:
                rest = {key: arrays[key] for key in arrays.files if key != "frames"}
            episode = cls(frames=mapped(path, "frames"), **rest)
        except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is damaged ({error}): delete it and collect again") from error
        if len(episode.frames) != len(episode):
            raise ValueError(f"{path} holds {len(episode.frames)} frames of {len(episode)} steps")
        return episode


def mapped(path: Path, name: str) -> np.memmap:
    """Map one array of an uncompressed `.npz` into memory."""
    offset, shape, dtype = located(path, name)
    return np.memmap(path, dtype, "r", offset, shape)


def located(path: Path, name: str) -> tuple[int, tuple[int, ...], np.dtype]:
    """Return where in an uncompressed `.npz` an array's bytes begin, its shape and its dtype."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        np.lib.format.read_magic(member)  # 1.0, as `Episode.save` writes it
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        header = member.tell()
        info = archive.getinfo(f"{name}.npy")
    with open(path, "rb") as file:
        file.seek(info.header_offset + 26)  # zip's local header: 30 bytes, then name and extra
        start = info.header_offset + 30 + sum(np.frombuffer(file.read(4), "<u2").tolist())
    return start + header, shape, dtype


class Frames:
    """Every frame of a data set by one number, read from the disk when asked for."""

    def __init__(self, paths: list[Path]):
        located_frames = [located(path, "frames") for path in paths]
        self.paths = paths
        self.offsets = np.array([offset for offset, _, _ in located_frames])
        lengths = [shape[0] for _, shape, _ in located_frames]
        self.ends = np.cumsum(lengths)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """Return frames (N, 64, 64, 3) uint8."""
        out = np.empty((len(numbers), *FRAME), np.uint8)
        episodes = np.searchsorted(self.ends, numbers, side="right")
        for row, episode, number in zip(out, episodes, numbers, strict=True):
            first = self.ends[episode - 1] if episode else 0
            with open(self.paths[episode], "rb", buffering=0) as file:
                file.seek(int(self.offsets[episode] + (number - first) * row.nbytes))
                file.readinto(row.data)
        return out


def episode_path(folder: Path, index: int) -> Path:
    return folder / f"episode-{index:06d}.npz"


def episode_paths(folder: Path) -> list[Path]:
    """Return the episodes of a data folder in the order of their indices.

    Raises:
        ValueError: if there are none.
    """
    paths = sorted(folder.glob("episode-*.npz"))
    if not paths:
        raise ValueError(f"no episodes in {folder}: run `dreamgym collect` with --out {folder}")
    return paths

"""Episodes on the disk: one uncompressed `.npz` each.

Uncompressed frames can be mapped into memory, so that only those that are used are read.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dreamgym import games
from dreamgym.files import replacing

MANIFEST = "manifest.json"
DAMAGED = (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error)
"""Exceptions that reading a damaged `.npz` may raise."""


@dataclass
class Episode:
    """One real game of T steps; row t holds a frame, the action taken there, and its outcome.

    Where frames hold rewards, a further row holds the last frame, and an action that was not taken.
    """

    frames: np.ndarray  # (T, …), see `Game.frame`, the frame before action t
    actions: np.ndarray  # (T,) or (T, A) float32, as M takes them
    rewards: np.ndarray  # (T,) float32, outcome of action t
    counts: np.ndarray  # (T + 1, C) float32, `Rules.counts`: before action t; last, at the end
    terminated: np.ndarray  # (T,) bool, outcome of action t
    truncated: np.ndarray  # (T,) bool, outcome of action t

    def __len__(self) -> int:
        return len(self.rewards)

    def save(self, path: Path) -> None:
        with replacing(path) as file:
            np.savez(file, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Episode:
        """Read an episode; its frames are mapped, and read from the disk when they are used.

        Raises:
            ValueError: if the file is damaged; the message names it.
        """
        try:
            with open(path, "rb") as file, np.load(file) as arrays:
                rest = {key: arrays[key] for key in arrays.files if key != "frames"}
            episode = cls(frames=mapped(path, "frames"), **rest)
            episode._check()
        except DAMAGED as error:
            raise ValueError(f"{path} is damaged ({error}): delete it and collect again") from error
        return episode

    def _check(self) -> None:
        """Refuse arrays of a wrong type or shape, and NaN and infinity."""
        steps = len(self.frames)
        vectors = self.frames.dtype == np.float32 and self.frames.ndim == 2
        shape = games.PAID if self.frames.ndim == 2 else games.FRAME
        shown = ("f4", self.frames.shape[1:]) if vectors else ("u1", shape)
        usual = {"frames": (shown[0], (steps, *shown[1])), "rewards": ("f4", (steps,)),
                 "terminated": ("b1", (steps,)), "truncated": ("b1", (steps,))}  # fmt: skip
        for name, (kind, shape) in usual.items():
            array = getattr(self, name)
            if array.dtype != np.dtype(kind) or array.shape != shape:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, expected {kind} {shape}")
        if self.actions.dtype != np.float32 or self.actions.shape[:1] != (steps,):
            raise ValueError(f"actions is {self.actions.dtype} {self.actions.shape}")
        if self.counts.dtype != np.float32 or self.counts.shape[:1] != (steps + 1,):
            raise ValueError(f"counts is {self.counts.dtype} {self.counts.shape}")
        for name in ("actions", "rewards", "counts", *["frames"] * vectors):  # pictures are large
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} holds NaN or infinity")


def read_ahead(paths: Sequence[Path]) -> Iterator[Episode]:
    """Yield episodes with their frames in memory, and read the next one in the background."""

    def read(path: Path) -> Episode:
        episode = Episode.load(path)
        return replace(episode, frames=np.array(episode.frames))

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read, paths[0])
        for path in [*paths[1:], None]:
            episode = coming.result()
            if path is not None:
                coming = reader.submit(read, path)
            yield episode


def mapped(path: Path, name: str) -> np.memmap:
    """Map one array of an uncompressed `.npz` into memory."""
    offset, shape, dtype = located(path, name)
    return np.memmap(path, dtype, "r", offset, shape)


def located(path: Path, name: str) -> tuple[int, tuple[int, ...], np.dtype]:
    """Return the offset of an array's bytes in an uncompressed `.npz`, its shape and its dtype."""
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
    """Random batches of frames, drawn from a window that slides over the episodes.

    A disk reads whole episodes faster than single frames (15 MB/s against 1.2 MB/s with one reader
    during V's training). So whole episodes pass through a window in memory, and each batch is drawn
    from the window. The order of the episodes is a new permutation in each pass over the data set.
    A batch depends only on its number (and the seed).

    Args:
        paths: the episodes.
        batch: frames in a batch.
        seed: of the order and of the draws.
        window: how many episodes are in memory.
        even: draw each time in a game as often as any other, however few games last so long. If
            false, each frame is drawn once a pass on average.
    """

    def __init__(
        self, paths: list[Path], batch: int, seed: int, window: int = 256, even: bool = False
    ):
        self.paths, self.batch, self.seed, self.even = paths, batch, seed, even
        self.window = min(window, len(paths))
        self.lengths = [frames_of(path) for path in paths]
        self.loaded: dict[int, np.ndarray] = {}  # place in the endless order of episodes → frames

    def read(self, number: int) -> np.ndarray:
        """Return batch `number`: (B, …) uint8, see `Game.frame`."""
        first = int(number * self.batch / np.mean(self.lengths))
        places = range(first, first + self.window)
        for place in self.loaded.keys() - set(places):
            del self.loaded[place]
        for place in places:
            if place not in self.loaded:
                frames = mapped(self.paths[self._episode(place)], "frames")
                self.loaded[place] = np.array(frames)
        lengths = np.array([len(self.loaded[place]) for place in places])
        which, when = self._drawn(np.random.default_rng([self.seed, number]), lengths)
        return np.stack([self.loaded[first + i][t] for i, t in zip(which, when, strict=True)])

    def _drawn(
        self, rng: np.random.Generator, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw a batch: the episodes' indices in the window, and the times of their frames."""
        if self.even:
            longest = np.argsort(-lengths, kind="stable")
            when = rng.integers(lengths.max(), size=self.batch)
            alive = (lengths[:, None] > when).sum(0)  # how many games last so long
            return longest[rng.integers(alive)], when
        ends = np.cumsum(lengths)
        drawn = rng.integers(ends[-1], size=self.batch)
        which = np.searchsorted(ends, drawn, side="right")
        return which, drawn - (ends - lengths)[which]

    def _episode(self, place: int) -> int:
        """Return the episode at a place of the endless order: one permutation after another."""
        around, index = divmod(place, len(self.paths))
        if around != getattr(self, "_around", None):
            self._around = around
            self._order = np.random.default_rng([self.seed, around, 1]).permutation(len(self.paths))
        return int(self._order[index])


def frames_of(path: Path) -> int:
    """Return the number of frames in an episode.

    Raises:
        ValueError: if the file is damaged; the message names it.
    """
    try:
        return located(path, "frames")[1][0]
    except DAMAGED as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and collect again") from error


def episode_path(folder: Path, index: int) -> Path:
    return folder / f"episode-{index:06d}.npz"


def number_of(path: Path) -> int:
    """Return the number of an episode by its file's name."""
    return int(path.stem.removeprefix("episode-"))


def episode_paths(*folders: str | Path) -> list[Path]:
    """Return the episode files of data folders: folder by folder, sorted by number.

    Raises:
        ValueError: if a folder has no episodes; the message names it.
    """
    paths = []
    for folder in folders:
        if not (found := sorted(Path(folder).glob("episode-*.npz"))):
            raise ValueError(f"no episodes in {folder}: run `dreamgym collect` with --out {folder}")
        paths += found
    return paths


def game_of(folder: str | Path) -> str:
    """Return the name of the game that the episodes of a data folder were played in.

    Raises:
        ValueError: if the folder has no episodes, is unfinished, or is not as `collect` left it.
    """
    from .. import runs  # imports torch, which would slow down `--help`

    there = len(episode_paths(folder))
    record = runs.finished(Path(folder) / MANIFEST, f"collect --out {folder}")
    game, lengths = record["args"].get("task"), record.get("lengths")
    if not isinstance(game, str) or not game:
        raise ValueError(f"{Path(folder) / MANIFEST} is damaged (its task is {game!r})")
    if not isinstance(lengths, list) or len(lengths) != there:
        raise ValueError(
            f"{folder} holds {there} episodes, its {MANIFEST} lists other ones: call "
            f"`dreamgym collect {game}` again, with the arguments that it names"
        )
    return str(game)


def dataset(folders: Sequence[str | Path], task: str = "") -> list[Path]:
    """Return the episode files of data folders, after checking the folders with `game_of`.

    Args:
        task: the game that all folders must be of; empty: that of the first folder.

    Raises:
        ValueError: if a folder is of another game, or `game_of` refuses it.
    """
    for folder in folders:
        game = game_of(folder)
        if (task := task or game) != game:
            raise ValueError(f"{folder} holds games of {game}, not of {task}: give data of {task}")
    return episode_paths(*folders)


def content(paths: Sequence[Path]) -> str:
    """Return a short hash of the content of episodes and of their order; see `fingerprint`."""
    return hashlib.sha256("".join(map(fingerprint, paths)).encode()).hexdigest()[:16]


def fingerprint(path: Path) -> str:
    """Return a short hash of an episode's content, made from the checksums in its zip archive.

    Raises:
        ValueError: if the file is damaged; the message names it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = [(info.filename, info.file_size, info.CRC) for info in archive.infolist()]
    except DAMAGED as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and collect again") from error
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

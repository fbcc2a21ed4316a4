"""The command `vision`: train V to reconstruct frames drawn from all episodes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dreamgym import games
from dreamgym.checkpoint import check_config, is_world, load_module, load_world, vision_from
from dreamgym.engines.linear import supports_bfloat16
from dreamgym.games import Game
from dreamgym.models.sight import PIXELS, Sight, SightConfig, Vision
from dreamgym.models.standard import Standard, StandardConfig
from dreamgym.models.vae import VAE, VisionConfig
from dreamgym.modes import bfloat16, ours

from . import trainer
from .data.episodes import Episode, Frames, content, dataset, game_of
from .flags import DATA, RUNS, Flat, Name, Whole, game_for
from .runs import Run

TINY = 1e-6
"""A standard deviation that is below this share of the greatest number is rounding alone."""
FAR = 20.0
"""The numbers of vectors lie within so many standard deviations of each other, or we take a larger
one. Our choice: `world.BOUND` is 50, and a rare number must not meet it."""
PAID = 0.1
"""Least standard deviation of squeezed rewards. Our choice: then 100 is seen where random play was
paid 0.01 at most."""


@dataclass(frozen=True)
class Args:
    """How V is trained."""

    frames: Whole = 3_000_000
    """Frames to train on, counting repeats; the paper trained on 3 to 30 million."""
    batch: int = 128
    """Frames in each batch."""
    learning_rate: float = 1e-3
    """Peak of Adam's learning rate, which falls as a cosine.
    Our choice, needed because we take a tenth of the paper's steps."""
    reconstruction: float = 30.0
    """Weight of the squared error in the loss, against the KL term in nats.
    Our choice, so that V encodes even a fireball that is two pixels wide."""
    rarity: float = 0.0
    """Share of a pixel's weight in the squared error that goes by how rare the pixel is, 0 to 1;
    see `models.vae.weights`."""
    even: bool = False
    """Draw late frames of games as often as early ones, though few games last so long."""
    z_size: int = 0
    """Dimensions of the latent z; 0: the game's own."""
    init: str = ""
    """Run folder of a trained V, or a world, from whose V training begins; if left out, from random
    weights."""
    seed: int = 0
    """Seed of the first weights, of the batches and of the noise."""
    task: Name = ""
    """The game; if left out, that of the data, or else doom."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch is {self.batch}: give 1 or more")
        if not 0 <= self.rarity <= 1:
            raise ValueError(f"rarity is {self.rarity}: give a share, from 0 to 1")
        if self.frames < self.batch:
            raise ValueError(f"frames is {self.frames}: give {self.batch} or more, one batch")
        check_config(self.config, "the arguments of V")

    @property
    def config(self) -> VisionConfig:
        return VisionConfig(self.z_size or VisionConfig.z_size, self.reconstruction)


@ours(flush=True)  # denormals in Adam's squares cost a quarter of the speed
def train(data: Sequence[str | Path], out: str | Path, args: Args, progress: bool = True) -> Vision:
    """Train V on all episodes in the folders `data`, resuming from a checkpoint in `out` if any.

    Raises:
        ValueError: if the data are unfinished or of another game, or `out` was begun with other
            arguments or data.
    """
    paths = dataset(data, args.task)
    game = games.get(args.task or game_of(data[0]))
    if not args.z_size:
        args = replace(args, z_size=game.z_size)
    inputs = {"data": content(paths)} | trainer.origin(args.init, "vision")
    with Run(out, "vision", args, inputs) as run:
        if game.pictures:
            return _train(run, paths, game, args, progress)
        v = Standard(StandardConfig(*game.frame))
        measure(v, np.concatenate([Episode.load(path).frames for path in paths]))
        run.write(config=asdict(v.config))
        trainer.finish(run, "vision", v)
        return v


def measure(v: Standard, frames: np.ndarray) -> None:
    """Give V the mean and the standard deviation of each number of frames (N, F)."""
    deviation = np.maximum(frames.std(0, dtype=np.float64), np.ptp(frames, 0) / FAR)
    deviation[deviation < TINY * np.abs(frames).max(0)] = 1  # the number never changes
    deviation[deviation == 0] = 1
    deviation[-1] = max(deviation[-1], PAID)
    v.mean.copy_(torch.from_numpy(frames.mean(0, dtype=np.float64)))
    v.deviation.copy_(torch.from_numpy(deviation))


def outgrown(v: Vision, data: Path) -> bool:
    """Return whether V measured numbers once, and a folder's games show some that are far off."""
    if not isinstance(v, Standard):
        return False
    frames = (torch.from_numpy(np.array(Episode.load(path).frames)) for path in dataset([data]))
    return any(bool((v.encode(each)[0].abs() > FAR).any()) for each in frames)


def _train(run: Run, paths: list[Path], game: Game, args: Args, progress: bool) -> VAE | Sight:
    torch.default_generator.manual_seed(args.seed)
    v = _untrained(game, args).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainer.begin(v, args.init, "vision")
    if isinstance(v, Sight):  # also if it goes on from an earlier one, which saw other rewards
        paid = [np.array(Episode.load(path).frames[:, PIXELS:]) for path in paths]
        measure(v.standard, np.concatenate(paid).view(np.float32))
    frames = Frames(paths, args.batch, args.seed, even=args.even)
    plan = trainer.Plan(
        "V", args.frames // args.batch, args.learning_rate, args.seed,
        batch=args.batch, unit="frames",
    )  # fmt: skip
    with ThreadPoolExecutor(1) as reader:
        return trainer.fit(run, v, Objective(v, frames, reader, args.rarity), plan, progress)


def _untrained(game: Game, args: Args) -> VAE | Sight:
    if not game.rewarded:
        return VAE(args.config)
    reward = StandardConfig(1).z_size
    return Sight(SightConfig(args.z_size - reward, args.reconstruction))


class Objective:
    """V's loss on batches of frames; the next batch is read while V learns from this one."""

    coming: Future[np.ndarray]

    def __init__(self, v: VAE | Sight, frames: Frames, reader: Executor, rarity: float):
        self.v, self.frames, self.reader, self.rarity = v, frames, reader, rarity

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        batch = torch.from_numpy(self.coming.result())  # (B, …)
        self.coming = self.reader.submit(self.frames.read, step + 1)
        with bfloat16("cpu", supports_bfloat16("cpu")):
            return self.v.loss(batch, self.rarity)

    def state(self) -> dict[str, Tensor]:
        return {}

    def resume(self, step: int, state: dict[str, Tensor]) -> None:
        self.coming = self.reader.submit(self.frames.read, step)


def load_vision(folder: str | Path, task: str = "") -> Vision:
    """Load the V that a run has trained, or that of a world.

    Args:
        folder: the run's folder, or a world's folder or shipped name.
        task: the game on which V must have been trained; empty: any game.

    Raises:
        CheckpointError: if the run is missing, damaged or not finished.
        ValueError: if V was trained on another game.
    """
    if is_world(folder):
        world = load_world(folder)
        if task and world.game.name != task:
            raise ValueError(f"{folder} is a world of {world.game.name}: give a V of {task}")
        return world.vision
    path = Path(folder) / "vision.json"
    record = trainer.result(folder, "vision", f"vision --out {folder}")
    if (game := record["args"].get("task")) and task and game != task:
        raise ValueError(f"{folder} holds a V of {game}, not of {task}: give one of {task}")
    vision = vision_from(record.get("config"), path)
    load_module(vision, Path(folder) / "vision.safetensors")
    return vision.eval()


def main(args: Flat[Args], data: tuple[str, ...] = (), out: str = "") -> None:
    """Train V on the frames.

    Args:
        data: Folders of episodes, that of random play first; if left out, data/GAME.
        out: Folder of the run; if left out, runs/GAME.
    """
    task = game_for(args.task, data=data)
    train(data or (f"{DATA}/{task}",), out or f"{RUNS}/{task}", replace(args, task=task))

"""The command `memory`: M learns what V's latents do next and what the actions cost; then V, M and
real first frames become a world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dreamgym import games, modes
from dreamgym.checkpoint import save_world
from dreamgym.engines.linear import supports_bfloat16
from dreamgym.models.mdn_rnn import MDNRNN, MemoryConfig
from dreamgym.models.vae import VAE, sample
from dreamgym.world import World

from . import trainer
from .data.latents import Latents, encode, fingerprint
from .flags import DATA, RUNS, Flat, Name, Whole, game_for
from .runs import Run, check_folder, read
from .vision import load_vision

STARTS = 1000
"""First frames that a world keeps (the paper's initial_z.json for Doom)."""


@dataclass(frozen=True)
class Args:
    """How M is trained."""

    steps: Whole = 6000
    batch: int = 64
    """Episodes that run side by side."""
    length: int = 64
    """Steps that gradients flow back; the state flows on to the episode's end."""
    learning_rate: float = 1.5e-3
    """Peak of Adam's rate, falling as a cosine to a hundredth."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    init: str = ""
    """Run folder of an M to go on from, which saw the same V."""
    held_out: int = 20
    """Every so-manieth episode is kept for validation."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}: give 1 or more")


@modes.ours(flush=True)
def train(
    latents: Latents, out: str | Path, args: Args, config: MemoryConfig, progress: bool = True
) -> MDNRNN:
    """Train M on all but the held-out episodes, writing and resuming checkpoints in `out`.

    Raises:
        ValueError: if M is not of the latents' shape, or `out` was begun otherwise.
    """
    sizes = {
        "z_size": (config.z_size, latents.mean.shape[1]),
        "action_size": (config.action_size, latents.action.shape[1]),
        "heads": (len(config.heads), latents.outcomes.shape[1]),
    }
    for name, (ours, theirs) in sizes.items():
        if ours != theirs:
            raise ValueError(
                f"M's {name} is {ours}, the latents' {theirs}: they are of another game, or of "
                "another V"
            )
    inputs = {"latents": latents.content} | trainer.origin(args.init, "memory")
    if args.init:
        path = Path(args.init) / "memory.json"
        if (seen := read(path).get("vision")) != latents.vision:
            raise ValueError(
                f"init {args.init} learned from another V's latents ({seen}, these are "
                f"{latents.vision}): begin anew"
            )
    with Run(out, "memory", args, inputs) as run:
        return _train(run, latents, args, config, progress)


def _train(run: Run, latents: Latents, args: Args, config: MemoryConfig, progress: bool) -> MDNRNN:
    torch.default_generator.manual_seed(args.seed)
    m = MDNRNN(config)
    training, _ = split(latents, args.held_out)
    plan = trainer.Plan(
        "M", args.steps, args.learning_rate, args.seed, args.init, args.clip,
        facts={"vision": latents.vision},
    )  # fmt: skip
    return trainer.fit(run, m, Objective(m, Batches(latents, training, args)), plan, progress)


class Objective:
    """M's loss on slabs of episodes; M's state flows on from each slab to the next."""

    def __init__(self, m: MDNRNN, batches: Batches):
        self.m, self.batches = m, batches
        self.h = self.c = torch.zeros(batches.args.batch, m.config.hidden)  # (B, H)

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        batch, fresh = self.batches.next()
        keep = (~fresh)[:, None]  # (B, 1)
        with torch.autocast("cpu", torch.bfloat16, enabled=supports_bfloat16("cpu")):
            state = (self.h * keep, self.c * keep)
            out, (h, c) = self.m.unroll(batch.z[:, :-1], batch.action, state)
            prediction = self.m.predict(out)
        self.h, self.c = h.detach().float(), c.detach().float()
        return self.m.loss(prediction, batch.z[:, 1:], batch.outcomes, batch.known)

    def state(self) -> dict[str, Tensor]:
        return {"h": self.h, "c": self.c}

    def resume(self, step: int, state: dict[str, Tensor]) -> None:
        for _ in range(step):
            self.batches.skip()
        self.h, self.c = state.get("h", self.h), state.get("c", self.c)


def split(latents: Latents, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the training and of the held-out episodes.

    Raises:
        ValueError: if there is but one episode.
    """
    if len(latents.lengths) < 2:
        raise ValueError("M needs 2 episodes or more, one to be held out: collect more")
    episodes = np.arange(len(latents.lengths))
    every = min(every, len(episodes))
    held = episodes % every == every - 1
    return episodes[~held], episodes[held]


@dataclass
class Batch:
    """A slab of B episodes over T steps; `known` tells real rows from padding."""

    z: Tensor  # (B, T + 1, Z), sampled
    action: Tensor  # (B, T, A)
    outcomes: Tensor  # (B, T, O)
    known: Tensor  # (B, T, 2): is there a next frame, is there an outcome


class Batches:
    """Slabs in which each row runs through whole episodes, one after another."""

    def __init__(self, latents: Latents, episodes: np.ndarray, args: Args):
        self.latents, self.episodes, self.args = latents, episodes, args
        self.rng = np.random.default_rng(args.seed)
        self.queue: list[int] = []
        self.starts = latents.starts.numpy()
        self.lengths = latents.lengths.numpy()
        self.at = np.zeros(args.batch, np.int64)  # (B,) the next frame of each row
        self.end = np.zeros(args.batch, np.int64)  # (B,) where its episode ends

    def skip(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Move on by one slab; return its first frames, its ends, and which rows begin anew."""
        fresh = self.at >= self.end
        for row in np.flatnonzero(fresh):
            if not self.queue:
                self.queue = self.rng.permutation(self.episodes).tolist()
            episode = self.queue.pop()
            self.at[row] = self.starts[episode]
            self.end[row] = self.starts[episode] + self.lengths[episode]
        at = self.at.copy()
        self.at += self.args.length
        return at, self.end.copy(), fresh

    def next(self) -> tuple[Batch, Tensor]:
        """Return the next slab and which rows (B,) begin an episode in it."""
        at, end, fresh = self.skip()
        index = at[:, None] + np.arange(self.args.length + 1)  # (B, T + 1)
        real = torch.from_numpy(index < end[:, None])
        return slab(
            self.latents, torch.from_numpy(np.minimum(index, end[:, None] - 1)), real
        ), torch.from_numpy(fresh)


def slab(latents: Latents, index: Tensor, real: Tensor) -> Batch:
    """Gather frames (B, T + 1) and sample latents; `real` is false where an episode is over."""
    mean, logvar = latents.mean[index].float(), latents.logvar[index].float()
    now = index[:, :-1]
    return Batch(
        z=sample(mean, logvar, torch.randn_like(mean)),
        action=latents.action[now],
        outcomes=latents.outcomes[now].float(),
        known=torch.stack((real[:, 1:], real[:, :-1]), dim=-1).float(),
    )


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


def main(
    args: Flat[Args], task: Name = "", data: tuple[str, ...] = (), out: str = "", vision: str = ""
) -> None:
    """Encode the frames, train M on them and write the world.

    Args:
        task: The game; the data's if empty.
        data: Folders of episodes, exploring play first; data/GAME if empty.
        out: Folder of the run; runs/GAME if empty.
        vision: Run folder of V and its latents; the same if empty.
    """
    task = game_for(task, data=data)
    game, out = games.get(task), out or f"{RUNS}/{task}"
    check_folder(out)
    v = load_vision(vision or out, task)
    seen = encode(game, data or (f"{DATA}/{task}",), vision or out, v)
    config = MemoryConfig(game.z_size, len(game.low), game.hidden, heads=game.rules.heads)
    m = train(seen, out, args, config)
    assemble(task, v, m, seen, f"{out}/world")
    print(f"the world is in {out}/world")

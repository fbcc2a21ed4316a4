"""A world: V and M as one batched simulator that knows no game engine and no Gymnasium.

A dream is M running on its own predictions. Everything that dreams goes through `World.step`: the
environments, the evolution of controllers, the benchmark.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from dreamgym import noise
from dreamgym.models.memory import MDNRNN, Prediction, sample
from dreamgym.models.vision import VAE
from dreamgym.models.vision import sample as sample_latent
from dreamgym.tasks import Task

OBSERVATIONS = {"z": "z", "zh": "zh", "zhc": "zch"}
"""Kinds of latent observation and the order of their parts, the paper's [z, c, h] for Doom."""
BLOCK = 16
"""Rows are computed in multiples of this: below it a matrix product may round differently with the
size of the batch, and a dream would depend on its neighbours."""
BOUND = 50.0
"""Latents stay within ± this, the paper's observation space; V's own are within ± 5."""


@dataclass
class State:
    """N dreams, or N real games seen through V and M."""

    z: Tensor  # (N, Z)
    h: Tensor  # (N, H)
    c: Tensor  # (N, H)
    step: Tensor  # (N,) int64, steps taken
    key: Tensor  # (N,) int64, see `noise.key`
    health: Tensor  # (N,)

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, rows: Tensor | slice) -> State:
        return State(*(getattr(self, field.name)[rows] for field in fields(self)))

    def put(self, rows: Tensor, other: State) -> None:
        """Overwrite some rows."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)


class World:
    """V, M, and what a dream needs to start and to end.

    Args:
        task: the game that was learned.
        vision: V.
        memory: M.
        starts: μ and log σ² (S, Z) of real first frames.
        death: what ends a dream: `"health"` adds up sampled hits of known damage, `"head"` samples
            M's death head, as the paper's does with a threshold.
    """

    def __init__(
        self,
        task: Task,
        vision: VAE,
        memory: MDNRNN,
        starts: tuple[Tensor, Tensor],
        death: str = "health",
    ):
        if death not in ("health", "head"):
            raise ValueError(f"death is {death!r}: choose 'health' or 'head'")
        head = {"health": "hit", "head": "death"}[death]
        if head not in memory.config.heads:
            raise ValueError(f"death by {death!r} needs M to have a head {head!r}: it has none")
        self.task, self.vision, self.memory, self.death = task, vision.eval(), memory.eval(), death
        self.starts = starts
        for parameter in (*vision.parameters(), *memory.parameters()):
            parameter.requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.starts[0].device

    def to(self, device: str | torch.device, precision: torch.dtype = torch.float32) -> World:
        """Return a copy on a device, M's products in a precision; bfloat16 is twice as fast."""
        starts = (self.starts[0].to(device), self.starts[1].to(device))
        vision = copy.deepcopy(self.vision).to(device)
        memory = copy.deepcopy(self.memory).to(device, precision)
        return World(self.task, vision, memory, starts, self.death)

    def size(self, kind: str) -> int:
        """Numbers in an observation of a latent kind."""
        parts = {"z": self.memory.config.z_size, "h": self.memory.config.hidden}
        return sum(parts.get(part, parts["h"]) for part in OBSERVATIONS[kind])

    def start(self, seeds: Tensor, episodes: Tensor | None = None) -> State:
        """Begin dreams from real first frames.

        Args:
            seeds: (N,) int64.
            episodes: (N,) int64, the number of the episode under its seed; zeros if None.
        """
        seeds = seeds.to(self.device)
        keys = noise.key(seeds, torch.zeros_like(seeds) if episodes is None else episodes)
        mean, logvar = self.starts
        before = torch.full_like(keys, -1)  # the step before the first: lanes of its own
        which = noise.uniform(keys, before, 2, first=mean.shape[1])[:, 0]
        chosen = (which * len(mean)).long()
        return self.begin(mean[chosen], logvar[chosen], keys)

    def draw_temperature(self, state: State, low: float, high: float) -> Tensor:
        """Draw each dream's τ ~ U(low, high), (N, 1); the same number if both ends are."""
        before, first = torch.full_like(state.key, -1), self.starts[0].shape[1] + 1
        return low + (high - low) * noise.uniform(state.key, before, 2, first)[:, :1]

    def begin(self, mean: Tensor, logvar: Tensor, keys: Tensor) -> State:
        """Return the state in which a first frame with this μ and log σ² (N, Z) has been seen."""
        before = torch.full_like(keys, -1)
        z = sample_latent(mean, logvar, noise.normal(keys, before, mean.shape[1]))
        zeros = z.new_zeros(len(z), self.memory.config.hidden)
        health = z.new_full((len(z),), self.task.health)
        return State(z, zeros, zeros.clone(), before + 1, keys, health)

    def step(
        self, state: State, action: Tensor, temperature: Tensor
    ) -> tuple[State, Tensor, Tensor]:
        """Dream one step.

        Args:
            action: (N, A) as M is told them: for Doom -1 left, 0 stay, 1 right.
            temperature: (N, 1), divides the mixture logits and scales the variances.

        Returns:
            The next state, rewards (N,) and which dreams terminated (N,).
        """
        prediction, h, c = self._advance(state, action)
        size = self.memory.config.z_size
        mixture = noise.uniform(state.key, state.step, size)
        normal = noise.normal(state.key, state.step, size, first=size // 2)
        z = sample(prediction, mixture, normal, temperature).clamp(-BOUND, BOUND)
        chance = noise.uniform(state.key, state.step, 2, first=size)  # (N, 2)
        outcome = dict(
            zip(self.memory.config.heads, torch.sigmoid(prediction.heads.T), strict=True)
        )
        health = state.health
        if self.death == "health":
            hit = chance[:, 0] < outcome["hit"]  # ~ Bernoulli(p)
            roll = 1 + torch.floor(chance[:, 1] * self.task.faces)  # ~ U{1..8}
            damage = self.task.damage * roll
            health = (health - damage * hit).clamp_min(0)
            dead = health <= 0
        else:
            dead = chance[:, 0] < outcome["death"]
        after = State(z, h, c, state.step + 1, state.key, health)
        return after, torch.ones_like(health), dead

    def follow(self, state: State, action: Tensor, frames: Tensor) -> State:
        """Take in an action (N, A) and the real frames (N, 64, 64, 3) uint8 that came of it.

        The twin's step: M advances on what V saw instead of on its own prediction.
        """
        mean, logvar = self.vision.encode(frames)
        normal = noise.normal(state.key, state.step, mean.shape[1])
        _, h, c = self._advance(state, action)
        z = sample_latent(mean, logvar, normal).clamp(-BOUND, BOUND)
        return replace(state, z=z, h=h, c=c, step=state.step + 1)

    def observe(self, state: State, kind: str) -> Tensor:
        """Return what an agent sees: (N, size) float32, or (N, 64, 64, 3) uint8 for `"rgb"`.

        C sees z of the frame before it and h (and c) from before M takes that frame in.
        """
        if kind == "rgb":
            return self.decode(state.z)
        return torch.cat([getattr(state, part) for part in OBSERVATIONS[kind]], dim=1)

    def decode(self, z: Tensor) -> Tensor:
        """Return V's picture of latents z (N, Z): uint8 (N, 64, 64, 3)."""
        pixels = self.vision.decode(z).permute(0, 2, 3, 1)
        return (pixels * 255).round().to(torch.uint8)

    def _advance(self, state: State, action: Tensor) -> tuple[Prediction, Tensor, Tensor]:
        """M's step over a whole number of blocks; see `BLOCK`."""
        n = len(state)
        extra = -n % BLOCK
        rows = [torch.nn.functional.pad(x, (0, 0, 0, extra)) if extra else x
                for x in (state.z, action, state.h, state.c)]  # fmt: skip
        prediction, h, c = self.memory.step(*rows)
        return Prediction(*(part[:n] for part in prediction)), h[:n], c[:n]

"""A world: V and M as one batched simulator that knows no game engine and no Gymnasium.

A dream is M running on its own predictions. Everything that dreams goes through `World.step`: the
environments, the evolution of controllers, the benchmark.
"""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from dreamgym import noise
from dreamgym.engines import kernels
from dreamgym.engines.linear import Linear
from dreamgym.games import Game
from dreamgym.models.mdn_rnn import MDNRNN, sample
from dreamgym.models.vae import VAE
from dreamgym.models.vae import sample as sample_latent
from dreamgym.modes import ours, plainly

OBSERVATIONS = {"z": "z", "zh": "zh", "zhc": "zch"}
"""Kinds of latent observation and the order of their parts, the paper's [z, c, h] for Doom."""
FORMS = ("auto", "torch", "compiled")
"""How a world steps: `auto` by `kernels` on a CPU and by PyTorch elsewhere; `torch` by PyTorch
alone, the reference; `compiled` by that through PyTorch's compiler, which on a GPU makes one CUDA
graph of it and on a CPU needs a C++ compiler."""
GRAPHS = 64
"""Most graphs a process may hold, of all its worlds, batches and modes together; 8 by PyTorch."""
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
    counts: Tensor  # (N, C) what the rules keep count of: health, or tiles

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, rows: Tensor | slice) -> State:
        return State(*(getattr(self, field.name)[rows] for field in fields(self)))

    def clone(self) -> State:
        """Return a state in memory of its own."""
        return State(*(getattr(self, field.name).clone() for field in fields(self)))

    def put(self, rows: Tensor, other: State) -> None:
        """Overwrite some rows."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)


class World:
    """V, M, and what a dream needs to start and to end.

    A world has V and M of its own and is never written to: whoever trains theirs on makes another
    world of them. So a copy of something that holds a world may share it.

    Args:
        game: the game that was learned.
        vision: V, of which it takes a copy.
        memory: M, of which it takes a copy.
        starts: μ and log σ² (S, Z) of real first frames, and the budgets (S,) that go with them:
            what the first of the rules' counts begins with.
        death: how a dream ends, where the rules know several ways: see `games.rules.Survival`.
        form: how it steps, one of `FORMS`. All dream the same distribution, not the same bits.

    Raises:
        ValueError: if there is no such `death` or `form`, or M does not foretell what the rules
            need.
    """

    @ours()
    def __init__(
        self,
        game: Game,
        vision: VAE,
        memory: MDNRNN,
        starts: tuple[Tensor, Tensor, Tensor],
        death: str = "health",
        form: str = "auto",
    ):
        if form not in FORMS:
            raise ValueError(f"form is {form!r}: choose one of {', '.join(FORMS)}")
        rules = game.rules.ending(death)
        if memory.config.heads != rules.heads:
            raise ValueError(
                f"M foretells {', '.join(memory.config.heads) or 'nothing'}; the rules of "
                f"{game.name} need {', '.join(rules.heads)}: train it for this game"
            )
        vision, memory = copy.deepcopy(vision).eval(), copy.deepcopy(memory).eval()
        for parameter in (*vision.parameters(), *memory.parameters()):
            parameter.requires_grad_(False)
        self.game, self.rules, self.death = game, rules, death
        self.vision, self.memory, self.starts, self.form = vision, memory, starts, form
        self.fused = form == "auto" and self.device.type == "cpu"
        gates = torch.cat((memory.weight_ih, memory.weight_hh), dim=1)  # one product, not two
        self._gates = Linear(gates, memory.bias, packed=self.fused)
        self._head = Linear(memory.head.weight, memory.head.bias, packed=self.fused)
        if form == "compiled":
            graphs = "reduce-overhead" if self.device.type == "cuda" else "default"
            self._graph = torch.compile(self._advance, fullgraph=True, mode=graphs)

    def __deepcopy__(self, _: dict[int, Any]) -> World:
        """Return itself: nobody writes to a world, and its weights are large."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles are made anew: laid out weights and graphs are their process's alone."""
        parts = (self.game, self.vision, self.memory, self.starts, self.death, self.form)
        return World, parts

    @property
    def device(self) -> torch.device:
        return self.starts[0].device

    @ours()
    def to(
        self,
        device: str | torch.device,
        precision: torch.dtype = torch.float32,
        form: str = "",
    ) -> World:
        """Return a copy on a device, M's products in a precision; bfloat16 is twice as fast
        where the processor knows it.

        Args:
            form: how it steps, one of `FORMS`; as before if empty.
        """
        mean, logvar, budget = (part.to(device) for part in self.starts)
        vision = copy.deepcopy(self.vision).to(device)
        memory = copy.deepcopy(self.memory).to(device, precision)
        return World(
            self.game, vision, memory, (mean, logvar, budget), self.death, form or self.form
        )

    def size(self, kind: str) -> int:
        """Numbers in an observation of a latent kind.

        Raises:
            ValueError: if there is no such kind; the message lists those that exist.
        """
        if kind not in OBSERVATIONS:
            raise ValueError(f"observation is {kind!r}: choose one of {', '.join(OBSERVATIONS)}")
        parts = {"z": self.memory.config.z_size, "h": self.memory.config.hidden}
        return sum(parts.get(part, parts["h"]) for part in OBSERVATIONS[kind])

    def check_room(self, dreams: int) -> None:
        """Refuse more dreams than this machine has memory for, however much of it is free.

        Raises:
            ValueError: naming how many fit.
        """
        config = self.memory.config
        outputs = 3 * config.mixtures * config.z_size
        each = 4 * (4 * config.hidden + outputs + 3 * (config.z_size + 2 * config.hidden))  # a step
        if self.device.type == "cuda":
            there = torch.cuda.mem_get_info(self.device)[0]
        else:
            there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if dreams * each > there:
            raise ValueError(
                f"num_envs is {dreams}: they take {dreams * each / 2**30:,.0f} GiB, {self.device} "
                f"has {there / 2**30:,.0f}: give {there // each:,} or fewer"
            )

    @plainly
    def start(self, seeds: Tensor, episodes: Tensor | None = None) -> State:
        """Begin dreams from real first frames.

        Args:
            seeds: (N,) int64.
            episodes: (N,) int64, the number of the episode under its seed; zeros if None.
        """
        seeds = seeds.to(self.device)
        keys = noise.key(seeds, torch.zeros_like(seeds) if episodes is None else episodes)
        mean, logvar, budget = self.starts
        before = torch.full_like(keys, -1)  # the step before the first: lanes of its own
        which = noise.uniform(keys, before, 2, first=mean.shape[1])[:, 0]
        chosen = (which * len(mean)).long()
        return self.begin(mean[chosen], logvar[chosen], keys, self.rules.begin(budget[chosen]))

    @plainly
    def draw_temperature(self, state: State, low: float, high: float) -> Tensor:
        """Draw each dream's τ ~ U(low, high), (N, 1); the same number if both ends are."""
        before, first = torch.full_like(state.key, -1), self.starts[0].shape[1] + 1
        return low + (high - low) * noise.uniform(state.key, before, 2, first)[:, :1]

    @plainly
    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return V's μ and log σ², both (N, Z) float32, of frames (N, 64, 64, 3) uint8."""
        return self.vision.encode(frames)

    @plainly
    def begin(self, mean: Tensor, logvar: Tensor, keys: Tensor, counts: Tensor) -> State:
        """Return the state in which a first frame with this μ and log σ² (N, Z) has been seen.

        Args:
            keys: (N,) int64, see `noise.key`.
            counts: (N, C), see `games.rules.Rules`.
        """
        before = torch.full_like(keys, -1)
        z = sample_latent(mean, logvar, noise.normal(keys, before, mean.shape[1]))
        zeros = z.new_zeros(len(z), self.memory.config.hidden)
        # Memory of its own: a tensor that was made in inference mode may not be written to.
        return State(z, zeros, zeros.clone(), before + 1, keys.clone(), counts.clone())

    @plainly
    def step(
        self, state: State, action: Tensor, temperature: Tensor
    ) -> tuple[State, Tensor, Tensor]:
        """Dream one step.

        Args:
            action: (N, A) as M takes them, see `envs.actions.to_vectors`.
            temperature: (N, 1), divides the mixture logits and scales the variances.

        Returns:
            The next state, rewards (N,) and which dreams terminated (N,).
        """
        if self.form != "compiled":
            return self._advance(state, action, temperature)
        given = (*(getattr(state, field.name) for field in fields(state)), action, temperature)
        for part in given:  # one graph for all numbers of dreams but 1
            torch._dynamo.maybe_mark_dynamic(part, 0)
        torch.compiler.cudagraph_mark_step_begin()
        with torch._dynamo.config.patch(recompile_limit=GRAPHS):
            after, reward, dead = self._graph(state, action, temperature)
        if self.device.type == "cuda":  # a graph writes into the same memory every time
            after, reward, dead = after.clone(), reward.clone(), dead.clone()
        return after, reward, dead

    def _advance(
        self, state: State, action: Tensor, temperature: Tensor
    ) -> tuple[State, Tensor, Tensor]:
        """Dream one step; see `step`."""
        if self.fused:
            z, h, c, heads, chance = self._fused(state, action, temperature)
        else:
            size = self.memory.config.z_size
            h, c = self._remember(state, action)
            prediction = self.memory.parts(self._head(h))
            mixture = noise.uniform(state.key, state.step, size)
            normal = noise.normal(state.key, state.step, size, first=size // 2)
            z = sample(prediction, mixture, normal, temperature)
            heads, chance = prediction.heads, noise.uniform(state.key, state.step, 2, first=size)
        odds = torch.sigmoid(heads)  # (N, O)
        counts, reward, dead = self.rules.settle(state.counts, odds, chance, state.step)
        after = State(z.clamp_(-BOUND, BOUND), h, c, state.step + 1, state.key, counts)
        return after, reward, dead

    @plainly
    def follow(self, state: State, action: Tensor, frames: Tensor) -> State:
        """Take in an action (N, A) and the real frames (N, 64, 64, 3) uint8 that came of it.

        The twin's step: M advances on what V saw instead of on its own prediction.
        """
        mean, logvar = self.encode(frames)
        normal = noise.normal(state.key, state.step, mean.shape[1])
        h, c = self._remember(state, action)
        z = sample_latent(mean, logvar, normal).clamp(-BOUND, BOUND)
        return replace(state, z=z, h=h, c=c, step=state.step + 1)

    @plainly
    def observe(self, state: State, kind: str) -> Tensor:
        """Return what an agent sees: (N, size) float32, or (N, 64, 64, 3) uint8 for `"rgb"`.

        C sees z of the frame before it and h (and c) from before M takes that frame in.
        """
        if kind == "rgb":
            return self.decode(state.z)
        return torch.cat([getattr(state, part) for part in OBSERVATIONS[kind]], dim=1)

    @plainly
    def decode(self, z: Tensor) -> Tensor:
        """Return V's picture of latents z (N, Z): uint8 (N, 64, 64, 3)."""
        half = self._gates.weight.dtype is torch.bfloat16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            pixels = self.vision.decode(z).permute(0, 2, 3, 1)
        return (pixels * 255).round().to(torch.uint8)

    def _remember(self, state: State, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return M's h and c (N, H) after an action (N, A)."""
        gates = self._sums(state.z, action, state.h)
        if not self.fused:
            return self.memory.cells(gates, state.c)
        h, c = torch.empty_like(state.h), torch.empty_like(state.c)
        kernels.cells(gates, state.c, h, c)
        return h, c

    def _fused(
        self, state: State, action: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return z, h, c, the heads' logits (N, O) and two numbers ~ U(0, 1) (N, 2)."""
        n, outcomes = len(state), len(self.memory.config.heads)
        z, h, c = (torch.empty_like(part) for part in (state.z, state.h, state.c))
        heads, chance = z.new_empty(n, outcomes), z.new_empty(n, 2)
        action, temperature = action.detach(), temperature.detach().expand(n, 1)

        def dream(rows: slice) -> None:
            gates = self._sums(state.z[rows], action[rows], state.h[rows])
            kernels.cells(gates, state.c[rows], h[rows], c[rows])
            out = self._head(h[rows])
            noises = (state.key[rows], state.step[rows], temperature[rows])
            kernels.draw(out, self.memory.config.mixtures, *noises, z[rows], chance[rows])
            heads[rows] = out[:, -outcomes:]

        kernels.shared(dream, n)
        return z, h, c, heads, chance

    def _sums(self, z: Tensor, action: Tensor, h: Tensor) -> Tensor:
        """Return what goes into the gates (N, 4H)."""
        return self._gates(torch.cat((z, action, h), dim=1))

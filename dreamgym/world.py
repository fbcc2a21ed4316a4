"""A world: V and M as one batched simulator, without a game engine and without Gymnasium.

In a dream, M runs on its own predictions. The environments, the evolution of controllers and the
benchmark all dream by `World.step`.
"""

from __future__ import annotations

import copy
import operator
import os
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamgym import noise
from dreamgym.engines import kernels, tiles
from dreamgym.engines.convolutions import Convolutions
from dreamgym.engines.linear import Linear
from dreamgym.engines.step import Moment, Step
from dreamgym.engines.threads import shared
from dreamgym.games import Game, rules
from dreamgym.games.rules import Learned
from dreamgym.models.mdn_rnn import MDNRNN, sample
from dreamgym.models.sight import Sight, Vision, pictures
from dreamgym.models.standard import Standard
from dreamgym.models.vae import VAE
from dreamgym.models.vae import sample as sample_latent
from dreamgym.modes import bfloat16, flushes, ours, plainly

OBSERVATIONS = {"z": "z", "zh": "zh", "zhc": "zch", "own": ""}
"""Kinds of observation and the order of their parts. Doom's [z, c, h] is the paper's. `own` is the
game's own observation, of which V makes z: only a game that shows numbers has it."""
FORMS = ("auto", "torch", "compiled")
"""How a step is computed. `auto`: by compiled code (`engines`) on a CPU, by PyTorch elsewhere.
`torch`: by PyTorch alone, which is the reference. `compiled`: by PyTorch's compiler, which makes
the step one CUDA graph on a GPU, and needs a C++ compiler on a CPU."""
GRAPHS = 64
"""Most compiled graphs in a process, of all worlds, batches and modes; PyTorch's default is 8."""
SHARE = 32
"""Fewest dreams in bfloat16 for which one more thread pays, as measured."""
BOUND = 50.0
"""Latents are clipped to ± this, the paper's observation space; those of V are within ± 5."""


def room(device: torch.device) -> float:
    """Return the bytes of a device's memory: all of a CPU's, and those of a GPU that are free.

    Where the system does not tell, as Windows does not tell Python, they are infinite.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if not hasattr(os, "sysconf"):
        return float("inf")
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@dataclass
class State:
    """The state of N dreams, or of N real games seen through V and M."""

    z: Tensor  # (N, Z)
    h: Tensor  # (N, H)
    c: Tensor  # (N, H)
    step: Tensor  # (N,) int64, steps taken
    key: Tensor  # (N,) int64, see `noise.key`
    counts: Tensor  # (N, C) the counts of the rules: health, or tiles

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, rows: Tensor | slice) -> State:
        return State(*(getattr(self, field.name)[rows] for field in fields(self)))

    def clone(self) -> State:
        """Return a copy that shares no memory with this state."""
        return State(*(getattr(self, field.name).clone() for field in fields(self)))

    def __deepcopy__(self, _: dict[int, Any]) -> State:
        return self.clone()

    def __reduce__(self) -> tuple[Any, ...]:
        return State, self._tensors()

    def to(self, device: str | torch.device) -> State:
        """Return the same state on another device."""
        return State(*(part.to(device) for part in self._tensors()))

    def like(self) -> State:
        """Return a state of the same shapes, not filled but for the keys, which are the same."""
        z, h, c, step, key, counts = self._tensors()
        fresh = partial(torch.empty_like, memory_format=torch.contiguous_format)
        return State(fresh(z), fresh(h), fresh(c), fresh(step), key, fresh(counts))

    def arrays(self) -> Moment:
        """Return the same numbers in the same memory as arrays; only for a state on a CPU."""
        tensors = self._tensors()
        of, moment = self.__dict__.get("_arrays", ((), None))
        if moment is None or any(map(operator.is_not, tensors, of)):
            for field, tensor in zip(fields(self), tensors, strict=True):
                if not tensor.is_contiguous():  # compiled code reads the numbers in their order
                    setattr(self, field.name, tensor.contiguous())
            tensors = self._tensors()
            moment = Moment(*(tensor.numpy() for tensor in tensors))
            self.__dict__["_arrays"] = tensors, moment
        return moment

    def _tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.z, self.h, self.c, self.step, self.key, self.counts

    def put(self, rows: Tensor, other: State) -> None:
        """Overwrite some rows, given by indices or a mask, with those of another state."""
        if self.z.device.type == "cpu":  # NumPy takes a sixth of PyTorch's time for a few rows
            for part, new in zip(self.arrays(), other.arrays(), strict=True):
                part[rows.numpy()] = new
            return
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)


class World:
    """V, M, and what a dream needs to start and to end.

    A world never changes, so copies of an environment share it. It holds its own copies of V and
    M, so training them further does not change it.

    Args:
        game: the game that was learned.
        vision: V; the world copies it.
        memory: M; the world copies it.
        starts: for S first frames of real games, V's μ and log σ² (S, Z), and the budgets (S,).
            A budget is the value with which the first count of the rules begins: the player's
            health, or the number of the track's tiles.
        death: how a dream ends where the rules know two ways, see the game's rules.
        form: how a step is computed, one of `FORMS`. Forms differ in the bits of a dream, but not
            in the distribution of dreams.
        moments: moments inside real games, at which dreams can begin too: z, M's h and c, the steps
            taken and the counts. Their keys are not used. None if the world has none.

    Raises:
        ValueError: if there is no such `death` or `form`, or if M lacks an outcome that the rules
            need.
    """

    @ours()
    def __init__(
        self,
        game: Game,
        vision: Vision,
        memory: MDNRNN,
        starts: tuple[Tensor, Tensor, Tensor],
        death: str = "health",
        form: str = "auto",
        moments: State | None = None,
    ):
        if form not in FORMS:
            raise ValueError(f"form is {form!r}: choose one of {', '.join(FORMS)}")
        rules = game.rules.ending(death)
        try:
            rules = rules.foretold(memory.config.heads)
        except ValueError as error:
            raise ValueError(f"{error}: train M for {game.name}") from None
        vision, memory = copy.deepcopy(vision).eval(), copy.deepcopy(memory).eval()
        for parameter in (*vision.parameters(), *memory.parameters()):
            parameter.requires_grad_(False)
        self.game, self.rules, self.death = game, rules, death
        self.known = rules.known if isinstance(rules, Learned) else None
        self.vision, self.memory, self.starts, self.form = vision, memory, starts, form
        self.moments = moments
        self._middle, self._half = (torch.from_numpy(part).to(self.device) for part in game.middle)
        self.fused = form == "auto" and self.device.type == "cpu"
        self._noise = kernels if self.fused else noise
        single = memory.bias.dtype is torch.float32
        self.engine = None
        if self.fused and single and tiles.supported():
            self.engine = Step(memory, rules, BOUND)
        else:
            gates = torch.cat((memory.weight_ih, memory.weight_hh), dim=1)  # one product, not two
            self._gates = Linear(gates, memory.bias, packed=self.fused)
            self._head = Linear(memory.head.weight, memory.head.bias, packed=self.fused)
        if form == "compiled":
            graphs = "reduce-overhead" if self.device.type == "cuda" else "default"
            self._graph = torch.compile(self._advance, fullgraph=True, mode=graphs)

    def __deepcopy__(self, _: dict[int, Any]) -> World:
        """Return the world itself: it never changes, and its weights are large."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the parts alone: packed weights and compiled graphs belong to one process."""
        parts = (self.game, self.vision, self.memory, self.starts, self.death, self.form)
        return World, (*parts, self.moments)

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
        """Return a copy of the world on another device, in another precision or form.

        Args:
            device: where V and M run, such as `"cpu"` or `"cuda"`.
            precision: of M's weights and matrix products; on a GPU V's pictures follow it.
                `torch.bfloat16` is faster for large batches on a processor with instructions for
                it, and slower for a single dream.
            form: how a step is computed, one of `FORMS`; empty to keep this world's form.

        Raises:
            ValueError: if there is no such form.
        """
        mean, logvar, budget = (part.to(device) for part in self.starts)
        vision = copy.deepcopy(self.vision).to(device)
        memory = copy.deepcopy(self.memory).to(device, precision)
        starts, moments = (mean, logvar, budget), self.moments and self.moments.to(device)
        return World(self.game, vision, memory, starts, self.death, form or self.form, moments)

    def vae(self) -> VAE:
        """Return V, or that part of it which sees pictures.

        Raises:
            ValueError: if it sees numbers, so that there is no picture of a dream.
        """
        if isinstance(self.vision, Standard):
            raise ValueError(f"{self.game.called} shows numbers: its dreams have no pictures")
        return self.vision if isinstance(self.vision, VAE) else self.vision.vae

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of observation that are vectors, see `observe`."""
        return tuple(kind for kind in OBSERVATIONS if kind != "own" or not self.game.pictures)

    def size(self, kind: str) -> int:
        """Return how many numbers an observation of a kind has.

        Args:
            kind: one of `kinds`.

        Raises:
            ValueError: if there is no such kind; the message lists those that exist.
        """
        if kind not in self.kinds:
            raise ValueError(f"observation is {kind!r}: choose one of {', '.join(self.kinds)}")
        if kind == "own":
            return self.game.frame[0] - 1
        parts = {"z": self.memory.config.z_size, "h": self.memory.config.hidden}
        return sum(parts.get(part, parts["h"]) for part in OBSERVATIONS[kind])

    def check_room(self, dreams: int) -> None:
        """Refuse a number of dreams for which the world's device has too little memory, see `room`.

        Raises:
            ValueError: if they do not fit; the message says how many do.
        """
        config = self.memory.config
        outputs = 3 * config.mixtures * config.z_size
        each = 4 * (4 * config.hidden + outputs + 3 * (config.z_size + 2 * config.hidden))  # bytes
        there = room(self.device)
        if dreams * each > there:
            raise ValueError(
                f"num_envs is {dreams}: they take {dreams * each / 2**30:,.0f} GiB, {self.device} "
                f"has {there / 2**30:,.0f}: give {there // each:,} or fewer"
            )

    @plainly
    def start(self, seeds: Tensor, episodes: Tensor | None = None, anywhere: float = 0.0) -> State:
        """Begin N dreams, each from a real first frame drawn by its seed and episode.

        Args:
            seeds: (N,) int64.
            episodes: (N,) int64, the numbers of the episodes under their seeds; None for zeros.
            anywhere: the chance of each dream to begin at one of `moments` instead, inside a game.

        Raises:
            ValueError: if dreams are to begin there and the world has no such moments.
        """
        seeds = seeds.to(self.device)
        keys = self._noise.key(seeds, torch.zeros_like(seeds) if episodes is None else episodes)
        mean, logvar, budget = self.starts
        before = torch.full_like(keys, -1)  # the step before the first has noise of its own
        which = self._noise.uniform(keys, before, 2, first=mean.shape[1])[:, 0]
        chosen = (which * len(mean)).long()
        counts = self.rules.begin(budget[chosen])
        state = self.begin(mean[chosen], logvar[chosen], keys, counts)
        if anywhere:
            self._enter(state, anywhere)
        return state

    def check_moments(self) -> None:
        """Refuse to begin dreams inside games if the world knows no such moments.

        Raises:
            ValueError: if it knows none.
        """
        if self.moments is None:
            raise ValueError(
                "this world knows no moments inside games at which a dream could begin: begin at "
                "first frames, or make the world anew with `dreamgym memory`"
            )

    def _enter(self, state: State, chance: float) -> None:
        """Move some dreams that begin to moments inside real games, each with the same chance."""
        self.check_moments()
        assert self.moments is not None
        before, first = torch.full_like(state.key, -1), self.starts[0].shape[1] + 2
        drawn = self._noise.uniform(state.key, before, 2, first)
        rows = torch.nonzero(drawn[:, 0] < chance)[:, 0]
        moments = self.moments[(drawn[rows, 1] * len(self.moments)).long()]
        moments.key = state.key[rows]
        state.put(rows, moments)

    @plainly
    def draw_temperature(self, state: State, low: float, high: float) -> Tensor:
        """Draw each dream's τ ~ U(low, high), (N, 1); τ is exactly low if both ends are equal."""
        if low == high:
            return torch.full((len(state), 1), low, dtype=torch.float32, device=self.device)
        before, first = torch.full_like(state.key, -1), self.starts[0].shape[1] + 1
        return low + (high - low) * self._noise.uniform(state.key, before, 2, first)[:, :1]

    @plainly
    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return V's μ and log σ², both (N, Z) float32, of frames (N, …), see `Game.frame`."""
        kind = torch.uint8 if self.game.pictures else torch.float32
        if frames.shape[1:] != self.game.frame or frames.dtype is not kind:
            wanted = ", ".join(map(str, ("N", *self.game.frame)))
            raise ValueError(
                f"frames are {frames.dtype} {tuple(frames.shape)}: give {kind} ({wanted})"
            )
        if not self._convolutions:
            return self.vision.encode(frames)
        sight = self.vision if isinstance(self.vision, Sight) else None
        shown = pictures(frames) if sight else frames
        mean, logvar = map(torch.from_numpy, self._convolutions.encode(shown.numpy()))
        return sight.join(mean, logvar, frames) if sight else (mean, logvar)

    @plainly
    def begin(self, mean: Tensor, logvar: Tensor, keys: Tensor, counts: Tensor) -> State:
        """Return the state of N episodes at their first frames: z is drawn, and h and c are zero.

        Args:
            mean, logvar: V's μ and log σ² (N, Z) of the first frames.
            keys: (N,) int64, see `noise.key`.
            counts: (N, C), see `games.rules.Rules`.
        """
        before = torch.full_like(keys, -1)
        z = sample_latent(mean, logvar, self._noise.normal(keys, before, mean.shape[1]))
        zeros = z.new_zeros(len(z), self.memory.config.hidden)
        # clone(): the caller's tensors may come from inference mode and could not be written to.
        return State(z, zeros, zeros.clone(), before + 1, keys.clone(), counts.clone())

    @plainly
    def step(
        self, state: State, action: Tensor, temperature: Tensor
    ) -> tuple[State, Tensor, Tensor]:
        """Dream one step.

        Rules that a user wrote work on arrays: on a GPU, they make each step wait for the CPU.

        Args:
            action: (N, A) float32, the vectors that M takes, see `envs.actions.to_vectors`.
            temperature: (N, 1) ≥ 0, divides the mixture logits and multiplies the variances.

        Returns:
            The next state, the rewards (N,) float32 and whether each dream terminated (N,) bool.
        """
        shown = self.show(state, "own") if self.known else None
        if self.form == "compiled":
            after, reward, dead = self._compiled(state, action, temperature)
        else:
            after, reward, dead = self._advance(state, action, temperature)
        if isinstance(self.vision, VAE):
            return after, reward, dead
        return after, *self._learned(shown, action, after, dead)

    def _compiled(
        self, state: State, action: Tensor, temperature: Tensor
    ) -> tuple[State, Tensor, Tensor]:
        """Dream one step by `_advance`, compiled; see `step`."""
        given = (*(getattr(state, field.name) for field in fields(state)), action, temperature)
        for part in given:  # one graph for every number of dreams except 1
            torch._dynamo.maybe_mark_dynamic(part, 0)
        torch.compiler.cudagraph_mark_step_begin()
        with torch._dynamo.config.patch(recompile_limit=GRAPHS):
            after, reward, dead = self._graph(state, action, temperature)
        if self.device.type == "cuda":  # the graph's next run overwrites what it has returned
            after, reward, dead = after.clone(), reward.clone(), dead.clone()
        return after, reward, dead

    def _advance(
        self, state: State, action: Tensor, temperature: Tensor
    ) -> tuple[State, Tensor, Tensor]:
        """Dream one step; see `step`."""
        self._check_actions(len(state), action.shape)
        action = self._taken(action)
        if self.engine:
            after, tau = state.like(), temperature.expand(len(state), 1)
            arrays = (state.arrays(), _array(action), _array(tau), after.arrays())
            reward, dead = map(torch.from_numpy, self.engine.dream(*arrays))
            return after, reward, dead
        if self.fused:
            z, h, c, heads, chance = self._fused(state, action, temperature)
        else:
            size = self.memory.config.z_size
            h, c = self._remember(state, action)
            prediction = self.memory.parts(self._head(h), state.z)
            mixture = noise.uniform(state.key, state.step, size)
            normal = noise.normal(state.key, state.step, size, first=size // 2)
            z = sample(prediction, mixture, normal, temperature)
            heads, chance = prediction.heads, noise.uniform(state.key, state.step, 2, first=size)
        odds = torch.sigmoid(heads)  # (N, O)
        counts, reward, dead = self.rules.settle(state.counts, odds, chance, state.step)
        after = State(z.clamp_(-BOUND, BOUND), h, c, state.step + 1, state.key, counts)
        return after, reward, dead

    def _learned(
        self, shown: np.ndarray | None, action: Tensor, after: State, dead: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the rewards (N,) of a step in a user's own game, and which dreams end (N,).

        What an end would have paid is then taken out of z, where V never puts it.

        Args:
            shown: what the author's rules see before the step, (N, O); None if there are none.
            dead: which dreams end (N,), as M foretells.
        """
        assert not isinstance(self.vision, VAE)
        if self.known is None or shown is None:
            reward = self.vision.reward(after.z, dead)
        else:
            steps = shown, _array(action.cpu()), self.show(after, "own")
            ended = rules.ended(self.known, *steps, _array(dead.cpu()))
            dead = torch.from_numpy(ended).to(self.device)
            foretold = _array(self.vision.reward(after.z, dead).cpu())
            reward = torch.from_numpy(rules.paid(self.known, *steps, foretold)).to(self.device)
        after.z[:, -1] = 0
        return reward, dead

    def advance(
        self, state: State, action: np.ndarray, temperature: Tensor
    ) -> tuple[State, np.ndarray, np.ndarray]:
        """Dream one step as `step` does, for environments: arrays go in and come out.

        The next state may be written over `state`, which must not be used again.
        """
        if self.engine and not flushes():
            self._check_actions(len(state), action.shape)
            shown = self.show(state, "own") if self.known else None
            now, there = state.arrays(), torch.from_numpy(action)
            taken = self._taken(there).numpy()
            paid, ended = self.engine.dream(now, taken, temperature.numpy(), now)
            if isinstance(self.vision, VAE):
                return state, paid, ended
            reward, dead = self._learned(shown, there, state, torch.from_numpy(ended))
            return state, reward.numpy(), dead.numpy()
        there = torch.from_numpy(action).to(self.device)
        state, reward, dead = self.step(state, there, temperature)
        return state, reward.cpu().numpy(), dead.cpu().numpy()

    @plainly
    def follow(self, state: State, action: Tensor, frames: Tensor) -> State:
        """Return the state of N real games after actions (N, A) and the frames that followed.

        This is the twin's step. It differs from a dream's step in z, which comes from V's encoding
        of the frames (N, …) and not from M's prediction. Counts stay as they are.
        """
        self._check_actions(len(state), action.shape)
        mean, logvar = self.encode(frames)
        normal = self._noise.normal(state.key, state.step, mean.shape[1])
        h, c = self._remember(state, self._taken(action))
        z = sample_latent(mean, logvar, normal).clamp_(-BOUND, BOUND)
        return State(z, h, c, state.step + 1, state.key, state.counts)

    @plainly
    def foretell(self, state: State, action: Tensor) -> Tensor:
        """Return the chances (N, O) that M gives the outcomes of actions (N, A).

        Their names, in this order, are M's `config.heads`.
        """
        self._check_actions(len(state), action.shape)
        h, _ = self._remember(state, self._taken(action))
        return torch.sigmoid(self.memory.predict(h, state.z).heads)

    @plainly
    def observe(self, state: State, kind: str) -> Tensor:
        """Return the observations: (N, `size(kind)`) float32, or (N, 64, 64, 3) uint8 for `"rgb"`.

        `"own"` is the game's own observation in its own units: a frame without the reward.

        z encodes the current frame. h and c are M's state from before it takes this frame in: the
        next step feeds z and the action to M. The paper does the same.

        Args:
            kind: `"z"`, `"zh"`, `"zhc"`; also `"rgb"` or, if V sees numbers, `"own"`.
        """
        if kind == "rgb":
            return self.decode(state.z)
        if kind == "own":
            return self.decode(state.z)[:, :-1]
        return torch.cat([getattr(state, part) for part in OBSERVATIONS[kind]], dim=1)

    def show(self, state: State, kind: str) -> np.ndarray:
        """Return the same observations as an array that later steps do not overwrite."""
        if not OBSERVATIONS.get(kind) or self.device.type != "cpu":
            return self.observe(state, kind).cpu().numpy()
        now = state.arrays()
        return np.concatenate([getattr(now, part) for part in OBSERVATIONS[kind]], axis=1)

    @plainly
    def decode(self, z: Tensor) -> Tensor:
        """Return what V sees in latents z (N, Z): pictures (N, 64, 64, 3) uint8, or else frames
        (N, F) float32."""
        if z.ndim != 2 or z.shape[1] != self.memory.config.z_size:
            size = self.memory.config.z_size
            raise ValueError(f"z is {tuple(z.shape)}: give latents (N, {size})")
        if isinstance(self.vision, Standard):
            return self.vision.decode(z)
        vae = self.vae()
        z = z[:, : vae.config.z_size]  # the reward, if z holds it, is not drawn
        if self._convolutions:  # one frame takes a sixth of PyTorch's time in bfloat16
            return torch.from_numpy(self._convolutions.decode(z.detach().numpy()))
        with bfloat16(self.device.type, self.memory.bias.dtype is torch.bfloat16):
            pixels = vae.decode(z).permute(0, 2, 3, 1)
        return (pixels * 255).round().to(torch.uint8)

    @cached_property
    def _convolutions(self) -> Convolutions | None:
        """V as compiled code, made when it is first needed; None where PyTorch computes."""
        if self.fused and tiles.supported() and self.game.pictures:
            return Convolutions(self.vae())
        return None

    def _check_actions(self, dreams: int, shape: tuple[int, ...]) -> None:
        """Refuse actions of another shape, for which compiled code would read foreign memory."""
        wanted = dreams, self.memory.config.action_size
        if shape != wanted:
            raise ValueError(f"actions are {tuple(shape)}: give {wanted}, one for each dream")

    def _taken(self, action: Tensor) -> Tensor:
        """Return actions (N, A) as M takes them, see `MemoryConfig.unit`."""
        return (action - self._middle) / self._half if self.memory.config.unit else action

    def _remember(self, state: State, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return M's h and c (N, H) after it takes in the state's z and an action (N, A)."""
        h, c = torch.empty_like(state.h), torch.empty_like(state.c)
        if self.engine:
            self.engine.remember(state.arrays(), _array(action), h.numpy(), c.numpy())
            return h, c
        gates = self._sums(state.z, action, state.h)
        if not self.fused:
            return self.memory.cells(gates, state.c)
        kernels.cells(gates, state.c, h, c)
        return h, c

    def _fused(
        self, state: State, action: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Dream one step by `engines.kernels`.

        Returns:
            The next z, h and c, the heads' logits (N, O), and two numbers ~ U(0, 1) for the rules
            (N, 2).
        """
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
            kept = self.memory.config.residual
            z[rows, :kept] += state.z[rows, :kept]
            heads[rows] = out[:, -outcomes:]

        shared(dream, n, SHARE, torch_inside=True)
        return z, h, c, heads, chance

    def _sums(self, z: Tensor, action: Tensor, h: Tensor) -> Tensor:
        """Return the inputs of the LSTM's gates before their nonlinearities (N, 4H)."""
        return self._gates(torch.cat((z, action, h), dim=1))


def _array(tensor: Tensor) -> np.ndarray:
    """Return a tensor's numbers as an array, in its memory if they lie there in order."""
    return tensor.detach().contiguous().numpy()

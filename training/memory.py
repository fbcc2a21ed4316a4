"""The command `memory`: train M, then write V, M and some real first frames as a world.

M learns to predict the next latent of V, and the outcomes of the action, such as a hit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dreamgym import games, modes
from dreamgym.checkpoint import is_world, load_world, real_frames, save_world, world_folder
from dreamgym.engines.linear import supports_bfloat16
from dreamgym.games import Game, own
from dreamgym.games.rules import Rules
from dreamgym.models.mdn_rnn import MDNRNN, MemoryConfig
from dreamgym.models.sight import Vision
from dreamgym.models.standard import Standard
from dreamgym.models.vae import VAE, sample
from dreamgym.world import State, World

from . import trainer
from .data.latents import Latents, encode, fingerprint
from .flags import DATA, RUNS, Flat, Name, Whole, game_for
from .runs import Run, check_folder, read
from .vision import load_vision

MOMENTS = 2000
"""Moments inside real games at which a world's dreams can begin too. Our choice: 2 to 4 MB."""
SOON = 80
"""Steps within which the next prize must come after such a moment, see `Rules.prize`. Our choice:
most cars that find back to the road do so in that time, and what comes later teaches nothing."""
UNLIKELY = -3.0
"""Logit of an outcome that M does not know yet: 5 %."""
FLOOR = 0.03
"""Least standard deviation in M's loss where frames hold rewards. Our choice, from a few trials on
CartPole, as the next one is (`training/LOG.md`)."""
END = 10.0
"""Weight of the end's cross-entropy in the loss there: exact numbers have large gradients too."""
STARTS = 1000
"""Real first frames from which a world's dreams start (the paper's initial_z.json for Doom)."""


@dataclass(frozen=True)
class Args:
    """How M is trained."""

    steps: Whole = 6000
    """Steps of Adam."""
    batch: int = 64
    """Episodes side by side in a batch."""
    length: int = 64
    """Steps through which gradients flow back. M's state is carried on to the episode's end."""
    learning_rate: float = 1.5e-3
    """Peak of Adam's learning rate, which falls as a cosine to a hundredth of it."""
    clip: float = 1.0
    """Largest norm of the gradient; a larger one is scaled down."""
    init: str = ""
    """Run folder of an M, trained on the same V's latents, from which training begins. Or a world,
    whose M may have learned from an earlier V: it learns the difference sooner than all anew."""
    held_out: int = 20
    """Hold out one of so many episodes from training, for `examine`."""
    seed: int = 0
    """Seed of the first weights, of the order of episodes and of the noise."""

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 1), ("length", 1), ("held_out", 2)):
            if (given := getattr(self, name)) < least:
                raise ValueError(f"{name} is {given}: give {least} or more")


@modes.ours(flush=True)
def train(
    latents: Latents,
    out: str | Path,
    args: Args,
    config: MemoryConfig,
    progress: bool = True,
    vision: Vision | None = None,
) -> MDNRNN:
    """Train M on all but the held-out episodes, resuming from a checkpoint in `out` if any.

    Args:
        vision: V of the latents, if it sees numbers, and M begins from a world whose V may have
            measured them otherwise.

    Raises:
        ValueError: if M's sizes differ from those of the latents, or `out` was begun with other
            arguments or latents.
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
    if args.init and not is_world(args.init):
        path = Path(args.init) / "memory.json"
        if (seen := read(path).get("vision")) != latents.vision:
            raise ValueError(
                f"init {args.init} learned from another V's latents ({seen}, these are "
                f"{latents.vision}): begin anew"
            )
    with Run(out, "memory", args, inputs) as run:
        return _train(run, latents, args, config, progress, vision)


def config_for(game: Game) -> MemoryConfig:
    """Return the shape and the loss of M for a game."""
    config = MemoryConfig(game.z_size, len(game.low), game.hidden, heads=game.rules.heads)
    if not game.rewarded:
        return config
    residual = 0 if game.pictures else game.frame[0] - 1  # all numbers but the reward
    return replace(config, residual=residual, paid=True, unit=game.unit, floor=FLOOR, outcome=END)


def _train(
    run: Run, latents: Latents, args: Args, config: MemoryConfig, progress: bool,
    vision: Vision | None,
) -> MDNRNN:  # fmt: skip
    torch.default_generator.manual_seed(args.seed)
    m, init = MDNRNN(config), args.init
    if init and is_world(init):
        earlier = load_world(init)
        go_on_from(m, earlier.memory)
        if isinstance(vision, Standard) and isinstance(earlier.vision, Standard):
            restandardise(m, earlier.vision, vision)
        init = ""
    training, _ = split(latents, args.held_out)
    plan = trainer.Plan(
        "M", args.steps, args.learning_rate, args.seed, init, args.clip,
        facts={"vision": latents.vision},
    )  # fmt: skip
    return trainer.fit(run, m, Objective(m, Batches(latents, training, args)), plan, progress)


@torch.no_grad()
def go_on_from(m: MDNRNN, earlier: MDNRNN) -> None:
    """Give M the weights of an earlier one, which may foretell fewer outcomes.

    An outcome that the earlier one does not know begins as an unlikely one.

    Raises:
        ValueError: if the two differ in anything else.
    """
    if replace(earlier.config, heads=m.config.heads) != m.config:
        raise ValueError(f"init holds an M of {earlier.config}, this one is {m.config}")
    weights = earlier.state_dict()
    before = m.head.out_features - len(m.config.heads)  # outputs of the mixture
    rows = [
        before + earlier.config.heads.index(name) if name in earlier.config.heads else -1
        for name in m.config.heads
    ]
    for name, unknown in (("head.weight", 0.0), ("head.bias", UNLIKELY)):
        old = weights[name]
        new = [old[row] if row >= 0 else torch.full_like(old[0], unknown) for row in rows]
        weights[name] = torch.cat((old[:before], torch.stack(new)))
    m.load_state_dict(weights)


@torch.no_grad()
def restandardise(m: MDNRNN, before: Standard, after: Standard) -> None:
    """Let M foretell of z by one V what it foretold of z by another one, which measured otherwise.

    What was z is then z · `scale` + `shift`.
    """
    size, rewards = m.config.z_size, before.config.inputs - 1
    scale, shift = torch.ones(size), torch.zeros(size)
    at, of = [*range(rewards), -2, -1], [*range(rewards), rewards, rewards]
    scale[at] = (after.deviation / before.deviation)[of]
    shift[at] = ((after.mean - before.mean) / before.deviation)[of]
    shown = shift.clone()
    shown[-1] = 0  # where V never puts a reward
    m.bias.add_(m.weight_ih[:, :size] @ shown)
    m.weight_ih[:, :size] *= scale
    outputs = 3 * m.config.mixtures * size
    weight = m.head.weight[:outputs].unflatten(0, (3, -1, size))
    bias = m.head.bias[:outputs].unflatten(0, (3, -1, size))
    shift[: m.config.residual] = 0  # of these, M foretells the change
    weight[1] /= scale[:, None]
    bias[1].sub_(shift).div_(scale)
    bias[2] -= scale.log()


class Objective:
    """M's loss on slabs of episodes; M's state flows on from each slab to the next."""

    def __init__(self, m: MDNRNN, batches: Batches):
        self.m, self.batches = m, batches
        self.half = supports_bfloat16("cpu") and not m.config.residual  # exact numbers stay exact
        self.h = self.c = torch.zeros(batches.args.batch, m.config.hidden)  # (B, H)

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        batch, fresh = self.batches.next()
        keep = (~fresh)[:, None]  # (B, 1)
        with modes.bfloat16("cpu", self.half):
            state = (self.h * keep, self.c * keep)
            out, (h, c) = self.m.unroll(batch.z[:, :-1], batch.action, state)
            prediction = self.m.predict(out, batch.z[:, :-1])
        self.h, self.c = h.detach().float(), c.detach().float()
        return self.m.loss(prediction, batch.z[:, 1:], batch.outcomes, batch.known)

    def state(self) -> dict[str, Tensor]:
        return {"h": self.h, "c": self.c}

    def resume(self, step: int, state: dict[str, Tensor]) -> None:
        for _ in range(step):
            self.batches.skip()
        self.h, self.c = state.get("h", self.h), state.get("c", self.c)


def split(latents: Latents, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training episodes and of the held-out ones.

    Args:
        every: one of so many episodes is held out.

    Raises:
        ValueError: if there are fewer than 2 episodes.
    """
    if len(latents.lengths) < 2:
        raise ValueError("M needs 2 episodes or more, one to be held out: collect more")
    episodes = np.arange(len(latents.lengths))
    every = min(every, len(episodes))
    held = episodes % every == every - 1
    return episodes[~held], episodes[held]


@dataclass
class Batch:
    """T steps of B episodes; `known` is 0 where an episode is over, and padding follows."""

    z: Tensor  # (B, T + 1, Z), sampled
    action: Tensor  # (B, T, A)
    outcomes: Tensor  # (B, T, O)
    known: Tensor  # (B, T, 2) float32: 1 if there is a next frame; 1 if there is an outcome


class Batches:
    """Batches in which each row runs through whole episodes, one after another.

    A row continues in a batch where it stopped in the batch before.
    """

    def __init__(self, latents: Latents, episodes: np.ndarray, args: Args):
        self.latents, self.episodes, self.args = latents, episodes, args
        self.rng = np.random.default_rng(args.seed)
        self.queue: list[int] = []
        self.starts = latents.starts.numpy()
        self.lengths = latents.lengths.numpy()
        self.at = np.zeros(args.batch, np.int64)  # (B,) the next frame of each row
        self.end = np.zeros(args.batch, np.int64)  # (B,) the end of its episode, exclusive

    def skip(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Move on by one batch. Return three arrays (B,) of that batch.

        They are the rows' first frames, the ends of their episodes, and whether an episode begins.
        """
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
        """Return the next batch, and for each row (B,) whether an episode begins in it."""
        at, end, fresh = self.skip()
        index = at[:, None] + np.arange(self.args.length + 1)  # (B, T + 1)
        real = torch.from_numpy(index < end[:, None])
        return slab(
            self.latents, torch.from_numpy(np.minimum(index, end[:, None] - 1)), real
        ), torch.from_numpy(fresh)


def slab(latents: Latents, index: Tensor, real: Tensor) -> Batch:
    """Make a batch of the frames at `index` (B, T + 1), with sampled latents.

    Args:
        real: (B, T + 1) bool, false where the episode is over.
    """
    mean, logvar = latents.mean[index].float(), latents.logvar[index].float()
    now, told = index[:, :-1], real[:, 1:] if latents.closing else real[:, :-1]
    return Batch(
        z=sample(mean, logvar, torch.randn_like(mean)),
        action=latents.action[now],
        outcomes=latents.outcomes[now].float(),
        known=torch.stack((real[:, 1:], told), dim=-1).float(),
    )


@torch.no_grad()
def moments(rules: Rules, memory: MDNRNN, latents: Latents, seed: int = 0) -> State:
    """Return moments inside the games that M has learned from, with M's state warmed up.

    They are drawn evenly from all that `inside` finds.
    """
    frames = np.random.default_rng(seed).choice(np.flatnonzero(inside(rules, latents)), MOMENTS)
    games, game = np.unique(latents.game.numpy()[frames], return_inverse=True)  # (G,), (M,)
    step = frames - latents.starts.numpy()[games[game]]
    last = np.zeros(len(games), int)
    np.maximum.at(last, game, step)
    order = np.argsort(-last, kind="stable")
    row = np.argsort(order)[game]  # (M,) the rows of the moments' games in the replay
    noise = torch.Generator().manual_seed(seed)
    h, c = torch.zeros(2, MOMENTS, memory.config.hidden)  # two: they are written into
    replay = replayed(memory, latents, torch.from_numpy(games[order]), last[order] + 1, noise)
    for t, (_, now_h, now_c) in enumerate(replay):
        now = np.flatnonzero(step == t)
        h[now], c[now] = now_h[row[now]], now_c[row[now]]
    first, steps = latents.starts[games[game]], torch.from_numpy(step)
    counts = rules.begin(latents.whole[games[game]])
    counts[:, : len(rules.counts)] = latents.counts[first + steps]
    z = drawn(latents, first + steps, noise)
    return State(z, h, c, steps, torch.zeros_like(steps), counts)


def inside(rules: Rules, latents: Latents) -> np.ndarray:
    """Return which frames (F,) bool are moments inside the games that M has learned from.

    The first frame of a game is none, and that after its last action neither. Where the rules name
    a prize, one must come soon: a car that has lost the road for good has nothing to learn. If
    there are no such frames, they are those of the next weaker kind.
    """
    game, starts = latents.game.numpy(), latents.starts.numpy()
    learned = np.isin(game, split(latents, Args.held_out)[0])
    step, left = np.arange(len(game)) - starts[game], latents.lengths.numpy()[game]
    found = learned & (step < left - latents.closing)
    kinds = [found, found & (step > 0)]
    if rules.prize:
        won = np.flatnonzero(latents.outcomes[:, rules.heads.index(rules.prize)].numpy())
        frame = np.arange(len(game))
        coming = np.append(won, len(game) + SOON)[np.searchsorted(won, frame)]  # (F,) the next one
        kinds.append(kinds[-1] & (coming - frame < np.minimum(SOON, left - step)))
    return next(kind for kind in reversed(kinds) if kind.any())


def replayed(
    memory: MDNRNN, latents: Latents, games: Tensor, lengths: np.ndarray, noise: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Replay recorded games, and yield the z, h and c (N, …) of those that go on, step by step.

    Args:
        games: (G,) their indices.
        lengths: (G,) how many frames of each, the longest first.
        noise: from which z is drawn.
    """
    first = latents.starts[games]
    h = c = torch.zeros(len(games), memory.config.hidden)
    for t in tqdm(range(int(lengths[0])), "replay", unit=" steps", leave=False, disable=None):
        going = int((lengths > t).sum())
        rows, h, c = first[:going] + t, h[:going], c[:going]
        z = drawn(latents, rows, noise)
        yield z, h, c
        h, c = memory.remember(z, latents.action[rows].float(), h, c)


def drawn(latents: Latents, rows: Tensor, noise: torch.Generator) -> Tensor:
    """Draw the latents (N, Z) of some frames from what V says of them."""
    mean, logvar = latents.mean[rows].float(), latents.logvar[rows].float()
    return sample(mean, logvar, torch.randn(mean.shape, generator=noise))


def assemble(
    task: str,
    vision: Vision,
    memory: MDNRNN,
    latents: Latents,
    out: str | Path,
    death: str = "health",
    validation: int = 0,
    rules: str = "",
) -> World:
    """Write V and M, with first frames from their data, as a world into the folder `out`.

    Args:
        death: how dreams of Doom end, see `games.rules.DEATHS`.
        validation: further real frames behind it: those on which the policies that played the data
            were validated, or those of an earlier world.
        rules: `module:Class` of the rules that the author of a game wrote; empty if none are.

    Raises:
        ValueError: if the latents were made with another V, or there are no such rules.
    """
    if fingerprint(vision) != latents.vision:
        raise ValueError("the latents are of another V: encode the data with this one")
    game = games.get(task)
    if rules:
        game = own.game(replace(game.own, rules=rules))
    if not isinstance(vision, VAE):
        vision.bound(latents.reward)
    first = latents.starts[:STARTS]
    starts = (latents.mean[first].float(), latents.logvar[first].float(), latents.whole[:STARTS])
    inside = moments(game.rules.ending(death), memory, latents)
    world = World(game, vision, memory, starts, death, moments=inside)
    frames = int(latents.lengths.sum()) + validation
    save_world(out, world, torch.float16, real_frames=frames)
    return world


def behind(init: str) -> int:
    """Return the real frames behind a world from which M goes on; 0 if it goes on from none."""
    return real_frames(world_folder(init) / "config.json") if init and is_world(init) else 0


def main(
    args: Flat[Args], task: Name = "", data: tuple[str, ...] = (), out: str = "", vision: str = ""
) -> None:
    """Encode the frames, train M on them and write the world.

    Args:
        task: The game; if left out, that of the data, or else doom.
        data: Folders of episodes, that of random play first; if left out, data/GAME.
        out: Folder of the run; if left out, runs/GAME.
        vision: Run folder of V, which then also holds its latents, or a world whose V is taken; if
            left out, the folder of the run.
    """
    task = game_for(task, data=data)
    game, out = games.get(task), out or f"{RUNS}/{task}"
    check_folder(out)
    v = load_vision(vision or out, task)
    shards = vision if vision and not is_world(vision) else out
    seen = encode(game, data or (f"{DATA}/{task}",), shards, v)
    m = train(seen, out, args, config_for(game), vision=v)
    assemble(task, v, m, seen, f"{out}/world", validation=behind(args.init))
    print(f"the world is in {out}/world")

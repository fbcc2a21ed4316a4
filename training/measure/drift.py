"""How far do dreams drift from the real game, if both go on from one moment?

A policy plays real games. From moments inside them, with M's state as it was there, dreams go on
and are compared with the game after 1, 5, 20 and 100 steps. They either repeat the actions that the
policy took (`drift`), or the policy plays on in them (`onward`): from where the game really was, so
it shows what M takes for possible there, whatever it dreams at a game's start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dreamgym import noise
from dreamgym.world import OBSERVATIONS, State, World

from ..play.games import Job, loaded, turns
from ..play.policies import Policy

HORIZONS = (1, 5, 20, 100)
"""Steps after which dream and game are compared."""
SPACING = 50
"""Steps from one moment of a game at which dreams begin to the next. Our choice."""
DREAMS = 4
"""Dreams that go on from each moment. Our choice."""
SIGHT = 256
"""Pictures that V decodes at once."""


class Replay(NamedTuple):
    """A real game of T steps, with M's state at M moments in it."""

    z: np.ndarray  # (T, Z) of the frame before each action
    h: np.ndarray  # (M, H) at the steps 0, `SPACING`, 2 `SPACING`, …
    c: np.ndarray  # (M, H)
    actions: np.ndarray  # (T, A) as M takes them
    rewards: np.ndarray  # (T,)
    counts: np.ndarray  # (T + 1, C) before each action, and at the end


class Recording:
    """A policy that plays as it would, while what it sees of V and M is kept."""

    observation = "zhc"

    def __init__(self, policy: Policy, world: World):
        self.policy, self.world = policy, world

    def begin(self, seeds: Tensor) -> None:
        self.policy.begin(seeds)

    def act(self, observation: Tensor) -> Tensor:
        self.parts = split(self.world, observation)
        return self.policy.act(seen(self.world, self.parts, self.policy.observation))

    def keep(self, rows: Tensor) -> None:
        self.policy.keep(rows)


def replay(job: Job) -> list[Replay]:
    """Play a job's real games, and return them as they can be replayed in dreams."""
    world = loaded(job.world, job.world_fingerprint)
    policy = Recording(job.policy.load(world, world.game), world)
    kept: list[list[tuple[np.ndarray, ...]]] = [[] for _ in job.seeds]
    last: list[Any] = [None] * len(job.seeds)
    for turn in turns(job.task, job.seeds, policy, world):
        z, h, c = (policy.parts[name].numpy().copy() for name in ("z", "h", "c"))
        rows = zip(z, h, c, turn.actions, turn.rewards, turn.counts, strict=True)
        for number, after, row in zip(turn.games.tolist(), turn.counts_after, rows, strict=True):
            early = len(kept[number]) % SPACING == 0
            kept[number].append((row[0], *(row[1:3] if early else ()), *row[3:]))
            last[number] = after
    return [_replay(steps, end) for steps, end in zip(kept, last, strict=True)]


def _replay(steps: list[tuple[np.ndarray, ...]], end: np.ndarray) -> Replay:
    moments = steps[::SPACING]
    z, actions, rewards = (np.stack([step[column] for step in steps]) for column in (0, -3, -2))
    h, c = (np.stack([moment[column] for moment in moments]) for column in (1, 2))
    return Replay(z, h, c, actions, rewards, np.stack([*[step[-1] for step in steps], end]))


def drift(world: World, games: Sequence[Replay], temperature: float) -> dict[str, Any]:
    """Return, for each of `HORIZONS`, how dreams and the game differ after so many steps.

    `latent` is the root mean square difference of their z, where 1 is the standard deviation of a
    latent in real games; `still` is that of a z that does not change, and two frames of different
    games are about 1.4 apart. `picture` is that of V's pictures of z, on a scale from 0 to 1. Only
    games that go on so long are compared by these. `reward` and the rules' counts by their names
    compare what was paid or used up until then, or until the end: the mean in game and dream, and
    the correlation of the moments' mean dreams with the game.
    """
    spread = np.concatenate([game.z for game in games]).std(0) + 1e-6  # (Z,)
    at, most = _moments(games), HORIZONS[-1]
    actions = np.stack([_padded(games[number].actions[t : t + most], most) for number, t in at])
    actions = np.repeat(actions, DREAMS, 0)  # (M · DREAMS, `most`, A)
    dreams = _dreams(world, games, lambda step, _: torch.from_numpy(actions[:, step]), temperature)
    return {
        str(step): _compared(world, games, at, step, state, spread, paid, counted)
        for step, state, paid, counted in dreams
    }


def onward(
    world: World, games: Sequence[Replay], policy: Policy, temperature: float
) -> dict[str, Any]:
    """Return, for each of `HORIZONS`, what the policy meets in dreams that begin inside its games.

    `reward` and the rules' counts by their names compare what was paid or used up until then, or
    until the end: the mean in game and dream, and the correlation of the moments' mean dreams with
    the game. If the game can say from a picture that its player is lost, `lost` compares the share
    of those who are, where the game goes on so long.
    """
    at = _moments(games)
    policy.begin(torch.arange(len(at) * DREAMS))

    def act(step: int, state: State) -> Tensor:
        return policy.act(watched(world, state, policy))

    report = {}
    for step, state, paid, counted in _dreams(world, games, act, temperature):
        report[str(step)] = row = _paid(world, games, at, step, paid, counted)
        going = [n for n, (number, t) in enumerate(at) if t + step < len(games[number].z)]
        if world.game.lost and going:
            real = np.stack([games[at[n][0]].z[at[n][1] + step] for n in going])
            dreamt = state.z.numpy().reshape(len(at), DREAMS, -1)[going].reshape(-1, real.shape[1])
            row["lost"] = {
                "real": float(world.game.lost(_pictures(world, real)).mean()),
                "dream": float(world.game.lost(_pictures(world, dreamt)).mean()),
            }
    return report


def _moments(games: Sequence[Replay]) -> list[tuple[int, int]]:
    """Return the moments at which dreams begin: the numbers of their games, and the steps."""
    return [
        (number, t) for number, game in enumerate(games) for t in range(0, len(game.z), SPACING)
    ]


def _dreams(
    world: World, games: Sequence[Replay], act: Callable[[int, State], Tensor], temperature: float
) -> Iterator[tuple[int, State, np.ndarray, np.ndarray]]:
    """Dream on from all moments. Yield, after each of `HORIZONS` steps, what came of it.

    That is the number of steps, the state, and what was paid (N,) and counted (N, C) until then, or
    until the end.

    Args:
        act: takes the number of steps and the state, and returns the actions (N, A) as M takes
            them.
    """
    state = _begun(world, games, _moments(games))
    shown, tau = len(world.game.rules.counts), torch.full((len(state), 1), temperature)
    alive, paid = np.ones(len(state), bool), np.zeros(len(state))
    first = state.counts[:, :shown].numpy().copy()
    counted = np.zeros_like(first)
    for step in range(HORIZONS[-1]):
        state, reward, dead = world.step(state, act(step, state), tau)
        paid += reward.numpy() * alive
        counted[alive] = (first - state.counts[:, :shown].numpy())[alive]
        alive &= ~dead.numpy() & (state.step.numpy() < world.game.max_steps)
        if step + 1 in HORIZONS:
            yield step + 1, state, paid, counted


def _begun(world: World, games: Sequence[Replay], at: list[tuple[int, int]]) -> State:
    """Return the state of dreams that begin at moments of games, `DREAMS` at each."""
    rows = [(games[number], t) for number, t in at]
    parts = {
        "z": np.stack([game.z[t] for game, t in rows]),
        "h": np.stack([game.h[t // SPACING] for game, t in rows]),
        "c": np.stack([game.c[t // SPACING] for game, t in rows]),
    }
    z, h, c = (torch.from_numpy(part).repeat_interleave(DREAMS, 0) for part in parts.values())
    counts = world.rules.begin(torch.ones(len(at)))
    shown = len(world.game.rules.counts)
    if shown:
        whole = torch.from_numpy(np.stack([game.counts[0, :1] for game, _ in rows]))
        counts = world.rules.begin(whole[:, 0].float())
        counts[:, :shown] = torch.from_numpy(np.stack([game.counts[t] for game, t in rows]))
    ids = torch.arange(len(z))
    step = torch.tensor([t for _, t in at]).repeat_interleave(DREAMS)
    keys = noise.key(ids, torch.zeros_like(ids))
    return State(z, h, c, step, keys, counts.repeat_interleave(DREAMS, 0))


def _compared(
    world: World, games: Sequence[Replay], at: list[tuple[int, int]], step: int, state: State,
    spread: np.ndarray, paid: np.ndarray, counted: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """Return how dreams differ from the games after some steps, see `drift`."""
    going = [row for row, (number, t) in enumerate(at) if t + step < len(games[number].z)]
    rows = [(games[number], t) for number, t in (at[row] for row in going)]
    report: dict[str, Any] = {"moments": len(at), "go_on": len(going)}
    if rows:
        before, after = (np.stack([game.z[t + s] for game, t in rows]) for s in (0, step))
        dreamt = state.z.numpy().reshape(len(at), DREAMS, -1)[going]
        report["latent"] = _distance((dreamt - after[:, None]) / spread)
        report["still"] = _distance((before - after) / spread)
        if world.game.pictures:
            shown = _pictures(world, dreamt[:, 0]), _pictures(world, after)
            report["picture"] = _distance((shown[0] - shown[1]) / 255)
    return report | _paid(world, games, at, step, paid, counted)


def _paid(
    world: World, games: Sequence[Replay], at: list[tuple[int, int]], step: int,
    paid: np.ndarray, counted: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """Compare what was paid and counted after some steps, in the games and in their dreams."""
    ends = [(games[number], t, min(t + step, len(games[number].rewards))) for number, t in at]
    real = np.array([game.rewards[t:end].sum() for game, t, end in ends])
    report = {"reward": _sums(real, paid)}
    for column, name in enumerate(world.game.rules.counts):
        real = np.array(
            [game.counts[t, column] - game.counts[end, column] for game, t, end in ends]
        )
        report[name] = _sums(real, counted[:, column])
    return report


def _padded(actions: np.ndarray, steps: int) -> np.ndarray:
    """Return so many actions (`steps`, A): those that there are, and the last one again."""
    return np.concatenate((actions, np.repeat(actions[-1:], steps - len(actions), 0)))


def _pictures(world: World, z: np.ndarray) -> np.ndarray:
    """Return V's pictures of latents (N, Z), (N, 64, 64, 3) float32."""
    parts = [world.decode(part) for part in torch.from_numpy(z).split(SIGHT)]
    return torch.cat(parts).numpy().astype(np.float32)


def _distance(difference: np.ndarray) -> float:
    return float(np.sqrt(np.square(difference).mean()))


def _sums(real: np.ndarray, dreamt: np.ndarray) -> dict[str, float | None]:
    """Compare sums in games (M,) with those in their dreams (M · DREAMS,)."""
    means = dreamt.reshape(len(real), DREAMS).mean(1)
    varies = real.std() > 0 and means.std() > 0
    return {
        "real": float(real.mean()),
        "dream": float(means.mean()),
        "correlation": float(np.corrcoef(real, means)[0, 1]) if varies else None,
    }


def split(world: World, observation: Tensor) -> dict[str, Tensor]:
    """Return the parts z, h and c of observations of the kind `zhc`."""
    config = world.memory.config
    sizes = {"z": config.z_size, "h": config.hidden, "c": config.hidden}
    order = OBSERVATIONS["zhc"]
    parts = observation.split([sizes[part] for part in order], dim=1)
    return dict(zip(order, parts, strict=True))


def watched(world: World, state: State, policy: Policy) -> Tensor:
    """Return what a policy sees of dreams; z for one that needs nothing."""
    return world.observe(state, policy.observation) if policy.observation else state.z


def seen(world: World, parts: dict[str, Tensor], kind: str) -> Tensor:
    """Return the observation of a kind, made of its parts; z for a policy that needs none.

    A policy that sees pictures is shown V's picture of z.
    """
    if kind == "rgb":
        return world.decode(parts["z"])
    if kind not in OBSERVATIONS:
        return parts["z"]
    if kind == "own":
        return world.decode(parts["z"])[:, :-1]
    return torch.cat([parts[part] for part in OBSERVATIONS[kind]], dim=1)

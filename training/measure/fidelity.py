"""The command `fidelity`: does a policy meet in the dream what it meets in the real game?

The same policy plays both. Of whole games it asks: how long are they, what do they pay, how often
do they end in each part of a game, and what is left at the end? And where the game can say from a
picture that its player is lost, as a car on the grass: how often does the policy find back? Last,
dreams begin inside real games: how far do they drift from them by the same actions, and what does
the policy meet that plays on in them, see `drift`?
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dreamgym import games, noise
from dreamgym.checkpoint import load_world, world_fingerprint, world_folder, write_json
from dreamgym.envs import actions
from dreamgym.envs.arguments import parse_temperature
from dreamgym.files import check_writable, replacing
from dreamgym.games import Game
from dreamgym.world import State, World

from ..flags import Flat, Name, Whole, game_for, world_for
from ..play import dreams, policies
from ..play.executors import Executor, Local
from ..play.games import SIDE_BY_SIDE, TIMEOUT, Job, loaded, turns
from ..play.policies import Policy, refer
from ..splits import MOST, VALIDATION, check_seeds
from .drift import drift, onward, replay, seen, split, watched
from .results import origin
from .statistics import kolmogorov

PARTS = (0, 3 / 14, 6 / 14, 1)
"""Where the parts of a game begin and end, as shares of its step limit. For Doom these are steps 0,
450, 900 and 2,100: an early game, a middle one and a late one."""
TEMPERATURES = (0.1, 0.5, 0.8, 1.0, 1.15, 1.3)
"""Temperatures of the dreams that are compared with the game: those of World Models, table 2, and
one more."""
WATCH = 100
"""Steps within which a policy that is lost should find back."""
LOOK = 5
"""Steps from one picture to the next in which is looked whether it has."""
DREAMS = 8
"""Dreams that go on from each real moment."""
CALM = (20, 80)
"""Least and most steps that the policy plays before it is disturbed again."""
BURST = (10, 30)
"""Least and most steps of a disturbance, which holds one random action."""


class Lives(NamedTuple):
    """What became of N games or dreams."""

    returns: np.ndarray  # (N,)
    lengths: np.ndarray  # (N,)
    terminated: np.ndarray  # (N,) bool
    counts: np.ndarray  # (N, C), those in `info`, at the end


class Lost(NamedTuple):
    """M moments of real games at which the player was lost, and how it went on."""

    z: np.ndarray  # (M, Z)
    h: np.ndarray  # (M, H)
    c: np.ndarray  # (M, H)
    speed: np.ndarray  # (M,)
    spin: np.ndarray  # (M,)
    back: np.ndarray  # (M,) bool, within `WATCH` steps of the real game


def live(job: Job) -> Lives:
    """Play a job's real games."""
    world, many = loaded(job.world, job.world_fingerprint), len(job.seeds)
    returns, lengths, terminated = np.zeros(many), np.zeros(many), np.zeros(many, bool)
    counts = np.zeros((many, len(games.get(job.task).rules.counts)))
    for turn in turns(job.task, job.seeds, job.policy.load(world, world.game), world):
        returns[turn.games] += turn.rewards
        lengths[turn.games] += 1
        terminated[turn.games], counts[turn.games] = turn.terminated, turn.counts_after
    return Lives(returns, lengths, terminated, counts)


def dreamt(world: World, policy: Policy, seeds: Sequence[int], temperature: float) -> Lives:
    """Play as many dreams."""
    played = dreams.play(world, policy, torch.tensor(seeds), temperature, temperature)
    shown = len(world.game.rules.counts)
    returns, lengths, terminated, counts = (part.numpy() for part in played)
    return Lives(returns, lengths, terminated, counts[:, :shown])


def compared(real: Lives, dream: Lives, game: Game) -> dict[str, Any]:
    """Return what both have in common, as figures of the game beside those of the dream."""
    report: dict[str, Any] = {}
    for name, lives in {"real": real, "dream": dream}.items():
        report[name] = {
            "games": len(lives.returns),
            "return": [float(lives.returns.mean()), float(lives.returns.std())],
            "length": [float(lives.lengths.mean()), float(lives.lengths.std())],
            "ends_per_1000_steps": hazards(lives, game.max_steps),
        }
        for column, count in enumerate(game.rules.counts):
            report[name][f"{count}_at_the_end"] = float(lives.counts[:, column].mean())
        for count in game.rules.counts[:1]:
            none_left = float((lives.counts[:, 0] == 0).mean())
            report[name][f"games_that_end_without_{count}"] = none_left
    return report


def apart(real: Lives, dream: Lives) -> dict[str, float]:
    """Return the dreams' mean return, and how far the distribution of returns is from the game's.

    The distance is Kolmogorov and Smirnov's, from 0 to 1. If dreams are as games are, and there are
    n of each, it is above 1.36 √(2 / n) in 5 % of all cases.
    """
    return {
        "return": float(dream.returns.mean()),
        "distance": kolmogorov(real.returns, dream.returns),
    }


def hazards(lives: Lives, limit: int) -> list[float | None]:
    """Return how often games end in a thousand steps, for each part of a game; see `PARTS`."""
    edges, found = [round(share * limit) for share in PARTS], []
    for begin, end in itertools.pairwise(edges):
        steps = np.clip(lives.lengths - begin, 0, end - begin).sum()
        ended = lives.terminated & (lives.lengths > begin) & (lives.lengths <= end)
        found.append(float(1000 * ended.sum() / steps) if steps else None)
    return found


class Stumbling:
    """A policy that is disturbed until it is lost, and then watched as it finds back or does not.

    Args:
        policy: the policy.
        world: the world whose V shows whether the player is lost, see `Game.lost`.
    """

    observation = "zhc"

    def __init__(self, policy: Policy, world: World):
        self.policy, self.world = policy, world

    def begin(self, seeds: Tensor) -> None:
        self.policy.begin(seeds)
        self.streams = [np.random.default_rng([seed, 3]) for seed in seeds.tolist()]
        many = len(seeds)
        self.calm = np.array([stream.integers(*CALM) for stream in self.streams])
        self.burst, self.watched = np.zeros(many, np.int64), np.full(many, -1)
        self.held = np.zeros((many, len(self.world.game.low)), np.float32)
        self.lost: list[dict[str, Any]] = []
        self.current: list[dict[str, Any] | None] = [None] * many

    def act(self, observation: Tensor) -> Tensor:
        parts = split(self.world, observation)
        chosen = self.policy.act(seen(self.world, parts, self.policy.observation))
        looked = np.flatnonzero(((self.watched + 1) % LOOK == 0) | (self.burst == 1))
        are_lost = dict(zip(looked.tolist(), lost(self.world, parts["z"][looked]), strict=True))
        for row, stream in enumerate(self.streams):
            if self.watched[row] >= 0:
                self._watch(row, are_lost.get(row, True))
            elif self.burst[row] > 0:
                self.burst[row] -= 1
                if self.burst[row] == 0:
                    self._end(row, are_lost[row], parts)
            elif self.calm[row] > 0:
                self.calm[row] -= 1
            else:
                self.burst[row] = stream.integers(*BURST)
                drawn = stream.uniform(-1, 1, size=self.held.shape[1])
                self.held[row] = np.sign(drawn) if stream.random() < policies.FULL else drawn
        held = actions.from_outputs(torch.from_numpy(self.held), self.world.game)
        return torch.where(torch.from_numpy(self.burst > 0)[:, None], held, chosen)

    def _end(self, row: int, is_lost: bool, parts: dict[str, Tensor]) -> None:
        """Begin to watch a game whose disturbance is over, if the player is lost."""
        self.calm[row] = self.streams[row].integers(*CALM)
        if is_lost:
            moment = {name: part[row].numpy().copy() for name, part in parts.items()}
            self.current[row] = moment | {"back": False}
            self.watched[row] = 0

    def _watch(self, row: int, is_lost: bool) -> None:
        """See whether the player has found back, and end the watch after `WATCH` steps."""
        moment = self.current[row]
        assert moment is not None
        self.watched[row] += 1
        if not is_lost:
            moment["back"] = True
        if self.watched[row] == WATCH:
            self.lost.append(moment)
            self.watched[row] = -1

    def keep(self, rows: Tensor) -> None:
        self.policy.keep(rows)
        kept = rows.numpy()
        self.calm, self.burst, self.watched = (
            part[kept] for part in (self.calm, self.burst, self.watched)
        )
        self.held = self.held[kept]
        self.streams = [each for each, goes in zip(self.streams, kept, strict=True) if goes]
        self.current = [each for each, goes in zip(self.current, kept, strict=True) if goes]


def stumble(job: Job) -> Lost:
    """Play a job's real games by a policy that is disturbed; return the moments it was lost at."""
    world = loaded(job.world, job.world_fingerprint)
    policy = Stumbling(job.policy.load(world, world.game), world)
    for turn in turns(job.task, job.seeds, policy, world):
        for moment, info in zip(policy.current, turn.infos, strict=True):
            if moment is not None and "speed" not in moment:
                moment |= {"speed": info["speed"], "spin": info["spin"]}
    columns = {name: [each[name] for each in policy.lost] for name in Lost._fields}
    return Lost(**{name: np.array(column) for name, column in columns.items()})


def found_back(world: World, policy: Policy, moments: Lost, temperature: float) -> np.ndarray:
    """Return which share of the dreams (M,) that go on from real moments find back."""
    many = len(moments.back) * DREAMS
    z, h, c = (
        torch.from_numpy(part).repeat_interleave(DREAMS, 0)
        for part in (moments.z, moments.h, moments.c)
    )
    ids = torch.arange(many)
    counts = world.rules.begin(torch.full((many,), 1e6))  # no dream ends for want of tiles
    state = State(z, h, c, torch.zeros_like(ids), noise.key(ids, torch.zeros_like(ids)), counts)
    policy.begin(ids)
    back, tau = torch.zeros(many, dtype=torch.bool), torch.full((many, 1), temperature)
    for step in range(1, WATCH + 1):
        action = policy.act(watched(world, state, policy))
        state, _, _ = world.step(state, action, tau)
        if step % LOOK == 0:
            back |= ~torch.from_numpy(lost(world, state.z))
    return back.view(-1, DREAMS).float().mean(1).numpy()


def lost(world: World, z: Tensor) -> np.ndarray:
    """Return in which of V's pictures of latents (N, Z) the player is lost, (N,) bool."""
    assert world.game.lost
    return world.game.lost(world.decode(z).numpy())


def recoveries(real: Lost, dream: np.ndarray) -> dict[str, Any]:
    """Return which share finds back in game and dream: of all moments, by speed and by spin."""
    order = np.argsort(real.speed, kind="stable")
    groups = {"all": order}
    for number, quarter in enumerate(np.array_split(order, 4)):
        groups[f"speed_quarter_{number + 1}"] = quarter
    groups["fastest_spins"] = np.argsort(-np.abs(real.spin), kind="stable")[: len(order) // 4]
    return {
        name: {
            "moments": len(rows),
            "speed": [float(real.speed[rows].min()), float(real.speed[rows].max())],
            "real": float(real.back[rows].mean()),
            "dream": float(dream[rows].mean()),
        }
        for name, rows in groups.items()
        if len(rows)
    }


@dataclass(frozen=True)
class Args:
    """What is compared."""

    task: Name = ""
    """The game; if left out, that of the world, or else doom."""
    world: str = ""
    """A folder, or the name of a shipped world; if left out, the game's shipped world."""
    policy: str = "shipped"
    """`shipped`, `agent`, `random`, `explore`, the file of a policy; or, for a game of your own,
    your `module:function` (see `dreamgym evaluate --help`)."""
    games: Whole = 100
    """Real games, and as many dreams."""
    stumbles: Whole = 40
    """Further real games in which the policy is disturbed; 0: none. They are played only where a
    picture tells that the player is lost, as a car on the grass. Doom has no such picture."""
    replays: Whole = 20
    """Further real games whose actions are replayed in dreams; 0: none."""
    temperature: float = 1.0
    """Temperature of the dreams. At 1 the dream is as uncertain as M says that the game is."""
    seed: int = VALIDATION
    """Seed of the first game; those of the others follow."""

    def __post_init__(self) -> None:
        for name, least in (("games", 1), ("stumbles", 0), ("replays", 0)):
            if not least <= (given := getattr(self, name)) <= MOST:
                raise ValueError(f"{name} is {given}: give {least} or more, up to {MOST:,}")
        check_seeds(self.seed, self.games + self.stumbles + self.replays)
        parse_temperature(self.temperature)


def fidelity(args: Args, executor: Executor) -> dict[str, Any]:
    """Compare the dreams of a world with the real game under one policy.

    Raises:
        ValueError: if the world is of another game, or the policy does not fit it.
    """
    game, folder = games.get(args.task), world_folder(world_for(args.task, args.world))
    world = load_world(folder)
    if world.game.name != args.task:
        raise ValueError(f"{folder} is a world of {world.game.name}, not of {args.task}")
    file, mark, made = policies.find(args.policy, folder), world_fingerprint(folder), origin()
    policy, who = policies.load(file, world, game), refer(file)
    world.check_room(args.games)
    seeds = range(args.seed, args.seed + args.games)

    def played(what: Any, seeds: Sequence[int]) -> list[Any]:
        chunks = [tuple(seeds[i : i + SIDE_BY_SIDE]) for i in range(0, len(seeds), SIDE_BY_SIDE)]
        jobs = [Job(args.task, str(folder), mark, who, chunk) for chunk in chunks]
        came = dict(executor.map(what, jobs, TIMEOUT))
        return [came[number] for number in sorted(came)]

    real = Lives(*map(np.concatenate, zip(*played(live, seeds), strict=True)))
    report = {"args": vars(args), "world": mark, **made}
    report |= compared(real, dreamt(world, policy, seeds, args.temperature), game)
    report["by_temperature"] = {
        f"{tau:g}": apart(real, dreamt(world, policy, seeds, tau)) for tau in TEMPERATURES
    }
    if game.lost and args.stumbles:
        later = range(seeds.stop, seeds.stop + args.stumbles)
        found = [each for each in played(stumble, later) if len(each.back)]
        moments = Lost(*map(np.concatenate, zip(*found, strict=True)))
        back = found_back(world, policy, moments, args.temperature)
        report["back_within_100_steps"] = recoveries(moments, back)
    if args.replays:
        later = range(seeds.stop + args.stumbles, seeds.stop + args.stumbles + args.replays)
        recorded = list(itertools.chain(*played(replay, later)))
        report["after_steps"] = drift(world, recorded, args.temperature)
        report["onward"] = onward(world, recorded, policy, args.temperature)
    return report


def plot(report: dict[str, Any], path: str | Path) -> None:
    """Draw the report, the real game beside the dream, as a PNG."""
    from matplotlib.figure import Figure

    draws: list[Callable[[Any], None]] = [partial(_ends, report), partial(_distances, report)]
    if "back_within_100_steps" in report:
        draws.append(partial(_back, report))
    if "after_steps" in report:
        draws += [partial(_latents, report), partial(_rewards, report)]
    if any("lost" in row for row in report.get("onward", {}).values()):
        draws.append(partial(_lost, report))
    columns = min(len(draws), 3)
    rows = -(-len(draws) // columns)
    figure = Figure(figsize=(5 * columns, 4 * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for each, draw in itertools.zip_longest(axes, draws):
        draw(each) if draw else each.set_axis_off()
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=150)


def _bars(axes: Any, names: Sequence[str], real: Sequence[float], dream: Sequence[float]) -> None:
    at = np.arange(len(names))
    axes.bar(at - 0.2, real, 0.4, label="real game")
    axes.bar(at + 0.2, dream, 0.4, label="dream")
    axes.set_xticks(at, names)
    axes.legend()


def _ends(report: dict[str, Any], axes: Any) -> None:
    both = [
        [each or 0.0 for each in report[side]["ends_per_1000_steps"]] for side in ("real", "dream")
    ]
    _bars(axes, [f"part {part + 1}" for part in range(len(PARTS) - 1)], *both)
    axes.set(title="how often a game ends", ylabel="ends in 1,000 steps", xlabel="of a game")


def _distances(report: dict[str, Any], axes: Any) -> None:
    rows = report["by_temperature"]
    axes.plot([float(tau) for tau in rows], [row["distance"] for row in rows.values()], "o-")
    by_chance = 1.36 * np.sqrt(2 / report["real"]["games"])
    axes.axhline(by_chance, color="gray", ls=":", label="5 % of equal ones are further apart")
    axes.set(title="returns, dream and game", xlabel="temperature of the dream", ylim=(0, 1),
             ylabel="Kolmogorov-Smirnov distance")  # fmt: skip
    axes.legend()


def _back(report: dict[str, Any], axes: Any) -> None:
    rows = report["back_within_100_steps"]
    both = [[row[side] for row in rows.values()] for side in ("real", "dream")]
    _bars(axes, [name.replace("_", "\n") for name in rows], *both)
    axes.set(title="who is lost finds back", ylabel="share within 100 steps", ylim=(0, 1))


def _latents(report: dict[str, Any], axes: Any) -> None:
    rows = {int(steps): row for steps, row in report["after_steps"].items() if "latent" in row}
    for name, label in (("latent", "dream"), ("still", "a frame that does not change")):
        axes.plot(list(rows), [row[name] for row in rows.values()], "o-", label=label)
    axes.set(title="the same actions: how far z is off", xlabel="steps", xscale="log",
             ylabel="standard deviations", ylim=(0, None))  # fmt: skip
    axes.legend()


def _lost(report: dict[str, Any], axes: Any) -> None:
    rows = {steps: row["lost"] for steps, row in report["onward"].items() if "lost" in row}
    both = [[row[side] for row in rows.values()] for side in ("real", "dream")]
    _bars(axes, list(rows), *both)
    axes.set(title="the policy plays on: who is lost", xlabel="steps", ylabel="share")


def _rewards(report: dict[str, Any], axes: Any) -> None:
    rows = report["after_steps"]
    both = [[row["reward"][side] for row in rows.values()] for side in ("real", "dream")]
    _bars(axes, list(rows), *both)
    axes.set(title="the same actions: what they pay", xlabel="steps", ylabel="sum of rewards")


def main(args: Flat[Args], out: str | None = None, processes: int = 0) -> None:
    """Compare what a policy meets in the dream and in the real game.

    Args:
        out: JSON file for the figures; a plot of the same name is written beside it. If left out,
            they are only printed.
        processes: Worker processes that play real games; 0: one for each core.
    """
    args = replace(args, task=game_for(args.task, args.world))
    if out:
        check_writable(out)
    report = fidelity(args, Local(processes))
    print(json.dumps(report, indent=1))
    if out:
        write_json(out, report)
        plot(report, Path(out).with_suffix(".png"))

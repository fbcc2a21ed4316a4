"""The command `evaluate`: score a policy in the dream or in the real game."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dreamgym.checkpoint import (
    load_world,
    real_frames,
    world_fingerprint,
    world_folder,
    write_json,
)
from dreamgym.envs.arguments import parse_temperature
from dreamgym.files import check_writable

from .flags import Flat, Name, Tau, Whole, game_for, world_for
from .measure.results import origin, result
from .play import dreams, policies
from .play.executors import Executor, Local
from .play.games import score
from .splits import MOST, TEST, check_seeds


@dataclass(frozen=True)
class Args:
    """What is scored, and where."""

    task: Name = ""
    """The game; if left out, that of the world, or else doom."""
    policy: str = "shipped"
    """`shipped`: the controller that is in the world's folder, or its agent if there is none;
    `agent`: the agent that is there; the file of a policy; `random`: a new uniform action in every
    step; `explore`: the game's own random play. Or, for a game of your own, your `module:function`
    (see `dreamgym collect --help`)."""
    env: str = "twin"
    """Where it plays: `twin` is the real game seen through V and M, `dream` is the dream."""
    episodes: Whole = 100
    """Episodes to play."""
    seed: int = TEST
    """Seed of the first episode; the next ones have the seeds that follow."""
    temperature: Tau = None
    """Temperature of the dream, or the two ends of a range; if left out, the game's own.
    Only for `dream`: the real game has no temperature."""
    world: str = ""
    """A folder, or the name of a shipped world; if left out, the game's shipped world."""

    def __post_init__(self) -> None:
        if self.env not in ("twin", "dream"):
            raise ValueError(f"env is {self.env!r}: choose 'twin' or 'dream'")
        if not 1 <= self.episodes <= MOST:
            raise ValueError(f"episodes is {self.episodes}: give 1 or more, up to {MOST:,}")
        check_seeds(self.seed, self.episodes)
        if self.temperature is not None:
            parse_temperature(self.temperature)
            if self.env == "twin":
                raise ValueError(
                    f"temperature is {self.temperature}: the real game has none, leave it out"
                )


def evaluate(args: Args, executor: Executor, out: str | Path | None = None) -> dict[str, Any]:
    """Score a policy and, if `out` is given, write the result there.

    Raises:
        ValueError: if the world is of another game, the policy does not fit it, or `out` cannot be
            written.
    """
    folder = world_folder(world_for(args.task, args.world))
    file, world = policies.find(args.policy, folder), load_world(folder)
    game = world.game  # it need not be installed to dream
    if game.name != args.task:
        raise ValueError(f"{folder} is a world of {game.name}, not of {args.task}")
    low, high = parse_temperature(
        game.temperature if args.temperature is None else args.temperature
    )
    policy = policies.load(file, world, game)
    prints, frames = {"world": world_fingerprint(folder), "policy": args.policy}, 0
    if args.policy not in policies.BLIND:
        prints["policy"] = policies.mark(file)
    if not policies.unseeing(file):
        counted = [Path(file).with_suffix(".json")]  # of its validations, or of its learning too
        if policy.observation != policies.FRAMES:  # it sees by the world, which was made of data
            counted.append(folder / "config.json")
        frames = sum(map(real_frames, counted))
    if args.env == "dream":
        world.check_room(args.episodes)
    if out:
        check_writable(out)
    made, seeds = origin(), range(args.seed, args.seed + args.episodes)
    if args.env == "twin":
        name = game.pixel_id if policy.observation == policies.FRAMES else game.latent_id
        tau = None
        played = score(args.task, folder, file, seeds, executor)
    else:
        name, tau = game.dream_id, [low, high]
        paid, lengths, *_ = dreams.play(
            world, policy, torch.tensor(seeds), low, high, progress=True
        )
        played = [
            {"seed": s, "return": r, "length": n}
            for s, r, n in zip(seeds, paid.tolist(), lengths.tolist(), strict=True)
        ]
    found = result(args.task, name, args.policy, tau, args.seed, played, frames, prints, made)
    if out:
        write_json(out, found)
    return found


def main(args: Flat[Args], out: str | None = None, processes: int = 0) -> None:
    """Score a policy in the real game or in the dream.

    Args:
        out: JSON file for the result; if left out, none is written.
        processes: Worker processes that play real games; 0: one for each core.
    """
    args = replace(args, task=game_for(args.task, args.world))
    found = evaluate(args, Local(processes), out)
    low, high = found["ci95"]
    spread = f" (95 % [{low:.1f}, {high:.1f}])" if args.episodes > 1 else ""  # one tells of none
    print(
        f"{found['env']}, {args.policy}: {found['mean']:.1f} ± {found['sd']:.1f} over "
        f"{args.episodes} episodes{spread}"
    )

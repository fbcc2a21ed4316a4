"""The command `direct`: let PPO learn in the game itself, for as many frames as its dream has cost.

So a world's owner sees whether the detour by the dream was worth it. The game is seen through the
world's V: numbers come standardised, and of pictures it gets V's latents and M's memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamgym.checkpoint import load_world, real_frames, world_folder, write_json
from dreamgym.files import check_writable

from .. import evaluate, train
from ..flags import Flat, Whole
from ..play.executors import Executor, InProcess, Local
from ..play.policies import find

RUN = "direct-seed{}"
"""Folder in that of the world, for the run of each seed and its result."""
LONG = 1_000_000
"""Steps that no rollout of PPO has."""
PLAYERS = {"random": "twin", "learned": "twin", "dreamt": "dream", "direct": "twin"}
"""Who is scored, and where: see `evaluate.Args.env`."""


@dataclass(frozen=True)
class Args:
    """What is compared."""

    world: str
    """The world's folder, which has a policy that learned in its dreams."""
    episodes: Whole = 100
    """Games on which each player is scored."""
    seed: int = 0
    """Seed of PPO."""


def direct(args: Args, executor: Executor, progress: bool = True) -> dict[str, Any]:
    """Return the scores of random play, of what learned in the dream, and of PPO in the game.

    PPO has the hyperparameters that it has in the dream, and as many frames as there are behind
    the world and its policy, in whole rollouts. It is scored as it is at the end.

    Returns:
        The `task`, PPO's `learner_seed`, the `real_frames` behind the world and its policy and the
        `direct_frames` of PPO; and four results of `evaluate`: what `random`, `learned` and
        `direct` play in the game, and `dreamt`, what learned in the dream plays there.

    Raises:
        ValueError: if the world is of a shipped game, it has no policy or no frames are known, or
            the run of this seed was begun with another world.
    """
    folder = world_folder(args.world)
    game, policy = load_world(folder).game, find("shipped", folder)
    if not game.own:
        raise ValueError(f"{game.name} ships with dreamgym: call `dreamgym train --env twin`")
    frames = real_frames(folder / "config.json") + real_frames(Path(policy).with_suffix(".json"))
    if not frames:
        raise ValueError(f"{folder} does not tell how many real frames it has cost")
    learning = train.Args(
        str(folder), timesteps=frames, env="twin", validate=frames + LONG,  # only at the end
        games=1, patience=0, seed=args.seed,
    )  # fmt: skip
    agent = train.learn(learning, folder / RUN.format(args.seed), executor, progress)
    told = {"task": game.name, "learner_seed": args.seed, "real_frames": frames}
    told["direct_frames"] = real_frames(agent.with_suffix(".json"))
    for name, env in PLAYERS.items():
        player = {"random": "random", "direct": str(agent)}.get(name, "shipped")
        asked = evaluate.Args(game.name, player, env, args.episodes, world=str(folder))
        told[name] = evaluate.evaluate(asked, executor)
    return told


def main(args: Flat[Args], out: str = "", processes: int = 1) -> None:
    """Let PPO learn in the game itself, for as many frames as the dream has cost, and score both.

    Args:
        out: JSON file for the scores; if left out, WORLD/direct-seedN/scores.json.
        processes: Worker processes that play the real games that score; 1: this process plays them.
    """
    out = out or str(world_folder(args.world) / RUN.format(args.seed) / "scores.json")
    check_writable(out)
    told = direct(args, InProcess() if processes == 1 else Local(processes))
    write_json(out, told)
    for name, who in {
        "random": "random play",
        "learned": f"learned in the dream, of {told['real_frames']:,} frames",
        "dreamt": "the same, in the dream",
        "direct": f"PPO in the game, {told['direct_frames']:,} frames",
    }.items():
        print(f"{who}: {told[name]['mean']:.1f} ± {told[name]['sd']:.1f}")

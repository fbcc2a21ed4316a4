"""The command `direct`: let PPO learn in the game itself, for as many frames as its dream has cost.

So a world's owner sees whether the detour by the dream was worth it.
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
from .results import origin

RUN = "direct"
"""Folder in that of the world, for the run and its result."""


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
        The `task`, the `real_frames` behind the world and its policy and the `direct_frames` of
        PPO; as scores, see `evaluate`, what `random`, `learned` and `direct` play in the game and
        what `dreamt`, the policy in the dream.

    Raises:
        ValueError: if the world has no policy, or `world`/direct was begun with another world.
    """
    folder = world_folder(args.world)
    task, policy = load_world(folder).game.name, find("shipped", folder)
    frames = real_frames(folder / "config.json") + real_frames(Path(policy).with_suffix(".json"))
    learning = train.Args(
        str(folder), timesteps=frames, env="twin", validate=2 * frames,  # only at the end
        games=1, patience=0, seed=args.seed,
    )  # fmt: skip
    made = origin()
    agent = train.learn(learning, folder / RUN, executor, progress)
    told = {"task": task, "seed": args.seed, "real_frames": frames}
    told |= {"direct_frames": real_frames(agent.with_suffix(".json")), **made}
    players = {"random": "random", "learned": "shipped", "dreamt": "shipped", "direct": str(agent)}
    for name, player in players.items():
        env = "dream" if name == "dreamt" else "twin"
        asked = evaluate.Args(task, player, env, args.episodes, world=str(folder))
        score = evaluate.evaluate(asked, executor)
        told[name] = {key: score[key] for key in ("mean", "sd", "ci95", "episodes")}
    return told


def main(args: Flat[Args], out: str = "", processes: int = 1) -> None:
    """Let PPO learn in the game itself, for as many frames as the dream has cost, and score both.

    Args:
        out: JSON file for the scores; if left out, WORLD/direct/scores.json.
        processes: Worker processes that play the real games that score; 1: this process plays them.
    """
    out = out or str(world_folder(args.world) / RUN / "scores.json")
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

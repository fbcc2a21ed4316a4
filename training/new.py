"""The command `new`: make a dream of a game of one's own, from its id in Gymnasium."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from dreamgym import games
from dreamgym.checkpoint import FILES, load_world, real_frames, write_json
from dreamgym.files import replacing
from dreamgym.games import Game, own
from dreamgym.games.recipe import Round

from . import evaluate, iterate, recorded, splits
from .flags import Whole
from .iterate import Plan, Stop
from .measure import fidelity
from .play.executors import Executor, InProcess, Local
from .play.games import SIDE_BY_SIDE
from .play.policies import AGENT, find, function, is_function, unseeing
from .runs import check_folder

FRAMES = 50_000
"""Real frames for the data, if the user does not say: CartPole and Pendulum need fewer."""
LEAST = 1000
"""Fewest real frames from which M can learn anything."""
FIRST = 0.2
"""Share of these frames that random play gets. The rest is played by C, in equal parts."""
ROUNDS = 8
"""Most rounds of playing, learning the world and learning in it. Our choice."""
PATIENCE = 3
"""So many rounds in a row that score no better end it. Our choice: one or two are often bad luck,
because few games score them."""
CHANCE = 0.005
"""In each frame of a played game, the chance of a burst of random actions. Our choice, from a trial
on LunarLander: with four times as much, only a fifth of the games ended in a landing, of players
that mostly land."""
UPDATES = 600
"""Least number of M's optimiser steps in a round. They, the next four and `memory.FLOOR` come from
a few trials on CartPole and LunarLander (`training/LOG.md`)."""
SHARE = 40
"""Frames of the budget for each of these steps, if that makes more of them."""
RATE = 2e-2
"""Peak of Adam's learning rate for M, where V sees numbers."""
PICTURES = 5e-3
"""The same for pictures, of which M is larger."""
SIGHT = (40_000, 20_000)
"""Frames to train V on in the first rounds, where V sees pictures: 5 times as many as V needed in
a trial on CartPole to draw cart and pole (`iterate.FEW`). The second round shows it what C sees."""
LENGTH = 32
"""Steps through which M's gradients flow back."""
GENERATIONS = 15
"""Generations of CMA-ES in a round, if C learns."""
TIMESTEPS = 200_000
"""Least number of PPO's steps in a round, if an agent learns."""
DREAMT = 4
"""Such steps for each frame of the budget, if that makes more of them."""
LEARNERS = ("ppo", "cma")
"""Who may learn in the dream: an agent by PPO, or the paper's C by CMA-ES."""
CHOOSE = 0.25
"""Share of the frames that is played on top, to choose by: of a round's frames to validate it, and
of all frames for the final choice. Our choice: what is played to learn from is worth more."""
FEW = 4
"""Fewest games to choose by, even if they take more than this share. Our choice."""
GAMES = 10
"""Most games that validate a round."""
FINAL = 20
"""Most fresh games for each of the two best rounds, to choose between them."""
TEST = 100
"""Real games for the score."""


def recipe(
    frames: int, algo: str, longest: int, given: int = 0, pictures: bool = False
) -> tuple[Round, ...]:
    """Return the rounds by which the world of a user's own game is made.

    Each is validated once, at its end.

    Args:
        frames: of the real game, for the data.
        algo: one of `LEARNERS`.
        longest: the steps of the longest game.
        given: frames that were recorded already.
        pictures: whether V sees pictures, and not numbers, which it measures once.
    """
    budget, whole = round(FIRST * frames), frames + given
    share = (frames - budget) // (ROUNDS - 1)
    first = Round(
        max(recorded.LEAST, min(SIDE_BY_SIDE, budget // (longest + 1))), 0, whole,
        max(UPDATES, whole // SHARE), GENERATIONS, rate=PICTURES if pictures else RATE,
        length=LENGTH, budget=budget, chance=CHANCE, rollouts=4, validate=GENERATIONS,
        games=choosing(share, longest, GAMES),
        timesteps=max(TIMESTEPS, DREAMT * whole) if algo == "ppo" else 0,
    )  # fmt: skip
    later = replace(first, episodes=SIDE_BY_SIDE, frames=0, budget=share)
    rounds = (first, *(later,) * (ROUNDS - 1))
    if not pictures:
        return rounds
    sights = (*SIGHT, *(0,) * (ROUNDS - len(SIGHT)))
    return tuple(
        replace(each, frames=sight, anew=bool(sight))
        for each, sight in zip(rounds, sights, strict=True)
    )


def choosing(frames: int, longest: int, most: int) -> int:
    """Return how many games choose: `FEW` to `most`, and no more than a share of frames allows."""
    return max(FEW, min(most, int(CHOOSE * frames) // longest))


def new(task: str, plan: Plan, out: Path, executor: Executor) -> None:
    """Make the world of a user's own game, with its policy, and write it to the folder `out`.

    The episodes and the runs of the rounds are in `out`/data and `out`/runs.
    """
    best = iterate.iterate(task, plan, out / "data", out / "runs", executor)
    policy = Path(find("shipped", best))
    for path in (policy.with_suffix(".json"), policy, *(best / name for name in reversed(FILES))):
        with replacing(out / path.name) as file:  # the config is last: without it there is no world
            file.write(path.read_bytes())


def examined(task: str, folder: Path, executor: Executor) -> dict[str, Any]:
    """Score the policy, random play and the dream, on test games; write the world's model card.

    Returns:
        What `fidelity` finds for the policy.
    """
    chance = evaluate.Args(task, "random", episodes=TEST, world=str(folder))
    random = evaluate.evaluate(chance, executor, folder / "random.json")
    args = fidelity.Args(task, str(folder), games=TEST, stumbles=0, replays=0, seed=splits.TEST)
    found = fidelity.fidelity(args, executor)
    write_json(folder / "fidelity.json", found)
    with replacing(folder / "README.md") as file:
        file.write(card(load_world(folder).game, folder, random, found).encode())
    return found


def card(game: Game, folder: Path, random: dict[str, Any], found: dict[str, Any]) -> str:
    """Return a world's model card: what it was learned from, and how far to trust it."""
    rows = [
        f"| {name} | {part['return'][0]:.1f} ± {part['return'][1]:.1f} | {part['length'][0]:.0f} |"
        for name, part in (("real game", found["real"]), ("dream", found["dream"]))
    ]
    policy = Path(find("shipped", folder))
    learner = "agent" if policy.name == AGENT else "controller"
    used = real_frames(folder / "config.json") + real_frames(policy.with_suffix(".json"))
    mean, deviation = found["real"]["return"]
    return f"""# A dream of {game.called}

`dreamgym new {shlex.quote(game.name)}` has learned it from {used:,} frames of the real game.
{knowledge(game)}

```python
import dreamgym, gymnasium as gym
dream = gym.make("Dream-v0", world="{folder}")
real = gym.make("Latent-v0", world="{folder}")
```

Its {learner} learned in the dream alone. In {TEST} real games it scores {mean:.1f} ±
{deviation:.1f}; random play scores {random["mean"]:.1f} ± {random["sd"]:.1f}.

## How far to trust it

The same {learner} plays both, {TEST} episodes each:

| | return | steps |
| --- | --- | --- |
{chr(10).join(rows)}

If the dream pays more than the game, what learns in it may learn what fools M. Then learn at a
higher temperature, or give `dreamgym new` more frames.
"""


def plain(task: str) -> str:
    """Return a game's name as the name of a folder: letters, digits and `-_.+:` alone."""
    return re.sub(r"[^\w.+:-]+", "-", task).strip("-")


def knowledge(game: Game) -> str:
    """Return in words what was known of a game, and what M foretells."""
    rules = own.known(game.own.rules)
    if not rules:
        return """Nothing but its
spaces was known: M foretells the next observation, the reward, and whether the game ends."""
    parts = {"reward": "the reward", "over": "whether the game ends"}
    told = " and ".join(words for name, words in parts.items() if name in rules.known)
    left = [words for name, words in parts.items() if name not in rules.known]
    return f"""M foretells
{" and ".join(["the next observation", *left])}. `{game.own.rules}` says {told}, as in the game."""


def main(
    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ID")] = "",
    out: str = "",
    frames: Whole = FRAMES,
    algo: str = "ppo",
    seed: int = 0,
    processes: int = 1,
    rules: str = "",
    data: str = "",
    explore: str = "explore",
    pixels: bool = False,
) -> None:
    """Make a dream of a game of your own. If it is interrupted, the same command goes on with it.

    Args:
        task: The id of an environment of Gymnasium whose observations are a few numbers or a
            picture, such as CartPole-v1; of one of your own, module:Id-v0; or module:function of
            what makes one.
        out: Folder for the world, and for its episodes and runs; if left out, worlds/ID.
        frames: Most frames of the real game to learn from. Those that choose come on top.
        algo: Who learns in the dream: `ppo`, an agent of Stable-Baselines3, or `cma`, the paper's
            linear controller C.
        seed: Seed of the games and of all that learns, 0 to 9: to see how much is luck.
        processes: Worker processes that play the real game, which a slow game needs; 0: one for
            each core. 1: this process plays it, and waits for a game that hangs until Ctrl-C.
            A worker process that needs more than 15 minutes for ten games is replaced, and the
            games are tried again, up to three times in all.
        rules: The reward and the end of the game, if you know them, as a class of your own,
            module:Class. M need not learn them.
        data: What you have recorded already, which takes the place of the first games: a folder of
            `dreamgym collect`, or the id of a dataset of Minari. Its frames come on top.
        explore: Who plays the first games: `explore` and `random` play at random;
            `module:function` is yours, see `dreamgym collect --help`.
        pixels: Learn from what the game draws, and not from its observations. The game's name is
            then ID+pixels.
    """
    if not task:
        raise ValueError("which game? give the id of an environment, such as CartPole-v1")
    if frames < LEAST:
        raise ValueError(f"frames is {frames}: give {LEAST:,} or more")
    if algo not in LEARNERS:
        raise ValueError(f"algo is {algo!r}: choose one of {', '.join(LEARNERS)}")
    if not unseeing(explore):
        raise ValueError(f"explore is {explore!r}: give explore, random, or your module:function")
    if is_function(explore):
        function(explore)  # refuses what cannot be imported
    if data and explore != "explore":
        raise ValueError(f"explore is {explore}, but {data} takes the place of its games: give one")
    if pixels:
        task = task.removesuffix(own.PIXELS) + own.PIXELS
    game = games.get(task)
    task = game.name  # however the user has spelled it
    if not game.own:
        raise ValueError(f"{task} has a recipe of its own: call `dreamgym make {task}`")
    if own.known(rules) and game.pictures:
        raise ValueError(f"rules is {rules}: {task} shows pictures, and rules are of numbers")
    folder = Path(out or f"worlds/{plain(task)}")
    executor = InProcess() if processes == 1 else Local(processes)
    known, longest = 0, game.max_steps
    if data:
        asked = recorded.Args(task, data, max(recorded.MOST, frames))
        known = recorded.take(asked, folder / "data" / "round-0")
    rounds = recipe(frames, algo, longest, known, game.pictures)
    final = choosing(frames, iterate.CANDIDATES * longest, FINAL)
    plan = Plan(rounds, final, seed, Stop(frames, PATIENCE), bool(data), explore, rules)
    check_folder(folder)
    chosen = ROUNDS * rounds[0].games + iterate.CANDIDATES * final
    shown = "pictures" if game.pictures else f"{game.frame[0] - 1} numbers"
    several = f"actions of {len(game.choices)} choices"
    acts = several if game.choices else f"{len(game.low)} numbers of an action"
    print(
        f"{task}: {shown}, {f'{len(game.moves)} moves' if game.moves else acts}, "
        f"at most {longest:,} steps.\n"
        f"In up to {ROUNDS} rounds it will play up to {frames:,} real frames to learn from, and up "
        f"to {chosen * longest:,} to choose by, in {chosen} games. {2 * TEST} more games score it."
    )
    new(task, plan, folder, executor)
    examined(task, folder, executor)
    print(
        f"the world is in {folder}, and {folder}/README.md says how far to trust it. Try\n"
        f'  gym.make("Dream-v0", world="{folder}")\n'
        f"  dreamgym train --world {shlex.quote(str(folder))} --algo ppo"
    )

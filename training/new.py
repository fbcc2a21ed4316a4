"""The command `new`: make a dream of a game of one's own, from its id in Gymnasium."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tyro

from dreamgym import games
from dreamgym.checkpoint import FILES, real_frames, write_json
from dreamgym.files import replacing
from dreamgym.games import Game
from dreamgym.games.own import PIXELS
from dreamgym.games.recipe import Round

from . import evaluate, iterate, splits
from .flags import Whole
from .measure import fidelity
from .play.executors import Executor, InProcess, Local
from .play.games import SIDE_BY_SIDE
from .play.policies import AGENT, find

FRAMES = 50_000
"""Real frames for the data, if the user does not say: CartPole and Pendulum need fewer."""
LEAST = 1000
"""Fewest real frames from which M can learn anything."""
FIRST = 0.2
"""Share of these frames that random play gets. The rest is played by C, in equal parts."""
ROUNDS = 4
"""Rounds of playing, learning the world and learning in it."""
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
FEWEST = SIDE_BY_SIDE
"""Least number of games in a round. How many more there are is told by their length."""
GAMES = 10
"""Real games by which C is validated in a round. They are few because their frames count too."""
FINAL = 20
"""Fresh real games for the choice between the two best rounds."""
TEST = 100
"""Real games for the score."""


def recipe(frames: int, algo: str, pictures: bool = False) -> tuple[Round, ...]:
    """Return the rounds by which the world of a user's own game is made.

    C is validated once in a round.

    Args:
        frames: of the real game, for the data.
        algo: one of `LEARNERS`.
        pictures: whether V sees pictures, and not numbers, which it measures once.
    """
    first = Round(
        FEWEST, 0, frames, max(UPDATES, frames // SHARE), GENERATIONS,
        rate=PICTURES if pictures else RATE, length=LENGTH,
        budget=round(FIRST * frames), rollouts=4, validate=GENERATIONS, games=GAMES,
        timesteps=max(TIMESTEPS, DREAMT * frames) if algo == "ppo" else 0,
    )  # fmt: skip
    later = replace(first, frames=0, budget=round((1 - FIRST) * frames / (ROUNDS - 1)))
    rounds = (first, *(later,) * (ROUNDS - 1))
    if not pictures:
        return rounds
    sights = (*SIGHT, *(0,) * (ROUNDS - len(SIGHT)))
    return tuple(replace(each, frames=sight) for each, sight in zip(rounds, sights, strict=True))


def new(task: str, out: Path, rounds: Sequence[Round], executor: Executor, seed: int = 0) -> None:
    """Make the world of a user's own game, with its policy, and write it to the folder `out`.

    The episodes and the runs of the rounds are in `out`/data and `out`/runs.

    Args:
        seed: see `iterate.iterate`.
    """
    best = iterate.iterate(task, rounds, out / "data", out / "runs", executor, FINAL, seed)
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
    args = fidelity.Args(task, str(folder), games=TEST, stumbles=0, seed=splits.TEST)
    found = fidelity.fidelity(args, executor)
    write_json(folder / "fidelity.json", found)
    with replacing(folder / "README.md") as file:
        file.write(card(games.get(task), folder, random, found).encode())
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

`dreamgym new {game.name}` has learned it from {used:,} frames of the real game. Nothing but its
spaces was known: M foretells the next observation, the reward, and whether the game ends.

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


def main(
    task: tyro.conf.Positional[str] = "",
    out: str = "",
    frames: Whole = FRAMES,
    algo: str = "ppo",
    seed: int = 0,
    processes: int = 1,
    pixels: bool = False,
) -> None:
    """Make a dream of a game of your own. If it is interrupted, the same command goes on with it.

    Args:
        task: The id of an environment of Gymnasium whose observations are a few numbers or a
            picture, such as CartPole-v1; of one of your own, module:Id-v0.
        out: Folder for the world, and for its episodes and runs; if left out, worlds/ID.
        frames: Frames of the real game to learn from. Those that validate come on top.
        algo: Who learns in the dream: `ppo`, an agent of Stable-Baselines3, or `cma`, the paper's
            linear controller C.
        seed: Seed of the games and of all that learns, 0 to 9: to see how much is luck.
        processes: Worker processes that play the real game, which a slow game needs; 0: one for
            each core. 1: this process plays it.
        pixels: Learn from what the game draws, and not from its observations. The game's name is
            then ID+pixels.
    """
    if not task:
        raise ValueError("which game? give the id of an environment, such as CartPole-v1")
    if frames < LEAST:
        raise ValueError(f"frames is {frames}: give {LEAST:,} or more")
    if algo not in LEARNERS:
        raise ValueError(f"algo is {algo!r}: choose one of {', '.join(LEARNERS)}")
    if pixels:
        task = task.removesuffix(PIXELS) + PIXELS
    game = games.get(task)
    if not game.own:
        raise ValueError(f"{task} has a recipe of its own: call `dreamgym make {task}`")
    folder = Path(out or f"worlds/{task}")
    executor = InProcess() if processes == 1 else Local(processes)
    shown = "pictures" if game.pictures else f"{game.frame[0] - 1} numbers"
    print(
        f"{task}: {shown}, {len(game.moves) or len(game.low)} "
        f"{'moves' if game.moves else 'numbers of an action'}, at most {game.max_steps} steps.\n"
        f"It will play about {frames:,} real frames to learn from, and "
        f"{ROUNDS * GAMES + 2 * FINAL} games to choose by."
    )
    new(task, folder, recipe(frames, algo, game.pictures), executor, seed)
    examined(task, folder, executor)
    print(
        f"the world is in {folder}, and {folder}/README.md says how far to trust it. Try\n"
        f'  gym.make("Dream-v0", world="{folder}")\n'
        f"  dreamgym train --world {folder} --algo ppo"
    )

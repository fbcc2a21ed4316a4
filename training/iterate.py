"""The command `iterate`: rounds of playing the real game, learning its world, and learning in it.

In each round the policy of the round before plays the real game (in the first round, random play
does). V and M then learn from the frames of all rounds so far. In the new world a controller is
evolved, or an agent learns, or both: then the agent plays on, and decides which round is best.
World Models, §5, proposes rounds, because random play visits only a part of a game.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dreamgym import games
from dreamgym.checkpoint import FILES, read_json, real_frames, write_json
from dreamgym.envs.arguments import parse_temperature
from dreamgym.files import replacing
from dreamgym.games.recipe import Round, scaled

from . import collect, distil, evolve, memory, train, vision
from .data import latents
from .data.episodes import (
    MANIFEST,
    Episode,
    content,
    dataset,
    episode_path,
    episode_paths,
    frames_of,
)
from .flags import DATA, RUNS, Name, Tau, game_for
from .measure.agreement import agree
from .measure.examine import examine
from .play.executors import Executor, Local
from .play.games import score
from .play.policies import AGENT, CONTROLLER
from .runs import check_numbers, held
from .splits import FINAL, VALIDATION

CANDIDATES = 2
"""How many of the best rounds are compared for the final choice."""
GAMES = 100
"""Fresh real games with which each of these rounds is scored, if the caller does not say."""
APART = 100_000
"""From the first seed of one run's episodes to that of the next run's; each episode has the next
seed."""
FEW: dict[str, Any] = {"batch": 32, "rarity": 0.5}
"""How V learns from the few pictures of a user's own game. Our choice, from a trial on CartPole,
whose pole and cart are a hundredth of the picture. With all pixels alike, V saw neither after 230
batches of 128. So weighted, its error was below that of the mean picture after 240 batches of 32,
which take a quarter of the time."""
GENTLE = 3e-4
"""PPO's learning rate at first for C that imitated an agent; it falls to 0. C's own weights move
slower, see `sb3.PACE`."""
TRIALS = 4
"""Validations while it learns so, before the one at its end. Our choice: the best of them is kept,
and each costs frames."""
LUCK = 100
"""From the seeds of one run's learners to those of the next run's; each round has the next seed."""
MOST = VALIDATION // APART - 1
"""The greatest seed of a run."""


@dataclass(frozen=True)
class Stop:
    """When rounds end before the last of them."""

    frames: int
    """Most frames that the rounds record, if the fewest games of the first one do not take more.
    The rounds after it get equal parts of what is left."""
    patience: int
    """So many rounds in a row whose validation is not better than the best before them are the
    last ones."""


@dataclass(frozen=True)
class Plan:
    """The rounds by which a world is made, and from which games."""

    rounds: Sequence[Round]
    final: int = GAMES
    """Fresh real games for the final choice among the best rounds."""
    seed: int = 0
    """Of the games, and of all that learns; 0 to `MOST`."""
    stop: Stop | None = None
    """When the rounds end; None: after the last one."""
    given: bool = False
    """Whether the first round's episodes are in its folder already, see `recorded.take`."""
    explore: str = "explore"
    """The policy that plays the first round's games, see `collect.Args`."""
    rules: str = ""
    """Of the dreams, see `games.own.Facts`."""

    def __post_init__(self) -> None:
        if not self.rounds or not self.rounds[0].frames:
            raise ValueError("give 1 round or more, and train V on some frames in the first")
        if not 0 <= self.seed <= MOST:
            raise ValueError(f"seed is {self.seed}: give 0 to {MOST}")


def iterate(task: str, plan: Plan, data: str | Path, out: str | Path, executor: Executor) -> Path:
    """Go through the rounds and return the folder of the best world and its policy.

    The same call resumes a stage that was interrupted, and skips a round that is done.

    Args:
        data: folder for the episodes; each round has a folder in it.
        out: folder for the runs of the rounds; the best world is written to `out`/best.

    Raises:
        ValueError: if a round that is done was run with other arguments or data, or the rules
            disagree with the games that were played.
    """
    with held(out):
        return _iterate(task, plan, Path(data), Path(out), executor)


def _iterate(task: str, plan: Plan, data: Path, out: Path, executor: Executor) -> Path:
    first, spent, seen = APART * plan.seed, 0, []  # spent: real frames used for validation
    sight, before, stop = Path(), Path(), plan.stop
    left = stop.frames if stop else 0  # frames that may still be recorded
    sights: dict[Path, Path] = {}  # run folder of each round → run folder of its V
    for number, stage in enumerate(plan.rounds):
        if stop and number:
            scores = [float(_facts(folder)["real"]) for folder in sights]
            if why := over(stop, scores, left, _longest(task)):
                print(f"\n{why}")
                break
            share = left // (len(plan.rounds) - number)
            fewest = max(1, min(stage.episodes, share // _longest(task)))
            stage = replace(stage, budget=share, episodes=fewest)
        source = "" if number else "recorded" if plan.given else plan.explore
        folder = out / f"round-{number}"
        seen.append(data / f"round-{number}")
        known = before if number and not stage.anew else None
        done = folder / "round.json"
        print(f"\nround {number}: {stage}")
        policy, through = plan.explore, ""
        if number:
            through = str(before / "world")
            policy = str(policy_of(before))
        if not done.exists() and source != "recorded":
            plays = collect.Args(
                task, stage.episodes, first, policy, through, stage.steps, stage.chance, stage.hold
            )
            _play(plays, stage.budget, seen[-1], executor, left if stop else None)
            if not number and (notice := early(task, seen[-1])):
                print(notice)
        if plan.rules:  # of a finished round too: they may have changed
            agree(plan.rules, episode_paths(seen[-1]))
        if not done.exists():
            _learn(task, plan, stage, seen, folder, sight, known, spent)
            luck = LUCK * plan.seed + number
            if stage.timesteps:
                _train(stage, folder, luck, known, executor)
            if stage.imitated:
                _imitate(stage, folder, luck, executor)
            elif stage.evolved or not stage.timesteps:
                _evolve(stage, folder, luck, known, executor)
            write_json(done, _what(task, plan, stage, seen[-1], source))
        if read_json(done) != _what(task, plan, stage, seen[-1], source):
            raise ValueError(
                f"{folder} holds a round of other arguments or data: choose another --out"
            )
        first += len(_lengths(seen[-1]))
        left -= 0 if source == "recorded" else sum(_lengths(seen[-1]))
        spent += _spent(folder)
        measured = stage.frames or (folder / "vision.json").exists()
        sight, before = folder if measured else sight, folder
        sights[folder] = sight
    frames = sum(sum(_lengths(each)) for each in seen)
    best = _best(task, list(sights), out / "best", frames + spent, executor, plan.final)
    if not games.get(task).rewarded and not (best / "examination.json").exists():
        examine(task, best, sights[best])
    return out / "best"


def over(stop: Stop, scores: Sequence[float], left: int, longest: int) -> str:
    """Return why no further round begins; empty if one does.

    Args:
        scores: the validations of the rounds so far, 1 or more.
        left: frames that may still be recorded.
        longest: frames that a game may have.
    """
    best = int(np.argmax(scores))
    if len(scores) - 1 - best >= stop.patience:
        late = list(map(str, range(best + 1, len(scores))))
        which = f"round{'s' * (len(late) > 1)} {' and '.join(late)} scored"
        return f"no further round: {which} no better than round {best} ({scores[best]:.4g})"
    if left < longest:
        return (
            f"no further round: {stop.frames - left:,} of {stop.frames:,} frames are recorded, and "
            f"one game more may have {longest:,}"
        )
    return ""


def _play(
    args: collect.Args, budget: int, out: Path, executor: Executor, most: int | None = None
) -> None:
    """Record a round's games: `args.episodes`, and as many more as the budget of frames allows.

    How many those are is told by the length of the first ones.

    Args:
        most: frames that these further games never exceed; None: the budget may be exceeded. A game
            is played only if there is room for the longest one. So they may come in several parts.
    """

    def played(many: int) -> list[int]:
        """Return the lengths of the first games, which are played if they are not there."""
        paths = [episode_path(out, i) for i in range(many)]
        if not all(path.exists() for path in paths):
            collect.collect(replace(args, episodes=many), out, executor)
        return [frames_of(path) for path in paths]

    many = args.episodes
    wanted = max(many, round(budget / np.mean(played(many)))) if budget else many
    while many < wanted:
        room = wanted if most is None else (most - sum(played(many))) // _longest(args.task)
        if room < 1:
            break
        many = min(wanted, many + room)
    collect.collect(replace(args, episodes=many), out, executor)


def early(task: str, data: Path) -> str:
    """Return a notice if a user's own game cut itself off sooner than its limit; else nothing."""
    game = games.get(task)
    steps = [
        len(played) - 1
        for played in map(Episode.load, episode_paths(data) if game.own else ())
        if len(played) <= game.max_steps and played.truncated[-2]
    ]
    if not steps:
        return ""
    return (
        f"{len(steps)} games were cut off by the game itself after {max(steps):,} steps or sooner. "
        f"Its dreams are cut off after {game.max_steps:,}. If the game has a shorter limit, wrap "
        "it in gymnasium.wrappers.TimeLimit, or register it with that max_episode_steps."
    )


def _longest(task: str) -> int:
    """Return the most frames of a game, with the one after its last action."""
    return games.get(task).max_steps + 1


def _lengths(data: Path) -> list[int]:
    return list(read_json(data / MANIFEST)["lengths"])


def _what(task: str, plan: Plan, stage: Round, seen: Path, source: str) -> dict[str, Any]:
    """Return what identifies a round: game, arguments, the content of its data, seed and rules.

    Args:
        source: where the data came from, if not from the game's random play or the last round.
    """
    data = content(dataset([seen], task))
    what = {"task": task, "round": asdict(stage), "data": data, "seed": plan.seed}
    what |= {"source": source} if source not in ("", "explore") else {}
    return what | ({"rules": plan.rules} if plan.rules else {})


def _learn(
    task: str,
    plan: Plan,
    stage: Round,
    seen: Sequence[Path],
    folder: Path,
    sight: Path,
    known: Path | None,
    spent: int,
) -> None:
    """Train V and M on the episodes so far, and write them as a world.

    Args:
        seen: data folders of all rounds so far.
        sight: run folder of the latest V; unused in the first round.
        known: run folder of the M from which training goes on, even if V has learned more since;
            None: M begins anew.
        spent: real frames used for validation so far.
    """
    facts = games.get(task)
    if stage.frames or vision.outgrown(vision.load_vision(sight, task), seen[-1]):
        init = str(sight) if len(seen) > 1 else ""
        few: dict[str, Any] = {"even": stage.even, "rarity": stage.rarity}
        few |= FEW if facts.own and facts.pictures else {}
        frames = stage.frames or vision.Args.batch  # numbers are measured, in all frames
        args = vision.Args(frames, init=init, task=task, seed=plan.seed, **few)
        vision.train(seen, folder, args)
        sight = folder
    v = vision.load_vision(sight, task)
    z = latents.encode(facts, seen, sight, v)
    origin = known / "world" if known and sight == folder else known
    learned = memory.Args(
        stage.updates, length=stage.length, learning_rate=stage.rate, init=str(origin or ""),
        seed=plan.seed,
    )  # fmt: skip
    m = memory.train(z, folder, learned, memory.config_for(facts), vision=v)
    memory.assemble(task, v, m, z, folder / "world", validation=spent, rules=plan.rules)


def _evolve(stage: Round, folder: Path, seed: int, known: Path | None, executor: Executor) -> None:
    """Evolve C in the world of a round, from that of the round `known` on if it has one."""
    before = known / "controller" / CONTROLLER if known else Path()
    args = evolve.Args(
        str(folder / "world"), stage.generations, rollouts=stage.rollouts,
        temperature=(stage.low, stage.high), steps=stage.steps, validate=stage.validate,
        games=stage.games, finalists=stage.finalists, seed=seed,
        init=str(before) if before.is_file() else "",
    )  # fmt: skip
    evolve.evolve(args, folder / "controller", executor)


def _train(stage: Round, folder: Path, seed: int, known: Path | None, executor: Executor) -> None:
    """Train an agent in the world of a round, from that of the round `known` on if it has one."""
    before = known / "agent" / train.BEST if known else Path()
    args = train.Args(
        str(folder / "world"), timesteps=stage.timesteps, temperature=(stage.low, stage.high),
        anywhere=stage.anywhere, steps=stage.short or stage.steps, rate=stage.falling,
        validate=2 * stage.timesteps,  # only at the end: the frames of these games count too
        games=stage.games, seed=seed, init=str(before) if before.is_file() else "",
    )  # fmt: skip
    train.learn(args, folder / "agent", executor)


def _imitate(stage: Round, folder: Path, seed: int, executor: Executor) -> None:
    """Let C imitate a round's agent, and go on by PPO."""
    world, taus = str(folder / "world"), (stage.low, stage.high)
    imitated = distil.Args(world, str(policy_of(folder)), temperature=taus, seed=seed)
    begun = distil.distil(imitated, folder / "imitation")
    args = train.Args(
        world, timesteps=stage.imitated, temperature=taus, anywhere=stage.anywhere,
        steps=stage.short or stage.steps, controller=True, rate=GENTLE, init=str(begun),
        validate=-(-stage.imitated // TRIALS), games=stage.games, patience=0, seed=seed,
    )  # fmt: skip
    spent = real_frames(begun.with_suffix(".json"))
    train.learn(args, folder / "controller", executor, earlier=spent)


def _spent(folder: Path) -> int:
    """Return the real frames on which the policies of a round were validated."""
    counted = [folder / "controller" / CONTROLLER, folder / "agent" / AGENT]
    if (folder / "imitation").exists():  # then those of C include the agent's
        counted.pop()
    paths = [each.with_suffix(".json") for each in counted if each.exists()]
    return sum(
        int(check_numbers([read_json(path)], path, ("real_frames",))[0]["real_frames"])
        for path in paths
    )


def policy_of(folder: Path) -> Path:
    """Return the file of a round's policy: of its agent, or else of its controller."""
    agent = folder / "agent" / AGENT
    return agent if agent.exists() else folder / "controller" / CONTROLLER


def _best(
    task: str, folders: Sequence[Path], out: Path, frames: int, executor: Executor, final: int
) -> Path:
    """Write the best round's world and policy to `out`, and return the round's folder.

    The two rounds with the best validation play the same fresh games, unless they have played them
    already, and the better one is kept. This is needed because the best of many short validations
    is partly luck.

    Args:
        frames: real frames of all rounds, including the rounds that are not kept.
        final: the number of these games.
    """
    played: dict[Path, float] = {}
    ranked = sorted(folders, key=lambda folder: -_facts(folder)["real"])
    for folder in ranked[:CANDIDATES]:
        if "final" not in _facts(folder):
            policy = policy_of(folder)
            fresh = score(task, folder / "world", policy, range(FINAL, FINAL + final), executor)
            found = {
                "final": float(np.mean([game["return"] for game in fresh])),
                "final_frames": sum(game["length"] for game in fresh),
            }
            write_json(policy.with_suffix(".json"), _facts(folder) | found)
        played[folder] = _facts(folder)["final"]
        print(f"{folder}: {played[folder]:.0f} on {final} fresh games")
    frames += sum(_facts(folder).get("final_frames", 0) for folder in folders)
    best = max(played, key=lambda folder: played[folder])
    others = frames - real_frames(best / "world" / "config.json")
    # Without this file there is no world: an interrupted copy is not taken for one.
    (out / "config.json").unlink(missing_ok=True)
    for name in (CONTROLLER, AGENT):  # an earlier choice may have had another kind of policy
        (out / name).unlink(missing_ok=True)
        (out / name).with_suffix(".json").unlink(missing_ok=True)
    policies = [best / "controller" / CONTROLLER, best / "agent" / AGENT]
    policies = [each for each in policies if each.exists()]
    for weights in policies:
        facts = read_json(weights.with_suffix(".json")) | {"real_frames": others}
        write_json((out / weights.name).with_suffix(".json"), facts)
    for path in (*policies, *(best / "world" / name for name in reversed(FILES))):
        with replacing(out / path.name) as file:
            file.write(path.read_bytes())
    return best


def _facts(folder: Path) -> dict[str, Any]:
    path = policy_of(folder).with_suffix(".json")
    return check_numbers(
        [read_json(path)], path, ("real", "real_frames"), ("final", "final_frames")
    )[0]


def main(
    task: Name = "",
    rounds: int = 3,
    data: str = "",
    out: str = "",
    temperature: Tau = None,
    share: float = 1.0,
    processes: int = 0,
) -> None:
    """Repeat rounds of playing the real game, learning its world, and learning in that world.

    Args:
        task: The game; if left out, doom.
        rounds: How many rounds of the game's recipe; its last round is repeated if it has fewer.
        data: Folder for the episodes of the rounds; if left out, data/GAME, or data/GAME-shareS.
        out: Folder for the runs of the rounds; if left out, runs/GAME, or runs/GAME-shareS.
        temperature: Of the dreams, or the two ends of a range; if left out, the recipe's.
        share: Play and learn so many times as much as the recipe says: 0.1 is a trial of it. The
            games of each validation are as many as ever.
        processes: Worker processes that play real games; 0: one for each core.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}: give 1 or more")
    task = game_for(task)
    recipe = games.get(task).recipe
    if not recipe:
        raise ValueError(f"{task} is a game of your own: call `dreamgym new {task}`")
    asked = (*recipe, *(recipe[-1],) * (rounds - len(recipe)))[:rounds]
    asked = tuple(scaled(each, share) for each in asked)
    if temperature is not None:
        low, high = parse_temperature(temperature)
        asked = tuple(replace(each, low=low, high=high) for each in asked)
    name = task if share == 1 else f"{task}-share{share:g}"
    out = out or f"{RUNS}/{name}"
    iterate(task, Plan(asked), data or f"{DATA}/{name}", out, Local(processes))
    print(f"the world with what learned in it is {out}/best")

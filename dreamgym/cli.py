"""The `dreamgym` command: one word a stage."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym

from dreamgym import games
from dreamgym.envs.arguments import Temperature, parse_temperature
from dreamgym.training.data.episodes import game_of
from dreamgym.training.play.executors import Local
from dreamgym.training.splits import DEMO, TEST

DATA, RUNS = "data", "runs"
"""Where stages write when they are not told: both are ignored by git."""


FAULTS = (ValueError, OSError, RuntimeError, ArithmeticError, MemoryError, gym.error.Error)
"""What ends a command with a sentence; anything else is a fault of ours and shows where it is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 2 bad input, 130 interrupted.

    A terminal that lacks a letter shows `?` for it. SIGTERM and SIGHUP end a command as Ctrl-C
    does, with nothing left behind, unless the caller handles or ignores them.
    """
    for name in ("stdout", "stderr"):  # closed by whoever started us; progress bars want them
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    with _any_letter(sys.stdout, sys.stderr), _ending_on(signal.SIGTERM, signal.SIGHUP):
        args = _parser().parse_args(argv)
        try:
            _check_words(args)
            if "task" in args:
                args.task = _game(args)
            args.run(args)
        except KeyboardInterrupt:
            print("\ndreamgym: stopped; a training stage goes on when it is called again")
            return 130
        except BrokenPipeError:  # whoever read our words has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except FAULTS as error:
            if args.debug:
                traceback.print_exc()
            what = "out of memory: " if isinstance(error, MemoryError) else ""
            print(f"dreamgym: {what}{error}", file=sys.stderr)
            return 2
    return 0


@contextlib.contextmanager
def _any_letter(*streams: Any) -> Iterator[None]:
    """Let streams show `?` for a letter that they do not know, instead of failing."""
    ours = [each for each in streams if isinstance(each, io.TextIOWrapper)]
    before = [each.errors for each in ours]
    for each in ours:
        each.reconfigure(errors="replace")
    try:
        yield
    finally:
        for each, errors in zip(ours, before, strict=True):
            each.reconfigure(errors=errors)


@contextlib.contextmanager
def _ending_on(*signals: signal.Signals) -> Iterator[None]:
    """Leave in good order on signals that would else end the process where it is."""

    def leave(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    mine = threading.current_thread() is threading.main_thread()
    ours = [each for each in signals if mine and signal.getsignal(each) is signal.SIG_DFL]
    for each in ours:
        signal.signal(each, leave)
    try:
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


def _check_words(args: argparse.Namespace) -> None:
    """Refuse a word that is empty, as a shell's variable that was never set.

    Raises:
        ValueError: naming the option.
    """
    for name in ("world", "policy", "data", "out", "vision", "readme", "device"):
        value = getattr(args, name, None)
        if value == "" or (isinstance(value, list) and "" in value):
            raise ValueError(f"--{name} is empty: leave it out, or say which")


def _game(args: argparse.Namespace) -> str:
    """Return the game that a command is for: the one that is named, the world's, the data's, Doom.

    Raises:
        ValueError: if the world is another game's than the one that is named.
    """
    from dreamgym.checkpoint import world_game

    named: str | None = args.task
    if world := getattr(args, "world", None):
        theirs = world_game(world)
        if named and theirs != named:
            raise ValueError(
                f"--world {world} is a world of {theirs}, not of {named}: leave the game out, or "
                "give another world"
            )
        return theirs
    if named is None and (data := getattr(args, "data", None)) and isinstance(data, list):
        return game_of(data[0])
    return named or next(iter(games.GAMES))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dreamgym",
        description="Learn a game's world, learn to act in its dream, play the real game.",
    )
    parser.add_argument(
        "--debug", action="store_true", help="show where an error came from, workers' ones too"
    )
    commands = parser.add_subparsers(metavar="command", required=True)

    shown = argparse.ArgumentDefaultsHelpFormatter

    def command(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=help,
            description=help,
            formatter_class=shown,
        )
        sub.set_defaults(run=run)
        sub.add_argument(
            "task",
            choices=sorted(games.GAMES),
            nargs="?",
            help="the world's or the data's, or doom",
        )
        debug(sub)
        return sub

    def debug(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS,
                         help="show where an error came from")  # fmt: skip

    def data(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--data", nargs="+", help="folders of episodes, random play first (data/TASK)"
        )

    def run_folder(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--out", help="folder of the run (runs/TASK)")

    def sight(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--vision", help="run folder of V and its latents (--out)")

    def processes(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--processes", type=int, default=0, help="0: one for each core")

    sub = command("collect", _collect, "play real games and keep every frame")
    sub.add_argument("--episodes", type=int, default=10_000)
    sub.add_argument("--seed", type=int, default=0, help="seed of the first episode")
    sub.add_argument(
        "--policy", default="explore",
        help="explore (the game's own play at random), random, shipped, or a policy's file",
    )  # fmt: skip
    sub.add_argument("--world", help="what the controller sees through (TASK)")
    sub.add_argument("--steps", type=int, default=0, help="cut episodes off after so many frames")
    sub.add_argument("--out", help="folder of episodes (data/TASK)")
    processes(sub)

    sub = command("vision", _vision, "train V on the frames")
    data(sub)
    run_folder(sub)
    sub.add_argument("--frames", type=int, default=3_000_000, help="frames to train on, in all")
    sub.add_argument(
        "--reconstruction", type=float, default=30.0, help="weight of the error; paper 1"
    )

    sub = command("memory", _memory, "encode the frames and train M on them; write the world")
    data(sub)
    run_folder(sub)
    sight(sub)
    sub.add_argument("--steps", type=int, default=6000)

    sub = command("examine", _examine, "tell whether a world is right for the right reasons")
    run_folder(sub)
    sight(sub)

    sub = command("evolve", _evolve, "evolve a controller in the dream by CMA-ES")
    sub.add_argument("--world", help="shipped name or folder (TASK)")
    sub.add_argument("--out", help="folder of the run (runs/TASK-controller)")
    sub.add_argument("--generations", type=int, default=100)
    sub.add_argument("--temperature", type=float, nargs="+", help="τ, or the ends of a range")
    sub.add_argument("--validate", type=int, default=10, help="generations between validations")
    sub.add_argument("--games", type=int, default=40, help="real games a validation")
    sub.add_argument("--finalists", type=int, default=3, help="how many play for the last choice")
    sub.add_argument("--reality", action="store_true", help="learn in the real game, not the dream")
    sub.add_argument("--population", type=int, default=64, help="members a generation")
    sub.add_argument("--rollouts", type=int, default=16, help="dreams or games a member")
    sub.add_argument("--steps", type=int, default=0, help="cut dreams off after so many")
    sub.add_argument("--init", default="", help="a controller's file to begin from")
    sub.add_argument("--observation", default="", help="what C sees: z, zh or zhc (the game's own)")
    sub.add_argument("--hidden", type=int, default=0, help="units of C between input and action")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--device", default="cpu", help="where it dreams")
    sub.add_argument("--form", default="auto", help="auto, torch or compiled (for a GPU)")
    processes(sub)

    sub = command("train", _train, "train an agent of Stable-Baselines3 in the dream")
    sub.add_argument("--algo", default="ppo", help="ppo, a2c, dqn, sac, td3, ppo_lstm, qrdqn, tqc")
    sub.add_argument("--timesteps", type=_whole, default=0, help="0: as many as the zoo says")
    sub.add_argument("--temperature", type=float, nargs="+", help="τ, or the ends of a range")
    sub.add_argument("--world", help="shipped name or folder (TASK)")
    sub.add_argument("--out", help="folder of the run (runs/TASK-ALGO)")
    sub.add_argument("--envs", type=int, default=0, help="dreams at once; 0: as the zoo says")
    sub.add_argument("--observation", default="", help="z, zh or zhc (the game's own)")
    sub.add_argument("--linear", action="store_true", help="a policy without a hidden layer")
    sub.add_argument(
        "--validate", type=_whole, default=0, help="steps between validations; 0: a tenth of all"
    )
    sub.add_argument("--games", type=int, default=20, help="real games a validation")
    sub.add_argument("--patience", type=int, default=4, help="validations without a better one")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--device", default="cpu", help="where it dreams and learns")
    processes(sub)

    sub = command("evaluate", _evaluate, "score a policy in the real game or in the dream")
    sub.add_argument("--policy", default="shipped", help="shipped, random, or the file of a policy")
    sub.add_argument("--env", choices=("twin", "dream"), default="twin")
    sub.add_argument("--episodes", type=int, default=100)
    sub.add_argument("--seed", type=int, default=TEST, help="seed of the first episode")
    sub.add_argument("--temperature", type=float, nargs="+", help="the dream's τ or range")
    sub.add_argument("--world", help="shipped name or folder (TASK)")
    sub.add_argument("--out", help="JSON file for the result")
    processes(sub)

    sub = command("iterate", _iterate, "rounds of playing, learning the world, learning in it")
    sub.add_argument("--rounds", type=int, default=3)
    sub.add_argument("--data", help="folder for the rounds' episodes (data/TASK)")
    sub.add_argument("--temperature", type=float, nargs="+", help="τ or its range (the recipe's)")
    run_folder(sub)
    processes(sub)

    sub = command("make", _make, "make the shipped world from nothing, each stage resumable")
    sub.add_argument("--data", help="folder for the rounds' episodes (data/TASK)")
    run_folder(sub)
    processes(sub)

    sub = command("demo", _demo, "learn in the dream for minutes, then play the real game")
    sub.add_argument("--out", default="demo")
    sub.add_argument("--seconds", type=float, default=150.0, help="how long to learn")
    sub.add_argument("--games", type=int, default=10, help="real games for each policy")
    processes(sub)

    sub = command("bench", _bench, "measure steps per second, dream and reality in one run")
    sub.add_argument("--world", help="shipped name or folder (TASK)")
    sub.add_argument("--device", default="cpu", help="where it dreams")
    sub.add_argument("--out", help="JSON file for the table")

    sub = command("film", _film, "write an animation of the dream beside the real game")
    sub.add_argument("--world", help="shipped name or folder (TASK)")
    sub.add_argument("--policy", help="a controller's file (the shipped one)")
    sub.add_argument("--out", default="dream.gif")
    sub.add_argument("--seed", type=int, default=DEMO)

    words = "bring README's tables up to date with training/results"
    sub = commands.add_parser("report", help=words, description=words)
    sub.set_defaults(run=_report)
    debug(sub)
    sub.add_argument("--readme", default="README.md")
    return parser


def _collect(args: argparse.Namespace) -> None:
    from dreamgym.training.collect import Args, collect

    executor, out = _workers(args), args.out or f"{DATA}/{args.task}"
    stage = Args(args.task, args.episodes, args.seed, args.policy, args.world or "", args.steps)
    frames = collect(stage, out, executor)
    print(f"{args.episodes} episodes, {frames} frames in {out}")


def _vision(args: argparse.Namespace) -> None:
    from dreamgym.training import vision

    stage = vision.Args(
        frames=args.frames, reconstruction=args.reconstruction, z_size=games.get(args.task).z_size,
        task=args.task,
    )  # fmt: skip
    vision.train(args.data or [f"{DATA}/{args.task}"], args.out or f"{RUNS}/{args.task}", stage)


def _memory(args: argparse.Namespace) -> None:
    from dreamgym.models.mdn_rnn import MemoryConfig
    from dreamgym.training import memory, runs, vision
    from dreamgym.training.data import latents

    stage = memory.Args(steps=args.steps)
    out = args.out or f"{RUNS}/{args.task}"
    sight, game = args.vision or out, games.get(args.task)
    runs.check_folder(out)
    v = vision.load_vision(sight, args.task)
    seen = latents.encode(game, args.data or [f"{DATA}/{args.task}"], sight, v)
    config = MemoryConfig(game.z_size, len(game.low), game.hidden, heads=game.rules.heads)
    m = memory.train(seen, out, stage, config)
    memory.assemble(args.task, v, m, seen, f"{out}/world")
    print(f"the world is in {out}/world")


def _examine(args: argparse.Namespace) -> None:
    from dreamgym.training.measure import examine

    out = args.out or f"{RUNS}/{args.task}"
    report = examine.examine(args.task, out, args.vision)
    print(json.dumps(report, indent=1))


def _evolve(args: argparse.Namespace) -> None:
    from dreamgym.training import evolve

    dreamt = {"temperature": None, "device": "cpu", "form": "auto"}
    if args.reality and (
        vain := [key for key, usual in dreamt.items() if vars(args)[key] != usual]
    ):
        raise ValueError(f"--{vain[0]} is for dreams, --reality has none: leave one of them out")
    executor, out = _workers(args), args.out or f"{RUNS}/{args.task}-controller"
    stage = evolve.Args(
        args.world or args.task, args.generations, args.population, args.rollouts,
        _temperature(args), steps=args.steps, init=args.init, reality=args.reality,
        validate=args.validate, games=args.games, finalists=args.finalists,
        observation=args.observation, hidden=args.hidden, seed=args.seed,
    )  # fmt: skip
    evolve.evolve(stage, out, executor, device=args.device, form=args.form)
    print(f"the controller is {out}/controller.safetensors")


def _train(args: argparse.Namespace) -> None:
    from dreamgym.training import train

    stage = train.Args(
        args.world or args.task, args.algo, args.timesteps, _temperature(args), envs=args.envs,
        observation=args.observation, linear=args.linear, validate=args.validate,
        games=args.games, patience=args.patience, seed=args.seed,
    )  # fmt: skip
    executor, out = _workers(args), args.out or f"{RUNS}/{args.task}-{args.algo}"
    best = train.learn(stage, out, executor, device=args.device)
    print(f"the agent is {best}")


def _evaluate(args: argparse.Namespace) -> None:
    from dreamgym.training.evaluate import Args, evaluate

    stage = Args(
        args.task, args.policy, args.env, args.episodes, args.seed, _temperature(args),
        args.world or "",
    )  # fmt: skip
    score = evaluate(stage, _workers(args), args.out)
    low, high = score["ci95"]
    print(
        f"{score['env']}, {args.policy}: {score['mean']:.1f} ± {score['sd']:.1f} over "
        f"{args.episodes} episodes (95 % [{low:.1f}, {high:.1f}])"
    )


def _iterate(args: argparse.Namespace) -> None:
    from dreamgym.training import iterate

    if args.rounds < 1:
        raise ValueError(f"rounds is {args.rounds}: give 1 or more")
    recipe = games.get(args.task).recipe
    rounds = (*recipe, *(recipe[-1],) * (args.rounds - len(recipe)))[: args.rounds]
    if args.temperature:
        low, high = parse_temperature(_temperature(args))
        rounds = tuple(replace(each, low=low, high=high) for each in rounds)
    executor, out = _workers(args), args.out or f"{RUNS}/{args.task}"
    iterate.iterate(args.task, rounds, args.data or f"{DATA}/{args.task}", out, executor)
    print(f"the world with its controller is {out}/best")


def _make(args: argparse.Namespace) -> None:
    run = args.out or f"{RUNS}/{args.task}"
    data = args.data or f"{DATA}/{args.task}"
    processes = ["--processes", str(args.processes)]
    rounds = len(games.get(args.task).recipe)
    for words in (
        ["iterate", args.task, "--rounds", str(rounds), "--data", data, "--out", run, *processes],
        ["evaluate", args.task, "--world", f"{run}/best", "--out", f"{run}/best/score.json",
         "--episodes", str(games.get(args.task).test_games), *processes],
    ):  # fmt: skip
        print(f"\n$ dreamgym {shlex.join(words)}")
        stage = _parser().parse_args(words)
        stage.run(stage)


def _demo(args: argparse.Namespace) -> None:
    from dreamgym.training.demo import demo

    demo(args.task, args.out, args.seconds, args.games, _workers(args))


def _bench(args: argparse.Namespace) -> None:
    from dreamgym.checkpoint import write_json
    from dreamgym.files import check_writable
    from dreamgym.training.measure.bench import bench
    from dreamgym.training.measure.report import speed

    if args.out:
        check_writable(args.out)
    table = bench(args.world or args.task, device=args.device)
    for row in table["rows"]:
        print(speed(row))
    for what, why in table["left_out"].items():
        print(f"| {what} | left out: {why} |")
    if args.out:
        write_json(args.out, table)


def _film(args: argparse.Namespace) -> None:
    from dreamgym.checkpoint import world_folder
    from dreamgym.training.measure.film import film

    world = args.world or args.task
    policy = args.policy or world_folder(world) / "controller.safetensors"
    print(film(world, policy, args.out, seed=args.seed))


def _report(args: argparse.Namespace) -> None:
    from dreamgym.training.measure.report import report

    report(args.readme)


MOST = 10**15
"""No number of steps is larger; they would take centuries."""


def _whole(text: str) -> int:
    """Return a whole number, 0 or more, which may be written as 2e6."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number <= MOST or number != int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, 0 or more, such as 2e6")
    return int(number)


def _temperature(args: argparse.Namespace) -> Temperature | None:
    """Return the temperature or the range that was asked for, None if none was."""
    if args.temperature is None:
        return None
    given = args.temperature
    low, high = parse_temperature(given[0] if len(given) == 1 else tuple(given))
    return low, high


def _workers(args: argparse.Namespace) -> Local:
    """Return the processes in which games are played."""
    return Local(args.processes)

"""The `dreamgym` command: `dreamgym STAGE`, with the arguments of the stage's `main` as flags."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

import gymnasium as gym

from dreamgym import __version__
from dreamgym.envs.workers import SPINS

COMMANDS = {
    "collect": ("collect", "play real games and record every frame"),
    "vision": ("vision", "train V on the recorded frames"),
    "memory": ("memory", "encode the frames with V, train M on them and write the world"),
    "examine": ("measure.examine", "test how well the V and M of a world see, predict and dream"),
    "fidelity": ("measure.fidelity", "compare what a policy meets in the dream and in the game"),
    "direct": ("measure.direct", "score what learned in the dream beside PPO in the game itself"),
    "evolve": ("evolve", "evolve a controller in the dream by CMA-ES"),
    "train": ("train", "train an agent of Stable-Baselines3 in the dream"),
    "distil": ("distil", "let a controller learn in the dream what an agent has learned there"),
    "carry": ("carry", "carry a controller over to a world whose M, or V too, has gone on"),
    "evaluate": ("evaluate", "score a policy in the real game or in the dream"),
    "iterate": ("iterate", "make a world in rounds: play, learn the world, learn in it"),
    "make": ("make", "make a shipped world from nothing; call it again to continue"),
    "new": ("new", "make a dream of a game of your own, from its id in Gymnasium"),
    "demo": ("demo", "learn in the dream for minutes, then play the real game"),
    "bench": ("measure.bench", "measure the steps per second of dreams and games in one run"),
    "experiment": (
        "measure.experiment",
        "measure what is learned at each of the dream's temperatures",
    ),
    "play": ("window", "play a dream, the real game, or both side by side in a window"),
    "web": ("serve", "show the playable dream in a browser, with the real game beside it"),
    "export-web": ("export_web", "write the playable dream as one page for a browser"),
    "film": ("measure.film", "write an animation of a dream and the real game side by side"),
    "report": ("measure.report", "update the tables of README and docs from the results"),
}
"""For each command, the module of `training` with its `main`, and a line of help."""
PATIENT = ("vision", "memory", "iterate", "make", "bench")
"""Commands whose PyTorch threads may look for work for long, see `SPINS`: those that mostly train V
and M, which then takes 6 to 17 % less time; and `bench`, which measures both."""
FAULTS = (ValueError, OSError, RuntimeError, ArithmeticError, MemoryError, gym.error.Error)
"""Errors that end a command with their message alone. Others are bugs and show a traceback."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    The status is 0 if the command is done, 2 after an error, 130 after Ctrl-C, and 141 if the
    reader of its output has gone. SIGTERM and SIGHUP end a command as Ctrl-C does, with nothing
    left behind, unless the caller handles or ignores them. A character that the terminal cannot
    show is printed as `?`.

    Args:
        argv: the words after `dreamgym`; None for those of this process.
    """
    for name in ("stdout", "stderr"):  # None if the parent closed them, but progress bars need them
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    if not {"", os.getcwd()} & set(sys.path):  # for games of the user's own, as `python -m` does
        sys.path.insert(0, os.getcwd())
    with _any_letter(sys.stdout, sys.stderr), _ending_on(signal.SIGTERM, signal.SIGHUP):
        try:
            parsed([word for word in words if word != "--debug"])()
        except KeyboardInterrupt:
            print("\ndreamgym: stopped; to continue a training stage, call it again")
            return 130
        except BrokenPipeError:  # the reader of our output has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except FAULTS as error:
            if debug:
                traceback.print_exc()
            what = "out of memory: " if isinstance(error, MemoryError) else ""
            print(f"dreamgym: {what}{error}", file=sys.stderr)
            return 2
    return 0


def parsed(words: Sequence[str]) -> Callable[[], Any]:
    """Return the function that a command line asks for, bound to its arguments.

    Raises:
        ValueError: if there is no such command, a word is empty, or one of our checks refuses a
            value.
        SystemExit: after a message about an unknown flag or a wrong type, or after the help of a
            command.
    """
    if not words:
        raise ValueError(f"no command is given: choose one of {', '.join(COMMANDS)}")
    if words[0] in ("-h", "--help"):
        return functools.partial(print, overview())
    if words[0] == "--version":
        return functools.partial(print, f"dreamgym {__version__}")
    name, *rest = words
    if name not in COMMANDS:
        raise ValueError(f"no command {name!r}: choose one of {', '.join(COMMANDS)}")
    for before, word in zip(words, rest, strict=False):  # empty, as from an unset shell variable
        if not word or word.endswith("="):
            raise ValueError(f"{word[:-1] or before} is empty: leave it out, or give it a value")
    if name not in PATIENT and "torch" not in sys.modules:
        # PyTorch's threads look for work for a while after each operation, and all that time keep
        # a core from the dream's threads. GNU's OpenMP reads this when it is loaded.
        os.environ.setdefault(*SPINS)
    import tyro

    command = import_module(f"dreamgym.training.{COMMANDS[name][0]}").main

    @functools.wraps(command)
    def bound(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        return functools.partial(command, *args, **kwargs)

    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            asked: Callable[[], Any] = tyro.cli(bound, prog=f"dreamgym {name}", args=rest)
    except SystemExit as stop:
        if error := _sentence(stop):
            raise error from None
        sys.stderr.write(said.getvalue())
        raise
    return asked


def _sentence(stop: BaseException) -> ValueError | None:
    """Return the error of one of our own checks of a flag, if it is the reason why tyro stopped."""
    error = stop.__context__
    while error and not isinstance(error, ValueError):
        error = error.__context__
    if not isinstance(error, ValueError):
        return None
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return error if frame.f_globals["__name__"].startswith("dreamgym.") else None


def overview() -> str:
    """Return the help of `dreamgym` itself: one line for each command."""
    column = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{column}}{words}" for name, (_, words) in COMMANDS.items()]
    return "\n".join(
        (
            "usage: dreamgym command [--help] [--debug] …\n",
            "Learn a game's world, learn to act in its dream, play the real game.\n",
            *lines,
            "\n`dreamgym command --help` shows a command's own flags;",
            "--debug shows the traceback of an error, also of one in a worker process;",
            "`dreamgym --version` shows the version.",
        )
    )


@contextlib.contextmanager
def _any_letter(*streams: Any) -> Iterator[None]:
    """Let streams write `?` for a character that their encoding lacks, instead of failing."""
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
    """Turn signals that would end the process at once into SystemExit, so that it cleans up."""

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

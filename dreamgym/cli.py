"""The `dreamgym` command: one word a stage, whose flags are made from its dataclass."""

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

COMMANDS = {
    "collect": ("collect", "play real games and save every frame"),
    "vision": ("vision", "train V on the frames"),
    "memory": ("memory", "encode the frames, train M on them and write the world"),
    "examine": ("measure.examine", "examine V and M of a run against real games"),
    "evolve": ("evolve", "evolve a controller in the dream by CMA-ES"),
    "train": ("train", "train an agent of Stable-Baselines3 in the dream"),
    "evaluate": ("evaluate", "score a policy in the real game or in the dream"),
    "iterate": ("iterate", "repeat rounds of playing, learning the world, and learning in it"),
    "make": ("make", "make a shipped world from scratch: all its rounds, then its score"),
    "demo": ("demo", "learn in the dream for a few minutes, then play the real game"),
    "bench": ("measure.bench", "measure the speed of dreams, of the real game and of training"),
    "film": ("measure.film", "write an animation of the dream beside the real game"),
    "report": ("measure.report", "update the tables of README and docs from the results"),
}
"""For each command, the module in `training` with its `main`, and what it does."""
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
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    with _any_letter(sys.stdout, sys.stderr), _ending_on(signal.SIGTERM, signal.SIGHUP):
        try:
            parsed([word for word in words if word != "--debug"])()
        except KeyboardInterrupt:
            print("\ndreamgym: stopped; a training stage goes on when it is called again")
            return 130
        except BrokenPipeError:  # whoever read our words has gone
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
    """Return what a command line asks for, ready to be called.

    Raises:
        ValueError: if there is no such command, a word is empty, or a check of ours refuses one.
        SystemExit: if there is no such flag, or help was asked for, both of which are printed.
    """
    if not words:
        raise ValueError(f"no command is given: choose one of {', '.join(COMMANDS)}")
    if words[0] in ("-h", "--help"):
        return functools.partial(print, overview())
    name, *rest = words
    if name not in COMMANDS:
        raise ValueError(f"no command {name!r}: choose one of {', '.join(COMMANDS)}")
    for before, word in zip(words, rest, strict=False):  # as a shell's variable that was never set
        if not word or word.endswith("="):
            raise ValueError(f"{word[:-1] or before} is empty: leave it out, or say which")
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
    """Return what one of our own checks said of a flag, if that is why tyro stopped."""
    error = stop.__context__
    while error and not isinstance(error, ValueError):
        error = error.__context__
    if not isinstance(error, ValueError):
        return None
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return error if frame.f_globals["__name__"].startswith("dreamgym.") else None


def overview() -> str:
    """Return the help of the command as a whole."""
    lines = [f"  {name:10s}{words}" for name, (_, words) in COMMANDS.items()]
    return "\n".join(
        (
            "usage: dreamgym command [--help] [--debug] …\n",
            "Learn a game's world, learn to act in its dream, play the real game.\n",
            *lines,
            "\n`dreamgym command --help` shows a command's own flags;",
            "--debug shows the traceback of an error, also of one in a worker process.",
        )
    )


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

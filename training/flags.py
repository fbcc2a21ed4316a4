"""The types of the commands' flags, and the defaults that several commands share."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, TypeVar

import tyro

from dreamgym import games
from dreamgym.checkpoint import is_world, world_game
from dreamgym.envs.arguments import Temperature, parse_temperature

from .data.episodes import game_of

T = TypeVar("T")
DATA, RUNS = "data", "runs"
"""Default folders for episodes and for runs; git ignores both."""
MOST = 10**15
"""Largest whole number that a flag accepts: so many steps would take centuries."""


def whole(words: list[str]) -> int:
    """Parse a whole number of 0 or more; it may be written as 2e6.

    Raises:
        ValueError: if the word is not such a number.
    """
    try:
        number = float(words[0])
    except ValueError:
        number = -1
    if not 0 <= number <= MOST or number != int(number):
        raise ValueError(f"{words[0]!r} is not a whole number: give 0 or more, such as 2e6")
    return int(number)


def temperatures(words: list[str]) -> Temperature:
    """Parse a temperature: one word is τ, two words are the ends of a range.

    Raises:
        ValueError: if the words are not one or two valid temperatures.
    """
    if not words:
        raise ValueError("--temperature is empty: leave it out, or give it a value")
    try:
        ends = tuple(float(word) for word in words)
    except ValueError:
        raise ValueError(
            f"{' '.join(words)!r}: give one number, such as 1.15, or two for a range"
        ) from None
    low, high = parse_temperature(ends[0] if len(ends) == 1 else ends)
    return low if low == high else (low, high)


def _spec(read: Any, kind: Any, nargs: Any, metavar: str) -> Any:
    """Return how tyro parses a flag's words into a value, and how it prints a default."""
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=nargs,
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, kind),
        str_from_instance=lambda value: (
            [] if value is None else list(map(str, value if isinstance(value, tuple) else [value]))
        ),
    )


Whole = Annotated[int, _spec(whole, int, 1, "INT")]
"""A whole number of 0 or more; it may be written as 2e6."""
Tau = Annotated[
    Temperature | None,
    _spec(temperatures, (int, float, tuple, type(None)), "*", "τ [τ]"),
]
"""A temperature, or the two ends of a range; None if the flag is left out."""
Name = Annotated[
    tyro.conf.Positional[str], tyro.conf.arg(metavar=f"{{{','.join(sorted(games.GAMES))}}}")
]
"""The name of a game, a positional argument; empty if it is left out."""
Flat = tyro.conf.OmitArgPrefixes[T]
"""A dataclass, each field of which is a flag of the command without a prefix."""


def game_for(task: str, world: str = "", data: tuple[str, ...] = ()) -> str:
    """Return the name of the game that a command is for.

    If there is a world, it is the world's game. Otherwise it is `task`; if that is empty, the game
    of the data; if there are no data either, the first game.

    Raises:
        ValueError: if the world is of another game than `task`, or `task` is not a game.
    """
    if world:
        theirs = world_game(world)
        if task and theirs != task:
            raise ValueError(
                f"--world {world} is a world of {theirs}, not of {task}: leave the game out, or "
                "give another world"
            )
        return theirs
    if not task and data:
        return game_of(data[0])
    return games.get(task or next(iter(games.GAMES))).name


def world_for(task: str, world: str) -> str:
    """Return the world that a command is given, or else the one that ships with its game.

    Raises:
        ValueError: if none ships with it.
    """
    if not world and not is_world(task):
        raise ValueError(
            f"no world of {task} ships with dreamgym: give one as --world, such as the folder that "
            f"`dreamgym new {shlex.quote(task)}` writes"
        )
    return world or task

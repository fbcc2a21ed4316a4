"""What the commands' flags have in common, and what a command takes where it is told nothing."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import tyro

from dreamgym import games
from dreamgym.checkpoint import world_game
from dreamgym.envs.arguments import Temperature, parse_temperature

from .data.episodes import game_of

T = TypeVar("T")
DATA, RUNS = "data", "runs"
"""Where the commands read and write: both are ignored by git."""
MOST = 10**15
"""No number of steps is larger; they would take centuries."""


def whole(words: list[str]) -> int:
    """Return a whole number, 0 or more, which may be written as 2e6.

    Raises:
        ValueError: if it is none.
    """
    try:
        number = float(words[0])
    except ValueError:
        number = -1
    if not 0 <= number <= MOST or number != int(number):
        raise ValueError(f"{words[0]!r} is no whole number, 0 or more, such as 2e6")
    return int(number)


def temperatures(words: list[str]) -> Temperature | None:
    """Return τ, the ends of its range, or None if there is no word.

    Raises:
        ValueError: if they are none.
    """
    try:
        ends = tuple(float(word) for word in words)
    except ValueError:
        raise ValueError(f"{' '.join(words)!r}: give a number, such as 1.15, or two") from None
    if ends:
        low, high = parse_temperature(ends[0] if len(ends) == 1 else ends)
        return low if low == high else (low, high)
    return None


def _spec(read: Any, kind: Any, nargs: Any, metavar: str) -> Any:
    """Return how tyro reads words as a value, and shows one."""
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
"""A whole number, which may be written as 2e6."""
Tau = Annotated[
    Temperature | None,
    _spec(temperatures, (int, float, tuple, type(None)), "*", "τ [τ]"),
]
"""A temperature, or the ends of a range; None if it is left out."""
Name = Annotated[
    tyro.conf.Positional[str], tyro.conf.arg(metavar=f"{{{','.join(sorted(games.GAMES))}}}")
]
"""The name of a game; empty if it is left out."""
Flat = tyro.conf.OmitArgPrefixes[T]
"""The fields of a dataclass as flags of the command itself."""


def game_for(task: str, world: str = "", data: tuple[str, ...] = ()) -> str:
    """Return the game that a command is for: the one that is named, the world's, the data's, or
    the first that there is.

    Raises:
        ValueError: if the world is another game's than the one that is named, or there is no such
            game.
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

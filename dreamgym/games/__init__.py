"""The games: those that dreamgym knows, one file each, and a user's own, made from its id."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from dreamgym.games import car_racing, doom
from dreamgym.games.game import FRAME, PAID, Game

__all__ = ["FRAME", "GAMES", "PAID", "Game", "get", "maker"]

GAMES = {game.name: game for game in (doom.GAME, car_racing.GAME)}
"""The games by name. Commands that are not given a game take the first."""
OWN = "dreamgym.envs.vectors"
"""The module whose `describe` makes a `Game` of an environment's name. Games know no Gymnasium."""


def get(name: str) -> Game:
    """Return the game called `name`: one of `GAMES`, or else a user's own.

    Args:
        name: a name, or the id of an environment that Gymnasium knows, such as `CartPole-v1`. See
            `envs.vectors.describe` for what may follow it.

    Raises:
        ValueError: if there is no such game; the message lists those that exist. Also if it is an
            environment that cannot be made, or whose spaces we do not know.
    """
    if isinstance(name, str) and name in GAMES:
        return GAMES[name]
    try:
        return _own(str(name or "?"), maker(name))
    except LookupError as error:
        raise ValueError(
            f"unknown game {name!r}: choose one of {', '.join(sorted(GAMES))}, or give the id of "
            f"an environment of Gymnasium, such as CartPole-v1 ({error})"
        ) from None


def maker(name: str) -> Any:
    """Return what makes the environment of a user's own game; None for the name of a shipped one.

    It is another one when the user has mended a class in a notebook, and defined it again.

    Raises:
        LookupError: if there is no such environment.
    """
    if isinstance(name, str) and name in GAMES:
        return None
    return import_module(OWN).maker(str(name or "?"))


@cache
def _own(name: str, _: Any) -> Game:
    game: Game = import_module(OWN).describe(name)
    return game

"""The games: those that dreamgym knows, one file each, and a user's own, made from its id."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from dreamgym.games import car_racing, doom
from dreamgym.games.game import FRAME, PAID, Game

__all__ = ["FRAME", "GAMES", "PAID", "Game", "get"]

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
        return _own(str(name or "?"))
    except LookupError:
        raise ValueError(
            f"unknown game {name!r}: choose one of {', '.join(sorted(GAMES))}, or give the id of "
            "an environment of Gymnasium, such as CartPole-v1"
        ) from None


@cache
def _own(name: str) -> Game:
    game: Game = import_module(OWN).describe(name)
    return game

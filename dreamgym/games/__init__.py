"""The games that dreamgym knows, one file each."""

from __future__ import annotations

from dreamgym.games import car_racing, doom
from dreamgym.games.game import FRAME, Game

__all__ = ["FRAME", "GAMES", "Game", "get"]

GAMES = {game.name: game for game in (doom.GAME, car_racing.GAME)}
"""The games by name. Commands that are not given a game take the first."""


def get(name: str) -> Game:
    """Return the game called `name`.

    Raises:
        ValueError: if there is no such game; the message lists those that exist.
    """
    if not isinstance(name, str) or name not in GAMES:
        raise ValueError(f"unknown game {name!r}: choose one of {', '.join(sorted(GAMES))}")
    return GAMES[name]

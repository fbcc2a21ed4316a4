"""Checks of the environments' arguments, with messages that say what to give instead."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from dreamgym.games import Game

Temperature = float | tuple[float, float]
"""τ, or the two ends of the range from which each episode draws its own τ."""


DREAMT = ("temperature", "precision", "form", "anywhere")
"""The arguments that dreams have and real games have not."""


def parse_temperature(temperature: Any) -> tuple[float, float]:
    """Return a temperature, or a range of temperatures, as (low, high).

    Raises:
        ValueError: if it is neither a finite number ≥ 0 nor a range of two such numbers.
    """
    ends = temperature if isinstance(temperature, (tuple, list)) else (temperature, temperature)
    good = len(ends) == 2 and all(
        isinstance(end, (int, float, np.number)) and type(end) is not bool
        and math.isfinite(end) and end >= 0
        for end in ends
    )  # fmt: skip
    if not good or ends[0] > ends[1]:
        raise ValueError(
            f"temperature is {temperature!r}: give a finite number, 0 or more, such as 1.15, "
            "or a range such as (1.0, 1.3)"
        )
    return float(ends[0]), float(ends[1])


def check_continuous(continuous: Any, game: Game) -> bool:
    """Return `continuous`, or the game's default if it is None.

    Raises:
        ValueError: if it is neither True, False nor None, or False for a game that has no discrete
            actions.
    """
    if continuous is None:
        return game.continuous
    if continuous is False and not (game.moves or game.choices):
        raise ValueError(f"continuous is False: {game.called} has no discrete actions, give True")
    if not isinstance(continuous, (bool, np.bool_)):
        raise ValueError(f"continuous is {continuous!r}: give True for a Box, False for Discrete")
    return bool(continuous)


def check_render_mode(mode: Any) -> None:
    """Accept None and `"rgb_array"`, from which `gym.make` also makes `"human"`.

    Raises:
        ValueError: if it is anything else.
    """
    if mode not in (None, "rgb_array"):
        raise ValueError(
            f"render_mode is {mode!r}: choose None or 'rgb_array' (gym.make makes 'human' of it)"
        )


def step_limit(asked: int | None, usual: int) -> float:
    """Return the limit of an episode in steps, infinity for no limit.

    Args:
        asked: None for the usual limit, -1 (as in Gymnasium) or infinity for no limit.
        usual: the game's own limit.

    Raises:
        ValueError: if it is none of these and not a whole number ≥ 1.
    """
    if asked is None:
        return usual
    if isinstance(asked, (int, float, np.number)) and asked in (-1, math.inf):
        return math.inf
    return whole(asked, "max_episode_steps is {!r}: give 1 or more, or -1 for no limit")


def whole(number: Any, problem: str) -> int:
    """Return a whole number ≥ 1 as Python's `int`.

    Args:
        problem: the message if it is anything else; `{!r}` stands for the value.

    Raises:
        ValueError: if it is not a whole number ≥ 1.
    """
    try:
        good = 0 if isinstance(number, (bool, np.bool_)) else operator.index(number)
    except TypeError:
        good = 0
    if good < 1:
        raise ValueError(problem.format(number))
    return good


def check_real(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of a real game that only dreams have.

    Raises:
        ValueError: if there is one; the message names it.
    """
    for name in DREAMT:
        if name in arguments:
            raise ValueError(
                f"{name} is {arguments[name]!r}: the real game has no {name}, leave it out"
            )


def check_mapping(options: Any) -> dict[str, Any]:
    """Return the options of a reset as a dictionary, which is empty for None.

    Raises:
        ValueError: if they are neither a mapping nor None.
    """
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"options is {options!r}: give a dictionary, such as {{'temperature': 1}}")
    return dict(options or {})


def check_autoreset_mode(mode: Any) -> AutoresetMode:
    """Return Gymnasium's mode for resetting the finished episodes of a batch.

    Raises:
        ValueError: if there is no such mode; the message lists those that exist.
    """
    if not isinstance(mode, AutoresetMode) and mode not in [m.value for m in AutoresetMode]:
        known = ", ".join(f"AutoresetMode.{m.name}" for m in AutoresetMode)
        raise ValueError(f"autoreset_mode is {mode!r}: choose one of {known}")
    return AutoresetMode(mode)

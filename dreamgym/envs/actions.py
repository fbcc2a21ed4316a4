"""What one may ask of an environment: one definition for the real game, its twin and the dream."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from dreamgym.games import Game


def space(game: Game, continuous: bool) -> gym.Space[Any]:
    """Return the action space of a game: a `Box` or a `Discrete` of its moves."""
    if continuous:
        return gym.spaces.Box(np.array(game.low, np.float32), np.array(game.high, np.float32))
    return gym.spaces.Discrete(len(game.moves))


def told(actions: Any, game: Game, continuous: bool) -> np.ndarray:
    """Return N actions as M is told them: (N, A) float32.

    Doom: -1 left, 0 stay, 1 right. CarRacing: steering, gas and brake.

    Raises:
        ValueError: if one is none of the space's; the message names it and what is expected.
    """
    try:
        values = np.asarray(actions)
    except ValueError as error:
        raise ValueError(f"action is {actions!r}, which makes no array ({error})") from error
    if continuous:
        size = len(game.low)
        if values.ndim != 2 or values.shape[1] != size or values.dtype.kind not in "fiu":
            numbers = "one number" if size == 1 else f"{size} numbers"
            raise ValueError(
                f"action is {_shown(actions)}: expected {numbers} in an array ({size},)"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"action is {_shown(actions)}: expected a finite number")
        if game.deadband:
            moved = (values > game.deadband).astype(np.float32)
            return moved - (values < -game.deadband)
        return np.clip(values, game.low, game.high).astype(np.float32)
    names = ", ".join(f"{number} ({name})" for number, name in enumerate(game.moves))
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(f"action is {_shown(actions)}: expected a whole number, one of {names}")
    if ((values < 0) | (values >= len(game.moves))).any():
        raise ValueError(f"action is {_shown(actions)}: expected one of {names}")
    return np.array(list(game.moves.values()), np.float32)[values]


def meant(outputs: np.ndarray, game: Game) -> np.ndarray:
    """Return what C's outputs (N, A) in [-1, 1] mean as continuous actions, as M is told them."""
    wanted = outputs.copy()
    for part in game.halved:
        wanted[:, part] = (wanted[:, part] + 1) / 2
    return told(wanted, game, continuous=True)


def meant_there(outputs: Tensor, game: Game) -> Tensor:
    """Return the same for outputs on a device, without a look at them, which would wait for it."""
    if game.deadband:
        return (outputs > game.deadband).float() - (outputs < -game.deadband).float()
    parts = list(outputs.unbind(1))
    for part in game.halved:
        parts[part] = (parts[part] + 1) / 2
    ends = zip(parts, game.low, game.high, strict=True)  # plain numbers: a tensor would be copied
    return torch.stack([part.clamp(low, high) for part, low, high in ends], dim=1)


def _shown(actions: Any) -> str:
    """Print a batch of one as the single action that its user gave."""
    return repr(actions[0] if isinstance(actions, list) and len(actions) == 1 else actions)

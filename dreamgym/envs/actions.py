"""Actions: their spaces, and what they mean. The real game, its twin and the dream share this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from dreamgym.games import Game

if TYPE_CHECKING:
    from torch import Tensor


def space(game: Game, continuous: bool) -> gym.Space[Any]:
    """Return a game's action space: a `Box` if `continuous`, else one of its moves or choices."""
    if not continuous and game.moves:
        return gym.spaces.Discrete(len(game.moves))
    if not continuous and game.choices:
        if game.bits:
            return gym.spaces.MultiBinary(len(game.choices))
        return gym.spaces.MultiDiscrete(list(game.choices))
    return gym.spaces.Box(np.array(game.low, np.float32), np.array(game.high, np.float32))


def to_vectors(actions: Any, game: Game, continuous: bool) -> np.ndarray:
    """Return N actions as the vectors (N, A) float32 that M takes.

    In a game with a deadband a continuous action becomes -1, 0 or 1. In a game of choices the
    greatest number of each becomes 1 and the others 0. Else a continuous action is clipped to the
    box.

    Args:
        actions: (N, A) numbers if `continuous`, else (N,) whole numbers, or (N, P) if an action is
            P choices.

    Raises:
        ValueError: if an action has another shape or type, is not finite, or is not among the
            moves; the message names the action and what is expected.
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
        if game.choices:
            return _hot(np.stack([part.argmax(1) for part in _parts(values, game)], axis=1), game)
        low, high = game.box
        return np.minimum(np.maximum(values, low), high).astype(np.float32)
    if not game.moves:
        return _hot(_chosen(values, actions, game), game)
    whole = values.ndim == 1 and values.dtype.kind in "iu"
    if not whole or ((values < 0) | (values >= len(game.moves))).any():
        names = ", ".join(f"{number} ({name})" for number, name in enumerate(game.moves))
        kind = "" if whole else "a whole number, "
        raise ValueError(f"action is {_shown(actions)}: expected {kind}one of {names}")
    return game.vectors[values]


def to_choices(vector: np.ndarray, game: Game) -> np.ndarray:
    """Return what is chosen, (P,) int64, by an action that is P choices, as the vector (A,)."""
    return np.array([part[0].argmax() for part in _parts(vector[None], game)])


def _chosen(values: np.ndarray, actions: Any, game: Game) -> np.ndarray:
    """Return N actions of P choices each, (N, P).

    Raises:
        ValueError: if they have another shape or type, or one is not among the possibilities.
    """
    many, kinds = len(game.choices), "iubf" if game.bits else "iu"  # SB3's bits are floats
    whole = values.ndim == 2 and values.shape[1] == many and values.dtype.kind in kinds
    whole = whole and bool((values == np.floor(values)).all())
    if not whole or ((values < 0) | (values >= game.choices)).any():
        ends = f"0 to {[most - 1 for most in game.choices]}"
        raise ValueError(f"action is {_shown(actions)}: expected {many} whole numbers, {ends}")
    return values


def _hot(chosen: np.ndarray, game: Game) -> np.ndarray:
    """Return N actions of P choices (N, P) as the one-hot vectors (N, A) that M takes."""
    each = zip(chosen.T.astype(np.int64), game.choices, strict=True)
    return np.concatenate([np.eye(most, dtype=np.float32)[part] for part, most in each], axis=1)


def _parts(values: np.ndarray, game: Game) -> list[np.ndarray]:
    """Split N actions (N, A) into their choices, each (N, possibilities)."""
    return np.split(values, np.cumsum(game.choices)[:-1], axis=1)


def from_outputs(outputs: Tensor, game: Game) -> Tensor:
    """Return the action vectors (N, A) for a controller's outputs (N, A) in [-1, 1].

    Unlike `to_vectors`, it does not check the values: to read them would mean waiting for the GPU.
    """
    import torch  # not above: a process that only plays a real game starts without PyTorch

    if game.deadband:
        return (outputs > game.deadband).float() - (outputs < -game.deadband).float()
    if game.choices:
        each = outputs.split(game.choices, dim=1)
        hot = [torch.nn.functional.one_hot(part.argmax(1), part.shape[1]) for part in each]
        return torch.cat(hot, dim=1).float()
    parts = list(outputs.unbind(1))
    for part in game.stretched:
        low, high = game.low[part], game.high[part]
        parts[part] = low + (high - low) * ((parts[part] + 1) / 2)
    ends = zip(parts, game.low, game.high, strict=True)  # numbers need no copy to the device
    return torch.stack([part.clamp(low, high) for part, low, high in ends], dim=1)


def random(key: Tensor, step: Tensor, game: Game) -> Tensor:
    """Return random action vectors (N, A), uniform over the moves, the choices or the box.

    Args:
        key: (N,) int64, the dreams' keys, see `noise.key`. Actions use noise that M does not use.
        step: (N,) int64, the steps taken so far.
    """
    import torch  # see `from_outputs`

    from dreamgym import noise

    size = len(game.low)
    chance = noise.uniform(noise.key(key, torch.ones_like(key)), step, size + size % 2)[:, :size]
    if game.choices:
        return from_outputs(chance, game)
    if game.deadband:  # whole moves
        moves = torch.from_numpy(game.vectors).to(chance.device)
        return moves[(len(moves) * chance[:, 0]).long()]
    ends = zip(chance.unbind(1), game.low, game.high, strict=True)
    return torch.stack([low + (high - low) * part for part, low, high in ends], dim=1)


def _shown(actions: Any) -> str:
    """Return the actions as text for a message; of a list of one, only the user's own action."""
    return repr(actions[0] if isinstance(actions, list) and len(actions) == 1 else actions)

"""What an agent sees and does: the spaces that a dream and its twin have in common."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from dreamgym.envs import actions
from dreamgym.games import FRAME, Game
from dreamgym.world import BOUND, OBSERVATIONS, World

SAMPLE = (256, 200)
"""Dreams and steps in which `spread` measures."""
LEAST = 1e-3
"""Least spread of a number."""


def observation_space(world: World, kind: str) -> gym.spaces.Box:
    """Return the space of `World.observe`, the same for the dream and its twin."""
    if kind == "rgb":
        return gym.spaces.Box(0, 255, FRAME, np.uint8)
    config = world.memory.config
    sizes = {"z": config.z_size, "h": config.hidden, "c": config.hidden}
    largest = {"z": BOUND, "h": 1.0, "c": float(world.game.max_steps)}  # c moves by ≤ 1 a step
    high = np.concatenate([np.full(sizes[p], largest[p], np.float32) for p in OBSERVATIONS[kind]])
    return gym.spaces.Box(-high, high)


def check_observation(kind: Any) -> str:
    """Return a kind of observation.

    Raises:
        ValueError: if it is none; the message lists them.
    """
    kinds = (*OBSERVATIONS, "rgb")
    if kind not in kinds:
        raise ValueError(f"observation is {kind!r}: choose one of {', '.join(kinds)}")
    return kind


def check_actions(space: gym.Space[Any], game: Game) -> None:
    """Refuse an action space that M has not met.

    Raises:
        ValueError: naming the space and those that there are.
    """
    known = [actions.space(game, continuous) for continuous in (False, True)]
    if space not in known:
        raise ValueError(
            f"the environment's actions are {space}, and M knows those of {game.called}, "
            f"{known[0]} or {known[1]}: put wrappers that change actions around the twin instead"
        )


def check_game(world: World, name: Any, game: Game, id: str) -> None:
    """Refuse a world of another game.

    Args:
        name: what its user calls the world.
        game: the game that is played …
        id: … and what its user calls that.

    Raises:
        ValueError: naming the world, its game and what goes together.
    """
    if world.game.name != game.name:
        raise ValueError(
            f"{id} is {game.called}, the world {str(name)!r} was learned from {world.game.called}: "
            f"give {id} a world of its own game, such as {game.name!r}, or make "
            f"{id.replace(game.title, world.game.title)} with this one"
        )


def spread(world: World, kind: str, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (I,) of what is seen in random dreams.

    Args:
        kind: of observation, a latent one.
        low, high: ends of the temperature's range.
    """
    state = world.start(torch.arange(SAMPLE[0], device=world.device))
    temperature = world.draw_temperature(state, low, high)
    seen = []
    for _ in range(SAMPLE[1]):
        seen.append(world.observe(state, kind))
        action = actions.random(state.key, state.step, world.game)
        state, _, _ = world.step(state, action, temperature)
    numbers = torch.cat(seen)
    return numbers.mean(0), numbers.std(0).clamp_min(LEAST)

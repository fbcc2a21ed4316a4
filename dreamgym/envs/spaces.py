"""The spaces that a dream and its twin share, and checks that a world fits a game."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from dreamgym.envs import actions
from dreamgym.games import FRAME, Game
from dreamgym.models.standard import Standard
from dreamgym.world import BOUND, OBSERVATIONS, World

SAMPLE = (256, 200)
"""The number of dreams, and of steps in each, in which `spread` measures."""
LEAST = 1e-3
"""The least standard deviation that `spread` returns."""


def observation_space(world: World, kind: str) -> gym.spaces.Box:
    """Return the `Box` of the observations of a kind, the same for a dream and its twin.

    Args:
        kind: see `World.observe`.
    """
    if kind == "rgb":
        return gym.spaces.Box(0, 255, FRAME, np.uint8)
    if kind == "own":
        return gym.spaces.Box(-np.inf, np.inf, (world.size(kind),))
    config = world.memory.config
    sizes = {"z": config.z_size, "h": config.hidden, "c": config.hidden}
    largest = {"z": BOUND, "h": 1.0, "c": float(world.game.max_steps)}  # c grows by ≤ 1 a step
    high = np.concatenate([np.full(sizes[p], largest[p], np.float32) for p in OBSERVATIONS[kind]])
    return gym.spaces.Box(-high, high)


def check_frames(space: gym.Space[Any], game: Game, who: str) -> None:
    """Refuse an observation space that is not that of the game's frames.

    Args:
        who: the beginning of the message: who shows what the space says.

    Raises:
        ValueError: if V cannot see such frames.
    """
    if space.shape == game.frame and space.dtype == game.frame_type:
        return
    kind = np.dtype(game.frame_type)
    advice = "" if game.rewarded else ", so crop and resize them first"
    raise ValueError(f"{who} {space}: expected {kind} frames {game.frame}{advice}")


def check_observation(kind: Any, world: World) -> str:
    """Return the kind of observation if the world has it, see `World.observe`.

    Raises:
        ValueError: if the world has no such kind; the message lists those that it has.
    """
    kinds = (*world.kinds, *["rgb"] * world.game.pictures)
    if kind not in kinds:
        raise ValueError(f"observation is {kind!r}: choose one of {', '.join(kinds)}")
    return kind


def check_actions(space: gym.Space[Any], game: Game) -> None:
    """Refuse an action space that is neither of the game's two, because M knows no others.

    Raises:
        ValueError: if it is neither; the message names it and the game's two.
    """
    known = [actions.space(game, continuous) for continuous in (False, True)]
    if space not in known:
        raise ValueError(
            f"the environment's actions are {space}, and M knows those of {game.called}, "
            f"{known[0]} or {known[1]}: put wrappers that change actions around the twin instead"
        )


def check_game(world: World, name: Any, game: Game, id: str) -> None:
    """Refuse a world that was learned from another game.

    Args:
        name: the world as the user gave it, a name or a folder.
        game: the game that the user asked for.
        id: the environment id that the user asked for, such as `DreamDoom-v0`.

    Raises:
        ValueError: if the games differ; the message says which world and id go together.
    """
    if world.game.name != game.name:
        raise ValueError(
            f"{id} is {game.called}, the world {str(name)!r} was learned from {world.game.called}: "
            f"give {id} a world of its own game, such as {game.name!r}, or make "
            f"{id.replace(game.title, world.game.title)} with this one"
        )


def spread(world: World, kind: str, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation, both (I,), of observations in random dreams.

    A dream that has ended counts no longer.

    Args:
        kind: `"z"`, `"zh"`, `"zhc"` or `"own"`, an observation of I numbers.
        low, high: the range from which each dream draws its temperature.
    """
    state = world.start(torch.arange(SAMPLE[0], device=world.device))
    temperature = world.draw_temperature(state, low, high)
    seen, alive = [], torch.ones(len(state.z), dtype=torch.bool, device=world.device)
    for _ in range(min(SAMPLE[1], world.game.max_steps)):
        seen.append(world.observe(state, kind)[alive])
        action = actions.random(state.key, state.step, world.game)
        state, _, dead = world.step(state, action, temperature)
        alive &= ~dead
        if not alive.any():
            break
    numbers = torch.cat(seen)
    least = torch.full_like(numbers[0], LEAST)
    if kind == "own" and isinstance(world.vision, Standard):
        least *= world.vision.deviation[:-1]  # in the game's units, all of it may be tiny
    return numbers.mean(0), torch.maximum(numbers.std(0), least)

"""A world is of one game, and whatever plays another game refuses it by a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.vec_env import DummyVecEnv

import dreamgym  # noqa: F401
from dreamgym.sb3 import DreamVecEnv, VecLatentObservation
from dreamgym.wrappers import LatentObservation, make_twin

Maker = Callable[[str], Any]
MAKERS: dict[str, Maker] = {
    "DreamDoom-v0": lambda world: gym.make("DreamDoom-v0", world=world),
    "DreamDoom-v0 in a batch": lambda world: gym.make_vec("DreamDoom-v0", 2, world=world),
    "DreamDoom-v0 for SB3": lambda world: DreamVecEnv("dreamgym:DreamDoom-v0", 2, world=world),
    "LatentDoom-v0": lambda world: gym.make("LatentDoom-v0", world=world),
    "LatentDoom-v0 by hand": lambda world: make_twin(world, "doom"),
    "PixelDoom-v0": lambda world: LatentObservation(gym.make("PixelDoom-v0"), world=world),
    "PixelDoom-v0 for SB3": lambda world: VecLatentObservation(
        DummyVecEnv([lambda: gym.make("PixelDoom-v0")]), world
    ),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_a_world_of_another_game_is_refused(maker: str, car_folder, folder) -> None:
    id = maker.split()[0]
    with pytest.raises(ValueError) as caught:
        MAKERS[maker](str(car_folder))
    for word in (
        id,
        str(car_folder),
        "Gymnasium's CarRacing",
        "'doom'",
        id.replace("Doom", "CarRacing"),
    ):
        assert word in str(caught.value)
    MAKERS[maker](str(folder)).close()


def test_actions_that_m_was_not_told_are_refused(car_folder) -> None:
    one = np.float32(1)
    game = gym.wrappers.RescaleAction(gym.make("PixelCarRacing-v0"), -one, one)
    with pytest.raises(ValueError, match="put wrappers that change actions around the twin"):
        LatentObservation(game, world=str(car_folder))
    game.close()


@pytest.mark.parametrize(
    "id", [f"{k}{g}-v0" for k in ("Dream", "Latent") for g in ("Doom", "CarRacing")]
)
def test_a_registration_survives_json(id: str) -> None:
    spec = gym.spec(id)
    assert EnvSpec.from_json(spec.to_json()).kwargs == spec.kwargs
    assert json.loads(spec.to_json())["kwargs"]["task"] in ("doom", "car_racing")


@pytest.mark.parametrize("world", [None, b"doom", 3])
def test_what_is_no_world_is_named(world: Any) -> None:
    with pytest.raises(
        ValueError, match=r"world is .*: give world= a shipped world's name or a folder"
    ):
        gym.make("DreamDoom-v0", world=world)

"""The twin: a real game seen through V and M, with the spaces of its dream."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from dreamgym import games
from dreamgym.checkpoint import shared_world
from dreamgym.envs import actions, seeds
from dreamgym.envs.pixels import real
from dreamgym.envs.seeds import Episodes
from dreamgym.envs.spaces import (
    check_actions,
    check_frames,
    check_game,
    check_observation,
    observation_space,
)
from dreamgym.games import Game
from dreamgym.twin import Twin


class LatentObservation(gym.Wrapper, RecordConstructorArgs):
    """Turn the frames of a real game into the observations of its dream.

    V encodes each frame as a latent z. M takes in each z and action, and so has a state h and c as
    it has in the dream. `dreamgym.twin.Twin` says how. A policy that learned in a dream can thus
    play the real game.

    Args:
        env: an environment with uint8 frames (64, 64, 3), such as `PixelDoom-v0`.
        world: the name of a shipped world, or a folder with a world of the environment's game.
        observation: `"z"`, `"zh"`, `"zhc"`, `"rgb"` (V's picture of the frame) or `"own"`, as in
            `dreamgym.envs.dream.DreamEnv`; None for the game's default.
        device: where V and M run, such as `"cpu"` or `"cuda"`.

    Raises:
        ValueError: if the environment shows other frames, has other actions than the world's game,
            or is another game; also if the world, the device or the observation is not valid.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        world: str,
        observation: str | None = None,
        device: str = "cpu",
    ):
        RecordConstructorArgs.__init__(
            self, world=str(world), observation=observation, device=str(device)
        )
        gym.Wrapper.__init__(self, env)
        self.world = shared_world(world, str(device))
        check_frames(env.observation_space, self.world.game, f"{env} shows")
        if isinstance(game := getattr(env.unwrapped, "game", None), Game):
            check_game(self.world, world, game, game.pixel_id)
        check_actions(env.action_space, self.world.game)
        kind = self.world.game.observation if observation is None else observation
        self._twin = Twin(self.world, check_observation(kind, self.world))
        self.observation_space = observation_space(self.world, kind)
        self.continuous = isinstance(env.action_space, gym.spaces.Box)
        self._begun = False
        self._episodes = Episodes()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        seed = seeds.one(seed)
        frame, info = self.env.reset(seed=seed, options=options)
        self._twin.begin(frame[None], *self._episodes.next(seed, self.np_random))
        self._begun = True
        return self._observe(), info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        if not self._begun:
            raise gym.error.ResetNeeded("step() before reset(): call reset() first")
        frame, reward, terminated, truncated, info = self.env.step(action)
        vectors = actions.to_vectors([action], self.world.game, self.continuous)
        self._twin.follow(vectors, frame[None])
        return self._observe(), reward, terminated, truncated, info

    def _observe(self) -> np.ndarray:
        return self._twin.observe().cpu().numpy()[0].copy()


def make_twin(
    world: str = "",
    task: str = "",
    observation: str | None = None,
    device: str = "cpu",
    **kwargs: Any,
) -> gym.Env[np.ndarray, Any]:
    """Return a real game in a `LatentObservation`: the entry point of `LatentDoom-v0` and others.

    With a `task`, it has no limit of steps, because `gym.make` adds the registered one. Without
    one, as for `Latent-v0`, it has the game's own limit.

    Args:
        world, observation, device: see `LatentObservation`.
        task: the name of a game, such as `"doom"`; empty: the world's game.
        **kwargs: arguments of the real game.

    Raises:
        ValueError: if there is no such game, or as `LatentObservation` does.
    """
    theirs = shared_world(world, str(device))
    if task:
        check_game(theirs, world, games.get(task), games.get(task).latent_id)
    env: gym.Env[Any, Any] = real(theirs.game, **kwargs)
    if not task:
        env = gym.wrappers.TimeLimit(env, theirs.game.max_steps)
    return LatentObservation(env, world, observation, device)


# Gymnasium reads the render modes from the entry point before it calls it.
make_twin.metadata = {"render_modes": ["rgb_array"], "render_fps": 35}  # type: ignore[attr-defined]

"""The twin: a real game seen through V and M, with the dream's own spaces."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import RecordConstructorArgs

from dreamgym import noise, tasks
from dreamgym.envs import actions, seeds
from dreamgym.envs.dream import (
    check_actions,
    check_game,
    check_observation,
    observation_space,
    shared_world,
)
from dreamgym.envs.seeds import Episodes
from dreamgym.tasks import Task
from dreamgym.world import State


class LatentObservation(gym.Wrapper, RecordConstructorArgs):
    """Replace a game's frames by what V and M make of them: the dream's observations, from reality.

    V's latent is sampled, as it is in the dream, from a generator that depends on the seed, the
    episode and the step alone. M takes in the latent and the action of every step.

    Args:
        env: a pixel environment: uint8 frames (64, 64, 3), such as `PixelDoom-v0`.
        world: a shipped world's name or a folder, of the environment's game.
        observation: `"z"`, `"zh"`, `"zhc"` or `"rgb"` (V's reconstruction); None is the task's.
        device: where V and M run.

    Raises:
        ValueError: if the environment does not show frames of that shape, or is of another game
            than the world or has other actions.
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
        if env.observation_space.shape != tasks.FRAME or env.observation_space.dtype != np.uint8:
            raise ValueError(
                f"{env} shows {env.observation_space}: expected uint8 frames {tasks.FRAME}, "
                "so crop and resize them first"
            )
        self.world = shared_world(world, str(device))
        if isinstance(task := getattr(env.unwrapped, "task", None), Task):
            check_game(self.world, world, task, task.pixel_id)
        check_actions(env.action_space, self.world.task)
        kind = self.world.task.observation if observation is None else observation
        self.kind = check_observation(kind)
        self.observation_space = observation_space(self.world, self.kind)
        self.continuous = isinstance(env.action_space, gym.spaces.Box)
        self._state: State | None = None
        self._episodes = Episodes()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        seed = seeds.one(seed)
        frame, info = self.env.reset(seed=seed, options=options)
        own, episodes = self._episodes.next(seed, self.np_random)
        mean, logvar = self.world.encode(self._tensor(frame))
        keys = noise.key(torch.from_numpy(own), torch.from_numpy(episodes))
        whole = mean.new_tensor([info.get(self.world.task.rules.gauge, 0.0)])
        self._state = self.world.begin(mean, logvar, keys.to(self.world.device), whole)
        return self._observe(), info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        if self._state is None:
            raise gym.error.ResetNeeded("step() before reset(): call reset() first")
        frame, reward, terminated, truncated, info = self.env.step(action)
        told = torch.from_numpy(actions.told([action], self.world.task, self.continuous))
        told = told.to(self.world.device)
        self._state = self.world.follow(self._state, told, self._tensor(frame))
        return self._observe(), reward, terminated, truncated, info

    def _tensor(self, frame: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(frame.copy())[None].to(self.world.device)

    def _observe(self) -> np.ndarray:
        assert self._state is not None
        return self.world.observe(self._state, self.kind)[0].cpu().numpy().copy()


def make_twin(
    task: str,
    world: str,
    observation: str | None = None,
    device: str = "cpu",
    **kwargs: Any,
) -> gym.Env[np.ndarray, Any]:
    """Build a twin, such as `LatentDoom-v0`: the real game behind `LatentObservation`.

    Args:
        task: a task's name.
        world, observation, device: see `LatentObservation`.
        **kwargs: the pixel environment's own arguments.

    Its episodes end when the game does; `gym.make` adds the limit that is registered.
    """
    right = tasks.get(task)
    check_game(shared_world(world, str(device)), world, right, right.latent_id)
    game = gym.make(right.pixel_id, disable_env_checker=True, **kwargs).unwrapped
    return LatentObservation(game, world, observation, device)


# Gymnasium asks an entry point for its render modes before it calls it.
make_twin.metadata = {"render_modes": ["rgb_array"], "render_fps": 35}  # type: ignore[attr-defined]

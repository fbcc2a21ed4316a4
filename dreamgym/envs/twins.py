"""Many real games as one batch of twins: `gym.make_vec("LatentDoom-v0", num_envs=16)`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from dreamgym import games
from dreamgym.checkpoint import shared_world
from dreamgym.envs.real import RealVectorEnv
from dreamgym.envs.spaces import check_game, check_observation, observation_space
from dreamgym.twin import Twin
from dreamgym.world import World


class TwinVectorEnv(RealVectorEnv):
    """N real games as V and M see them, as one batch.

    The games run in worker processes, so make this environment below `if __name__ == "__main__":`,
    if it is in a script. V and M take in all frames together, in this process.
    `dreamgym.wrappers.LatentObservation` describes a single twin. On a CPU, lane i of a batch that
    was reset with seed s is, bit for bit, a twin that was reset with seed s + i.

    Args:
        world: the name of a shipped world, or a folder with a world of the same game.
        num_envs: the number of games, N.
        observation: `"z"`, `"zh"`, `"zhc"`, `"rgb"` or `"own"`, as in
            `dreamgym.envs.dream.DreamEnv`; None for the game's default.
        device: where V and M run, such as `"cpu"` or `"cuda"`.
        task: the game that the id stands for. A `world` of another game is refused.
        **kwargs: see `dreamgym.envs.real.RealVectorEnv`.

    Raises:
        ValueError: if an argument is not valid.
        RuntimeError: if a game cannot be made; later also if one fails or its process ends.
    """

    def __init__(
        self,
        world: str = "",
        num_envs: int = 1,
        observation: str | None = None,
        device: str = "cpu",
        task: str | None = None,
        **kwargs: Any,
    ):
        self.world: World = shared_world(world, str(device))
        self.game = game = self.world.game
        if task is not None:
            check_game(self.world, world, games.get(task), games.get(task).latent_id)
        self.observation = check_observation(
            game.observation if observation is None else observation, self.world
        )
        self._twin = Twin(self.world, self.observation)
        super().__init__(num_envs, **kwargs)

    def _space(self) -> gym.spaces.Box:
        return observation_space(self.world, self.observation)

    def _begin(self, frames: np.ndarray, ended: np.ndarray | None = None) -> None:
        rows = slice(None) if ended is None else ended
        self._twin.begin(frames, self._seeds[rows], self._episodes[rows], ended)

    def _follow(self, vectors: np.ndarray, frames: np.ndarray) -> None:
        self._twin.follow(vectors, frames)

    def _show(self) -> np.ndarray:
        return self._twin.show()

"""Many real games as one batch of twins: `gym.make_vec("LatentDoom-v0", num_envs=16)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from dreamgym import games
from dreamgym.checkpoint import shared_world
from dreamgym.envs import actions, seeds
from dreamgym.envs.arguments import (
    check_autoreset_mode,
    check_continuous,
    check_mapping,
    check_render_mode,
    step_limit,
    whole,
)
from dreamgym.envs.seeds import SEED_RANGE
from dreamgym.envs.spaces import check_game, check_observation, observation_space
from dreamgym.envs.workers import Games
from dreamgym.twin import Twin
from dreamgym.world import World


class TwinVectorEnv(VectorEnv[np.ndarray, Any, np.ndarray]):
    """N real games as V and M see them, as one batch.

    The games run in worker processes, several in each. V and M take in all frames together, in this
    process. `dreamgym.wrappers.LatentObservation` describes a single twin. On a CPU, lane i of a
    batch that was reset with seed s is, bit for bit, a twin that was reset with seed s + i. A lane
    whose episode has ended begins the next one in the same step (`AutoresetMode.SAME_STEP`); the
    last observation and info are in `infos["final_obs"]` and `infos["final_info"]`.

    Args:
        world: the name of a shipped world, or a folder with a world of the same game.
        num_envs: the number of games, N.
        max_episode_steps: steps after which an episode is truncated; -1 for no limit. Default: the
            game's own limit.
        observation: `"z"`, `"zh"`, `"zhc"` or `"rgb"`, as in `dreamgym.envs.dream.DreamEnv`; None
            for the game's default.
        continuous: `True` for the `Box` of actions, `False` for the `Discrete`; None for the game's
            default.
        device: where V and M run, such as `"cpu"` or `"cuda"`.
        processes: worker processes that play the games; 0 for one for each core.
        render_mode: `"rgb_array"` for the games' frames, uint8 (64, 64, 3).
        autoreset_mode: only `SAME_STEP`.
        task: the game that the id stands for. A `world` of another game is refused.
        **kwargs: arguments of the pixel environment.

    Raises:
        ValueError: if an argument is not valid.
        RuntimeError: if a game cannot be made; later also if one fails or its process ends.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 35,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        world: str,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        observation: str | None = None,
        continuous: bool | None = None,
        device: str = "cpu",
        processes: int = 0,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        task: str | None = None,
        **kwargs: Any,
    ):
        self.num_envs = whole(num_envs, "num_envs is {!r}: give a whole number, 1 or more")
        if processes:
            whole(processes, "processes is {!r}: give a whole number, or 0 for one for each core")
        check_render_mode(render_mode)
        if check_autoreset_mode(autoreset_mode) is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"autoreset_mode is {autoreset_mode}: a batch of real games knows SAME_STEP alone"
            )
        self.world: World = shared_world(world, str(device))
        game = self.world.game
        if task is not None:
            check_game(self.world, world, games.get(task), games.get(task).latent_id)
        self.observation = check_observation(
            game.observation if observation is None else observation
        )
        self.continuous = check_continuous(continuous, game)
        self.single_observation_space = observation_space(self.world, self.observation)
        self.single_action_space = actions.space(game, self.continuous)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = self.metadata | {"render_fps": game.fps}
        self.render_mode = render_mode
        self.limit = step_limit(max_episode_steps, game.max_steps)
        self._twin = Twin(self.world, self.observation)
        self._games = Games(game, self.num_envs, processes, self.limit, **kwargs)
        self._begun = False

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute N times, once for each game, because all games share it."""
        return (getattr(self, name),) * self.num_envs

    def set_attr(self, name: str, values: Any) -> None:
        """Refuse to change an attribute: the games have been made with it, in their processes.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(
            f"{name!r} of real games cannot be set: make them anew with {values!r}"
        )

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | np.ndarray | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        self._check_open("reset")
        lanes = seeds.each(seed, self.num_envs)
        check_mapping(options)
        super().reset(seed=lanes[0] if isinstance(lanes, range) else None)
        if not self._begun:
            self._seeds = self.np_random.integers(SEED_RANGE, size=self.num_envs)
            self._episodes = np.full(self.num_envs, -1)
        self._begun = False
        self._episodes += 1
        for lane, own in enumerate(lanes):
            if own is not None:
                self._seeds[lane], self._episodes[lane] = own % SEED_RANGE, 0
        self._games.reset(range(self.num_envs), lanes)
        self._twin.begin(self._games.board.frames, self._seeds, self._episodes)
        self._begun = True
        return self._twin.show(), self._infos(self._games.board.infos)

    def step(
        self, actions: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self._check_open("step")
        if not self._begun:
            raise gym.error.ResetNeeded("step() before reset(): call reset() first")
        vectors = self._vectors(actions)
        board = self._games.board
        board.actions[:] = vectors
        self._begun = False  # an interrupted step leaves nothing to go on with
        self._games.step()
        terminated, truncated = board.terminated.copy(), board.truncated.copy()
        over = terminated | truncated
        frames, infos = board.frames, dict[str, Any]()
        if over.any():
            frames = np.where(over[:, None, None, None], board.last, board.frames)
        self._twin.follow(vectors, frames)
        observation = self._twin.show()
        if over.any():
            infos = self._final(observation, over)
            ended = np.flatnonzero(over)
            self._episodes[ended] += 1
            self._twin.begin(board.frames[ended], self._seeds[ended], self._episodes[ended], ended)
            observation = self._twin.show()
        self._begun = True
        infos |= self._infos(board.infos)
        return observation, board.rewards.copy(), terminated, truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        if self.render_mode is None:
            return None
        if not self._begun:
            raise gym.error.ResetNeeded("render() before reset(): call reset() first")
        return tuple(self._games.board.frames.copy())

    def close_extras(self, **kwargs: Any) -> None:
        """End the games and their processes."""
        self._games.close()

    def _check_open(self, what: str) -> None:
        if self.closed or not self._games.alive:
            raise gym.error.ClosedEnvironmentError(
                f"{what}() after close() or a failure: make the environments anew"
            )

    def _vectors(self, chosen: Any) -> np.ndarray:
        """Return N actions as the vectors (N, A) that M takes."""
        vectors = actions.to_vectors(chosen, self.world.game, self.continuous)
        if len(vectors) != self.num_envs:
            raise ValueError(
                f"{len(vectors)} actions for {self.num_envs} environments: give one each"
            )
        return vectors

    def _final(self, observations: np.ndarray, over: np.ndarray) -> dict[str, Any]:
        """Return the last observations and infos of finished episodes, under Gymnasium's keys."""
        final = np.full(self.num_envs, None, dtype=object)
        for lane in np.flatnonzero(over):
            final[lane] = observations[lane].copy()
        return {
            "final_obs": final,
            "_final_obs": over.copy(),
            "final_info": self._infos(self._games.board.last_infos),
            "_final_info": over.copy(),
        }

    def _infos(self, numbers: np.ndarray) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        for name, column in zip(self.world.game.info, numbers.T, strict=True):
            infos |= {name: column.copy(), f"_{name}": np.ones(self.num_envs, bool)}
        return infos

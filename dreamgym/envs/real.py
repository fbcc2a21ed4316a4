"""Many real games as one batch: `gym.make_vec("PixelDoom-v0", num_envs=16)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from dreamgym.envs import actions, seeds
from dreamgym.envs.arguments import (
    check_autoreset_mode,
    check_continuous,
    check_mapping,
    check_real,
    check_render_mode,
    step_limit,
    whole,
)
from dreamgym.envs.pixels import frame_space
from dreamgym.envs.seeds import SEED_RANGE
from dreamgym.envs.workers import Games
from dreamgym.games import Game


class RealVectorEnv(VectorEnv[np.ndarray, Any, np.ndarray]):
    """N real games as one batch, whose frames come by shared memory.

    The games run in worker processes, several in each. Each process first runs your script again,
    as all that Python spawns do. So make this environment below `if __name__ == "__main__":`, if it
    is in a script. A lane whose episode has ended begins the
    next one in the same step (`AutoresetMode.SAME_STEP`); the last observation and info are in
    `infos["final_obs"]` and `infos["final_info"]`. The environment of the same id that `gym.make`
    returns describes a single game. A subclass may show something else than the frames.

    Args:
        num_envs: the number of games, N.
        max_episode_steps: steps after which an episode is truncated; -1 for no limit. Default: the
            game's own limit.
        continuous: `True` for the `Box` of actions, `False` for the `Discrete`; None for the game's
            default.
        processes: worker processes that play the games; 0 for one for each core.
        render_mode: `"rgb_array"` for the games' frames, uint8 (64, 64, 3).
        autoreset_mode: only `SAME_STEP`.
        **kwargs: arguments of the pixel environment.

    Raises:
        ValueError: if an argument is not valid.
        RuntimeError: if a game cannot be made; later also if one fails or its process ends.
    """

    game: Game
    """The facts about the game."""
    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 35,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        continuous: bool | None = None,
        processes: int = 0,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        **kwargs: Any,
    ):
        self.num_envs = whole(num_envs, "num_envs is {!r}: give a whole number, 1 or more")
        if processes:
            whole(processes, "processes is {!r}: give a whole number, or 0 for one for each core")
        check_render_mode(render_mode)
        check_real(kwargs)
        if check_autoreset_mode(autoreset_mode) is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"autoreset_mode is {autoreset_mode}: a batch of real games knows SAME_STEP alone"
            )
        self.continuous = check_continuous(continuous, self.game)
        self.single_observation_space = self._space()
        self.single_action_space = actions.space(self.game, self.continuous)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = self.metadata | {"render_fps": self.game.fps}
        self.render_mode = render_mode
        self.limit = step_limit(max_episode_steps, self.game.max_steps)
        self._games = Games(self.game, self.num_envs, processes, self.limit, **kwargs)
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
        self._begin(self._games.board.frames)
        self._begun = True
        return self._show(), self._infos(self._games.board.infos)

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
            frames = board.frames.copy()
            frames[over] = board.last[over]
        self._follow(vectors, frames)
        observation = self._show()
        if over.any():
            infos = self._final(observation, over)
            ended = np.flatnonzero(over)
            self._episodes[ended] += 1
            self._begin(board.frames[ended], ended)
            observation = self._show()
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

    def _space(self) -> gym.spaces.Box:
        """Return the space of a single game's observations."""
        return frame_space(self.game)

    def _begin(self, frames: np.ndarray, ended: np.ndarray | None = None) -> None:
        """Take in the first frames of all games, or of those that begin anew."""
        if ended is None:
            self._shown = frames.copy()
        else:
            self._shown[ended] = frames

    def _follow(self, vectors: np.ndarray, frames: np.ndarray) -> None:
        """Take in the actions (N, A) of a step, and the frames that followed."""
        self._shown = frames.copy()

    def _show(self) -> np.ndarray:
        """Return the observations of the N games, which later steps do not overwrite."""
        return self._shown.copy()

    def _check_open(self, what: str) -> None:
        if self.closed or not self._games.alive:
            raise gym.error.ClosedEnvironmentError(
                f"{what}() after close() or a failure: make the environments anew"
            )

    def _vectors(self, chosen: Any) -> np.ndarray:
        """Return N actions as the vectors (N, A) that M takes."""
        vectors = actions.to_vectors(chosen, self.game, self.continuous)
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
        for name, column in zip(self.game.info, numbers.T, strict=True):
            infos |= {name: column.copy(), f"_{name}": np.ones(self.num_envs, bool)}
        return infos

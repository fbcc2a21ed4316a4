"""The twin: real games seen through V and M. The wrappers and the evaluation both use this one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dreamgym import noise
from dreamgym.world import State, World


class Twin:
    """N real games as V and M see them: frames go in, the observations of a dream come out.

    V encodes every frame as a distribution, and z is drawn from it, as at the start of a dream. The
    noise depends on the seed, the episode and the step alone. M takes in the z and the action of
    every step.

    Args:
        world: the world with V and M.
        kind: the kind of observation, `"z"`, `"zh"`, `"zhc"` or `"rgb"`, see `World.observe`.
    """

    state: State

    def __init__(self, world: World, kind: str):
        self.world, self.kind = world, kind

    def begin(
        self,
        frames: np.ndarray,
        seeds: np.ndarray,
        episodes: np.ndarray,
        games: np.ndarray | None = None,
    ) -> None:
        """Take in the first frames of all games, or of those games that begin a new episode.

        Args:
            frames: (N, 64, 64, 3) uint8, the frames of the games that begin.
            seeds: (N,) int64.
            episodes: (N,) int64, the numbers of the episodes under their seeds.
            games: (N,) int64, the indices of the games that begin; None for all.
        """
        mean, logvar = self.world.encode(self._there(frames))
        keys = noise.key(self._there(seeds), self._there(episodes))
        counts = self.world.rules.begin(mean.new_zeros(len(mean)))  # unused: the game counts itself
        begun = self.world.begin(mean, logvar, keys, counts)
        if games is None:
            self.state = begun
        else:
            self.state.put(self._there(games), begun)

    def follow(self, actions: np.ndarray, frames: np.ndarray) -> None:
        """Take in action vectors (N, A) and the frames (N, 64, 64, 3) uint8 that followed."""
        self.state = self.world.follow(self.state, self._there(actions), self._there(frames))

    def keep(self, games: np.ndarray) -> None:
        """Keep the games that are True in a mask (N,) and drop the others."""
        self.state = self.state[self._there(games)]

    def observe(self) -> Tensor:
        """Return the observations of the N games, see `World.observe`."""
        return self.world.observe(self.state, self.kind)

    def show(self) -> np.ndarray:
        """Return the same observations as an array that later steps do not overwrite."""
        return self.world.show(self.state, self.kind)

    def _there(self, array: np.ndarray) -> Tensor:
        """Return a copy of an array on the world's device; a game may later overwrite the array."""
        return torch.from_numpy(np.array(array)).to(self.world.device)

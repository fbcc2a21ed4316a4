"""The twin: real games seen through V and M, the one definition of what an agent sees of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dreamgym import noise
from dreamgym.world import State, World


class Twin:
    """N real games as V and M see them: frames go in, the dream's observations come out.

    V's latent is sampled, as it is in the dream, by noise that depends on the seed, the episode and
    the step alone. M takes in the latent and the action of every step.

    Args:
        world: V and M.
        kind: of observation, see `World.observe`.
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
        """Take in the first frames of games, of all or of those that begin anew among others.

        Args:
            frames: (N, 64, 64, 3) uint8.
            seeds: (N,) int64.
            episodes: (N,) int64, the numbers of the episodes under their seeds.
            games: (N,) int64, which they are; None: all.
        """
        mean, logvar = self.world.encode(self._there(frames))
        keys = noise.key(self._there(seeds), self._there(episodes))
        counts = self.world.rules.begin(mean.new_zeros(len(mean)))  # the game keeps its own
        begun = self.world.begin(mean, logvar, keys, counts)
        if games is None:
            self.state = begun
        else:
            self.state.put(self._there(games), begun)

    def follow(self, actions: np.ndarray, frames: np.ndarray) -> None:
        """Take in action vectors (N, A) and the frames (N, …) that came of them."""
        self.state = self.world.follow(self.state, self._there(actions), self._there(frames))

    def keep(self, games: np.ndarray) -> None:
        """Keep the games of a mask (N,) and forget the others."""
        self.state = self.state[self._there(games)]

    def observe(self) -> Tensor:
        """Return what an agent sees, (N, …)."""
        return self.world.observe(self.state, self.kind)

    def _there(self, array: np.ndarray) -> Tensor:
        """Return a copy of an array on the world's device: a game may draw over its frames."""
        return torch.from_numpy(np.array(array)).to(self.world.device)

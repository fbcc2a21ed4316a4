"""Hyperparameters for every algorithm, as rl-zoo3 reads them and as `dreamgym train` does.

    python -m rl_zoo3.train --algo ppo --env DreamDoom-v0 \\
        --gym-packages dreamgym --conf-file dreamgym.zoo.ppo

Ours, from few trials (`training/LOG.md`). Rewards and observations are scaled by their spread: a
game of Take Cover pays up to 2,100, and M's cells spread a hundred times as wide as its h. rl-zoo3
keeps those statistics beside the model; `dreamgym train` puts the observations' into the policy
(`dreamgym.sb3.Scaled`), where they go along to the real game.
"""

from typing import Any

from dreamgym.games import GAMES

REPLAY: dict[str, Any] = {
    "policy": "MlpPolicy",
    "normalize": True,
    "n_envs": 32,
    "n_timesteps": 400_000,
    "buffer_size": 200_000,
    "learning_starts": 10_000,
    "batch_size": 256,
    "train_freq": 1,
    "gradient_steps": 4,
    "gamma": 0.99,
}
"""What every algorithm that learns from a memory of its dreams begins with."""


def of_each_game(algo: str, usual: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the hyperparameters of an algorithm by the ids of the dreams: the usual ones, but for
    what a game has of its own."""
    return {game.dream_id: usual | game.learning.get(algo, {}) for game in GAMES.values()}

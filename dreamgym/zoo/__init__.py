"""Hyperparameters for every algorithm, as rl-zoo3 and `dreamgym train` read them.

    python -m rl_zoo3.train --algo ppo --env DreamDoom-v0 \\
        --gym-packages dreamgym --conf-file dreamgym.zoo.ppo

Those of the dreams are our own and come from few trials (`training/LOG.md`). Those of the real
games' pixels are rl-zoo3's for Atari (version 2.9), without its schedules, and with rewards that
are scaled instead of clipped. Rewards and observations are
normalised by their standard deviation: a game of Take Cover pays up to 2,100, and M's cell state
varies a hundred times as much as its h. rl-zoo3 keeps these statistics in a file beside the model.
`dreamgym train` puts those of the observations into the policy (`dreamgym.sb3.Scaled`), so that it
takes them along to the real game. In a user's own game it also sets PPO's `gamma`, which depends on
the game's length (`dreamgym.games.own.discount`): rl-zoo3 has to be told it.
"""

from typing import Any

from dreamgym.games import GAMES, own

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
"""The values from which every algorithm with a replay buffer starts."""


PIXELS: dict[str, Any] = {
    "policy": "CnnPolicy",
    "normalize": True,
    "n_timesteps": 500_000,
}
"""The values from which every algorithm starts that sees a real game's pixels."""


def of_each_game(
    algo: str, usual: dict[str, Any], pixels: dict[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Return an algorithm's hyperparameters for each game, by the id of its dream.

    Those of `Dream-v0` are for a user's own game.

    Args:
        algo: the algorithm's name in rl-zoo3, such as `"ppo"`.
        usual: the values for every dream; those in `Game.learning` take precedence.
        pixels: the values for every real game's pixels, by the id of the pixel environment.
    """
    games = GAMES.values()
    dreams = {game.dream_id: usual | game.learning.get(algo, {}) for game in games}
    dreams["Dream-v0"] = usual | own.LEARNING.get(algo, {})
    return dreams | ({game.pixel_id: pixels for game in games} if pixels else {})

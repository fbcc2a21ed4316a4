"""Deep Q-learning (Mnih et al., 2015); it needs discrete actions."""

from typing import Any

from dreamgym.zoo import PIXELS, REPLAY, of_each_game

USUAL: dict[str, Any] = REPLAY | {
    "learning_rate": 3e-4,
    "target_update_interval": 10_000,
    "exploration_fraction": 0.2,
    "exploration_final_eps": 0.02,
    "env_kwargs": {"continuous": False},
}

FROM_PIXELS: dict[str, Any] = PIXELS | {
    "n_envs": 8,
    "buffer_size": 100_000,
    "learning_rate": 1e-4,
    "batch_size": 32,
    "learning_starts": 20_000,  # rl-zoo3: 100,000 of 10 million steps
    "target_update_interval": 10_000,
    "train_freq": 4,
    "gradient_steps": 8,  # as many for each step of a game as rl-zoo3, which runs one
    "exploration_fraction": 0.1,
    "exploration_final_eps": 0.1,
    "env_kwargs": {"continuous": False},
}

hyperparams = of_each_game("dqn", USUAL, FROM_PIXELS)

"""Quantile-regression DQN (Dabney et al., 2018); it needs discrete actions."""

from typing import Any

REWARD = {"norm_obs": False, "norm_reward": True}

hyperparams: dict[str, dict[str, Any]] = {
    "DreamDoom-v0": {
        "normalize": REWARD,
        "policy": "MlpPolicy",
        "n_timesteps": 600_000,
        "n_envs": 32,
        "buffer_size": 200_000,
        "learning_starts": 10_000,
        "batch_size": 256,
        "train_freq": 1,
        "gradient_steps": 4,
        "target_update_interval": 10_000,
        "exploration_fraction": 0.2,
        "exploration_final_eps": 0.02,
        "gamma": 0.99,
        "learning_rate": 0.0003,
    },
    "DreamCarRacing-v0": {
        "normalize": REWARD,
        "policy": "MlpPolicy",
        "n_timesteps": 600_000,
        "n_envs": 32,
        "buffer_size": 200_000,
        "learning_starts": 10_000,
        "batch_size": 256,
        "train_freq": 1,
        "gradient_steps": 4,
        "target_update_interval": 10_000,
        "exploration_fraction": 0.2,
        "exploration_final_eps": 0.02,
        "gamma": 0.99,
        "learning_rate": 0.0003,
        "env_kwargs": {"continuous": False},
    },
}

"""Truncated quantile critics (Kuznetsov et al., 2020); it needs continuous actions."""

from typing import Any

REWARD = {"norm_obs": False, "norm_reward": True}

hyperparams: dict[str, dict[str, Any]] = {
    "DreamDoom-v0": {
        "normalize": REWARD,
        "policy": "MlpPolicy",
        "n_timesteps": 300_000,
        "n_envs": 32,
        "buffer_size": 200_000,
        "learning_starts": 10_000,
        "batch_size": 256,
        "train_freq": 1,
        "gradient_steps": 8,
        "gamma": 0.99,
        "learning_rate": 0.0003,
        "env_kwargs": {"continuous": True},
    },
    "DreamCarRacing-v0": {
        "normalize": REWARD,
        "policy": "MlpPolicy",
        "n_timesteps": 300_000,
        "n_envs": 32,
        "buffer_size": 200_000,
        "learning_starts": 10_000,
        "batch_size": 256,
        "train_freq": 1,
        "gradient_steps": 8,
        "gamma": 0.99,
        "learning_rate": 0.0003,
    },
}

"""Soft actor-critic (Haarnoja et al., 2018); it needs continuous actions."""

from typing import Any

BOTH: dict[str, Any] = {
    "policy": "MlpPolicy",
    "normalize": True,
    "n_envs": 32,
    "buffer_size": 200_000,
    "learning_starts": 10_000,
    "batch_size": 256,
    "train_freq": 1,
    "gamma": 0.99,
    "learning_rate": 7e-4,
    "n_timesteps": 400_000,
    "gradient_steps": 4,
    "policy_kwargs": {"net_arch": [128, 128]},
}

hyperparams: dict[str, dict[str, Any]] = {
    "DreamDoom-v0": BOTH | {"env_kwargs": {"continuous": True}},
    "DreamCarRacing-v0": BOTH,
}

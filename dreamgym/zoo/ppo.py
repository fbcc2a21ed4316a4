"""Proximal policy optimisation (Schulman et al., 2017)."""

from typing import Any

REWARD = {"norm_obs": False, "norm_reward": True}

hyperparams: dict[str, dict[str, Any]] = {
    "DreamDoom-v0": {
        "normalize": REWARD,
        "policy": "MlpPolicy",
        "n_timesteps": 6_000_000,
        "n_envs": 256,
        "n_steps": 128,
        "batch_size": 4096,
        "n_epochs": 4,
        "gamma": 0.997,
        "gae_lambda": 0.95,
        "learning_rate": 0.0003,
        "ent_coef": 0.01,
        "clip_range": 0.2,
    },
    "DreamCarRacing-v0": {
        "normalize": REWARD,
        "policy": "MlpPolicy",
        "n_timesteps": 6_000_000,
        "n_envs": 256,
        "n_steps": 64,
        "batch_size": 2048,
        "n_epochs": 4,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "learning_rate": 0.0003,
        "ent_coef": 0.0,
        "clip_range": 0.2,
    },
}

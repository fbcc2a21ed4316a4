"""Advantage actor-critic, the synchronous form of A3C (Mnih et al., 2016)."""

from typing import Any

REWARD = {"norm_obs": False, "norm_reward": True}

hyperparams: dict[str, dict[str, Any]] = {
    "DreamDoom-v0": {
        "normalize": REWARD,
        "policy": "MlpPolicy",
        "n_timesteps": 5_000_000,
        "n_envs": 256,
        "n_steps": 16,
        "gamma": 0.997,
        "gae_lambda": 0.95,
        "learning_rate": 0.0007,
        "ent_coef": 0.01,
    },
    "DreamCarRacing-v0": {
        "normalize": REWARD,
        "policy": "MlpPolicy",
        "n_timesteps": 5_000_000,
        "n_envs": 256,
        "n_steps": 16,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "learning_rate": 0.0005,
        "ent_coef": 0.0,
    },
}

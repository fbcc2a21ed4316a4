"""Proximal policy optimisation with a memory of its own (sb3-contrib's RecurrentPPO)."""

from typing import Any

REWARD = {"norm_obs": False, "norm_reward": True}

hyperparams: dict[str, dict[str, Any]] = {
    "DreamDoom-v0": {
        "normalize": REWARD,
        "policy": "MlpLstmPolicy",
        "n_timesteps": 2000000,
        "n_envs": 64,
        "n_steps": 128,
        "batch_size": 1024,
        "n_epochs": 4,
        "gamma": 0.997,
        "learning_rate": 0.0003,
        "ent_coef": 0.01,
    },
    "DreamCarRacing-v0": {
        "normalize": REWARD,
        "policy": "MlpLstmPolicy",
        "n_timesteps": 2000000,
        "n_envs": 64,
        "n_steps": 128,
        "batch_size": 1024,
        "n_epochs": 4,
        "gamma": 0.99,
        "learning_rate": 0.0003,
    },
}

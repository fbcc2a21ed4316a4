"""Proximal policy optimisation (Schulman et al., 2017)."""

from typing import Any

BOTH: dict[str, Any] = {
    "policy": "MlpPolicy",
    "normalize": True,
    "n_envs": 256,
    "n_timesteps": 3_000_000,
    "batch_size": 4096,
    "n_epochs": 4,
    "gae_lambda": 0.95,
    "clip_range": 0.2,
    "learning_rate": 3e-4,
}

hyperparams: dict[str, dict[str, Any]] = {
    "DreamDoom-v0": BOTH | {"n_steps": 128, "gamma": 0.997, "ent_coef": 0.01},
    "DreamCarRacing-v0": BOTH | {"n_steps": 64, "batch_size": 2048, "gamma": 0.99},
}

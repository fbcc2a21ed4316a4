"""Proximal policy optimisation with a memory of its own (sb3-contrib's RecurrentPPO)."""

from typing import Any

BOTH: dict[str, Any] = {
    "policy": "MlpLstmPolicy",
    "normalize": True,
    "n_envs": 64,
    "n_timesteps": 2_000_000,
    "n_steps": 128,
    "batch_size": 1024,
    "n_epochs": 4,
    "learning_rate": 3e-4,
}

hyperparams: dict[str, dict[str, Any]] = {
    "DreamDoom-v0": BOTH | {"gamma": 0.997, "ent_coef": 0.01},
    "DreamCarRacing-v0": BOTH | {"gamma": 0.99},
}

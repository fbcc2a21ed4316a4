"""Advantage actor-critic, the synchronous form of A3C (Mnih et al., 2016)."""

from typing import Any

BOTH: dict[str, Any] = {
    "policy": "MlpPolicy",
    "normalize": True,
    "n_envs": 256,
    "n_timesteps": 2_000_000,
    "n_steps": 16,
    "gae_lambda": 0.95,
}

hyperparams: dict[str, dict[str, Any]] = {
    "DreamDoom-v0": BOTH | {"gamma": 0.997, "ent_coef": 0.01, "learning_rate": 7e-4},
    "DreamCarRacing-v0": BOTH | {"gamma": 0.99, "learning_rate": 5e-4},
}

"""Proximal policy optimisation (Schulman et al., 2017)."""

from typing import Any

from dreamgym.zoo import PIXELS, of_each_game

USUAL: dict[str, Any] = {
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

FROM_PIXELS: dict[str, Any] = PIXELS | {
    "n_envs": 8,
    "n_steps": 128,
    "n_epochs": 4,
    "batch_size": 256,
    "learning_rate": 2.5e-4,
    "clip_range": 0.1,
    "vf_coef": 0.5,
    "ent_coef": 0.01,
}

hyperparams = of_each_game("ppo", USUAL, FROM_PIXELS)

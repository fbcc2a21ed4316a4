"""Proximal policy optimisation (Schulman et al., 2017)."""

from typing import Any

from dreamgym.zoo import of_each_game

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

hyperparams = of_each_game("ppo", USUAL)

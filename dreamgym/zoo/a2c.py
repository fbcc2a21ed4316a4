"""Advantage actor-critic, the synchronous form of A3C (Mnih et al., 2016)."""

from typing import Any

from dreamgym.zoo import of_each_game

USUAL: dict[str, Any] = {
    "policy": "MlpPolicy",
    "normalize": True,
    "n_envs": 256,
    "n_timesteps": 2_000_000,
    "n_steps": 16,
    "gae_lambda": 0.95,
}

hyperparams = of_each_game("a2c", USUAL)

"""Advantage actor-critic, the synchronous form of A3C (Mnih et al., 2016)."""

from typing import Any

from dreamgym.zoo import PIXELS, of_each_game

USUAL: dict[str, Any] = {
    "policy": "MlpPolicy",
    "normalize": True,
    "n_envs": 256,
    "n_timesteps": 2_000_000,
    "n_steps": 16,
    "gae_lambda": 0.95,
}

FROM_PIXELS: dict[str, Any] = PIXELS | {"n_envs": 16, "ent_coef": 0.01, "vf_coef": 0.25}

hyperparams = of_each_game("a2c", USUAL, FROM_PIXELS)

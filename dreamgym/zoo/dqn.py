"""Deep Q-learning (Mnih et al., 2015); it needs discrete actions."""

from typing import Any

BOTH: dict[str, Any] = {
    "policy": "MlpPolicy",
    "normalize": True,
    "n_envs": 32,
    "buffer_size": 200_000,
    "learning_starts": 10_000,
    "batch_size": 256,
    "train_freq": 1,
    "gamma": 0.99,
    "learning_rate": 3e-4,
    "n_timesteps": 400_000,
    "gradient_steps": 4,
    "target_update_interval": 10_000,
    "exploration_fraction": 0.2,
    "exploration_final_eps": 0.02,
}

hyperparams: dict[str, dict[str, Any]] = {
    "DreamDoom-v0": BOTH,
    "DreamCarRacing-v0": BOTH | {"env_kwargs": {"continuous": False}},
}

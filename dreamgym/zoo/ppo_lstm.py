"""Proximal policy optimisation with an LSTM policy (RecurrentPPO of sb3-contrib)."""

from typing import Any

from dreamgym.zoo import of_each_game

USUAL: dict[str, Any] = {
    "policy": "MlpLstmPolicy",
    "normalize": True,
    "n_envs": 64,
    "n_timesteps": 2_000_000,
    "n_steps": 128,
    "batch_size": 1024,
    "n_epochs": 4,
    "learning_rate": 3e-4,
}

hyperparams = of_each_game("ppo_lstm", USUAL)

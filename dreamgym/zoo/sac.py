"""Soft actor-critic (Haarnoja et al., 2018); it needs continuous actions."""

from typing import Any

from dreamgym.zoo import REPLAY, of_each_game

USUAL: dict[str, Any] = REPLAY | {
    "learning_rate": 7e-4,
    "policy_kwargs": {"net_arch": [128, 128]},
    "env_kwargs": {"continuous": True},
}

hyperparams = of_each_game("sac", USUAL)

"""Soft actor-critic (Haarnoja et al., 2018); it needs continuous actions."""

from typing import Any

from dreamgym.zoo import REPLAY

BOTH: dict[str, Any] = REPLAY | {
    "learning_rate": 7e-4,
    "policy_kwargs": {"net_arch": [128, 128]},
}

hyperparams: dict[str, dict[str, Any]] = {
    "DreamDoom-v0": BOTH | {"env_kwargs": {"continuous": True}},
    "DreamCarRacing-v0": BOTH,
}

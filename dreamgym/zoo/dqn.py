"""Deep Q-learning (Mnih et al., 2015); it needs discrete actions."""

from typing import Any

from dreamgym.zoo import REPLAY, of_each_game

USUAL: dict[str, Any] = REPLAY | {
    "learning_rate": 3e-4,
    "target_update_interval": 10_000,
    "exploration_fraction": 0.2,
    "exploration_final_eps": 0.02,
    "env_kwargs": {"continuous": False},
}

hyperparams = of_each_game("dqn", USUAL)

"""Quantile-regression DQN (Dabney et al., 2018), with DQN's hyperparameters."""

from dreamgym.zoo.dqn import hyperparams

__all__ = ["hyperparams"]

"""Twin delayed deterministic policy gradients (Fujimoto et al., 2018), with SAC's numbers."""

from dreamgym.zoo.sac import hyperparams

__all__ = ["hyperparams"]

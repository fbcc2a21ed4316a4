"""Truncated quantile critics (Kuznetsov et al., 2020), with SAC's numbers."""

from dreamgym.zoo.sac import hyperparams

__all__ = ["hyperparams"]

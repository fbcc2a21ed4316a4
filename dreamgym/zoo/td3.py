"""Twin delayed deterministic policy gradients (Fujimoto et al., 2018), with SAC's numbers."""

from copy import deepcopy

from dreamgym.zoo import sac

hyperparams = deepcopy(sac.hyperparams)  # Stable-Baselines3 writes into `policy_kwargs`

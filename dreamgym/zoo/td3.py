"""Twin delayed DDPG (Fujimoto et al., 2018), with SAC's hyperparameters."""

from copy import deepcopy

from dreamgym.zoo import sac

hyperparams = deepcopy(sac.hyperparams)  # Stable-Baselines3 writes into `policy_kwargs`

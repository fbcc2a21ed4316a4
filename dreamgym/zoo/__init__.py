"""Hyperparameters for every algorithm, as rl-zoo3 reads them and as `dreamgym train` does.

    python -m rl_zoo3.train --algo ppo --env DreamDoom-v0 \\
        --gym-packages dreamgym --conf-file dreamgym.zoo.ppo

Ours, chosen by a few trials in the dream (`training/LOG.md`) unless a comment says otherwise.
Rewards are scaled by their running spread, for a game of Take Cover pays up to 2,100; observations
are left alone, for what scales them in the dream would have to travel to the real game.
"""

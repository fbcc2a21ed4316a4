"""Statistics of samples: intervals, interquartile mean, AUC, Kolmogorov-Smirnov distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

RESAMPLES = 10_000
"""Bootstrap resamples for a confidence interval."""


Statistic = Callable[..., np.ndarray]
"""Takes samples and the `axis` along which they lie, as `np.mean` does."""


def confidence(returns: np.ndarray, statistic: Statistic = np.mean) -> tuple[float, float]:
    """Return the 95 % bootstrap (percentile) interval of the mean of returns (N,).

    Args:
        statistic: what to take instead of the mean, such as `interquartile_mean`.
    """
    if len(returns) < 2 or np.ptp(returns) == 0:
        return float(returns.mean()), float(returns.mean())
    found = stats.bootstrap(
        (returns,), statistic, n_resamples=RESAMPLES, method="percentile",
        rng=np.random.default_rng(0), batch=100,
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def confidence_over_seeds(
    returns: Sequence[np.ndarray], statistic: Statistic = np.mean
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic of all games of S optimiser seeds.

    A resample draws S seeds with replacement, then as many games of each as it has. So the interval
    tells how much both vary. `scipy.stats.bootstrap` can draw the games of each seed apart, but not
    the seeds, so the resamples are drawn here. One seed tells nothing of others: then only its
    games are drawn, by scipy. Of two or three seeds the interval is somewhat too narrow.

    Args:
        returns: the games' returns (N,) of each seed.
        statistic: what is taken of all returns that were drawn.
    """
    if len(returns) == 1:
        return confidence(returns[0], statistic)
    draws = np.random.default_rng(0)
    found = np.empty(RESAMPLES)
    for resample in range(RESAMPLES):
        seeds = draws.integers(len(returns), size=len(returns))
        games = [draws.choice(returns[seed], len(returns[seed])) for seed in seeds]
        found[resample] = statistic(np.concatenate(games), axis=0)
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def interquartile_mean(returns: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean of the middle half of returns: a few very long games do not move it.

    Agarwal et al., 2021, "Deep reinforcement learning at the edge of the statistical precipice".
    """
    return np.asarray(stats.trim_mean(returns, 0.25, axis=axis))


def auc(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the area under the ROC curve, or None if one of the classes is empty.

    It is the probability that a positive has a higher score than a negative (Mann and Whitney).

    Args:
        scores: (N,).
        labels: (N,) bool.
    """
    positives, negatives = scores[labels], scores[~labels]
    if not len(positives) or not len(negatives):
        return None
    wins = stats.mannwhitneyu(positives, negatives, method="asymptotic").statistic
    return float(wins / (len(positives) * len(negatives)))


def kolmogorov(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest distance between two samples' empirical distribution functions."""
    return float(stats.ks_2samp(a, b, method="asymp").statistic)

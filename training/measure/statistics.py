"""Statistics of samples, by scipy: confidence intervals, AUC, Kolmogorov-Smirnov distance."""

from __future__ import annotations

import numpy as np
from scipy import stats

RESAMPLES = 10_000
"""Bootstrap resamples for a confidence interval."""


def confidence(returns: np.ndarray) -> tuple[float, float]:
    """Return the 95 % bootstrap (percentile) confidence interval of the mean of returns (N,)."""
    if len(returns) < 2 or np.ptp(returns) == 0:
        return float(returns.mean()), float(returns.mean())
    found = stats.bootstrap(
        (returns,), np.mean, n_resamples=RESAMPLES, method="percentile",
        rng=np.random.default_rng(0), batch=100,
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


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

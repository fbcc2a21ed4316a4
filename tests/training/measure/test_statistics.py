"""Intervals, ranks and distances of samples, against known answers."""

import numpy as np
import pytest

from dreamgym.training.measure import statistics
from dreamgym.training.measure.statistics import auc, confidence, kolmogorov


def test_auc_of_known_rankings():
    labels = np.array([False, False, True, True])
    assert auc(np.array([0.1, 0.2, 0.3, 0.4]), labels) == 1
    assert auc(np.array([0.4, 0.3, 0.2, 0.1]), labels) == 0
    assert auc(np.ones(4), labels) == 0.5
    assert auc(np.array([1.0, 3.0, 2.0, 4.0]), labels) == 0.75
    assert auc(np.ones(3), np.zeros(3, bool)) is None


def test_kolmogorov_of_known_samples():
    assert kolmogorov(np.arange(10.0), np.arange(10.0)) == 0
    assert kolmogorov(np.zeros(5), np.ones(5)) == 1
    assert kolmogorov(np.arange(4.0), np.arange(4.0) + 2) == 0.5


def test_the_interval_covers_the_mean_of_known_samples(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        low, high = confidence(rng.normal(5, 2, size=40))
        covered += low < 5 < high
    assert 50 <= covered <= 60


def test_the_interval_is_that_of_the_normal_approximation():
    drawn = np.random.default_rng(1).normal(50, 10, 400)
    half = 1.96 * drawn.std(ddof=1) / 20
    wanted = (drawn.mean() - half, drawn.mean() + half)
    assert confidence(drawn) == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize("returns", [[2.0], [2.0, 2.0, 2.0]])
def test_the_interval_of_what_does_not_vary_is_a_point(returns):
    assert confidence(np.array(returns)) == (2, 2)

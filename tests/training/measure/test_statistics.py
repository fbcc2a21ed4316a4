"""Intervals, ranks and distances of samples, against known answers."""

import numpy as np
import pytest

from dreamgym.training.measure import statistics
from dreamgym.training.measure.statistics import (
    auc,
    confidence,
    confidence_over_seeds,
    interquartile_mean,
    kolmogorov,
)


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


def test_the_interquartile_mean_is_that_of_the_middle_half():
    assert interquartile_mean(np.array([9.0, 1, 2, 3, 4, 5, 6, 900])) == 4.5
    rows = np.array([[0.0, 1, 2, 99], [5, 5, 7, -99]])
    assert interquartile_mean(rows, axis=1).tolist() == [1.5, 5]
    drawn = np.random.default_rng(0).normal(3, 1, 1000)
    assert interquartile_mean(drawn) == np.sort(drawn)[250:750].mean()


def test_one_far_game_moves_the_mean_and_not_the_interquartile_mean():
    games = np.arange(100.0)
    far = np.append(games[:-1], 1e6)
    assert interquartile_mean(far) == interquartile_mean(games) == 49.5
    low, high = confidence(far, interquartile_mean)
    assert 40 < low < 49.5 < high < 60
    assert confidence(far)[1] > 10_000


def test_the_interval_over_seeds_covers_what_varies_between_seeds(monkeypatch):
    """The games of eight seeds, drawn about means that themselves vary about 5."""
    monkeypatch.setattr(statistics, "RESAMPLES", 200)
    rng = np.random.default_rng(0)
    covered = blind = 0
    for _ in range(60):
        seeds = [rng.normal(mean, 2, size=40) for mean in rng.normal(5, 1, size=8)]
        low, high = confidence_over_seeds(seeds)
        covered += low < 5 < high
        low, high = confidence(np.concatenate(seeds))
        blind += low < 5 < high
    assert covered >= 50  # 95 % of 60 are 57; eight seeds are few
    assert blind < 45  # as if there were 320 games of one seed


def test_the_interval_over_seeds_is_that_of_the_normal_approximation(monkeypatch):
    """The variance over seeds, by known formulae: between the means, and of their games."""
    monkeypatch.setattr(statistics, "RESAMPLES", 4000)
    rng = np.random.default_rng(2)
    seeds = [rng.normal(mean, 10, size=100) for mean in rng.normal(50, 8, size=25)]
    means = np.array([games.mean() for games in seeds])
    within = np.mean([games.var() for games in seeds]) / 100
    half = 1.96 * np.sqrt((means.var() + within) / 25)
    wanted = (means.mean() - half, means.mean() + half)
    assert confidence_over_seeds(seeds) == pytest.approx(wanted, abs=0.3)


def test_the_interval_of_one_seed_is_that_of_its_games():
    games = np.random.default_rng(3).exponential(300, 200)
    assert confidence_over_seeds([games]) == confidence(games)
    assert confidence_over_seeds([games], interquartile_mean) == confidence(
        games, interquartile_mean
    )
    assert confidence_over_seeds([np.array([2.0])]) == (2, 2)
    assert confidence_over_seeds([np.full(3, 2.0), np.full(5, 2.0)]) == (2, 2)

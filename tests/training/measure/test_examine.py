"""The measures by which a world is judged, against known answers."""

import numpy as np
import torch

from dreamgym.training.measure.examine import _calibration, _played, contrast
from dreamgym.training.measure.statistics import auc, kolmogorov
from tests.conftest import tiny_world


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


def test_calibration_counts_what_was_expected_and_what_happened():
    odds = np.array([0.9, 0.8, 0.2, 0.0005])
    report = _calibration(odds, np.array([True, False, False, False]))
    assert report["expected"] == odds.sum() and report["counted"] == 1
    assert report["recall_at_half"] == 1 and report["precision_at_half"] == 0.5
    assert sum(row["count"] for row in report["calibration"]) == 4


def test_an_object_counts_as_rebuilt_if_half_its_contrast_is_there():
    truth = np.full((64, 64, 3), 0.3)
    truth[20:24, 30:34] = [0.9, 0.8, 0.3]
    box = (30, 20, 4, 4)
    assert contrast(truth, truth, *box)
    assert not contrast(truth, np.full_like(truth, 0.3), *box)
    assert not contrast(truth, 0.3 + 0.4 * (truth - 0.3), *box)
    assert contrast(truth, 0.3 + 0.6 * (truth - 0.3), *box)
    assert contrast(np.full_like(truth, 0.3), truth, *box) is None  # nothing to be seen
    assert contrast(truth, truth, -9, -9, 4, 4) is None  # off the picture


def test_lives_in_a_dream_of_known_hits():
    """Every step hits; 4 of 8 faces kill at once, 4 hits in a row kill for certain by 21 · 5."""
    lengths = _played(tiny_world(hit=50.0), 2000, 0, torch.zeros(2100, 2000, 1), 2100)
    assert lengths.max() <= 5
    assert abs((lengths == 1).mean() - 0.5) < 0.05

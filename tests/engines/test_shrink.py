"""Pictures are scaled down to Pillow's bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from dreamgym.engines.shrink import bilinear, box

SIZES = [(100, 160), (200, 320), (400, 640), (64, 64), (77, 131), (84, 96), (400, 600)]
WAYS = [(box, Image.Resampling.BOX), (bilinear, Image.Resampling.BILINEAR)]
Shrink = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("levels", [2, 256])
@pytest.mark.parametrize(("shrink", "filter"), WAYS)
def test_a_picture_is_pillows_to_the_bit(
    size: tuple[int, int], levels: int, shrink: Shrink, filter: Image.Resampling
) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        colors = rng.integers(0, 256, levels, np.uint8)
        picture = colors[rng.integers(0, levels, (*size, 3))]
        theirs = Image.fromarray(picture).resize((64, 64), filter)
        assert np.array_equal(shrink(picture, (64, 64)), np.asarray(theirs))


def test_a_share_becomes_its_mean() -> None:
    picture = np.array([[1, 2, 9, 9], [4, 5, 9, 9]], np.uint8)[..., None].repeat(3, axis=2)
    # Rows come first: 1.5 and 4.5 are rounded up to 2 and 5, and then 3.5 to 4.
    assert np.array_equal(box(picture, (1, 2)), [[[4] * 3, [9] * 3]])


def test_an_interpolated_pixel_counts_its_neighbours_by_their_distance() -> None:
    picture = np.array([[0, 8, 80, 80]], np.uint8)[..., None].repeat(3, axis=2)
    # The first centre is 1: pixels at 0.5, 1.5 and 2.5 weigh 3/4, 3/4 and 1/4 of 7/4.
    assert np.array_equal(bilinear(picture, (1, 2)), [[[15] * 3, [70] * 3]])


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
@pytest.mark.parametrize("shrink", [box, bilinear])
def test_an_even_picture_keeps_its_color(level: int, shrink: Shrink) -> None:
    assert (shrink(np.full((200, 320, 3), level, np.uint8), (64, 64)) == level).all()


@pytest.mark.parametrize("shrink", [box, bilinear])
def test_pictures_may_lie_anywhere_in_memory_and_results_are_new(shrink: Shrink) -> None:
    large = np.random.default_rng(1).integers(0, 256, (400, 640, 3), np.uint8)
    apart, whole = large[::2, ::-2, ::-1], large[::2, ::-2, ::-1].copy()
    before = shrink(apart, (64, 64))
    kept = before.copy()
    assert np.array_equal(before, shrink(whole, (64, 64)))
    shrink(255 - whole, (64, 64))
    assert np.array_equal(before, kept)

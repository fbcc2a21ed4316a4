"""The canvas draws what pygame draws, to the bit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pygame
import pytest
from pygame import gfxdraw

from dreamgym.engines.canvas import CORNERS, Canvas

SIZE, SMALL, ROWS = (250, 200), (24, 24), 21
BACKENDS = {"GENERIC": 16, pygame.transform.get_smoothscale_backend(): 14}
STILL = (1.0, 0.0, 1.0, 0.0, 0.0)


@pytest.fixture(params=sorted(BACKENDS))
def bits(request: pytest.FixtureRequest) -> Iterator[int]:
    """The precision of one of pygame's own ways to scale a picture, which the test then uses."""
    usual = pygame.transform.get_smoothscale_backend()
    pygame.transform.set_smoothscale_backend(request.param)
    yield 16 if request.param == "GENERIC" else BACKENDS[request.param]
    pygame.transform.set_smoothscale_backend(usual)


def drawn(polygons: list[np.ndarray], colors: np.ndarray, smooth: int) -> np.ndarray:
    """Draw polygons by pygame and scale the picture down; return the rows that are wanted."""
    surface = pygame.Surface(SIZE, depth=32)
    for number, (corners, color) in enumerate(zip(polygons, colors, strict=True)):
        points, paint = corners.astype(int).tolist(), tuple(map(int, color))
        if number < smooth:
            gfxdraw.aapolygon(surface, points, paint)
            gfxdraw.filled_polygon(surface, points, paint)
        else:
            pygame.draw.polygon(surface, paint, points)
    upright = pygame.transform.flip(surface, False, True)
    scaled = pygame.transform.smoothscale(upright, SMALL)
    return pygame.surfarray.array3d(scaled).swapaxes(0, 1)[:ROWS]


def ours(
    canvas: Canvas,
    polygons: list[np.ndarray],
    colors: np.ndarray,
    smooth: int,
    view: tuple[float, float, float, float, float] = STILL,
) -> np.ndarray:
    corners = np.zeros((len(polygons), CORNERS, 2))
    for each, polygon in zip(corners, polygons, strict=True):
        each[: len(polygon)] = polygon
    sizes = np.array([len(polygon) for polygon in polygons])
    return canvas.draw(corners, sizes, colors.astype(float), smooth, view)


def around(rng: np.random.Generator, corners: int, reach: float) -> np.ndarray:
    """Return a polygon around a random point, mostly but not always convex."""
    center = rng.uniform((-50, -50), np.array(SIZE) + 50)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    away = rng.uniform(0.1, reach, corners)
    return center + away[:, None] * np.stack((np.cos(angles), np.sin(angles)), axis=1)


@pytest.mark.parametrize("reach", [3, 30, 300, 10_000])
def test_any_polygons_are_pygame_s_own(bits: int, reach: float) -> None:
    rng = np.random.default_rng(int(reach))
    canvas = Canvas(SIZE, SMALL, ROWS, bits)
    for _ in range(60):
        smooth, plain = rng.integers(1, 12), rng.integers(0, 6)
        polygons = [around(rng, 4, reach) for _ in range(smooth)]
        polygons += [around(rng, int(rng.integers(4, CORNERS + 1)), 20) for _ in range(plain)]
        colors = rng.integers(256, size=(len(polygons), 3))
        picture = ours(canvas, polygons, colors, int(smooth))
        assert np.array_equal(picture, drawn(polygons, colors, int(smooth)))


@pytest.mark.parametrize("smooth", [0, 1])
@pytest.mark.parametrize(
    "corners",
    [
        [(20, 20), (120, 20), (120, 90), (20, 90)],  # level and upright sides
        [(20, 20), (90, 90), (20, 160), (-50, 90)],  # diagonals
        [(20, 20), (120, 20), (20, 90), (120, 90)],  # sides that cross
        [(20, 20), (120, 20), (60, 20), (30, 20)],  # all on one row
        [(20, 20), (20, 90), (20, 60), (20, 120)],  # all in one column
        [(20, 20)] * 4,
        [(249, 199), (260, 199), (260, 210), (249, 210)],  # one pixel in the corner
        [(-9, -9), (260, -9), (260, 210), (-9, 210)],  # more than the whole picture
        [(250, 0), (260, 0), (260, 200), (250, 200)],  # just out of sight
        [(20, 20), (70, 90), (120, 20), (70, 40)],  # a corner that points inwards
        [(20, 20), (60, 60), (100, 60), (140, 20)],  # a level side below
    ],
)
def test_special_polygons_are_pygame_s_own(
    bits: int, corners: list[tuple[int, int]], smooth: int
) -> None:
    polygons, colors = [np.array(corners, float)], np.array([[200, 100, 50]])
    picture = ours(Canvas(SIZE, SMALL, ROWS, bits), polygons, colors, smooth)
    assert np.array_equal(picture, drawn(polygons, colors, smooth))


def test_a_view_turns_then_enlarges_then_shifts() -> None:
    canvas = Canvas(SIZE, SMALL, ROWS, 14)
    square = np.array([(10.0, 0.0), (20.0, 0.0), (20.0, 10.0), (10.0, 10.0)])
    turned = np.stack((-square[:, 1], square[:, 0]), axis=1)  # by a right angle
    color = np.array([[255, 255, 255]])
    seen = ours(canvas, [square], color, 1, (0.0, 1.0, 4.0, 120.0, 30.0))
    assert np.array_equal(seen, ours(canvas, [4 * turned + (120, 30)], color, 1))
    assert seen.any()


def test_pictures_are_not_overwritten_by_the_next() -> None:
    canvas = Canvas(SIZE, SMALL, ROWS, 14)
    square = np.array([(10.0, 20.0), (90.0, 20.0), (90.0, 190.0), (10.0, 190.0)])
    first = ours(canvas, [square], np.array([[255, 0, 0]]), 1)
    kept = first.copy()
    ours(canvas, [square, square + 99], np.array([[0, 255, 0], [0, 0, 255]]), 2)
    assert np.array_equal(first, kept)

"""CarRacing under the protocol of the paper: `PixelCarRacing-v0`.

Its pixels and rewards are those of Gymnasium's CarRacing. It is about ten times as fast.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
from gymnasium.envs.box2d import car_dynamics as dynamics
from gymnasium.envs.box2d import car_racing as original
from gymnasium.utils import EzPickle

from dreamgym.engines.canvas import CORNERS, Canvas
from dreamgym.engines.shrink import bilinear
from dreamgym.envs import actions, arguments, seeds
from dreamgym.envs.pixels import PixelGame
from dreamgym.envs.real import RealVectorEnv
from dreamgym.games import FRAME
from dreamgym.games.car_racing import GAME

ROWS = 84
"""Rows above the bar of instruments, of the 96 in Gymnasium's frame (the paper's env.py)."""
PARTS = 12
"""Polygons of which the car is drawn at most: four of the hull, two of each wheel."""


class FastCarRacing(original.CarRacing):
    """Gymnasium's game with a faster renderer, which leaves out the bar of instruments.

    Gymnasium draws some 800 polygons one by one in Python, and most of them are out of sight. Here
    all corners lie in one array, and a `Canvas` draws from it what can be seen.
    """

    def __init__(self, continuous: bool):
        super().__init__(lap_complete_percent=1.0, continuous=continuous)  # the rule of 2017
        bits = 16 if pygame.transform.get_smoothscale_backend() == "GENERIC" else 14
        size = (original.WINDOW_W, original.WINDOW_H)
        self.canvas = Canvas(size, (original.STATE_W, original.STATE_H), ROWS, bits)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        begun = super().reset(seed=seed, options=options)
        self.way = Way(np.array(self.track)[:, 2:4], self.road or ())
        return begun

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        came: tuple[Any, float, bool, bool, dict[str, Any]] = super().step(action)
        if action is not None:  # it is None while `reset` is under way
            assert self.car is not None
            self.way.follow(*self.car.hull.position)
        return came

    def _create_track(self) -> bool:
        made: bool = super()._create_track()
        if made:
            self._lay_out()
        return made

    def _lay_out(self) -> None:
        """Put what lies on the ground into arrays, and leave room above it for the car."""
        road = np.array([polygon for polygon, _ in self.road_poly])  # (R, 4, 2)
        ground = np.concatenate((FIELD, GRASS, road))
        self.flat = len(ground)
        self.corners = np.zeros((self.flat + PARTS, CORNERS, 2))
        self.corners[: self.flat, :4] = ground
        self.sizes = np.full(self.flat + PARTS, 4)
        self.colors = np.zeros((self.flat + PARTS, 3))
        self.colors[0], self.colors[1 : len(GRASS) + 1] = self.bg_color, self.grass_color
        tiles = iter(self.road or ())
        for color, (_, paint) in zip(self.colors[len(GRASS) + 1 :], self.road_poly, strict=False):
            color[:] = paint
            if isinstance(paint, np.ndarray):  # a tile; the rest are borders, whose color stays
                next(tiles).color = color  # Gymnasium writes into it when the car touches the tile

    def _render(self, mode: str) -> Any:
        """Return the picture for an agent, (84, 96, 3) uint8, whatever the mode."""
        assert self.car is not None
        x, y = self.car.hull.position
        angle = -self.car.hull.angle
        zoom = 0.1 * original.SCALE * max(1 - self.t, 0) + original.ZOOM * original.SCALE * min(
            self.t, 1
        )
        turned = pygame.math.Vector2((-x * zoom, -y * zoom)).rotate_rad(angle)
        cos, sin = pygame.math.Vector2(1, 0).rotate_rad(angle)  # exact at right angles
        right, up = original.WINDOW_W / 2 + turned[0], original.WINDOW_H / 4 + turned[1]
        end = self.flat
        for points, color in _parts(self.car):
            self.corners[end, : len(points)] = points
            self.sizes[end], self.colors[end] = len(points), color
            end += 1
        return self.canvas.draw(
            self.corners[:end],
            self.sizes[:end],
            self.colors[:end],
            self.flat,
            (cos, sin, zoom, right, up),
        )


class Way:
    """How far a car has come on its track, and the tiles that it has passed by.

    Tile i lies between the points i - 1 and i of the track's middle line. The car has passed tile i
    when the point nearest to it is i + 2 or later. Gymnasium does not count these tiles, but they
    decide how a game goes on: a tile that was passed by can only be touched in another lap.

    Args:
        points: (N, 2), the middle line.
        tiles: the N tiles, as Gymnasium made them.
    """

    def __init__(self, points: np.ndarray, tiles: Sequence[Any]):
        self.points, self.tiles = points, tiles
        self.at = self.furthest = 0  # points from the start on, lap by lap
        self.missed: list[Any] = []

    def follow(self, x: float, y: float) -> None:
        """Take in the car's new position."""
        many = len(self.points)
        squared = ((self.points - (x, y)) ** 2).sum(1)  # (N,)
        near = squared[(self.at + STRETCH) % many]
        if near.min() > original.TRACK_WIDTH**2 >= squared.min():  # it has cut across to elsewhere
            self.at += int((squared.argmin() - self.at + many // 2) % many) - many // 2
        else:
            self.at += int(STRETCH[near.argmin()])
        before, self.furthest = self.furthest, max(self.furthest, self.at)
        passed = self.tiles[max(before - 1, 0) : max(self.furthest - 1, 0)]
        self.missed = [tile for tile in (*self.missed, *passed) if not tile.road_visited]


STRETCH = np.arange(-10, 11)
"""Points around the last one among which the nearest is sought. Thus a stretch of road beside this
one is not taken for it. A car passes a point in 1.75 frames at its fastest."""


def _parts(car: Any) -> Iterator[tuple[list[tuple[float, float]], Sequence[int]]]:
    """Yield the corners and colors of what the car is drawn of, in Gymnasium's order."""
    for body in car.drawlist:
        place, color = body.transform, [int(255 * part) for part in body.color]
        for fixture in body.fixtures:
            yield [(place * corner).tuple for corner in fixture.shape.vertices], color
        if body is not car.hull and (tread := _tread(body.phase)):
            yield [(place * corner).tuple for corner in tread], dynamics.WHEEL_WHITE


def _tread(phase: float) -> list[tuple[float, float]]:
    """Return the corners of the light stripe on a wheel that has turned by `phase`, if it is up."""
    ends = []
    for angle in (phase, phase + 1.2):
        up = math.sin(angle) > 0
        ends.append((math.copysign(1, math.cos(angle)) if up else math.cos(angle), up))
    (back, hidden), (front, too) = ends
    if hidden and too:
        return []
    wide = dynamics.WHEEL_W * dynamics.SIZE
    back, front = (dynamics.WHEEL_R * end * dynamics.SIZE for end in (back, front))
    return [(-wide, back), (wide, back), (wide, front), (-wide, front)]


def _grass() -> np.ndarray:
    """Return the corners (G, 4, 2) of the lighter squares of grass, in Gymnasium's order."""
    side = original.GRASS_DIM
    x, y = np.meshgrid(np.arange(-20, 20, 2), np.arange(-20, 20, 2), indexing="ij")
    west, south = side * x.ravel(), side * y.ravel()
    east, north = west + side, south + side
    corners = (east, south), (west, south), (west, north), (east, north)
    return np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)


FIELD = original.PLAYFIELD * np.array([[[1, 1], [1, -1], [-1, -1], [-1, 1]]])  # (1, 4, 2)
GRASS = _grass()


class CarRacing(PixelGame):
    """
    ## Description
    A car, seen from above, drives on a closed track. Every episode has a new random track. This is
    Gymnasium's `CarRacing-v3` as *World Models* (Ha & Schmidhuber, 2018) played it. By the rule of
    2017 a lap is complete when every tile has been touched, and the picture is 64 × 64, without the
    bar of instruments. Pixels and rewards are Gymnasium's, computed about ten times as fast. A step
    is one frame, 1/50 s.

    ## Action Space
    `continuous=True` (default): `Box([-1, 0, 0], [1, 1, 1], (3,), float32)`: steering (1 is right),
    gas, brake. Values beyond the `Box` are clipped to it.
    `continuous=False`: `Discrete(5)`: 0 nothing, 1 right, 2 left, 3 gas, 4 brake.
    `step()` raises a `ValueError` for an action of another shape or type, a value that is not
    finite, and a number that is not among the discrete actions.

    ## Observation Space
    `Box(0, 255, (64, 64, 3), uint8)`: RGB. Rows 0 to 83 of Gymnasium's 96, scaled down.

    ## Rewards
    -0.1 for each frame, and 1000 / N for each of the track's N tiles, when a wheel touches it for
    the first time. The frame in which the car leaves the field pays -100 and nothing else.

    ## Starting State
    The car stands on the track. The camera zooms in during the first second.

    ## Episode Termination
    Terminates when all tiles have been touched or the car leaves the field. `gym.make` truncates
    after 1,000 frames; `max_episode_steps` changes this limit.

    ## Information
    `tiles_left`: the number of tiles that have not been paid for yet. `tiles_missed`: how many of
    them the car has passed by. While it is above 0 the lap cannot end. `speed`: of the car, in
    units a second. `spin`: how fast it turns to the left, in radians a second. `lap_finished`, at
    the end of an episode only: `True` if all tiles have been touched, `False` if the car left the
    field.

    ## Arguments
    An argument that is not valid raises a `ValueError` that says what to give instead.

    * `continuous`: `True` for the `Box` of actions, `False` for the `Discrete`.
    * `render_mode`: `"rgb_array"` for the frame that an agent sees, or `"human"` for a window.

    ## Version History
    * v0: first release.

    ## References
    Klimov, *CarRacing*, 2016; Towers et al., *Gymnasium*, 2024; Ha & Schmidhuber, *World Models*,
    2018.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": GAME.fps,
    }
    game = GAME

    def __init__(self, continuous: bool = GAME.continuous, render_mode: str | None = None):
        arguments.check_render_mode(render_mode)
        EzPickle.__init__(self, continuous, render_mode)
        self.continuous = arguments.check_continuous(continuous, GAME)
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(0, 255, FRAME, np.uint8)
        self.action_space = actions.space(GAME, self.continuous)
        self._game = FastCarRacing(self.continuous)
        self._frame: np.ndarray | None = None
        self._begun, self._over = False, False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        seed = seeds.one(seed)
        super().reset(seed=seed)
        # The game draws from its own stream, so that a seed gives the track that Gymnasium gives.
        road, _ = self._game.reset(seed=seed)
        self._frame, self._begun, self._over = shrink(road), False, False
        return self._frame.copy(), self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._frame is None or self._over:
            when = "after the end of an episode" if self._over else "before reset()"
            raise gym.error.ResetNeeded(f"step() {when}: call reset() first")
        vectors = actions.to_vectors([action], GAME, self.continuous)[0]
        road, reward, self._over, _, info = self._game.step(
            vectors if self.continuous else int(action)
        )
        self._frame, self._begun = shrink(road), True
        return self._frame.copy(), float(reward), self._over, False, info | self._info()

    def close(self) -> None:
        self._game.close()
        self._frame = None

    def _info(self) -> dict[str, Any]:
        # The car already stands on two tiles after reset(). The first step pays for them.
        paid = self._game.tile_visited_count if self._begun else 0
        left, missed = len(self._game.track) - paid, len(self._game.way.missed)
        assert self._game.car is not None
        hull = self._game.car.hull
        return {
            "tiles_left": float(left), "tiles_missed": float(missed),
            "speed": float(hull.linearVelocity.length), "spin": float(hull.angularVelocity),
        }  # fmt: skip


class CarRacingVectorEnv(RealVectorEnv):
    """Many games of `CarRacing` as one batch: `gym.make_vec("PixelCarRacing-v0", num_envs=16)`."""

    game = GAME


def shrink(road: np.ndarray) -> np.ndarray:
    """Scale a picture (84, 96, 3) uint8 down to (64, 64, 3), bilinearly as in the paper's code."""
    return bilinear(road, FRAME[:2])

"""CarRacing under the protocol of the paper: `PixelCarRacing-v0`.

Its pixels and rewards are those of Gymnasium's CarRacing. It is two to three times as fast.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pygame
from gymnasium.envs.box2d import car_racing as original
from gymnasium.utils import EzPickle
from PIL import Image
from pygame import gfxdraw

from dreamgym.envs import actions, arguments, seeds
from dreamgym.envs.pixels import PixelGame
from dreamgym.games import FRAME
from dreamgym.games.car_racing import GAME

ROWS = 84
"""Rows above the bar of instruments, of the 96 in Gymnasium's frame (the paper's env.py)."""
SHOWN = original.WINDOW_H * ROWS // original.STATE_H
"""The same rows in the large picture, which Gymnasium draws and then scales down: 700 of 800."""
SEEN = np.array([[0, original.WINDOW_H - SHOWN], [original.WINDOW_W, original.WINDOW_H]])
"""Corners of the rows that are shown, in the large picture as it is drawn, upside down."""
MARGIN = 2
"""Pixels around the picture in which polygons are drawn too: smooth edges are 1 pixel wider."""


class FastCarRacing(original.CarRacing):
    """Gymnasium's game with a faster renderer, which leaves out the bar of instruments.

    Gymnasium rotates some 800 polygons one by one in Python, and most of them are out of sight.
    Here NumPy rotates all of them at once, and only those that touch the picture are drawn, by the
    same calls in the same order. The surfaces are reused from frame to frame. A clip rectangle
    would save more, but pygame clips smooth lines before it draws them, which moves their pixels.
    """

    def __init__(self, continuous: bool):
        super().__init__(lap_complete_percent=1.0, continuous=continuous)  # the rule of 2017
        pygame.font.init()  # Gymnasium's render() needs it
        size = (original.WINDOW_W, original.WINDOW_H)
        self.upside_down = pygame.Surface(size, depth=32)
        self.upright = pygame.Surface((original.WINDOW_W, SHOWN), depth=32)
        self.small = pygame.Surface((original.STATE_W, ROWS), depth=32)
        self.corners: np.ndarray | None = None  # (P, 4, 2) of everything flat on the ground

    def _create_track(self) -> bool:
        made: bool = super()._create_track()
        self.corners = None
        return made

    def _render(self, mode: str) -> Any:
        """Return the picture for an agent, (84, 96, 3) uint8; Gymnasium renders other modes."""
        if mode != "state_pixels":
            return super()._render(mode)
        assert self.car is not None
        x, y = self.car.hull.position
        angle = -self.car.hull.angle
        zoom = 0.1 * original.SCALE * max(1 - self.t, 0) + original.ZOOM * original.SCALE * min(
            self.t, 1
        )
        turned = pygame.math.Vector2((-x * zoom, -y * zoom)).rotate_rad(angle)
        shift = (original.WINDOW_W / 2 + turned[0], original.WINDOW_H / 4 + turned[1])
        self.surf: pygame.Surface = self.upside_down  # type: ignore[assignment]
        self._render_road(zoom, shift, angle)
        self.car.draw(self.surf, zoom, shift, angle, False)
        source = pygame.surfarray.pixels2d(self.upside_down)  # (W, H)
        target = pygame.surfarray.pixels2d(self.upright)
        np.copyto(target, source[:, : -SHOWN - 1 : -1])
        del source, target  # these views lock the surfaces
        pygame.transform.smoothscale(self.upright, self.small.get_size(), self.small)
        return pygame.surfarray.array3d(self.small).swapaxes(0, 1)

    def _render_road(self, zoom: float, translation: tuple[float, float], angle: float) -> None:
        if self.surf is not self.upside_down:
            return super()._render_road(zoom, translation, angle)
        if self.corners is None:
            road = np.array([polygon for polygon, _ in self.road_poly])  # (R, 4, 2)
            self.corners = np.concatenate((FIELD, GRASS, road))  # (P, 4, 2)
        around = _seen(self.corners, zoom, translation, angle)  # (P, 4, 2)
        surface = self.surf
        background = tuple(map(int, self.bg_color))
        if _covers(around[0]):
            surface.fill(background)
        else:
            surface.fill(0)
            points = around[0].astype(int).tolist()
            gfxdraw.aapolygon(surface, points, background)
            gfxdraw.filled_polygon(surface, points, background)
        low, high = around[1:].min(1), around[1:].max(1)  # (P, 2)
        touching = ((high > SEEN[0] - MARGIN) & (low < SEEN[1] + MARGIN)).all(1)
        polygons = around[1:].astype(int)[touching].tolist()
        for points, index in zip(polygons, np.flatnonzero(touching).tolist(), strict=True):
            on_road = index >= len(GRASS)  # a tile changes its color when the car has touched it
            paint = self.road_poly[index - len(GRASS)][1] if on_road else self.grass_color
            color = tuple(map(int, paint))
            gfxdraw.aapolygon(surface, points, color)
            gfxdraw.filled_polygon(surface, points, color)
        return None


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


def _seen(corners: np.ndarray, zoom: float, shift: tuple[float, float], angle: float) -> np.ndarray:
    """Return the picture's coordinates (..., 2) of points (..., 2) on the ground."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = corners[..., 0], corners[..., 1]
    return np.stack(
        ((x * cos - y * sin) * zoom + shift[0], (x * sin + y * cos) * zoom + shift[1]), axis=-1
    )


def _covers(square: np.ndarray) -> bool:
    """Tell whether a square covers the whole picture; its corners (4, 2) are in either order."""
    picture = np.array([[0, 0], [original.WINDOW_W, 0], [0, original.WINDOW_H],
                        [original.WINDOW_W, original.WINDOW_H]])  # fmt: skip
    edges = np.roll(square, -1, axis=0) - square  # (4, 2)
    away = picture[:, None] - square[None]  # (4 points, 4 corners, 2)
    side = edges[:, 0] * away[..., 1] - edges[:, 1] * away[..., 0]
    side /= np.linalg.norm(edges, axis=1)  # distance from each edge, all of one sign if inside
    return bool((side > MARGIN).all() or (side < -MARGIN).all())


class CarRacing(PixelGame):
    """
    ## Description
    A car, seen from above, drives on a closed track. Every episode has a new random track. This is
    Gymnasium's `CarRacing-v3` as *World Models* (Ha & Schmidhuber, 2018) played it. By the rule of
    2017 a lap is complete when every tile has been touched, and the picture is 64 × 64, without the
    bar of instruments. Pixels and rewards are Gymnasium's, computed two to three times as fast. A
    step is one frame, 1/50 s.

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
    `tiles_left`: the number of tiles that have not been paid for yet. `lap_finished`, at the end of
    an episode only: `True` if all tiles have been touched, `False` if the car left the field.

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
        return {"tiles_left": float(len(self._game.track) - paid)}


def shrink(road: np.ndarray) -> np.ndarray:
    """Scale a picture (84, 96, 3) uint8 down to (64, 64, 3), bilinearly as in the paper's code."""
    picture = Image.fromarray(np.ascontiguousarray(road))
    return np.asarray(picture.resize(FRAME[1::-1], Image.Resampling.BILINEAR))

"""The pictures that a user's own game shows, scaled for V."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

from dreamgym.games import FRAME

CHANNELS = (1, 3, 4)
"""Grey, RGB, and RGB with one channel more, such as transparency, which V does not see."""


def shown(space: gym.Space[Any]) -> bool:
    """Return whether a space is of pictures: uint8 from 0 to 255, (H, W) or (H, W, 1, 3 or 4)."""
    return (
        isinstance(space, gym.spaces.Box)
        and space.dtype == np.uint8
        and is_picture(space.shape)
        and bool((space.low == 0).all() and (space.high == 255).all())
    )


def is_picture(shape: tuple[int, ...]) -> bool:
    """Return whether an array of this shape is a picture of one pixel or more."""
    return 0 not in shape and (len(shape) == 2 or (len(shape) == 3 and shape[2] in CHANNELS))


def scaled(picture: np.ndarray) -> np.ndarray:
    """Return a picture, see `shown`, as (64, 64, 3) uint8 RGB.

    A pixel is the mean of those that it covers; if the picture is enlarged, it is the nearest one.
    """
    rgb = picture if picture.ndim == 3 else picture[:, :, None]
    if rgb.shape[2] == 1:
        rgb = np.repeat(rgb, 3, axis=2)
    image = Image.fromarray(np.ascontiguousarray(rgb[:, :, :3]))
    return np.asarray(image.resize(FRAME[1::-1], Image.Resampling.BOX))

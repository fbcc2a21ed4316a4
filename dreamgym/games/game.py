"""What is known of a game: everything that V, M, C, the dream and the twin must agree on.

Nothing here is learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dreamgym.games.recipe import Round
from dreamgym.games.rules import Rules

FRAME = (64, 64, 3)
"""Height, width and channels of every frame that V sees: uint8 RGB (World Models, §A.1)."""
Play = Callable[[], np.ndarray]
"""Returns what to do next, (A,) in [-1, 1] as C does, without a look at the game."""


@dataclass(frozen=True)
class Game:
    """A real game under a protocol, and what is known about it."""

    name: str
    """The word on the command line and the folder of the shipped world."""
    title: str
    """The word inside the environment ids, as in `Dream{title}-v0`."""
    called: str
    """What people call the real game."""
    real: str
    """Entry point of the pixel environment."""
    rules: Rules
    """What is known of rewards and ends, and need not be learned."""
    low: tuple[float, ...]
    """Least values of the continuous action …"""
    high: tuple[float, ...]
    """… and the greatest."""
    moves: dict[str, tuple[float, ...]]
    """The discrete actions in order, each as a continuous one."""
    explore: Callable[[np.random.Generator], Play]
    """Begins a game's worth of the play by which first data are collected."""
    max_steps: int
    """Steps after which an episode is truncated."""
    deadband: float = 0.0
    """A continuous action beyond ± this is the whole move, else none; 0: it counts as it is."""
    halved: tuple[int, ...] = ()
    """Parts of the action for which C's [-1, 1] is moved to [0, 1]; the others are clipped."""
    continuous: bool = False
    """Whether the Box form of the action space is the default."""
    threshold: float | None = None
    """Mean return from which the game counts as solved."""
    fps: int = 30
    """Steps in a second, for films."""
    observation: str = "zh"
    """What C sees: `z`, `zh` or `zhc`."""
    temperature: float = 1.0
    """The dream's default τ."""
    z_size: int = 32
    """Latents of V (World Models, §A.1)."""
    hidden: int = 256
    """Cells of M (World Models, §A.2)."""
    bias: bool = True
    """Whether C has one."""
    mean_length: int = 1000
    """Frames that an exploring episode lasts, for the estimate of the disk alone."""
    test_games: int = 100
    """Real games behind a reported score."""
    engines: tuple[tuple[str, str], ...] = ()
    """The same game as others ship it, to compare its speed with: what it is called, and an id of
    Gymnasium's, or the entry point of a function that returns a step of it, given a seed."""
    objects: Callable[[str, float], str] | None = None
    """Returns the kind of a visible object of a name and a width in frame pixels, empty if it does
    not count; None: the game tells of none."""
    recipe: tuple[Round, ...] = ()
    """The rounds by which its world is made."""
    learning: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Hyperparameters of the game's own, for each algorithm of `dreamgym.zoo`."""

    @property
    def pixel_id(self) -> str:
        return f"Pixel{self.title}-v0"

    @property
    def latent_id(self) -> str:
        return f"Latent{self.title}-v0"

    @property
    def dream_id(self) -> str:
        return f"Dream{self.title}-v0"

"""What is known of a game: everything that V, M, C, the dream and the twin must agree on.

Nothing here is learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dreamgym.games.recipe import Round
from dreamgym.games.rules import Rules

FRAME = (64, 64, 3)
"""Height, width and channels of every picture that V sees: uint8 RGB (World Models, §A.1)."""
PAID = (64 * 64 * 3 + 4,)
"""Shape of a frame that holds such a picture's bytes, and then the 4 of the reward: uint8."""
Play = Callable[[], np.ndarray]
"""Plays without seeing the game: each call returns the next action, (A,) in [-1, 1] as from C."""


@dataclass(frozen=True)
class Game:
    """A real game under a protocol, and what is known about it."""

    name: str
    """The word on the command line and the folder of the shipped world."""
    title: str
    """The word inside the environment ids, as in `Dream{title}-v0`."""
    called: str
    """The real game's name in messages, such as `Gymnasium's CarRacing`."""
    real: str
    """Entry point of the pixel environment."""
    rules: Rules
    """What is known of rewards and ends, and need not be learned."""
    low: tuple[float, ...]
    """The least value of each number of a continuous action."""
    high: tuple[float, ...]
    """The greatest value of each number of a continuous action."""
    moves: dict[str, tuple[float, ...]]
    """The discrete actions in order, each as a continuous one."""
    explore: Callable[[np.random.Generator], Play]
    """Takes a random generator and returns the player of one game, for the first recordings."""
    max_steps: int
    """Steps after which an episode is truncated."""
    own: Any = None
    """What is known of a user's own game, see `games.own.Facts`; None for the games of dreamgym."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments of the real game that make it this game, such as the id of a user's own one."""
    frame: tuple[int, ...] = FRAME
    """Shape of a frame. A frame is a picture, uint8 `FRAME`. In a user's own game it is a vector,
    float32 (F,) or uint8 `PAID`."""
    pictures: bool = True
    """Whether V sees pictures, and not numbers."""
    many: str = ""
    """Entry point of a batch of pixel environments; empty if Gymnasium's own are to be used."""
    choices: tuple[int, ...] = ()
    """If an action is one choice or several, how many possibilities each has; M takes a one-hot
    vector of each. C then has an output for each possibility, and chooses that of the greatest."""
    bits: bool = False
    """Whether these choices are a `MultiBinary`; else several of them are a `MultiDiscrete`."""
    deadband: float = 0.0
    """If above 0, a continuous action beyond ± this counts as ±1, and any other as 0. If 0, an
    action counts as it is."""
    stretched: tuple[int, ...] = ()
    """Indices of the numbers of an action for which C's output in [-1, 1] is mapped linearly to
    the number's range. The other numbers are clipped to it."""
    unit: bool = False
    """Whether M takes the numbers of a continuous action with -1 and 1 as the ends of their range,
    and not as they are. The range may be any, and far from 0."""
    continuous: bool = False
    """Whether the Box form of the action space is the default."""
    threshold: float | None = None
    """Mean return from which the game counts as solved."""
    fps: int = 30
    """Steps in a second, for films."""
    observation: str = "zh"
    """What C sees: `z`, `zh`, `zhc` or, if V sees numbers, `own`."""
    temperature: float = 1.0
    """The dream's default τ."""
    z_size: int = 32
    """Latents of V (World Models, §A.1)."""
    hidden: int = 256
    """Cells of M (World Models, §A.2)."""
    bias: bool = True
    """Whether C has a bias."""
    mean_length: int = 1000
    """Mean length in frames of a game played by `explore`, used only to estimate disk space."""
    test_games: int = 100
    """The number of real games for a reported score."""
    engines: tuple[tuple[str, str], ...] = ()
    """Other versions of the same game, to compare the speed with. Each is a name for the table, and
    a Gymnasium id or an entry point `module:function`. The function takes a seed and returns a
    function that plays one step."""
    objects: Callable[[str, float], str] | None = None
    """Takes the name of a visible object and its width in pixels of the frame. Returns the kind of
    the object, or an empty string for an object that does not count. None if the game does not
    report its objects."""
    telling: tuple[str, ...] = ()
    """Further numbers in the real game's `info`, beside the counts of its rules."""
    lost: Callable[[np.ndarray], np.ndarray] | None = None
    """Takes pictures (N, 64, 64, 3) uint8 and returns in which of them the player is lost, (N,)
    bool. None if a picture does not tell."""
    recipe: tuple[Round, ...] = ()
    """The rounds by which its world is made."""
    published: dict[float, tuple[float, float]] = field(default_factory=dict)
    """Mean scores in the dream and in the real game by the temperature in which C evolved, as World
    Models has them in its table 2."""
    stories: dict[float, str] = field(default_factory=dict)
    """What is to be seen in dreams at some temperatures, in a few words."""
    keys: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """What the arrow keys do, by JavaScript's names of them, each as a continuous action."""
    learning: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Hyperparameters in which the game differs from `dreamgym.zoo`, for each algorithm."""

    @property
    def rewarded(self) -> bool:
        """Whether a frame ends with the reward of the action before. An episode then has one frame
        more than actions."""
        return self.frame != FRAME

    @property
    def frame_type(self) -> type[np.generic]:
        """The type of a frame's numbers."""
        return np.uint8 if self.pictures else np.float32

    @property
    def info(self) -> tuple[str, ...]:
        """The names of the numbers in the real game's `info`."""
        return (*self.rules.counts, *self.telling)

    @cached_property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """`low` and `high` as arrays (A,) float32."""
        return np.array(self.low, np.float32), np.array(self.high, np.float32)

    @cached_property
    def middle(self) -> tuple[np.ndarray, np.ndarray]:
        """The middle and half the width of `box`, both (A,) float32; 1 where it has no width."""
        low, high = self.box
        half = (high - low) / 2
        return low + half, np.where(half > 0, half, np.float32(1))

    @cached_property
    def vectors(self) -> np.ndarray:
        """The discrete actions in order, (M, A) float32."""
        return np.array(list(self.moves.values()), np.float32)

    @property
    def pixel_id(self) -> str:
        return self.own.id if self.own else f"Pixel{self.title}-v0"

    @property
    def latent_id(self) -> str:
        return f"Latent{self.title}-v0"

    @property
    def dream_id(self) -> str:
        return f"Dream{self.title}-v0"

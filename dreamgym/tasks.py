"""Per-task facts, each written down once.

A task is a real game under the paper's protocol. Everything that V, M, C, the dream and the twin
must agree on stands here, and nothing here is learned.
"""

from __future__ import annotations

from dataclasses import dataclass

FRAME = (64, 64, 3)
"""Height, width and channels of every frame that V sees: uint8 RGB (World Models, §A.1)."""


@dataclass(frozen=True)
class Task:
    """What is known about one game."""

    name: str
    """The word on the command line and the folder of the shipped world."""
    title: str
    """The word inside the environment ids, as in `Dream{title}-v0`."""
    real: str
    """Entry point of the pixel environment."""
    moves: tuple[str, ...]
    """Names of the discrete actions, in order."""
    continuous: bool
    """Whether the Box form of the action space is the default."""
    max_steps: int
    """Steps after which an episode is truncated."""
    threshold: float
    """Mean return from which the task counts as solved."""
    fps: int
    """Game tics in a second, for films."""
    observation: str
    """What the paper's C saw: `zh` or `zhc`."""
    temperature: float
    """The dream's default τ."""
    health: float
    """Health at the start of an episode."""
    damage: float
    """What a hit takes is this times the roll of a die …"""
    faces: int
    """… with so many faces."""

    @property
    def pixel_id(self) -> str:
        return f"Pixel{self.title}-v0"

    @property
    def latent_id(self) -> str:
        return f"Latent{self.title}-v0"

    @property
    def dream_id(self) -> str:
        return f"Dream{self.title}-v0"


DOOM = Task(
    name="doom",
    title="Doom",
    real="dreamgym.envs.take_cover:TakeCover",
    moves=("left", "stay", "right"),
    continuous=False,
    max_steps=2100,  # episode_timeout of gym-doom's take_cover.cfg
    threshold=750,  # gym-doom's "solved"
    fps=35,  # Doom's tic rate
    observation="zhc",  # [z, c, h] in the paper's code, 64 + 2·512 = 1088 weights
    temperature=1.15,  # World Models, table 2: the τ that transferred best
    health=100,
    damage=21,  # every one of 3,000 hits in random play: 21 times 1 to 8, each as likely
    faces=8,
)

TASKS = {task.name: task for task in (DOOM,)}


def get(name: str) -> Task:
    """Return the task called `name`.

    Raises:
        ValueError: if there is no such task; the message lists those that exist.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}: choose one of {', '.join(sorted(TASKS))}")
    return TASKS[name]

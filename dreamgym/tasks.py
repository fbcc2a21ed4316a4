"""Per-task facts, each written down once.

A task is a real game under the paper's protocol. Everything that V, M, C, the dream and the twin
must agree on stands here, and nothing here is learned.
"""

from __future__ import annotations

from dataclasses import dataclass

FRAME = (64, 64, 3)
"""Height, width and channels of every frame that V sees: uint8 RGB (World Models, §A.1)."""


@dataclass(frozen=True)
class Survival:
    """Stay alive: every step pays 1, a hit takes health by known dice, and 0 ends the game."""

    budget: float
    """Health at the start of an episode."""
    damage: float
    """What a hit takes is this times the roll of a die …"""
    faces: int
    """… with so many faces."""
    gauge: str = "health"
    """What `info` calls the budget."""
    heads: tuple[str, ...] = ("hit", "death")
    """What M has to foretell of an action: does it cost health, does it kill."""


@dataclass(frozen=True)
class Lap:
    """Drive a lap: a frame costs, a new tile of the track pays, and the last one ends the game."""

    lap: float
    """What all tiles pay together; tracks differ in their number."""
    cost: float
    """What a frame costs."""
    fall: float
    """What leaving the field costs, which also ends the game."""
    pace: float
    """Frames that the fastest car takes for a tile …"""
    fewest: float
    """… of which the shortest tracks have so many."""
    gauge: str = "tiles_left"
    """What `info` calls the budget: the tiles that were not paid for yet."""
    heads: tuple[str, ...] = ("tile", "tiles", "fall")
    """What M has to foretell of an action: is there a new tile, are there two, is it a fall."""

    def most(self, steps: int) -> float:
        """Return the most that a real drive of so many frames pays; who dreams more is fooled."""
        frames = min(float(steps), self.pace * self.fewest)
        return self.lap * frames / (self.pace * self.fewest) - self.cost * frames


@dataclass(frozen=True)
class Task:
    """What is known about one game."""

    name: str
    """The word on the command line and the folder of the shipped world."""
    title: str
    """The word inside the environment ids, as in `Dream{title}-v0`."""
    game: str
    """What people call the real game."""
    real: str
    """Entry point of the pixel environment."""
    rules: Survival | Lap
    """What is known of rewards and ends, and need not be learned."""
    low: tuple[float, ...]
    """Least values of the continuous action …"""
    high: tuple[float, ...]
    """… and the greatest."""
    moves: dict[str, tuple[float, ...]]
    """The discrete actions in order, each as a continuous one."""
    deadband: float
    """A continuous action beyond ± this is the whole move, else none; 0: it counts as it is."""
    halved: tuple[int, ...]
    """Parts of the action for which C's [-1, 1] is moved to [0, 1]; the others are clipped."""
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
    z_size: int
    """Latents of V (World Models, §A.1)."""
    hidden: int
    """Cells of M (World Models, §A.2)."""
    bias: bool
    """Whether the paper's C has one."""

    @property
    def pixel_id(self) -> str:
        return f"Pixel{self.title}-v0"

    @property
    def latent_id(self) -> str:
        return f"Latent{self.title}-v0"

    @property
    def dream_id(self) -> str:
        return f"Dream{self.title}-v0"


TAKE_COVER = Survival(
    budget=100,
    damage=21,  # every one of 3,000 hits in random play: 21 times 1 to 8, each as likely
    faces=8,
)
DOOM = Task(
    name="doom",
    title="Doom",
    game="ViZDoom's Take Cover",
    real="dreamgym.envs.take_cover:TakeCover",
    rules=TAKE_COVER,
    low=(-1.0,),
    high=(1.0,),
    moves={"left": (-1.0,), "stay": (0.0,), "right": (1.0,)},
    deadband=1 / 3,  # the paper's doomreal.py
    halved=(),
    continuous=False,
    max_steps=2100,  # episode_timeout of gym-doom's take_cover.cfg
    threshold=750,  # gym-doom's "solved"
    fps=35,  # Doom's tic rate
    observation="zhc",  # [z, c, h] in the paper's code, 64 + 2·512 = 1088 weights
    temperature=1.15,  # World Models, table 2: the τ that transferred best
    z_size=64,
    hidden=512,
    bias=False,
)
CAR_RACING = Task(
    name="car_racing",
    title="CarRacing",
    game="Gymnasium's CarRacing",
    real="dreamgym.envs.car_racing:CarRacing",
    rules=Lap(
        lap=1000,  # this, the cost and the fall: Gymnasium's CarRacing-v3
        cost=0.1,
        fall=100,
        pace=1.75,  # tiles are 3.5 units apart, Box2D moves nothing more than 2 units a frame
        fewest=220,  # of 600 tracks
    ),
    low=(-1.0, 0.0, 0.0),  # steering, gas, brake
    high=(1.0, 1.0, 1.0),
    moves={
        "nothing": (0.0, 0.0, 0.0),
        "right": (0.6, 0.0, 0.0),
        "left": (-0.6, 0.0, 0.0),
        "gas": (0.0, 0.2, 0.0),
        "brake": (0.0, 0.0, 0.8),
    },  # Gymnasium's CarRacing-v3
    deadband=0.0,
    halved=(1,),  # the paper's model.py: gas = (a + 1) / 2, brake = clip(a, 0, 1)
    continuous=True,
    max_steps=1000,  # Gymnasium's
    threshold=900,
    fps=50,
    observation="zh",  # 32 + 256 inputs and a bias for each of 3 outputs, 867 weights
    temperature=1.0,
    z_size=32,
    hidden=256,
    bias=True,
)

TASKS = {task.name: task for task in (DOOM, CAR_RACING)}


def get(name: str) -> Task:
    """Return the task called `name`.

    Raises:
        ValueError: if there is no such task; the message lists those that exist.
    """
    if not isinstance(name, str) or name not in TASKS:
        raise ValueError(f"unknown task {name!r}: choose one of {', '.join(sorted(TASKS))}")
    return TASKS[name]

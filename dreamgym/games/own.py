"""A user's own game, of which nothing is known but its spaces: M learns the rest."""

from __future__ import annotations

import math
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from dreamgym.games.game import FRAME, PAID, Game, Play
from dreamgym.games.rules import Known, Learned

HOLDS = (1, 2, 4, 8)
"""Most frames for which random play holds an action. Each game draws one of them: our choice."""
HIDDEN = 64
"""Cells of M. Our choice: a vector of a few numbers is easier to foretell than a picture."""
LATENTS = 32
"""Latents of a picture (World Models, §A.1)."""
PIXELS = "+pixels"
"""The end of the name of a game of which V sees what `render()` draws."""
LATER = {"later": True}
"""Of a fact that worlds of an older dreamgym do not tell."""
PATIENT = (100, 500)
"""Fewest and most steps that PPO looks ahead. Our choice: with 100, the agent of LunarLander hovers
to the end, because a landing lies further off; with 500 it lands (`training/LOG.md`)."""
ENDLESS = 1000
"""Steps of an episode in a game that has no limit of its own. Our choice."""


@dataclass(frozen=True)
class Facts:
    """What is known of a user's own game. A world's folder holds it."""

    id: str = ""
    """The environment's id in Gymnasium, or `module:function` of what makes it."""
    kwargs: dict[str, Any] = field(default_factory=dict, metadata=LATER)
    """Arguments with which it is made."""
    numbers: int = 1
    """Numbers in an observation, when it is flattened; of a picture, those that V sees."""
    moves: int = 0
    """Discrete actions; 0 if actions are of another kind."""
    parts: tuple[int, ...] = field(default=(), metadata=LATER)
    """The possibilities of each choice, if an action is several; empty if it is not."""
    bits: bool = field(default=False, metadata=LATER)
    """Whether these choices are a `MultiBinary`, and not a `MultiDiscrete`."""
    low: tuple[float, ...] = ()
    """The least value of each number of a continuous action."""
    high: tuple[float, ...] = ()
    """The greatest value of each number of a continuous action."""
    max_steps: int = ENDLESS
    """Steps after which an episode is truncated."""
    fps: int = 30
    """Steps in a second, for films."""
    rules: str = field(default="", repr=False, metadata=LATER)
    """`module:Class` of the rules that the game's author wrote, see `rules.Known`; empty if there
    are none. They are not part of `repr`, by which recorded games are told apart."""
    picture: bool = field(default=False, metadata=LATER)
    """Whether V sees pictures."""
    pixels: bool = field(default=False, metadata=LATER)
    """Whether these are what `render()` draws, and not the observation."""

    def __post_init__(self) -> None:
        numbers = (*self.low, *self.high)
        least = {"numbers": 1, "moves": 0, "max_steps": 1, "fps": 1}
        small = [name for name, low in least.items() if not _whole(getattr(self, name), low)]
        small += [f"parts {part}" for part in self.parts if not _whole(part, 1)]
        named = isinstance(self.id, str) and self.id and isinstance(self.kwargs, dict)
        if small or not named or not isinstance(self.bits, bool) or not isinstance(self.rules, str):
            raise ValueError(f"the facts of a user's own game are not valid: {self}")
        if not all(isinstance(each, (int, float)) and math.isfinite(each) for each in numbers):
            raise ValueError(f"the actions of {self.id} have no finite ends: {self}")
        kinds = bool(self.moves) + bool(self.parts) + bool(self.low)
        if len(self.low) != len(self.high) or kinds != 1:
            raise ValueError(
                f"the actions of {self.id} are not one of moves, choices and numbers: {self}"
            )
        if not isinstance(self.picture, bool) or not isinstance(self.pixels, bool):
            raise ValueError(f"what {self.id} shows is neither true nor false: {self}")
        if self.pixels > self.picture or (self.picture and self.numbers != math.prod(FRAME)):
            raise ValueError(f"the pictures of {self.id} are not {FRAME}: {self}")
        if self.picture and self.rules:
            raise ValueError(
                f"rules is {self.rules!r}: {self.id} shows pictures, and rules are of numbers"
            )

    @property
    def mark(self) -> str:
        """What tells recorded games apart: all but the rules, as text.

        Facts that older data do not tell are left out where they have their defaults, so that data
        of before they existed still fit.
        """
        told = [
            f"{fact.name}={getattr(self, fact.name)!r}"
            for fact in fields(self)
            if fact.repr and not (fact.metadata and getattr(self, fact.name) == _default(fact))
        ]
        return f"Facts({', '.join(told)})"

    @property
    def name(self) -> str:
        """The game's name, by which `games.get` finds it."""
        return named(self.id, self.kwargs, self.pixels)


def _default(fact: Field[Any]) -> Any:
    return fact.default if fact.default_factory is MISSING else fact.default_factory()


def named(id: str, kwargs: dict[str, Any], pixels: bool = False) -> str:
    """Return the name of a game, such as `LunarLander-v3(continuous=True)+pixels`."""
    said = ", ".join(f"{key}={value!r}" for key, value in sorted(kwargs.items()))
    return (f"{id}({said})" if said else id) + PIXELS * pixels


def read(values: Any) -> Facts:
    """Return facts that were written as JSON.

    A fact that is `later` than the first files may be missing. It then has its default.

    Raises:
        ValueError: if a fact is missing, unknown or not valid.
    """
    names = {fact.name for fact in fields(Facts)}
    later = {fact.name for fact in fields(Facts) if fact.metadata.get("later")}
    if not isinstance(values, dict) or not names - later <= values.keys() <= names:
        raise ValueError(f"a user's own game needs the keys {sorted(names)}, found {values!r}")
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return Facts(**(values | lists))


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def known(name: str) -> Known | None:
    """Return the rules that a game's author wrote; None for an empty name.

    Args:
        name: `module:Class`, of which the module is imported.

    Raises:
        ValueError: if there is no such class, or it is not one of rules.
    """
    if not name:
        return None
    module, _, kind = name.partition(":")
    if not (module and kind):
        raise ValueError(f"rules is {name!r}: give module:Class, such as my_games:MyRules")
    try:
        found = getattr(import_module(module), kind)
    except Exception as error:  # the module is the user's own code
        raise ValueError(
            f"the rules {name} cannot be imported ({type(error).__name__}: {error}): start Python "
            f"in the folder of the module {module}, or put that folder on PYTHONPATH"
        ) from error
    if not isinstance(found, type) or not issubclass(found, Known):
        raise ValueError(f"{name} is {found!r}: derive it from dreamgym.games.rules.Known")
    rules = found()
    if not rules.known:
        raise ValueError(f"{name} says nothing: write its method reward, or over, or both")
    return rules


def game(facts: Facts) -> Game:
    """Return the game of which these facts are known.

    A frame is the flattened observation and, as its last number, the reward of the action before.
    Rewards are squeezed to sign(r) ln(1 + |r|), as in Dreamer 3 (Hafner et al., 2023), so that
    large and small ones can be learned together. Of a picture the frame holds the bytes, and those
    of the reward.

    Raises:
        ValueError: if its rules cannot be imported.
    """
    choices = facts.parts or (facts.moves,) * bool(facts.moves)
    size = sum(choices) or len(facts.low)
    inputs = LATENTS + 1 if facts.picture else facts.numbers + 1  # of M: what V makes of a frame
    return Game(
        name=facts.name,
        title="",
        called=facts.name,
        real="dreamgym.envs.vectors:Vectors",
        own=facts,
        arguments={"name": facts.name},
        frame=PAID if facts.picture else (inputs,),
        pictures=facts.picture,
        rules=Learned(known(facts.rules)),
        low=facts.low or (-1.0,) * size,  # of choices, C's outputs
        high=facts.high or (1.0,) * size,
        moves={str(move): tuple(row) for move, row in enumerate(np.eye(facts.moves).tolist())},
        choices=choices,
        bits=facts.bits,
        stretched=tuple(range(len(facts.low))),
        unit=not choices,
        continuous=not choices,
        explore=partial(held, size),
        max_steps=facts.max_steps,
        fps=facts.fps,
        observation="zh" if facts.picture else "own",
        temperature=1.0,
        z_size=inputs + 2 - inputs % 2,
        hidden=Game.hidden if facts.picture else HIDDEN,
        mean_length=facts.max_steps,
        test_games=100,
        learning=LEARNING,
    )


def discount(steps: int) -> float:
    """Return PPO's γ for a game of so many steps at most.

    Its horizon of 1 / (1 - γ) steps is half of the game, and within `PATIENT`.
    """
    return 1 - 1 / min(max(steps / 2, PATIENT[0]), PATIENT[1])


def held(size: int, rng: np.random.Generator) -> Play:
    """Play at random: each of `size` outputs ~ U(-1, 1) is held for some frames, see `HOLDS`."""
    most, left, action = int(rng.choice(HOLDS)), 0, np.zeros(size, np.float32)

    def act() -> np.ndarray:
        nonlocal left, action
        if left == 0:
            left = int(rng.integers(1, most + 1))
            action = rng.uniform(-1, 1, size).astype(np.float32)
        left -= 1
        return action

    return act


LEARNING: dict[str, dict[str, Any]] = {
    "ppo": {
        "n_envs": 16,
        "n_steps": 256,
        "batch_size": 256,
        "n_epochs": 10,
        "learning_rate": "lin_1e-3",
        "gae_lambda": 0.97,
        "n_timesteps": 400_000,
    },
    "a2c": {"gamma": 0.99},
}
"""Hyperparameters in which these games differ from `dreamgym.zoo`; PPO's γ is `discount`.

Those of PPO come from trials on Pendulum, where ten times as many steps of the optimiser, in as
many dreamt steps, turn -954 into -158; and on LunarLander: the rate falls to 0, because what
learned at a constant one scores by chance twice as much or nothing (`training/LOG.md`).
"""

"""Do the rules that a user wrote say what the game paid, and when it ended?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dreamgym.games import own
from dreamgym.games.rules import ended, paid

from ..data.episodes import Episode, number_of

RELATIVE, LEAST = 1e-4, 1e-6
"""How far a reward may be from the game's: as a share of that reward, and of the episode's largest.
Our choice: a thousand roundings of float32, and ten."""


def agree(rules: str, paths: Sequence[Path]) -> None:
    """Refuse rules that disagree with recorded games, since a dream by them would be worthless.

    Args:
        rules: `module:Class`, see `games.own.known`; empty if there are none.
        paths: the episodes, of a game of vectors.

    Raises:
        ValueError: at the first step that pays otherwise or that alone ends the game; also if the
            rules cannot be asked.
    """
    known = own.known(rules)
    for path in paths if known else ():
        assert known
        game = Episode.load(path)
        seen = np.array(game.frames[:, :-1])  # (T + 1, O); the last number is the reward
        pay, end = game.rewards[:-1], game.terminated[:-1]
        steps = seen[:-1], game.actions[:-1], seen[1:]
        told, over = paid(known, *steps, pay), ended(known, *steps, end)
        near = np.isclose(told, pay, RELATIVE, LEAST * np.abs(pay).max())
        wrong = np.flatnonzero(~near | (over != end))
        if not len(wrong):
            continue
        step = wrong[0]
        said = f"pays {told[step]:.6g} where the game paid {pay[step]:.6g}"
        if near[step]:
            said = "ends the game where it went on" if over[step] else "goes on where it ended"
        raise ValueError(
            f"{rules} {said}, at step {step + 1} of episode {number_of(path)} ({path}), and in "
            f"{len(wrong)} of its {len(pay)} steps it disagrees: mend it, or leave it out"
        )

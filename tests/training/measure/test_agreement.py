"""Rules that a user wrote are compared with every recorded step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreamgym.training import collect
from dreamgym.training.data.episodes import Episode, episode_paths
from dreamgym.training.measure.agreement import agree
from tests.conftest import Inside
from tests.envs.spring import LIMIT, SpringRules

SPRING = "tests.envs.spring:Spring-v0"
RIGHT = "tests.envs.spring:SpringRules"
HERE = "tests.training.measure.test_agreement"


class Late(SpringRules):
    """Pays for the place after the step, which the game does not."""

    def reward(self, before: Any, action: Any, after: Any) -> np.ndarray:
        return super().reward(after, action, after)


class Rough(SpringRules):
    """Is off by a share of the reward that no rounding explains."""

    def reward(self, before: Any, action: Any, after: Any) -> np.ndarray:
        return super().reward(before, action, after) * 1.001


class Near(SpringRules):
    """Rounds otherwise than the game."""

    def reward(self, before: Any, action: Any, after: Any) -> np.ndarray:
        return super().reward(before, action, after) * (1 + 1e-6)


@pytest.fixture
def paths(tmp_path: Path, inside: Inside) -> list[Path]:
    collect.collect(collect.Args(SPRING, episodes=3), tmp_path, inside, progress=False)
    return episode_paths(tmp_path)


@pytest.mark.parametrize("rules", ["", RIGHT, f"{HERE}:Near"])
def test_rules_of_the_game_pass(paths: list[Path], rules: str) -> None:
    agree(rules, paths)


def test_wrong_rewards_are_named_at_their_first_step(paths: list[Path]) -> None:
    game = Episode.load(paths[0])
    told, paid = -100 * game.frames[1, 0] ** 2, game.rewards[0]
    words = (
        rf"{HERE}:Late pays {told:.6g} where the game paid {paid:.6g}, at step 1 of episode 0 \(.*"
        rf"\), and in \d+ of its {LIMIT} steps it disagrees: mend it, or leave it out"
    )
    with pytest.raises(ValueError, match=words):
        agree(f"{HERE}:Late", paths)
    with pytest.raises(ValueError, match="where the game paid"):
        agree(f"{HERE}:Rough", paths)


@pytest.mark.parametrize(
    ("far", "ended", "words"),
    [(0.0, True, "goes on where it ended"), (3.5, False, "ends the game where it went on")],
)
def test_wrong_ends_are_named(paths: list[Path], far: float, ended: bool, words: str) -> None:
    """An episode that is changed at its 12th step."""
    game = Episode.load(paths[2])
    game.frames = np.array(game.frames)
    game.terminated[11] = ended
    if far:
        game.frames[12, 0] = far
        game.rewards[12] = -100 * np.float32(far) ** 2
    game.save(paths[2])
    with pytest.raises(
        ValueError, match=f"{words}, at step 12 of episode 2 .* in 1 of its {LIMIT}"
    ):
        agree(RIGHT, paths)

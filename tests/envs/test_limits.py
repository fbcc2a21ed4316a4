"""Registration owns an episode's limit: of the game, of its twin and of the dream."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.box2d import car_racing as original

import dreamgym  # noqa: F401
from dreamgym import games
from dreamgym.checkpoint import save_world
from dreamgym.envs import car_racing
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.training.play.games import turns
from dreamgym.training.play.policies import Random
from tests.conftest import tiny_world
from tests.envs.test_car_racing import along_the_track

CARS = ("PixelCarRacing-v0", "LatentCarRacing-v0", "DreamCarRacing-v0")


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing: physics alone is fast."""
    black = np.zeros((car_racing.ROWS, 96, 3), np.uint8)
    monkeypatch.setattr(car_racing.FastCarRacing, "_render", lambda self, mode: black)


def make(id: str, world: Path, **arguments: object) -> gym.Env:
    world_of = {} if id.startswith("Pixel") else {"world": str(world)}
    return gym.make(id, **world_of, **arguments)


def length(env: gym.Env) -> tuple[int, bool]:
    """Stand still to the end; return the steps and whether it was truncated."""
    env.reset(seed=0)
    steps, terminated, truncated = 0, False, False
    while not (terminated or truncated):
        _, _, terminated, truncated, _ = env.step(np.zeros(3, np.float32))
        steps += 1
    env.close()
    return steps, truncated


@pytest.mark.parametrize("id", CARS)
def test_a_longer_limit_is_kept(id: str, blind: None, tmp_path: Path) -> None:
    save_world(tmp_path, tiny_world(hit=(-50.0, -50.0, -50.0), game=CAR_RACING))
    assert length(make(id, tmp_path, max_episode_steps=1050)) == (1050, True)
    assert length(make(id, tmp_path)) == (1000, True)


def test_doom_s_engine_knows_no_limit_and_plays_on_as_before() -> None:
    """With the engine's own timeout the same frames came, but for the last, which was repeated."""
    one, other = (gym.make("PixelDoom-v0", resolution="160x120").unwrapped for _ in range(2))
    for env in (one, other):
        env.reset(seed=3)
    assert one._game.get_episode_timeout() == 0
    other._game.set_episode_timeout(30)
    for step in range(1, 31):
        (a, *rest), (b, *same) = one.step(1), other.step(1)
        assert rest == same
        assert np.array_equal(a, b) or step == 30
    assert other._game.is_episode_finished() and not one._game.is_episode_finished()
    one.step(1)
    for env in (one, other):
        env.close()


@pytest.mark.parametrize(("steps", "ends"), [(0, 12), (5, 5), (50, 12)])
def test_real_games_side_by_side_end_at_the_game_s_limit(
    steps: int, ends: int, blind: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(games.GAMES, "car_racing", replace(CAR_RACING, max_steps=12))
    played = list(turns("car_racing", [1, 2], Random(CAR_RACING), steps=steps))
    assert [turn.truncated.all() for turn in played] == [False] * (ends - 1) + [True]
    assert not any(turn.terminated.any() for turn in played)


def test_a_lap_takes_all_tiles_whatever_gymnasium_s_rule(
    blind: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gymnasium's pull request 1670 ends a lap on the way over tile 0 with 95 % of the tiles."""
    plain = original.FrictionDetector._contact

    def changed(self, contact, begin):
        plain(self, contact, begin)
        for body in (contact.fixtureA.body, contact.fixtureB.body):
            tile, env = body.userData, self.env
            if begin and getattr(tile, "idx", None) == 0 and "road_friction" in vars(tile):
                share = env.tile_visited_count / len(env.track)
                env.new_lap = env.new_lap or share > self.lap_complete_percent

    def drive(game) -> tuple[list[float], bool]:
        game.reset(seed=1)
        hidden = game.road[len(game.road) // 2]
        hidden.road_visited = True  # it cannot be paid for: 100 % is never reached
        rewards, terminated = [], False
        while len(rewards) < 1100 and not terminated:
            _, reward, terminated, *_ = game.step(along_the_track(game))
            rewards.append(reward)
        return rewards, terminated

    ours = drive(car_racing.FastCarRacing(True))
    monkeypatch.setattr(original.FrictionDetector, "_contact", changed)
    monkeypatch.setattr(original.CarRacing, "_render", lambda self, mode: None)
    theirs = drive(original.CarRacing(continuous=True))
    assert theirs[1] and len(theirs[0]) < 1100  # the changed rule does end a lap
    again = drive(car_racing.FastCarRacing(True))
    assert again == ours and not ours[1]

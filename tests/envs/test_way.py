"""The tiles that a car has passed by are counted by their definition, on paper and in the game."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium.envs.box2d import car_racing as original

from dreamgym.envs import car_racing
from dreamgym.envs.car_racing import CarRacing, Way
from tests.envs.test_car_racing import along_the_track

MANY, APART = 200, 3.5
RADIUS = MANY * APART / (2 * math.pi)


class Circle:
    """A round track on paper, and a car that is put where one wants it."""

    def __init__(self) -> None:
        angles = 2 * np.pi * np.arange(MANY) / MANY
        points = RADIUS * np.stack((np.cos(angles), np.sin(angles)), axis=1)
        self.tiles = [SimpleNamespace(number=i, road_visited=False) for i in range(MANY)]
        self.way = Way(points, self.tiles)

    def drive(self, *places: float, out: float = 0.0, touch: bool = False) -> list[int]:
        """Put the car beside some points, `out` units off the line; return the missed tiles."""
        for place in places:
            if touch:
                self.tiles[round(place) % MANY].road_visited = True
            angle, radius = 2 * np.pi * place / MANY, RADIUS + out
            self.way.follow(radius * np.cos(angle), radius * np.sin(angle))
        return [tile.number for tile in self.way.missed]


def test_a_tile_is_passed_by_two_points_on_and_not_before() -> None:
    track = Circle()
    assert [track.drive(place) for place in (0, 1, 1.4, 2, 2.4, 3)] == [
        [], [], [], [0], [0], [0, 1]
    ]  # fmt: skip
    assert track.drive(7) == [0, 1, 2, 3, 4, 5]  # all at once


@pytest.mark.parametrize("out", [-15.0, -6.0, 0.0, 6.0, 15.0])
def test_it_does_not_matter_how_far_off_the_road_the_car_is(out: float) -> None:
    assert Circle().drive(*range(31), out=out) == list(range(29))


def test_touched_tiles_are_not_missed_however_late_they_are_touched() -> None:
    track = Circle()
    assert track.drive(*range(20), touch=True) == []
    assert track.drive(*range(20, 30)) == list(range(20, 28))
    for number in (22, 25, 27):
        track.tiles[number].road_visited = True
    track.tiles[29].road_visited = True
    assert track.drive(31) == [20, 21, 23, 24, 26, 28]


def test_backwards_nothing_is_missed() -> None:
    track = Circle()
    assert track.drive(*range(0, -449, -3)) == []
    assert (track.way.at, track.way.furthest) == (-447, 0)
    track = Circle()
    track.drive(*range(20), touch=True)
    assert track.drive(*range(20, -20, -1)) == []
    assert track.drive(*range(-20, 26)) == [20, 21, 22, 23]  # on from where it had been


def test_a_cut_across_the_infield_passes_by_what_lies_between() -> None:
    track = Circle()
    track.drive(*range(10), touch=True)
    track.drive(12, out=-RADIUS / 2)  # off the road, and near to no other part of it
    assert track.way.at == 12
    assert track.drive(80) == list(range(10, 79)) and track.way.at == 80
    track.drive(*range(81, 90), touch=True)
    assert track.drive(20) == list(range(10, 81))  # back across: nothing more
    assert track.way.at == 20 and track.way.furthest == 89
    assert track.drive(0) == list(range(10, 81))
    assert track.way.at == 0  # and not a lap later


def test_off_the_road_it_is_still_followed_along_its_own_stretch() -> None:
    """As long as no part of the road is under it, however near another part is."""
    track = Circle()
    track.drive(0)
    for place in range(0, 40, 5):
        track.drive(place, out=30.0)
    assert track.way.at == 35


def test_a_second_lap_misses_nothing_new() -> None:
    track = Circle()
    track.drive(*range(150), touch=True)
    track.drive(*range(150, 160))
    track.drive(*range(160, MANY), touch=True)
    missed = list(range(150, 160))
    assert track.drive(*range(MANY, 2 * MANY + 100)) == missed
    assert track.way.at == 2 * MANY + 99
    track = Circle()
    assert track.drive(*range(0, MANY + 2)) == list(range(MANY))  # the whole lap beside the road
    assert track.drive(*range(MANY + 2, 3 * MANY)) == list(range(MANY))
    assert track.drive(*range(0, MANY), touch=True) == []


def test_a_stretch_of_road_beside_this_one_is_not_taken_for_it() -> None:
    """The road goes north, turns, and comes back 9 units beside: less than its own two halves."""
    there = [(0.0, APART * i) for i in range(40)]
    points = np.array(there + [(9.0, y) for _, y in there[::-1]])
    tiles = [SimpleNamespace(road_visited=False) for _ in points]
    way = Way(points, tiles)
    for i in range(25):
        way.follow(5.0 if i > 10 else 0.0, APART * i)  # nearer to the other, but still on its own
        assert way.at == i
    assert len(way.missed) == 23
    way.follow(7.0, APART * 25)  # now it has left its own: that is a cut across
    assert way.at == len(points) - 1 - 25
    assert len(way.missed) == len(points) - 1 - 25 - 1


@pytest.fixture
def game(monkeypatch: pytest.MonkeyPatch) -> Iterator[CarRacing]:
    """The real game, without its pictures."""
    black = np.zeros((car_racing.ROWS, 96, 3), np.uint8)
    monkeypatch.setattr(car_racing.FastCarRacing, "_render", lambda self, mode: black)
    env = CarRacing()
    yield env
    env.close()


class Reading:
    """The definition of a tile that was passed by, read anew and counted by brute force."""

    def __init__(self, env: CarRacing):
        self.game = env._game
        self.line = [(x, y) for _, _, x, y in self.game.track]
        self.k = self.furthest = 0

    def missed(self) -> int:
        """Take in where the car is; return how many tiles have been passed by."""
        many, place = len(self.line), tuple(self.game.car.hull.position)
        away = [math.dist(point, place) for point in self.line]
        near = [self.k + j for j in range(-10, 11)]
        own = min(near, key=lambda k: away[k % many])
        if away[own % many] > original.TRACK_WIDTH >= min(away):  # on another part of the road
            there = away.index(min(away))
            laps = [there + many * n for n in range(-5, 6)]
            own = min(laps, key=lambda k: abs(k - self.k))
        self.k = own
        self.furthest = max(self.furthest, self.k)
        return sum(
            self.furthest >= i + 2 and not tile.road_visited
            for i, tile in enumerate(self.game.road)
        )


def drive(env: CarRacing, seed: int, bursts: dict[int, float], steps: int) -> list[dict[str, Any]]:
    """Drive along the track; from some steps on, steer for 15 steps as is said. Return the infos.

    Every info is held to the definitions.
    """
    _, info = env.reset(seed=seed)
    whole, reading, infos = len(env._game.track), Reading(env), [info]
    assert (info["tiles_left"], info["tiles_missed"]) == (whole, 0)
    for step in range(steps):
        action = along_the_track(env._game)
        for begin, steering in bursts.items():
            if begin <= step < begin + 15:
                action = np.array([steering, 0.3, 0], np.float32)
        _, _, terminated, _, info = env.step(action)
        touched = sum(tile.road_visited for tile in env._game.road)
        assert info["tiles_left"] + touched == whole
        assert info["tiles_missed"] == reading.missed() <= info["tiles_left"]
        infos.append(info)
        if terminated:
            break
    return infos


@pytest.mark.parametrize("seed", [1, 5, 11, 2_000_003])
@pytest.mark.parametrize("steering", [-0.4, 0.5])
def test_who_leaves_the_road_misses_what_the_definition_says(
    game: CarRacing, seed: int, steering: float
) -> None:
    bursts = dict.fromkeys(range(60, 500, 110), steering)
    infos = drive(game, seed, bursts, 500)
    missed = [info["tiles_missed"] for info in infos]
    assert missed[60] == 0 < missed[-1]
    assert all(type(count) is float for count in missed)


def test_a_lap_without_a_missed_tile_ends_the_game(game: CarRacing) -> None:
    infos = drive(game, 1, {}, 1000)
    assert infos[-1]["lap_finished"] and infos[-1]["tiles_left"] == 0
    assert not any(info["tiles_missed"] for info in infos)


def test_missed_tiles_keep_the_lap_open_and_are_fetched_in_the_next(game: CarRacing) -> None:
    infos = drive(game, 1, {60: -0.3}, 2000)
    whole = infos[0]["tiles_left"]
    open_ = [n for n, info in enumerate(infos) if info["tiles_left"] == info["tiles_missed"] > 0]
    assert len(open_) > 20 and game._game.way.at > whole
    assert infos[-1]["lap_finished"]
    assert (infos[-1]["tiles_left"], infos[-1]["tiles_missed"]) == (0, 0)
    game.reset(seed=1)
    assert game.step(np.zeros(3, np.float32))[4]["tiles_missed"] == 0  # a new track, a new way

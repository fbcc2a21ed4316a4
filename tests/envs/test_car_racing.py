"""`PixelCarRacing-v0` is Gymnasium's CarRacing to the bit, only faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.box2d import car_racing as original
from gymnasium.utils.env_checker import check_env
from PIL import Image
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

import dreamgym  # noqa: F401
from dreamgym.envs.car_racing import ROWS, CarRacing
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.rules import Lap

FORMS = pytest.mark.parametrize("continuous", [True, False])
Driver = Callable[[original.CarRacing], Any]


@pytest.fixture
def make() -> Iterator[Callable[..., CarRacing]]:
    made: list[CarRacing] = []

    def make(**arguments: Any) -> CarRacing:
        made.append(gym.make("PixelCarRacing-v0", **arguments).unwrapped)  # type: ignore[arg-type]
        return made[-1]

    yield make
    for env in made:
        env.close()


def scaled(picture: np.ndarray) -> np.ndarray:
    """Return what an agent sees of Gymnasium's picture, by Pillow as in the paper's code."""
    road = Image.fromarray(np.ascontiguousarray(picture[:ROWS]))
    return np.asarray(road.resize((64, 64), Image.Resampling.BILINEAR))


def compare(ours: CarRacing, seed: int, driver: Driver, steps: int) -> dict[str, Any]:
    """Drive our game and Gymnasium's side by side; return the last info and what was paid."""
    theirs = original.CarRacing(lap_complete_percent=1.0, continuous=ours.continuous)
    frame, _ = ours.reset(seed=seed)
    assert np.array_equal(frame, scaled(theirs.reset(seed=seed)[0]))
    paid = 0.0
    for _ in range(steps):
        action = driver(theirs)
        frame, reward, terminated, _, info = ours.step(action)
        picture, right_reward, right_end, _, right_info = theirs.step(action)
        road = ours._game._render("state_pixels")
        assert np.array_equal(road, picture[:ROWS])
        assert np.array_equal(frame, scaled(picture))
        assert (reward, terminated) == (right_reward, right_end)
        assert info.get("lap_finished") == right_info.get("lap_finished")
        assert info["tiles_left"] == len(theirs.track) - theirs.tile_visited_count
        paid += reward
        if terminated:
            break
    theirs.close()
    return info | {"paid": paid, "terminated": terminated}


def along_the_track(game: original.CarRacing) -> np.ndarray:
    """Steer towards a point of the track some tiles ahead, gently: it knows what no agent sees."""
    assert game.car is not None
    track = np.array(game.track)[:, 2:]
    hull = game.car.hull
    place = np.array(hull.position)
    nearest = np.square(track - place).sum(1).argmin()
    towards = track[(nearest + 5) % len(track)] - place
    wrong = np.arctan2(-towards[0], towards[1]) - hull.angle
    wrong = (wrong + np.pi) % (2 * np.pi) - np.pi  # left is positive
    fast = np.linalg.norm(hull.linearVelocity) > 58
    return np.array([np.clip(-2 * wrong, -1, 1), 0.0 if fast else 0.5, 0.0], np.float32)


@pytest.mark.parametrize("seed", [0, 1, 2_000_000])
def test_random_driving_is_gymnasium_s_own(make: Callable[..., CarRacing], seed: int) -> None:
    rng = np.random.default_rng(seed)

    def driver(_: Any) -> np.ndarray:
        return rng.uniform([-1, 0, 0], [1, 1, 0.3]).astype(np.float32)

    compare(make(), seed, driver, 150)


@pytest.mark.parametrize("seed", [0, 3])
def test_discrete_driving_is_gymnasium_s_own(make: Callable[..., CarRacing], seed: int) -> None:
    rng = np.random.default_rng(seed)
    compare(
        make(continuous=False), seed, lambda _: int(rng.choice(5, p=[0.1, 0.1, 0.1, 0.6, 0.1])), 150
    )


def test_spinning_on_the_grass_is_gymnasium_s_own(make: Callable[..., CarRacing]) -> None:
    """Full gas in a circle: tiles are touched, the car slides, and the camera turns all around."""
    compare(make(), 7, lambda _: np.array([0.7, 1, 0], np.float32), 250)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@FORMS
def test_whole_episodes_are_gymnasium_s_own(
    make: Callable[..., CarRacing], seed: int, continuous: bool
) -> None:
    """Every driver: along the track, at random, the same for a while, all of it in turn."""
    rng = np.random.default_rng(seed)
    held: Any = None

    def driver(game: original.CarRacing) -> Any:
        nonlocal held
        if held is None or rng.random() < 0.05:
            held = rng.uniform([-1, 0, 0], [1, 1, 0.2]).astype(np.float32)
            held = held if continuous else int(rng.choice(5, p=[0.1, 0.2, 0.2, 0.4, 0.1]))
        return along_the_track(game) if continuous and seed % 2 and rng.random() < 0.8 else held

    compare(make(continuous=continuous), seed, driver, 1000)


def test_a_lap_is_gymnasium_s_own_to_its_last_tile(make: Callable[..., CarRacing]) -> None:
    last = compare(make(), 1, along_the_track, 1000)
    assert last["tiles_left"] == 0 and last["terminated"] and last["lap_finished"]
    assert 900 < last["paid"] < 1000


def test_the_edge_of_the_world_is_gymnasium_s_own(make: Callable[..., CarRacing]) -> None:
    env = make()
    last = compare(env, 0, lambda _: np.array([0, 0.6, 0], np.float32), 1000)
    assert last["terminated"] and last["lap_finished"] is False and last["tiles_left"] > 0
    with pytest.raises(gym.error.ResetNeeded, match="after the end of an episode"):
        env.step(np.zeros(3, np.float32))


def test_the_rules_say_what_the_game_pays(make: Callable[..., CarRacing]) -> None:
    env, rules = make(), CAR_RACING.rules
    assert isinstance(rules, Lap)
    _, info = env.reset(seed=1)
    left = whole = info["tiles_left"]
    assert whole == len(env._game.track)
    for _ in range(200):
        _, reward, _, _, info = env.step(along_the_track(env._game))
        paid = rules.lap * (left - info["tiles_left"]) / whole - rules.cost
        assert reward == pytest.approx(paid, abs=1e-9)
        left = info["tiles_left"]
    assert left < whole - 20


@pytest.mark.filterwarnings("ignore:We recommend you to use a symmetric")  # it is Gymnasium's
@FORMS
def test_gymnasium_and_sb3_find_no_fault(make: Callable[..., CarRacing], continuous: bool) -> None:
    check_env(make(continuous=continuous, render_mode="rgb_array"))
    check_env_of_sb3(make(continuous=continuous))


def test_a_drive_is_a_function_of_its_seed(make: Callable[..., CarRacing]) -> None:
    one, other = make(), make()
    other.reset(seed=5)
    for _ in range(20):
        other.step(np.array([0.3, 1, 0], np.float32))  # another track before, on the same instance
    frames = []
    for env in (one, other):
        env.reset(seed=4)
        frames.append([env.step(np.array([0.1, 0.5, 0], np.float32))[0] for _ in range(30)])
    assert np.array_equal(*frames)


def test_time_truncates(make: Callable[..., CarRacing]) -> None:
    env = gym.wrappers.TimeLimit(make(), 30)
    env.reset(seed=0)
    ends = [env.step(np.zeros(3, np.float32))[2:4] for _ in range(30)]
    assert ends == [(False, False)] * 29 + [(False, True)]


def test_a_step_before_reset_is_named(make: Callable[..., CarRacing]) -> None:
    with pytest.raises(gym.error.ResetNeeded, match="before reset"):
        make().step(np.zeros(3, np.float32))


@pytest.mark.parametrize(
    ("continuous", "action"),
    [(True, [0.0, 0.0]), (True, [float("nan"), 0, 0]), (True, 1), (False, 5), (False, 0.5)],
)
def test_a_bad_action_is_named(
    make: Callable[..., CarRacing], continuous: bool, action: Any
) -> None:
    env = make(continuous=continuous)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action is"):
        env.step(np.array(action) if isinstance(action, list) else action)
    env.step(np.zeros(3, np.float32) if continuous else 0)  # nothing is lost

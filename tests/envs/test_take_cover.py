"""`PixelDoom-v0` is the paper's Take Cover, and a well-behaved environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

import dreamgym  # noqa: F401
from dreamgym.envs.take_cover import TakeCover, shrink

FORMS = pytest.mark.parametrize("continuous", [False, True])
Steps = list[tuple[np.ndarray, float, bool, bool, dict[str, Any]]]


@pytest.fixture
def make() -> Iterator[Callable[..., TakeCover]]:
    """Make games that are closed when the test is over."""
    made: list[TakeCover] = []

    def make(**arguments: Any) -> TakeCover:
        arguments = {"resolution": "160x120"} | arguments
        made.append(gym.make("PixelDoom-v0", **arguments).unwrapped)  # type: ignore[arg-type]
        return made[-1]

    yield make
    for env in made:
        env.close()


def play(env: TakeCover, seed: int, actions: Iterable[Any]) -> Steps:
    """Reset, step through the actions or to the end of the episode, and return the steps."""
    env.reset(seed=seed)
    steps = []
    for action in actions:
        steps.append(env.step(action))
        if steps[-1][2] or steps[-1][3]:
            break
    return steps


def same(one: Steps, other: Steps) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a[0], b[0]) and a[1:] == b[1:] for a, b in zip(one, other, strict=True)
    )


@FORMS
def test_gymnasium_finds_no_fault(make: Callable[..., TakeCover], continuous: bool) -> None:
    check_env(make(continuous=continuous, render_mode="rgb_array"))


@FORMS
def test_stable_baselines_finds_no_fault(make: Callable[..., TakeCover], continuous: bool) -> None:
    check_env_of_sb3(make(continuous=continuous, render_mode="rgb_array"))


def test_a_game_is_a_function_of_its_seed(make: Callable[..., TakeCover]) -> None:
    env, actions = make(), [0, 0, 2, 1] * 20
    first = play(env, 5, actions)
    play(env, 6, actions)
    assert same(play(env, 5, actions), first)
    assert same(play(make(), 5, actions), first)


def test_another_seed_is_another_game(make: Callable[..., TakeCover]) -> None:
    env, actions = make(), [0, 0, 2, 1] * 20
    assert not same(play(env, 5, actions), play(env, 6, actions))


def test_nothing_is_written_into_the_users_folder(
    make: Callable[..., TakeCover], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = make()
    play(env, 0, [0] * 5)
    assert Path.cwd() == tmp_path
    env.close()
    assert os.listdir(tmp_path) == []


def test_a_game_starts_in_full_health(make: Callable[..., TakeCover]) -> None:
    _, info = make().reset(seed=0)
    assert info == {"health": 100.0}


def test_death_terminates_and_shows_the_last_frame(make: Callable[..., TakeCover]) -> None:
    steps = play(make(), 0, [1] * 2100)
    *_, (before, *_), (frame, reward, terminated, truncated, info) = steps
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["health"] == 0
    assert frame.mean() > 10
    assert np.array_equal(frame, before)


def test_every_step_pays_one(make: Callable[..., TakeCover]) -> None:
    assert {reward for _, reward, *_ in play(make(), 0, [1] * 2100)} == {1.0}


def test_timeout_truncates_and_does_not_terminate(make: Callable[..., TakeCover]) -> None:
    env = gym.wrappers.TimeLimit(make(), 20)
    steps = play(env, 0, [1] * 100)  # type: ignore[arg-type]
    frame, _, terminated, truncated, info = steps[-1]
    assert len(steps) == 20
    assert (terminated, truncated) == (False, True)
    assert info["health"] > 0
    assert frame.mean() > 10


def test_who_never_dies_plays_2100_tics(make: Callable[..., TakeCover]) -> None:
    game = make()
    env = gym.wrappers.TimeLimit(game, gym.spec("PixelDoom-v0").max_episode_steps)
    env.reset(seed=0)
    game._game.send_game_command("god")  # type: ignore[union-attr]
    for step in range(1, 2101):
        *_, terminated, truncated, _ = env.step(1)
        assert (terminated, truncated) == (False, step == 2100)


@FORMS
def test_a_bad_action_is_named_and_costs_nothing(
    make: Callable[..., TakeCover], continuous: bool
) -> None:
    env, bad = make(continuous=continuous), np.array([np.nan]) if continuous else 3
    good = np.array([0.9]) if continuous else 2
    undisturbed = play(env, 0, [good] * 5)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action is " + ("array" if continuous else "3")):
        env.step(bad)
    assert same([env.step(good) for _ in range(5)], undisturbed)


def test_continuous_actions_beyond_a_third_are_the_discrete_ones(
    make: Callable[..., TakeCover],
) -> None:
    values = {0: (-1.0, -0.34), 1: (-0.33, 0.33), 2: (0.34, 1.0)}
    discrete = [0, 0, 1, 2, 2, 2, 1, 0] * 8
    continuous = [np.array([values[a][i % 2]], np.float32) for i, a in enumerate(discrete)]
    assert same(play(make(continuous=True), 3, continuous), play(make(), 3, discrete))


def test_left_and_right_move_the_picture_apart(make: Callable[..., TakeCover]) -> None:
    env = make()
    ends = [play(env, 3, [action] * 10)[-1][0] for action in (0, 1, 2)]
    assert not any(np.array_equal(ends[i], ends[i - 1]) for i in range(3))


def test_resolution_changes_no_dynamics(make: Callable[..., TakeCover]) -> None:
    lives = [play(make(resolution=size), 4, [0, 1, 2] * 700) for size in ("160x120", "320x240")]
    small, large = ([info["health"] for *_, info in life] for life in lives)
    assert small == large


def test_a_frame_is_cropped_above_the_status_bar_and_averaged() -> None:
    screen = np.zeros((120, 160, 3), np.uint8)
    screen[100:] = 255  # the status bar
    screen[:50, :80] = (200, 100, 50)
    frame = shrink(screen)
    assert frame.shape == (64, 64, 3)
    assert frame.dtype == np.uint8
    assert (frame[:32, :32] == (200, 100, 50)).all()
    assert not frame[32:].any()
    assert not frame[:, 32:].any()


def test_labels_are_boxes_inside_the_frame(make: Callable[..., TakeCover]) -> None:
    steps = play(make(labels=True), 0, [1] * 60)
    boxes = [box for *_, info in steps for box in info["labels"]]
    assert boxes
    for _, x, y, width, height in boxes:
        assert 0 <= x <= x + width <= 65
        assert 0 <= y <= y + height <= 64 * 6 / 5 + 1  # an object may reach behind the status bar


@pytest.mark.parametrize(
    ("name", "value"), [("resolution", "64x64"), ("render_mode", "ansi"), ("resolution", None)]
)
def test_a_bad_argument_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value!r}: choose "):
        TakeCover(**{name: value})


def test_step_before_reset_is_refused(make: Callable[..., TakeCover]) -> None:
    with pytest.raises(gym.error.ResetNeeded, match="before reset"):
        make().step(1)


def test_step_after_the_end_is_refused(make: Callable[..., TakeCover]) -> None:
    env = make()
    play(env, 0, [1] * 2100)
    with pytest.raises(gym.error.ResetNeeded, match="after the end"):
        env.step(1)


def test_a_closed_game_may_be_closed_again_and_reset(make: Callable[..., TakeCover]) -> None:
    env = make()
    first = play(env, 0, [1] * 5)
    env.close()
    env.close()
    assert same(play(env, 0, [1] * 5), first)

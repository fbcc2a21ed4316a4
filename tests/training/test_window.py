"""The window: who drives, what is shown, and how the dream and the real game part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image

from dreamgym import games
from dreamgym.checkpoint import load_world
from dreamgym.training.window import DECAY, RAMP, YOU, Hands, Session, Window, drivers

DOOM, CAR = games.get("doom"), games.get("car_racing")


def session(folder: Path, shows: str = "dream", policy: str = "") -> Session:
    return Session(load_world(folder), drivers(folder, policy), 1.15, 7, shows)


def test_it_dreams_what_the_environment_dreams(folder: Path) -> None:
    played, env = session(folder), gym.make("DreamDoom-v0", world=str(folder), continuous=True)
    env.reset(seed=7)
    played.drive(YOU)
    played.pressed.add("ArrowRight")
    over, steps = False, 0
    while not over:
        played.advance()
        _, _, terminated, truncated, info = env.step(np.ones(1, np.float32))
        over, steps = terminated or truncated, steps + 1
        assert played.over == over
        assert played.dream.info["health"] == info["health"]
    assert played.dream.steps == played.dream.score == steps


def test_keys_push_and_analog_actions_come_by_and_by() -> None:
    hands = Hands(DOOM)
    assert [hands.act({"ArrowLeft"})[0], hands.act({"ArrowRight"})[0], hands.act(set())[0]] == [
        -1, 1, 0,
    ]  # fmt: skip
    assert hands.act({"ArrowLeft", "ArrowRight"})[0] == 0
    hands = Hands(CAR)
    for step in range(1, 4):
        held = hands.act({"ArrowUp", "ArrowLeft"})
        np.testing.assert_allclose(held, [-step * RAMP, step * RAMP, 0], atol=1e-6)
    left = 3 * RAMP * DECAY
    np.testing.assert_allclose(hands.act(set()), [-left, left, 0], atol=1e-6)
    for _ in range(40):
        held = hands.act({"ArrowRight"})
    assert held[0] == 1


def test_a_policy_drives_and_gives_way(folder: Path) -> None:
    played = session(folder, policy="random")
    assert list(played.files) == ["random", "controller"] and played.driver == "random"
    played.next_driver()
    played.advance()
    assert played.driver == "controller" and 0 <= played.chances["dream"] <= 1
    played.next_driver()
    assert played.driver == YOU
    played.next_driver()
    assert played.driver == "random"


@pytest.mark.parametrize("task", ["doom", "car_racing"])
def test_the_dream_goes_on_from_the_real_game(task: str, folder: Path, car_folder: Path) -> None:
    played = session({"doom": folder, "car_racing": car_folder}[task], "both")
    played.drive(YOU)
    for _ in range(5):
        played.advance()
    real = played.sides["real"]
    played.let_go()
    assert played.free and played.dream.steps == 5
    for part in ("z", "h", "c"):
        there = getattr(real.state, part)
        assert torch.equal(getattr(played.dream.state, part), there)
    counts = played.world.rules.counts
    assert [played.dream.info[name] for name in counts] == [real.info[name] for name in counts]
    played.advance()
    assert not torch.equal(played.dream.state.z, real.state.z)
    assert torch.equal(played.dream.state.h, real.state.h)  # one step later M has seen the same
    played.begin(3)
    assert not played.free and real.steps == 0


@pytest.fixture
def window(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    shown = Window(session(folder), tmp_path / "play.gif")
    yield shown
    shown.close()


def press(window: Window, *names: str, up: bool = False) -> None:
    """Press keys, and show the next frame."""
    pygame = window.pygame
    for name in names:
        code = pygame.key.key_code(name)
        unicode = name if len(name) == 1 else ""
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=code, unicode=unicode))
        if up:
            pygame.event.post(pygame.event.Event(pygame.KEYUP, key=code))
    window.frame()


def test_keys_do_what_the_help_says(window: Window) -> None:
    played = window.session
    press(window, "left")
    assert played.driver == YOU and played.action[0] == -1
    press(window, "right", up=True)
    assert played.action[0] == -1  # the left key is still held, the right one is up again
    press(window, "space")
    steps = played.dream.steps
    window.frame()
    assert played.paused and played.dream.steps == steps
    press(window, ".")
    assert played.dream.steps == steps + 1
    press(window, "+", "+", "-")
    assert played.dream.temperature == pytest.approx(1.2)
    press(window, "n")
    assert played.seed == 8 and played.dream.steps == 0
    press(window, "return")
    assert played.seed == 8
    press(window, "m")
    assert played.driver == "controller"
    press(window, "q")
    assert not window.open


def test_the_real_game_is_shown_alone_and_beside(window: Window) -> None:
    narrow = window.screen.get_width()
    press(window, "d")
    assert window.session.shown == ["real"] and window.session.sides["real"].steps == 1
    press(window, "d")
    assert window.session.shown == ["dream", "real"] and window.screen.get_width() == 2 * narrow
    picture = window.pygame.surfarray.array3d(window.screen)[narrow + 4, 90]
    np.testing.assert_array_equal(picture, window.session.sides["real"].picture()[3, 0])
    assert len(window.session.captions()) == 2


def test_a_film_has_a_picture_for_every_fourth_step(window: Window) -> None:
    played = window.session
    while played.dream.steps < 9:  # look for a dream that is long enough
        played.begin(played.seed + 1)
        while not played.over and played.dream.steps < 9:
            played.advance()
    played.begin(played.seed)
    press(window, "g")
    for _ in range(8):
        window.frame()
    assert window.recorded is not None and len(window.recorded) == 3  # of steps 1, 5 and 9
    press(window, "space", "g")
    assert window.recorded is None
    with Image.open(window.out) as film:
        assert film.format == "GIF" and film.size[0] == film.size[1]


def test_the_next_game_begins_after_a_while(window: Window) -> None:
    window.session.dream.over = True
    for _ in range(60):
        window.frame()
    assert window.session.seed == 8


@pytest.mark.parametrize("driver", ["x11", "offscreen"])
def test_without_a_display_it_names_the_page(
    driver: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", driver)
    monkeypatch.setenv("DISPLAY", ":77")
    with pytest.raises(ValueError, match="dreamgym export-web doom"):
        Window(session(folder), "play.gif")

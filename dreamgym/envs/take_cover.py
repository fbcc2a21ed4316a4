"""VizDoom Take Cover under the protocol of the paper: `PixelDoom-v0`."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import vizdoom
from gymnasium.utils import EzPickle
from PIL import Image

from dreamgym.envs import actions, arguments, keeper, seeds
from dreamgym.envs.pixels import PixelGame
from dreamgym.games import FRAME
from dreamgym.games.doom import GAME, HEALTH

HUD_TOP = 5 / 6
"""Share of the picture above the status bar: rows 0 to 399 of 480 in the paper's code."""
START_TIC = 14  # gym-doom's take_cover.cfg: the tics before are the level's own start-up
SKILL = 4  # the paper's engine clamps its 5 to 4; today's honours 5, and then random play lives 72
RESOLUTIONS = ("160x120", "320x240", "640x480")
FAULTS = (
    vizdoom.ViZDoomErrorException,
    vizdoom.ViZDoomIsNotRunningException,
    vizdoom.ViZDoomUnexpectedExitException,
    vizdoom.MessageQueueException,
    vizdoom.SharedMemoryException,
)
"""What ViZDoom raises when its engine is gone."""


class TakeCover(PixelGame):
    """
    ## Description
    The player stands at one end of a room, monsters appear at the other and throw fireballs. The
    player can only step sideways. This is ViZDoom's Take Cover as *World Models* (Ha & Schmidhuber,
    2018) played it: Doom's skill 4, no frame skip, screen flashes visible, weapon and crosshair
    hidden, the status bar drawn and cropped away.

    ## Action Space
    `continuous=False` (default): `Discrete(3)`: 0 left, 1 stay, 2 right.
    `continuous=True`: `Box(-1, 1, (1,), float32)`: below -1/3 left, above 1/3 right, else stay.

    ## Observation Space
    `Box(0, 255, (64, 64, 3), uint8)`: RGB, averaged down from the upper 5/6 of the screen.

    ## Rewards
    1 for every tic, the fatal one included.

    ## Starting State
    The level's first tic in which the player can act (tic 14), full health.

    ## Episode Termination
    Terminates when the player dies, with the last frame he saw as the observation. `gym.make`
    truncates after 2,100 tics, or `max_episode_steps`.

    ## Information
    `health`: the player's health, 0 to 100; it cannot be seen on the cropped screen.

    ## Arguments
    * `continuous`: form of the action space.
    * `resolution`: what the engine draws before the picture is averaged down: `"160x120"`,
      `"320x240"` (default) or `"640x480"`. It changes no dynamics, only speed and texture noise.
    * `labels`: also put `labels`, a list of `(name, x, y, width, height)` in frame pixels of the
      visible objects, into `info`. For measuring only: no agent sees it.
    * `render_mode`: `"rgb_array"` or None.

    ## Version History
    * v0: first release.

    ## References
    Ha & Schmidhuber, *World Models*, 2018. Kempka et al., *ViZDoom*, 2016.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": GAME.fps,
    }
    game = GAME

    def __init__(
        self,
        continuous: bool = GAME.continuous,
        resolution: str = "320x240",
        labels: bool = False,
        render_mode: str | None = None,
    ):
        if resolution not in RESOLUTIONS:
            raise ValueError(
                f"resolution is {resolution!r}: choose one of {', '.join(RESOLUTIONS)}"
            )
        arguments.check_render_mode(render_mode)
        EzPickle.__init__(self, continuous, resolution, labels, render_mode)
        self.continuous = arguments.check_continuous(continuous, GAME)
        self.resolution, self.labels = resolution, labels
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(0, 255, FRAME, np.uint8)
        self.action_space = actions.space(GAME, self.continuous)
        self._game: vizdoom.DoomGame | None = None
        self._frame: np.ndarray | None = None
        self._state: vizdoom.GameState | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seeds.one(seed))
        number = int(self.np_random.integers(2**31))
        try:
            self._begin(number)
        except FAULTS:  # the engine has died since: it takes a new one, which plays the same game
            self.close()
            self._begin(number)
        assert self._frame is not None
        return self._frame.copy(), self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._game is None or self._frame is None:
            raise gym.error.ResetNeeded("step() before reset(): call reset() first")
        direction = actions.to_vectors([action], GAME, self.continuous).item()
        try:
            if self._game.is_episode_finished():
                raise gym.error.ResetNeeded("step() after the end of an episode: reset() first")
            self._game.make_action([direction < 0, direction > 0])
            terminated = self._game.is_player_dead()
            self._observe()
            return self._frame.copy(), 1.0, terminated, False, self._info()
        except FAULTS as error:
            raise RuntimeError(
                f"the game's engine has ended ({error}): its episode is lost, reset() starts anew"
            ) from error

    def close(self) -> None:
        if self._game is not None:
            self._end()
            self._game = self._frame = self._state = None

    def _begin(self, number: int) -> None:
        """Begin the game of a number, in an engine of its own if there is none yet."""
        if self._game is None:
            scratch = tempfile.mkdtemp(prefix="dreamgym-")
            keeper.take(scratch)
            self._scratch = scratch
            game = vizdoom.DoomGame()
            self._end = weakref.finalize(self, _clean, os.getpid(), scratch, game)
            start_engine(game, self.resolution, self.labels, scratch)
            self._game = game
        self._game.set_seed(number)
        self._game.new_episode()
        self._observe()

    def _observe(self) -> None:
        """Keep the new frame; at the end there is none (the engine's is zeros): keep the last."""
        assert self._game is not None
        self._state = self._game.get_state()
        if self._state is not None:
            self._frame = shrink(self._state.screen_buffer)

    def _info(self) -> dict[str, Any]:
        assert self._game is not None
        health = self._game.get_game_variable(vizdoom.GameVariable.HEALTH)
        info: dict[str, Any] = {"health": float(np.clip(health, 0, HEALTH))}
        if self.labels:
            info["labels"] = self._visible()
        return info

    def _visible(self) -> list[tuple[str, float, float, float, float]]:
        """Boxes of the visible objects: (name, x, y, width, height) in pixels of the frame."""
        if self._state is None or self._state.labels is None:
            return []
        height, width, _ = self._state.screen_buffer.shape
        sx, sy = FRAME[1] / width, FRAME[0] / (height * HUD_TOP)
        return [
            (box.object_name, box.x * sx, box.y * sy, box.width * sx, box.height * sy)
            for box in self._state.labels
        ]


def bare(seed: int) -> Callable[[], object]:
    """Return a step of the engine alone, under random play: its smallest picture, never scaled."""
    env, rng = TakeCover(resolution=RESOLUTIONS[0]), np.random.default_rng(seed)
    env.reset(seed=seed)

    def step() -> object:
        game = env._game
        assert game is not None
        if game.is_episode_finished():
            game.new_episode()
        move = int(rng.integers(3))
        game.make_action([move == 0, move == 2])
        return game.get_state()

    return step


def shrink(screen: np.ndarray) -> np.ndarray:
    """Crop the status bar from a screen (H, W, 3) and average it down to (64, 64, 3)."""
    picture = Image.fromarray(screen[: round(len(screen) * HUD_TOP)])
    return np.asarray(picture.resize(FRAME[1::-1], Image.Resampling.BOX))


def start_engine(game: vizdoom.DoomGame, resolution: str, labels: bool, scratch: str) -> None:
    """Start a hidden ViZDoom with the paper's Take Cover that writes only into `scratch`."""
    game.set_doom_scenario_path(os.path.join(vizdoom.scenarios_path, "take_cover.wad"))
    game.set_doom_map("map01")
    game.set_doom_skill(SKILL)
    game.set_available_buttons([vizdoom.Button.MOVE_LEFT, vizdoom.Button.MOVE_RIGHT])
    game.set_available_game_variables([vizdoom.GameVariable.HEALTH])
    game.set_living_reward(1)
    game.set_episode_start_time(START_TIC)
    game.set_episode_timeout(0)  # none: registration owns the limit
    game.set_window_visible(False)
    game.set_screen_resolution(getattr(vizdoom.ScreenResolution, f"RES_{resolution.upper()}"))
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_render_hud(True)
    game.set_render_weapon(False)
    game.set_render_crosshair(False)
    game.set_render_decals(False)
    game.set_render_particles(False)
    game.set_render_screen_flashes(True)  # a hit must be visible to M
    game.set_labels_buffer_enabled(labels)
    game.set_doom_config_path(os.path.join(scratch, keeper.CONFIG))
    # The engine makes its folders where it is started, whatever it is told, so it is started there
    # by a shell: this process's own folder is its user's, and that of all its threads.
    engine = os.path.join(os.path.dirname(vizdoom.__file__), "vizdoom")
    launcher = Path(scratch, "launch")
    launcher.write_text(
        f"#!/bin/sh\ncd {shlex.quote(scratch)} && "
        f'echo "$@" > {keeper.COMMAND} && exec {shlex.quote(engine)} "$@"\n'
    )
    launcher.chmod(0o700)
    if os.access(launcher, os.X_OK):
        game.set_vizdoom_path(str(launcher))
        return game.init()
    with _moving:  # a folder from which no program may be started
        before = os.getcwd()
        os.chdir(scratch)
        try:
            game.init()
        finally:
            os.chdir(before)


_moving = threading.Lock()


_parents: list[vizdoom.DoomGame] = []
"""Games that a forked child has from its parent, kept: to forget one is to end its engine."""


def _clean(owner: int, scratch: str, game: vizdoom.DoomGame) -> None:
    """End an engine and remove its folder, if they are this process's and not its parent's."""
    if os.getpid() != owner:
        return _parents.append(game)
    game.close()
    shutil.rmtree(scratch, ignore_errors=True)
    keeper.leave(scratch)

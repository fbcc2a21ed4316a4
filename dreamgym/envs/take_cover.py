"""VizDoom Take Cover under the protocol of the paper: `PixelDoom-v0`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
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
from dreamgym.envs.real import RealVectorEnv
from dreamgym.games import FRAME
from dreamgym.games.doom import GAME, HEALTH

HUD_TOP = 5 / 6
"""Share of the screen above the status bar: rows 0 to 399 of 480 in the paper's code."""
START_TIC = 14  # gym-doom's take_cover.cfg: in the tics before it the level still starts up
SKILL = 4  # gym-doom asks for 5 but its engine plays 4; in today's at 5, random play lasts 72 tics
RESOLUTIONS = ("160x120", "320x240", "640x480")
FAULTS = (
    vizdoom.ViZDoomErrorException,
    vizdoom.ViZDoomIsNotRunningException,
    vizdoom.ViZDoomUnexpectedExitException,
    vizdoom.MessageQueueException,
    vizdoom.SharedMemoryException,
)
"""What ViZDoom raises when its engine no longer runs."""


class TakeCover(PixelGame):
    """
    ## Description
    The player stands at one end of a room. Monsters appear at the other end and throw fireballs.
    The player can only step sideways. This is ViZDoom's Take Cover as *World Models* (Ha &
    Schmidhuber, 2018) played it: Doom's skill 4, no frame skip, screen flashes visible, weapon and
    crosshair hidden, and the status bar cropped away. A step is one tic of Doom's clock, 1/35 s.

    ## Action Space
    `continuous=False` (default): `Discrete(3)`: 0 left, 1 stay, 2 right.
    `continuous=True`: `Box(-1, 1, (1,), float32)`: below -1/3 left, above 1/3 right, else stay.
    `step()` raises a `ValueError` for an action of another shape or type, a value that is not
    finite, and a number that is not among the discrete actions.

    ## Observation Space
    `Box(0, 255, (64, 64, 3), uint8)`: RGB. The upper 5/6 of the screen, scaled down by averaging.

    ## Rewards
    1 for every tic, the fatal one included.

    ## Starting State
    Tic 14 of the level, as in the paper's code, with full health.

    ## Episode Termination
    Terminates when the player dies. ViZDoom has no picture of this moment, so the observation is
    the frame before it again. `gym.make` truncates after 2,100 tics; `max_episode_steps` changes
    this limit.

    ## Information
    `health`: the player's health, 0 to 100. It cannot be seen on the cropped screen.

    ## Arguments
    An argument that is not valid raises a `ValueError` that says what to give instead.

    * `continuous`: `True` for the `Box` of actions, `False` for the `Discrete`.
    * `resolution`: the size at which the engine draws before the picture is scaled down:
      `"160x120"`, `"320x240"` (default) or `"640x480"`. It changes the speed and the noise of
      textures, but not the game.
    * `labels`: `True` adds `labels` to `info`: a list with `(name, x, y, width, height)` for each
      visible object, in pixels of the 64 × 64 frame. It is for measurements, not for agents.
    * `render_mode`: `"rgb_array"` for the frame that an agent sees, or `"human"` for a window.

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
        except FAULTS:  # the engine has died meanwhile: a new one plays the same game
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
        """Begin the game with this seed for ViZDoom; start an engine first if none runs."""
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
        """Store the new frame. After the end ViZDoom gives no state: keep the last frame then."""
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
        """Return (name, x, y, width, height) of each visible object, in pixels of the frame."""
        if self._state is None or self._state.labels is None:
            return []
        height, width, _ = self._state.screen_buffer.shape
        sx, sy = FRAME[1] / width, FRAME[0] / (height * HUD_TOP)
        return [
            (box.object_name, box.x * sx, box.y * sy, box.width * sx, box.height * sy)
            for box in self._state.labels
        ]


class TakeCoverVectorEnv(RealVectorEnv):
    """Many games of `TakeCover` as one batch: `gym.make_vec("PixelDoom-v0", num_envs=16)`."""

    game = GAME


def bare(seed: int) -> Callable[[], object]:
    """Return a function that steps the bare engine with random actions, to measure its speed.

    The engine draws at its smallest size, and the picture is not scaled.
    """
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
    """Crop the status bar from a screen (H, W, 3) uint8 and average the rest to (64, 64, 3)."""
    shown = screen[: round(len(screen) * HUD_TOP)]
    if "numba" in sys.modules:  # dreams and twins use it; for this alone it takes long to load
        from dreamgym.engines.shrink import box

        return box(shown, FRAME[:2])
    return np.asarray(Image.fromarray(shown).resize(FRAME[1::-1], Image.Resampling.BOX))


def start_engine(game: vizdoom.DoomGame, resolution: str, labels: bool, scratch: str) -> None:
    """Start ViZDoom without a window, with the paper's settings; it writes only into `scratch`."""
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
    # The engine makes its folders in its working directory, and no setting changes that. So a shell
    # script enters `scratch` and starts it there. This process must not change its own working
    # directory, which belongs to the user and is the same for all threads.
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
    with _moving:  # no program may be started from `scratch`, so the script cannot run
        before = os.getcwd()
        os.chdir(scratch)
        try:
            game.init()
        finally:
            os.chdir(before)


_moving = threading.Lock()


_parents: list[vizdoom.DoomGame] = []
"""The parent's games in a forked child. They are kept, because to delete one ends its engine."""


def _clean(owner: int, scratch: str, game: vizdoom.DoomGame) -> None:
    """End an engine and remove its folder, unless they belong to the parent of a forked process."""
    if os.getpid() != owner:
        return _parents.append(game)
    game.close()
    shutil.rmtree(scratch, ignore_errors=True)
    keeper.leave(scratch)

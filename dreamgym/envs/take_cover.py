"""VizDoom Take Cover under the protocol of the paper: `PixelDoom-v0`."""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import Any

import gymnasium as gym
import numpy as np
import vizdoom
from PIL import Image

from dreamgym.envs import actions
from dreamgym.envs.pixels import PixelGame
from dreamgym.tasks import DOOM, FRAME, TAKE_COVER

HUD_TOP = 5 / 6
"""Share of the picture above the status bar: rows 0 to 399 of 480 in the paper's code."""
START_TIC = 14  # gym-doom's take_cover.cfg: the tics before are the level's own start-up
SKILL = 4  # the paper's engine clamps its 5 to 4; today's honours 5, and then random play lives 72
RESOLUTIONS = ("160x120", "320x240", "640x480")


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
    Terminates when the player dies, with the last frame he saw as the observation. Truncates after
    2,100 tics.

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
        "render_fps": DOOM.fps,
    }

    def __init__(
        self,
        continuous: bool = DOOM.continuous,
        resolution: str = "320x240",
        labels: bool = False,
        render_mode: str | None = None,
    ):
        if resolution not in RESOLUTIONS:
            raise ValueError(
                f"resolution is {resolution!r}: choose one of {', '.join(RESOLUTIONS)}"
            )
        actions.check_render_mode(render_mode)
        self.continuous, self.resolution, self.labels = continuous, resolution, labels
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(0, 255, FRAME, np.uint8)
        self.action_space = actions.space(DOOM, continuous)
        self._game: vizdoom.DoomGame | None = None
        self._frame: np.ndarray | None = None
        self._state: vizdoom.GameState | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if self._game is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="dreamgym-")
            self._game = start_engine(self.resolution, self.labels, self._scratch.name)
            # Younger than the folder's own finalizer, so the engine ends before its folder does.
            self._end = weakref.finalize(self, self._game.close)
        self._game.set_seed(int(self.np_random.integers(2**31)))
        self._game.new_episode()
        self._observe()
        assert self._frame is not None
        return self._frame.copy(), self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._game is None or self._frame is None:
            raise gym.error.ResetNeeded("step() before reset(): call reset() first")
        if self._game.is_episode_finished():
            raise gym.error.ResetNeeded("step() after the end of an episode: call reset() first")
        direction = actions.told([action], DOOM, self.continuous).item()
        self._game.make_action([direction < 0, direction > 0])
        terminated = self._game.is_player_dead()
        # The engine ends the episode one tic before it says so: by time unless the player is dead.
        truncated = self._game.is_episode_finished() and not terminated
        self._observe()
        return self._frame.copy(), 1.0, terminated, truncated, self._info()

    def close(self) -> None:
        if self._game is not None:
            self._end()
            self._scratch.cleanup()
            self._game = None
            self._frame = None

    def _observe(self) -> None:
        """Keep the new frame; at the end there is none (the engine's is zeros): keep the last."""
        assert self._game is not None
        self._state = self._game.get_state()
        if self._state is not None:
            self._frame = shrink(self._state.screen_buffer)

    def _info(self) -> dict[str, Any]:
        assert self._game is not None
        health = self._game.get_game_variable(vizdoom.GameVariable.HEALTH)
        info: dict[str, Any] = {"health": float(np.clip(health, 0, TAKE_COVER.budget))}
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


def shrink(screen: np.ndarray) -> np.ndarray:
    """Crop the status bar from a screen (H, W, 3) and average it down to (64, 64, 3)."""
    picture = Image.fromarray(screen[: round(len(screen) * HUD_TOP)])
    return np.asarray(picture.resize(FRAME[1::-1], Image.Resampling.BOX))


def start_engine(resolution: str, labels: bool, scratch: str) -> vizdoom.DoomGame:
    """Start a hidden ViZDoom with the paper's Take Cover that writes only into `scratch`."""
    game = vizdoom.DoomGame()
    game.set_doom_scenario_path(os.path.join(vizdoom.scenarios_path, "take_cover.wad"))
    game.set_doom_map("map01")
    game.set_doom_skill(SKILL)
    game.set_available_buttons([vizdoom.Button.MOVE_LEFT, vizdoom.Button.MOVE_RIGHT])
    game.set_available_game_variables([vizdoom.GameVariable.HEALTH])
    game.set_living_reward(1)
    game.set_episode_start_time(START_TIC)
    game.set_episode_timeout(DOOM.max_steps)
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
    game.set_doom_config_path(os.path.join(scratch, "vizdoom.ini"))
    before = os.getcwd()
    os.chdir(scratch)  # the engine makes its folders where it is started, whatever it is told
    try:
        game.init()
    finally:
        os.chdir(before)
    return game

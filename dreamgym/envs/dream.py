"""Dreams as Gymnasium environments, alone and in a batch: `DreamDoom-v0`, `DreamCarRacing-v0`."""

from __future__ import annotations

import copy
import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from dreamgym.checkpoint import load_world, world_folder
from dreamgym.envs import actions
from dreamgym.product import halves
from dreamgym.tasks import FRAME
from dreamgym.world import BOUND, OBSERVATIONS, State, World

Temperature = float | tuple[float, float]
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SEED_RANGE = 2**63


@dataclass
class Episodes:
    """Counts the episodes of one environment under its seed: what its noise is keyed by."""

    seed: int | None = None
    number: int = 0

    def next(self, seed: int | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the seed and the number, (1,) each, of the episode that a reset begins."""
        if seed is None and self.seed is not None:
            self.number += 1
        else:
            chosen = rng.integers(SEED_RANGE) if seed is None else seed % SEED_RANGE
            self.seed, self.number = int(chosen), 0
        return np.array([self.seed]), np.array([self.number])


class _Dreams:
    """N dreams of one world: what the scalar and the batched environment share."""

    def __init__(
        self,
        world: str,
        temperature: Temperature | None,
        observation: str | None,
        continuous: bool | None,
        device: str,
        precision: str,
        form: str,
    ):
        self.world = shared_world(world, str(device), precision, form)
        task = self.world.task
        self.range = parse_temperature(task.temperature if temperature is None else temperature)
        self.observation = check_observation(
            task.observation if observation is None else observation
        )
        self.continuous = task.continuous if continuous is None else bool(continuous)
        self.observation_space = observation_space(self.world, self.observation)
        self.action_space = actions.space(task, self.continuous)

    def check_options(self, options: dict[str, Any] | None) -> tuple[float, float]:
        """Return the range of temperatures that the options of a reset ask for."""
        options = options or {}
        if unknown := options.keys() - {"temperature", "reset_mask"}:
            raise ValueError(f"unknown option {sorted(unknown)[0]!r}: 'temperature' is known")
        return parse_temperature(options["temperature"]) if "temperature" in options else self.range

    def begin(
        self, seeds: np.ndarray, episodes: np.ndarray, options: dict[str, Any] | None
    ) -> tuple[State, torch.Tensor]:
        """Start dreams and return their state and temperatures (N, 1)."""
        low, high = self.check_options(options)
        state = self.world.start(torch.from_numpy(seeds), torch.from_numpy(episodes))
        return state, self.world.draw_temperature(state, low, high)

    def advance(
        self, state: State, temperature: torch.Tensor, action: Any
    ) -> tuple[State, np.ndarray, np.ndarray]:
        """Dream one step and return the state, rewards and terminations (N,)."""
        told = torch.from_numpy(actions.told(action, self.world.task, self.continuous))
        if len(told) != len(state):
            raise ValueError(f"{len(told)} actions for {len(state)} environments: give one each")
        state, reward, dead = self.world.step(state, told.to(self.world.device), temperature)
        return state, reward.cpu().numpy(), dead.cpu().numpy()

    def observe(self, state: State) -> np.ndarray:
        """Return observations (N, …), in memory of their own."""
        return self.world.observe(state, self.observation).cpu().numpy().copy()


class DreamEnv(gym.Env[np.ndarray, Any]):
    """
    ## Description
    A game that is only remembered. M, a recurrent network that watched the real game, predicts what
    V would see next and what the action costs; its prediction is the next frame it is asked about.
    No game engine runs. Nothing is drawn unless `render()` or `observation="rgb"` asks for it.

    What is lost against the real game: objects may appear, vanish or blur, and M may be fooled by
    actions that it has not seen; a high `temperature` makes that harder to exploit. What is known
    is not learned: in Doom a tic pays 1 and a hit takes 21 times 1 to 8 of 100 health; in CarRacing
    a frame costs 0.1, the tiles of a track pay 1,000 together and the last one ends the game.

    ## Action Space
    The real game's. Doom: `Discrete(3)`, 0 left, 1 stay, 2 right; with `continuous=True`
    `Box(-1, 1, (1,), float32)`, below -1/3 left, above 1/3 right. CarRacing: `Box([-1, 0, 0],
    [1, 1, 1], (3,), float32)`, steering, gas and brake; with `continuous=False` `Discrete(5)`, 0
    nothing, 1 right, 2 left, 3 gas, 4 brake.

    ## Observation Space
    A float32 `Box`: `"z"` V's latent of the frame, `"zh"` also M's hidden state from before it saw
    the frame, `"zhc"` also its cells, in the paper's order [z, c, h] (CarRacing's default is
    `"zh"`, 32 + 256, Doom's `"zhc"`, 64 + 512 + 512). z is within ±50, h within ±1, c within
    ±(longest episode). `"rgb"` is V's picture, uint8 (64, 64, 3).

    ## Rewards
    Doom: 1 for every step, the fatal one included. CarRacing: -0.1 a step and 1000 / N for each of
    the N tiles that M says the car touches, N being a real track's; -100 for leaving the field.

    ## Starting State
    V's latent of a real game's first frame, sampled anew; M's state is zero.

    ## Episode Termination
    Terminates when the dreamt player is dead, the lap is complete or the car has left the field.
    `gym.make` truncates after the real game's limit, 2,100 steps for Doom, 1,000 for CarRacing.

    ## Arguments
    * `temperature`: τ ≥ 0, or a range `(low, high)` of which each episode draws its own. It divides
      M's mixture logits and scales its variances: 0 dreams the likeliest mean, higher is less
      certain. Default: Doom's is the paper's 1.15, CarRacing's 1. For one episode:
      `reset(options={"temperature": τ})`.
    * `observation`: `"z"`, `"zh"`, `"zhc"` or `"rgb"`.
    * `continuous`: form of the action space.
    * `world`: a shipped world's name or a folder.
    * `device`: where M runs, such as `"cpu"` or `"cuda"`.
    * `precision`: of M's products, `"float32"` or `"bfloat16"`: twice as fast where the processor
      knows it, the same distribution of dreams, other dreams. `"fastest"`: whichever that is here.
    * `form`: `"auto"`, or `"compiled"` by PyTorch's compiler, for large batches on a GPU; see
      `dreamgym.world.FORMS`.
    * `render_mode`: `"rgb_array"` for V's picture, `"human"` for a window.

    ## Information
    `temperature`: the episode's τ. `health`, or `tiles_left`: what the dream counts as left.

    A dream is a function of (world, seed, actions): the k-th episode after `reset(seed=s)` is the
    k-th of lane i of a batch that was reset with seed s - i, bit for bit on a CPU; a GPU's products
    may round otherwise in a batch of another size.

    ## Version History
    * v0: first release.

    ## References
    Ha & Schmidhuber, *World Models*, 2018.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 35,
    }

    def __init__(
        self,
        world: str,
        temperature: Temperature | None = None,
        observation: str | None = None,
        continuous: bool | None = None,
        device: str = "cpu",
        precision: str = "float32",
        form: str = "auto",
        render_mode: str | None = None,
    ):
        actions.check_render_mode(render_mode)
        self._dreams = _Dreams(world, temperature, observation, continuous, device, precision, form)
        self.metadata = self.metadata | {"render_fps": self._dreams.world.task.fps}
        self.render_mode = render_mode
        self.observation_space = self._dreams.observation_space
        self.action_space = self._dreams.action_space
        self._state: State | None = None
        self._episodes = Episodes()
        self._over = False

    @property
    def world(self) -> World:
        return self._dreams.world

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._dreams.check_options(options)
        seeds, episodes = self._episodes.next(seed, self.np_random)
        self._state, self._temperature = self._dreams.begin(seeds, episodes, options)
        self._over = False
        return self._dreams.observe(self._state)[0], self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._state is None or self._over:
            when = "after the end of an episode" if self._over else "before reset()"
            raise gym.error.ResetNeeded(f"step() {when}: call reset() first")
        self._state, reward, dead = self._dreams.advance(self._state, self._temperature, [action])
        self._over = bool(dead[0])
        observation = self._dreams.observe(self._state)[0]
        return observation, float(reward[0]), self._over, False, self._info()

    def render(self) -> np.ndarray | None:
        if self.render_mode is None:
            gym.logger.warn("render() without render_mode: pass render_mode='rgb_array' to make()")
            return None
        if self._state is None:
            raise gym.error.ResetNeeded("render() before reset(): call reset() first")
        return self.world.decode(self._state.z)[0].cpu().numpy()

    def snapshot(self) -> dict[str, Any]:
        """Return all that the rest of the episode depends on."""
        names = ("_state", "_temperature", "_over", "_episodes")
        return copy.deepcopy({name: getattr(self, name) for name in names})

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot; the same actions then give the same dream, bit for bit."""
        for name, value in copy.deepcopy(snapshot).items():
            setattr(self, name, value)

    def _info(self) -> dict[str, Any]:
        assert self._state is not None
        gauge = self.world.task.rules.gauge
        return {"temperature": self._temperature.item(), gauge: self._state.budget.item()}


class DreamVectorEnv(VectorEnv[np.ndarray, Any, np.ndarray]):
    """N dreams as one batch; see `DreamEnv` for what a dream is.

    Lane i of a batch that was reset with seed s is `DreamEnv` reset with seed s + i, bit for bit.

    Args:
        num_envs: N.
        max_episode_steps: steps after which an episode is truncated.
        autoreset_mode: `SAME_STEP` (default; the finished episode's last observation and info are
            in `infos["final_obs"]` and `infos["final_info"]`), `NEXT_STEP` or `DISABLED`.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 35,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        world: str,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        temperature: Temperature | None = None,
        observation: str | None = None,
        continuous: bool | None = None,
        device: str = "cpu",
        precision: str = "float32",
        form: str = "auto",
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ):
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise ValueError(f"num_envs is {num_envs!r}: give a whole number, 1 or more")
        actions.check_render_mode(render_mode)
        self._dreams = _Dreams(world, temperature, observation, continuous, device, precision, form)
        check_memory(self._dreams.world, num_envs)
        self.metadata = self.metadata | {"render_fps": self._dreams.world.task.fps}
        self.num_envs = num_envs
        self.limit = step_limit(max_episode_steps, self._dreams.world.task.max_steps)
        self.render_mode = render_mode
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = self.metadata | {"autoreset_mode": self.autoreset_mode}
        self.single_observation_space = self._dreams.observation_space
        self.single_action_space = self._dreams.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._state: State | None = None
        self._over = np.zeros(num_envs, bool)

    @property
    def world(self) -> World:
        return self._dreams.world

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if self.closed:
            raise gym.error.ClosedEnvironmentError("reset() after close(): make the dreams anew")
        one = None if seed is None or isinstance(seed, (list, tuple)) else int(seed)
        super().reset(seed=one)
        mask = self._mask(options)
        self._dreams.check_options(options)
        seeds: Any = seed if one is None else range(one, one + self.num_envs)
        if seeds is not None and len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} environments: give one each")
        if self._state is None:
            self._seeds = self.np_random.integers(SEED_RANGE, size=self.num_envs)
            self._episodes = np.full(self.num_envs, -1)
        self._episodes[mask] += 1
        for lane in np.flatnonzero(mask):
            own = None if seeds is None else seeds[lane]
            if own is not None:
                self._seeds[lane], self._episodes[lane] = own % SEED_RANGE, 0
        self._begin(mask, options)
        assert self._state is not None
        return self._dreams.observe(self._state), self._info()

    def step(
        self, actions: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        if self.closed:
            raise gym.error.ClosedEnvironmentError("step() after close(): make the dreams anew")
        if self._state is None:
            raise gym.error.ResetNeeded("step() before reset(): call reset() first")
        waiting = self._over.copy()
        if self.autoreset_mode is AutoresetMode.DISABLED and waiting.any():
            raise gym.error.ResetNeeded(
                f"environment {np.flatnonzero(waiting)[0]} is over: reset it with "
                "options={'reset_mask': …} first"
            )
        state, reward, terminated = self._dreams.advance(self._state, self._temperature, actions)
        truncated = (state.step >= self.limit).cpu().numpy()
        self._state = state
        if waiting.any():  # NEXT_STEP: this step begins their next episode and ignores the action
            reward[waiting], terminated[waiting], truncated[waiting] = 0, False, False
            self._episodes[waiting] += 1
            self._begin(waiting)
        self._over = terminated | truncated
        infos: dict[str, Any] = {}
        if self._over.any() and self.autoreset_mode is AutoresetMode.SAME_STEP:
            infos = self._final()
            self._episodes[self._over] += 1
            self._begin(self._over)
        observation = self._dreams.observe(self._state)
        return observation, reward, terminated, truncated, infos | self._info()

    def render(self) -> tuple[np.ndarray, ...] | None:
        if self.render_mode is None:
            return None
        if self._state is None:
            raise gym.error.ResetNeeded("render() before reset(): call reset() first")
        return tuple(self.world.decode(self._state.z).cpu().numpy())

    def _begin(self, lanes: np.ndarray, options: dict[str, Any] | None = None) -> None:
        """Start an episode of some lanes, a mask (N,); options hold for this episode alone."""
        state, temperature = self._dreams.begin(self._seeds[lanes], self._episodes[lanes], options)
        if self._state is None:
            self._state, self._temperature = state, temperature
        else:
            rows = torch.from_numpy(lanes).to(self.world.device)
            self._state.put(rows, state)
            self._temperature[rows] = temperature
        self._over[lanes] = False

    def _mask(self, options: dict[str, Any] | None) -> np.ndarray:
        everyone = np.ones(self.num_envs, bool)
        mask = (options or {}).get("reset_mask", everyone)
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != everyone.shape:
            raise ValueError(f"reset_mask is {mask!r}: give a bool array ({self.num_envs},)")
        if self._state is None and not mask.all():
            raise gym.error.ResetNeeded("the first reset() must be of every environment")
        return mask

    def _final(self) -> dict[str, Any]:
        """Last observations and infos of the episodes that are over, as Gymnasium wants them."""
        assert self._state is not None
        final = np.full(self.num_envs, None, dtype=object)
        last = self._dreams.observe(self._state[torch.from_numpy(self._over).to(self.world.device)])
        for lane, observation in zip(np.flatnonzero(self._over), last, strict=True):
            final[lane] = observation
        mask = self._over.copy()
        return {
            "final_obs": final,
            "_final_obs": mask,
            "final_info": self._info(),
            "_final_info": mask.copy(),
        }

    def _info(self) -> dict[str, Any]:
        assert self._state is not None
        everyone, gauge = np.ones(self.num_envs, bool), self.world.task.rules.gauge
        return {
            "temperature": self._temperature[:, 0].cpu().numpy().copy(),
            "_temperature": everyone,
            gauge: self._state.budget.cpu().numpy().copy(),
            f"_{gauge}": everyone.copy(),
        }


def shared_world(world: str, device: str, precision: str = "float32", form: str = "auto") -> World:
    """Load a world once a process, however many environments dream it, until its files change.

    Raises:
        ValueError: if the device is not there, or precision or form is none; the message says
            which are.
    """
    if precision not in (*PRECISIONS, "fastest"):
        known = ", ".join((*PRECISIONS, "fastest"))
        raise ValueError(f"precision is {precision!r}: choose one of {known}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch's words for a GPU it was built without
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise ValueError(f"device is {device!r}: this machine has {', '.join(there)}") from error
    if precision == "fastest":
        precision = "bfloat16" if halves(device) else "float32"
    folder = world_folder(world).resolve()
    return _loaded(folder, device, precision, form, (folder / "config.json").stat().st_mtime_ns)


@cache
def _loaded(folder: Path, device: str, precision: str, form: str, _: int) -> World:
    return load_world(folder).to(device, PRECISIONS[precision], form)


def observation_space(world: World, kind: str) -> gym.spaces.Box:
    """Return the space of `World.observe`, the same for the dream and its twin."""
    if kind == "rgb":
        return gym.spaces.Box(0, 255, FRAME, np.uint8)
    config = world.memory.config
    sizes = {"z": config.z_size, "h": config.hidden, "c": config.hidden}
    largest = {"z": BOUND, "h": 1.0, "c": float(world.task.max_steps)}  # c moves by ≤ 1 a step
    high = np.concatenate([np.full(sizes[p], largest[p], np.float32) for p in OBSERVATIONS[kind]])
    return gym.spaces.Box(-high, high)


def check_memory(world: World, num_envs: int) -> None:
    """Refuse more dreams than this machine has memory for, however much of it is free.

    Raises:
        ValueError: naming how many fit.
    """
    config = world.memory.config
    outputs = 3 * config.mixtures * config.z_size
    each = 4 * (4 * config.hidden + outputs + 3 * (config.z_size + 2 * config.hidden))  # a step's
    if world.device.type == "cuda":
        there = torch.cuda.mem_get_info(world.device)[0]
    else:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if num_envs * each > there:
        raise ValueError(
            f"num_envs is {num_envs}: they take {num_envs * each / 2**30:,.0f} GiB, {world.device} "
            f"has {there / 2**30:,.0f}: give {there // each:,} or fewer"
        )


def check_observation(kind: Any) -> str:
    """Return a kind of observation.

    Raises:
        ValueError: if it is none; the message lists them.
    """
    kinds = (*OBSERVATIONS, "rgb")
    if kind not in kinds:
        raise ValueError(f"observation is {kind!r}: choose one of {', '.join(kinds)}")
    return kind


def step_limit(asked: int | None, usual: int) -> float:
    """Return an episode's limit: None is the task's own, -1 is Gymnasium's word for none.

    Raises:
        ValueError: if it is no such number.
    """
    if asked is None or asked == -1:
        return usual if asked is None else math.inf
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        raise ValueError(f"max_episode_steps is {asked!r}: give 1 or more, or -1 for no limit")
    return asked


def parse_temperature(temperature: Any) -> tuple[float, float]:
    """Return a temperature or a range of them as (low, high).

    Raises:
        ValueError: if it is no finite number ≥ 0 and no such range; the message names it.
    """
    ends = temperature if isinstance(temperature, (tuple, list)) else (temperature, temperature)
    good = len(ends) == 2 and all(
        isinstance(end, (int, float, np.number)) and type(end) is not bool
        and math.isfinite(end) and end >= 0
        for end in ends
    )  # fmt: skip
    if not good or ends[0] > ends[1]:
        raise ValueError(
            f"temperature is {temperature!r}: give a finite number, 0 or more, such as 1.15, "
            "or a range such as (1.0, 1.3)"
        )
    return float(ends[0]), float(ends[1])

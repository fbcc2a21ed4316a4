"""Dreams as Gymnasium environments, alone and in a batch: `DreamDoom-v0`, `DreamCarRacing-v0`."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from dreamgym import games
from dreamgym.checkpoint import shared_world
from dreamgym.envs import actions, seeds
from dreamgym.envs.arguments import (
    Temperature,
    check_autoreset_mode,
    check_continuous,
    check_mapping,
    check_render_mode,
    parse_temperature,
    step_limit,
    whole,
)
from dreamgym.envs.seeds import SEED_RANGE, Episodes
from dreamgym.envs.spaces import check_game, check_observation, observation_space
from dreamgym.world import State, World

OPTIONS = ("temperature", "reset_mask")
"""What a reset's options may ask of a dream; the second is for batches alone."""
SNAPSHOT = ("_state", "_temperature", "_over", "_episodes")
"""What the rest of a dream depends on."""
SETTABLE = ("temperature", "limit", "render_mode")
"""What `set_attr` may change in a batch of dreams."""


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
        task: str | None,
    ):
        self.world = shared_world(world, str(device), precision, form)
        if task is not None:
            check_game(self.world, world, games.get(task), games.get(task).dream_id)
        game = self.world.game
        self.temperature = game.temperature if temperature is None else temperature
        self.observation = check_observation(
            game.observation if observation is None else observation
        )
        self.continuous = check_continuous(continuous, game)
        self.observation_space = observation_space(self.world, self.observation)
        self.action_space = actions.space(game, self.continuous)

    @property
    def temperature(self) -> Temperature:
        """τ of the episodes that begin from now on, or the range of which each draws its own."""
        low, high = self.range
        return low if low == high else self.range

    @temperature.setter
    def temperature(self, temperature: Temperature) -> None:
        self.range = parse_temperature(temperature)

    def check_options(self, options: dict[str, Any] | None) -> tuple[float, float]:
        """Return the range of temperatures that the options of a reset ask for.

        What is not ours is some wrapper's and is left alone, with a warning if it looks like ours.
        """
        options = check_mapping(options)
        for name in options.keys() - set(OPTIONS):
            if meant := difflib.get_close_matches(str(name), OPTIONS, 1, 0.75):
                gym.logger.warn(f"reset() has an option {name!r}: did you mean {meant[0]!r}?")
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
        vectors = torch.from_numpy(actions.to_vectors(action, self.world.game, self.continuous))
        if len(vectors) != len(state):
            raise ValueError(f"{len(vectors)} actions for {len(state)} environments: give one each")
        state, reward, dead = self.world.step(state, vectors.to(self.world.device), temperature)
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
      `reset(options={"temperature": τ})`; from the next episode on: the attribute `temperature`,
      which `set_wrapper_attr` and a batch's `set_attr` set.
    * `observation`: `"z"`, `"zh"`, `"zhc"` or `"rgb"`.
    * `continuous`: form of the action space.
    * `world`: a shipped world's name or a folder, of the same game.
    * `device`: where M runs, such as `"cpu"` or `"cuda"`.
    * `precision`: of M's products, `"float32"` or `"bfloat16"`: twice as fast where the processor
      knows it, the same distribution of dreams, other dreams. `"fastest"`: whichever that is here.
    * `form`: `"auto"`, or `"compiled"` by PyTorch's compiler, for large batches on a GPU; see
      `dreamgym.world.FORMS`.
    * `render_mode`: `"rgb_array"` for V's picture, `"human"` for a window.
    * `task`: the game that the id stands for; `world` must be of it.

    ## Information
    `temperature`: the episode's τ. `health`, or `tiles_left`: what the dream counts as left.

    A dream is a function of (world, seed, actions): the k-th episode after `reset(seed=s)` is the
    k-th of lane i of a batch that was reset with seed s - i, bit for bit on a CPU; a GPU's products
    may round otherwise in a batch of another size. So may V's pictures anywhere: of a million
    numbers one or two differ by 1.

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
        task: str | None = None,
    ):
        check_render_mode(render_mode)
        self._dreams = _Dreams(
            world, temperature, observation, continuous, device, precision, form, task
        )
        self.metadata = self.metadata | {"render_fps": self._dreams.world.game.fps}
        self.render_mode = render_mode
        self.observation_space = self._dreams.observation_space
        self.action_space = self._dreams.action_space
        self._state: State | None = None
        self._episodes = Episodes()
        self._over = False

    @property
    def world(self) -> World:
        return self._dreams.world

    @property
    def temperature(self) -> Temperature:
        """τ of the episodes that begin from now on, or the range of which each draws its own."""
        return self._dreams.temperature

    @temperature.setter
    def temperature(self, temperature: Temperature) -> None:
        self._dreams.temperature = temperature

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        seed = seeds.one(seed)
        self._dreams.check_options(options)
        super().reset(seed=seed)
        own, episodes = self._episodes.next(seed, self.np_random)
        self._state, self._temperature = self._dreams.begin(own, episodes, options)
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
        """Return all that the rest of the episode depends on.

        `copy.deepcopy` of the environment does the same for a search that wants many: copies share
        the world and have a state of their own.
        """
        if self._state is None:
            raise gym.error.ResetNeeded("snapshot() before reset(): call reset() first")
        return copy.deepcopy({name: getattr(self, name) for name in SNAPSHOT})

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot; the same actions then give the same dream, bit for bit.

        Raises:
            ValueError: if it is no snapshot of a dream of such a world.
        """
        if not isinstance(snapshot, dict) or snapshot.keys() != set(SNAPSHOT):
            raise ValueError("restore() takes what snapshot() has returned")
        there, config = snapshot["_state"], self.world.memory.config
        if (there.z.shape[1], there.h.shape[1]) != (config.z_size, config.hidden):
            raise ValueError(
                f"the snapshot is of a world of {there.z.shape[1]} latents and "
                f"{there.h.shape[1]} cells, this one has {config.z_size} and {config.hidden}"
            )
        for name, value in copy.deepcopy(snapshot).items():
            setattr(self, name, value)

    def _info(self) -> dict[str, Any]:
        assert self._state is not None
        counts = zip(self.world.rules.counts, self._state.counts[0].tolist(), strict=False)
        return {"temperature": self._temperature.item(), **dict(counts)}


class DreamVectorEnv(VectorEnv[np.ndarray, Any, np.ndarray]):
    """N dreams as one batch; see `DreamEnv` for what a dream is.

    Lane i of a batch that was reset with seed s is `DreamEnv` reset with seed s + i, bit for bit.

    Args:
        num_envs: how many dreams, N.
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
        task: str | None = None,
    ):
        num_envs = whole(num_envs, "num_envs is {!r}: give a whole number, 1 or more")
        check_render_mode(render_mode)
        self._dreams = _Dreams(
            world, temperature, observation, continuous, device, precision, form, task
        )
        self._dreams.world.check_room(num_envs)
        self.metadata = self.metadata | {"render_fps": self._dreams.world.game.fps}
        self.num_envs = num_envs
        self._usual = self._dreams.world.game.max_steps
        self.limit = max_episode_steps
        self.render_mode = render_mode
        self.autoreset_mode = check_autoreset_mode(autoreset_mode)
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

    @property
    def temperature(self) -> Temperature:
        """τ of the episodes that begin from now on, or the range of which each draws its own."""
        return self._dreams.temperature

    @temperature.setter
    def temperature(self, temperature: Temperature) -> None:
        self._dreams.temperature = temperature

    @property
    def limit(self) -> float:
        """Steps after which an episode is truncated; infinity if there is no such number."""
        return self._limit

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._limit = step_limit(limit, self._usual)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute for each dream; they share it."""
        return (getattr(self, name),) * self.num_envs

    def set_attr(self, name: str, values: Any) -> None:
        """Set `temperature` (from each dream's next episode on), `limit` or `render_mode`.

        Args:
            values: one value, which all dreams share.

        Raises:
            AttributeError: if there is no such attribute to be set.
            ValueError: if the value is none for this attribute.
        """
        if name not in SETTABLE:
            raise AttributeError(
                f"a dream has no attribute {name!r} to be set: choose {', '.join(SETTABLE)}"
            )
        if name == "render_mode":
            check_render_mode(values)
        setattr(self, name, values)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | np.ndarray | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if self.closed:
            raise gym.error.ClosedEnvironmentError("reset() after close(): make the dreams anew")
        lanes = seeds.each(seed, self.num_envs)
        mask = self._mask(check_mapping(options))
        self._dreams.check_options(options)
        super().reset(seed=lanes[0] if isinstance(lanes, range) else None)
        if self._state is None:
            self._seeds = self.np_random.integers(SEED_RANGE, size=self.num_envs)
            self._episodes = np.full(self.num_envs, -1)
        self._episodes[mask] += 1
        for lane in np.flatnonzero(mask).tolist():
            if (own := lanes[lane]) is not None:
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

    def _mask(self, options: dict[str, Any]) -> np.ndarray:
        everyone = np.ones(self.num_envs, bool)
        mask = options.get("reset_mask", everyone)
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != everyone.shape:
            raise ValueError(f"reset_mask is {mask!r}: give a bool array ({self.num_envs},)")
        if not mask.any():
            raise ValueError("reset_mask asks for no environment: give True for one or more")
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
        counts = zip(self.world.rules.counts, self._state.counts.cpu().numpy().T, strict=False)
        columns = {"temperature": self._temperature[:, 0].cpu().numpy(), **dict(counts)}
        infos: dict[str, Any] = {}
        for name, column in columns.items():
            infos |= {name: column.copy(), f"_{name}": np.ones(self.num_envs, bool)}
        return infos

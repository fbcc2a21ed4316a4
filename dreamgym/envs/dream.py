"""Dreams as Gymnasium environments, one alone or a batch: `DreamDoom-v0`, `DreamCarRacing-v0`."""

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

OPTIONS = ("temperature", "start", "reset_mask")
"""The options of `reset()` that are a dream's own; only a batch takes `reset_mask`."""
SNAPSHOT = ("_state", "_temperature", "_over", "_episodes")
"""The attributes of a `DreamEnv` that the rest of its dream depends on."""
SETTABLE = ("temperature", "limit", "render_mode")
"""What `set_attr` may change in a batch of dreams."""


STARTS = {"first": 0.0, "anywhere": 1.0}
"""Where a dream begins by the option `start`, and with what chance inside a game. Without it, that
chance is the environment's `anywhere`."""


class _Dreams:
    """What `DreamEnv` and `DreamVectorEnv` share: a world, its spaces and the step of N dreams."""

    def __init__(
        self,
        world: str,
        temperature: Temperature | None,
        observation: str | None,
        continuous: bool | None,
        device: str,
        precision: str,
        form: str,
        anywhere: float,
        task: str | None,
    ):
        self.world = shared_world(world, str(device), precision, form)
        if task is not None:
            check_game(self.world, world, games.get(task), games.get(task).dream_id)
        game = self.world.game
        self.temperature = game.temperature if temperature is None else temperature
        self.observation = check_observation(
            game.observation if observation is None else observation, self.world
        )
        self.continuous = check_continuous(continuous, game)
        if not isinstance(anywhere, (int, float, np.number)) or not 0 <= anywhere <= 1:
            raise ValueError(f"anywhere is {anywhere!r}: give a probability, from 0 to 1")
        if anywhere:
            self.world.check_moments()
        self.anywhere = float(anywhere)
        self.observation_space = observation_space(self.world, self.observation)
        self.action_space = actions.space(game, self.continuous)

    @property
    def temperature(self) -> Temperature:
        """τ of the episodes that begin from now on, or the range from which each draws its own."""
        low, high = self.range
        return low if low == high else self.range

    @temperature.setter
    def temperature(self, temperature: Temperature) -> None:
        self.range = parse_temperature(temperature)

    def check_options(self, options: dict[str, Any] | None) -> tuple[float, float, float]:
        """Return the options of an episode, or else the usual values.

        They are the two ends of the range of temperatures, and the chance to begin inside a game.

        An unknown option may belong to a wrapper, so it is ignored. If its name looks like a
        misspelt option of ours, there is a warning.

        Raises:
            ValueError: if the options are not a dictionary or one of them is not valid.
        """
        options = check_mapping(options)
        for name in options.keys() - set(OPTIONS):
            if meant := difflib.get_close_matches(str(name), OPTIONS, 1, 0.75):
                gym.logger.warn(f"reset() has an option {name!r}: did you mean {meant[0]!r}?")
        anywhere = self.anywhere
        if "start" in options:
            start = options["start"]
            if not isinstance(start, str) or start not in STARTS:
                known = ", ".join(map(repr, STARTS))
                raise ValueError(f"start is {start!r}: choose one of {known}")
            if anywhere := STARTS[start]:
                self.world.check_moments()
        low, high = self.range
        if "temperature" in options:
            low, high = parse_temperature(options["temperature"])
        return low, high, anywhere

    def begin(
        self, seeds: np.ndarray, episodes: np.ndarray, options: dict[str, Any] | None
    ) -> tuple[State, torch.Tensor]:
        """Start dreams and return their state and temperatures (N, 1)."""
        low, high, anywhere = self.check_options(options)
        state = self.world.start(torch.from_numpy(seeds), torch.from_numpy(episodes), anywhere)
        return state, self.world.draw_temperature(state, low, high)

    def vectors(self, action: Any, dreams: int) -> np.ndarray:
        """Return so many actions as the vectors (N, A) that M takes."""
        vectors = actions.to_vectors(action, self.world.game, self.continuous)
        if len(vectors) != dreams:
            raise ValueError(f"{len(vectors)} actions for {dreams} environments: give one each")
        return vectors

    def observe(self, state: State) -> np.ndarray:
        """Return observations (N, …), a copy that later steps do not overwrite."""
        return self.world.show(state, self.observation)

    @staticmethod
    def numbers(tensor: torch.Tensor) -> np.ndarray:
        """Return a tensor as an array, in its memory if that is the CPU's."""
        return tensor.cpu().numpy()


class DreamEnv(gym.Env[np.ndarray, Any]):
    """
    ## Description
    A game inside a learned world, without the game's engine. The world consists of two networks
    that were trained on recordings of the real game. V, a variational autoencoder, encodes a frame
    as a latent vector z. M, a recurrent mixture-density network, takes z and an action, and
    predicts the next z and what the action brings, such as a hit. In a dream, a z drawn from M's
    prediction is M's next input. No picture is drawn unless `render()` or `observation="rgb"` asks
    for it.

    A dream is less exact than the real game: objects may appear, vanish or blur, and an agent may
    find actions that fool M. A higher `temperature` makes the dream less certain, and so harder to
    exploit. Known rules are not learned. In Doom a step is a tic (1/35 s), and a hit takes 21 times
    1 to 8 of 100 health, each of the eight equally likely. In CarRacing a step is a frame (1/50 s),
    and the dream counts the tiles of the track.

    ## Action Space
    The real game's.

    * Doom: `Discrete(3)`: 0 left, 1 stay, 2 right. With `continuous=True`:
      `Box(-1, 1, (1,), float32)`: below -1/3 left, above 1/3 right, else stay.
    * CarRacing: `Box([-1, 0, 0], [1, 1, 1], (3,), float32)`: steering (1 is right), gas, brake.
      With `continuous=False`: `Discrete(5)`: 0 nothing, 1 right, 2 left, 3 gas, 4 brake.

    Values beyond a `Box` are clipped to it. `step()` raises a `ValueError` for an action of another
    shape or type, a value that is not finite, and a number that is not among the discrete actions.

    ## Observation Space
    A float32 `Box` of one dimension, or a picture. h and c are M's hidden state and cell state from
    before M takes in the frame that z encodes, as in the paper.

    * `"z"`: z, within ±50. 64 numbers for Doom, 32 for CarRacing.
    * `"zh"`: [z, h], with h within ±1. 32 + 256 numbers for CarRacing, its default.
    * `"zhc"`: [z, c, h], in the order of the paper's code, with c within ± the game's step limit.
      64 + 512 + 512 numbers for Doom, its default.
    * `"rgb"`: V's picture of z, `Box(0, 255, (64, 64, 3), uint8)`.
    * `"own"`: of a dream of one's own game that shows numbers, the game's own observation,
      flattened and without ends.

    ## Rewards
    Doom: 1 for every step, the fatal one included. CarRacing: -0.1 a step, and 1000 / N for each
    new tile that M says the car touches, with N the number of tiles of a real track. A step that
    leaves the field pays -100 and nothing else. The step that ends a lap with tiles missed costs
    0.1 for each frame that is left of 1,000: in the real game the lap goes on that long, unless the
    car fetches them.

    ## Starting State
    The first frame of a recorded real game: z is sampled anew from V's distribution for this frame.
    M's h and c are zero. `reset(options={"start": "anywhere"})` begins inside a recorded game
    instead, at one of the few thousand moments that the world keeps. There, h and c are what M made
    of the game so far, and the counts are the game's.

    ## Episode Termination
    Terminates when the dreamt player is dead, the lap is over or the car has left the field.
    `gym.make` truncates after the real game's limit: 2,100 steps for Doom, 1,000 for CarRacing.
    `max_episode_steps` changes this limit. It counts from `reset()`, also in a dream that begins
    inside a game.

    ## Arguments
    An argument that is not valid raises a `ValueError` that says what to give instead.

    * `temperature`: τ ≥ 0, or a range `(low, high)` from which each episode draws its own τ. It
      divides M's mixture logits and multiplies the variances of the Gaussians. At 0, z is the mean
      of the likeliest Gaussian. Default: 1.15 for Doom (the paper's) and 1 for CarRacing. To change
      τ for one episode, use `reset(options={"temperature": τ})`. To change it from the next episode
      on, set the attribute `temperature`, by `set_wrapper_attr` or by a batch's `set_attr`.
    * `observation`: `"z"`, `"zh"`, `"zhc"`, `"rgb"` or `"own"`.
    * `continuous`: `True` for the `Box` of actions, `False` for the `Discrete`.
    * `world`: the name of a shipped world, or a folder with a world of the same game.
    * `device`: where V and M run, such as `"cpu"` or `"cuda"`.
    * `precision`: the numbers of M's matrix products, `"float32"` (default) or `"bfloat16"`. On a
      processor with instructions for it, bfloat16 is up to 1.4 times as fast in batches of 1,024
      dreams or more. A single dream is less than half as fast in it. The dreams differ in their
      bits, but have the same distribution. `"fastest"` is meant for large batches: it is bfloat16
      if the device has such instructions, and float32 where V sees numbers, which are exact.
    * `form`: how M's step is computed, `"auto"` (default), `"torch"` or `"compiled"`. The last is
      for large batches on a GPU. See `dreamgym.world.FORMS`.
    * `anywhere`: the chance of each dream to begin inside a recorded game, as with the option
      `start`. An agent that learns in such dreams meets early what else takes long to reach.
    * `render_mode`: `"rgb_array"` for V's picture, uint8 (64, 64, 3), or `"human"` for a window.
    * `task`: the game that the id stands for. A `world` of another game is refused.

    ## Information
    `temperature`: the episode's τ. Doom: `health`, the health that is left, 0 to 100. CarRacing:
    `tiles_left`, the number of tiles that the dream has not paid for yet, and `tiles_missed`, how
    many of them the car has passed by.

    ## Reproducibility
    A dream is a function of its arguments, the seed and the actions. On a CPU, the k-th episode
    after `reset(seed=s + i)` is, bit for bit, the k-th episode in lane i of a `DreamVectorEnv` that
    was reset with seed s. On a GPU, a batch of another size may round differently. So may V's
    pictures on a GPU, in bfloat16 or by another `form`: one or two numbers in a million differ by
    1.

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
        world: str = "",
        temperature: Temperature | None = None,
        observation: str | None = None,
        continuous: bool | None = None,
        device: str = "cpu",
        precision: str = "float32",
        form: str = "auto",
        anywhere: float = 0.0,
        render_mode: str | None = None,
        task: str | None = None,
    ):
        check_render_mode(render_mode)
        self._dreams = _Dreams(
            world, temperature, observation, continuous, device, precision, form, anywhere, task
        )
        if render_mode:
            self._dreams.world.vae()
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
        """τ of the episodes that begin from now on, or the range from which each draws its own."""
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
        vectors = self._dreams.vectors([action], 1)
        state, self._state = self._state, None  # an interrupted step leaves nothing to go on with
        self._state, reward, dead = self.world.advance(state, vectors, self._temperature)
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
        """Return everything that the rest of the episode depends on, for `restore()`.

        A search that needs many branches may instead take `copy.deepcopy` of the environment. The
        copies share the world, and each has its own state.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset()`.
        """
        if self._state is None:
            raise gym.error.ResetNeeded("snapshot() before reset(): call reset() first")
        return copy.deepcopy({name: getattr(self, name) for name in SNAPSHOT})

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot. The same actions then give the same dream, bit for bit.

        Raises:
            ValueError: if `snapshot()` has not made it, or if its world has other sizes of z and h.
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

    def __copy__(self) -> DreamEnv:
        """Return a copy with a state of its own, since a step overwrites the state."""
        return copy.deepcopy(self)

    def _info(self) -> dict[str, Any]:
        assert self._state is not None
        counts = zip(self.world.rules.counts, self._state.counts[0].tolist(), strict=False)
        return {"temperature": self._temperature.item(), **dict(counts)}


def make_dream(world: str = "", **kwargs: Any) -> gym.Env[np.ndarray, Any]:
    """Return a dream of any world with its game's limit of steps: the entry point of `Dream-v0`.

    `gym.make(…, max_episode_steps=…)` can only shorten the episodes: the game's limit stays.

    Args:
        world: the name of a shipped world, or a folder.
        **kwargs: see `DreamEnv`.
    """
    dream = DreamEnv(world, **kwargs)
    return gym.wrappers.TimeLimit(dream, dream.world.game.max_steps)


# Gymnasium reads the render modes from the entry point before it calls it.
make_dream.metadata = DreamEnv.metadata  # type: ignore[attr-defined]


class DreamVectorEnv(VectorEnv[np.ndarray, Any, np.ndarray]):
    """N dreams as one batch. `DreamEnv` describes a dream and the other arguments.

    On a CPU, lane i of a batch that was reset with seed s is, bit for bit, a `DreamEnv` that was
    reset with seed s + i. The dreams of a batch share their world and their settings. `reset()`
    also takes N seeds. Its option `reset_mask`, a bool array (N,), says which lanes to reset.

    Args:
        num_envs: the number of dreams, N.
        max_episode_steps: steps after which an episode is truncated; -1 for no limit. Default: the
            game's own limit.
        autoreset_mode: `SAME_STEP` (default), `NEXT_STEP` or `DISABLED`. With `SAME_STEP`, the last
            observation and info of a finished episode are in `infos["final_obs"]` and
            `infos["final_info"]`.

    Raises:
        ValueError: if an argument is not valid, or if N dreams do not fit into the memory.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 35,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        world: str = "",
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        temperature: Temperature | None = None,
        observation: str | None = None,
        continuous: bool | None = None,
        device: str = "cpu",
        precision: str = "float32",
        form: str = "auto",
        anywhere: float = 0.0,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        task: str | None = None,
    ):
        num_envs = whole(num_envs, "num_envs is {!r}: give a whole number, 1 or more")
        check_render_mode(render_mode)
        self._dreams = _Dreams(
            world, temperature, observation, continuous, device, precision, form, anywhere, task
        )
        self._dreams.world.check_room(num_envs)
        if render_mode:
            self._dreams.world.vae()
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
        self._first = np.zeros(num_envs, np.int64)  # the step of the game at which each began

    @property
    def world(self) -> World:
        return self._dreams.world

    @property
    def temperature(self) -> Temperature:
        """τ of the episodes that begin from now on, or the range from which each draws its own."""
        return self._dreams.temperature

    @temperature.setter
    def temperature(self, temperature: Temperature) -> None:
        self._dreams.temperature = temperature

    @property
    def limit(self) -> float:
        """Steps after which an episode is truncated; infinity for no limit."""
        return self._limit

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._limit = step_limit(limit, self._usual)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute N times, once for each dream, because all dreams share it."""
        return (getattr(self, name),) * self.num_envs

    def set_attr(self, name: str, values: Any) -> None:
        """Set `temperature` (from each dream's next episode on), `limit` or `render_mode`.

        Args:
            values: one value for all dreams.

        Raises:
            AttributeError: if the attribute does not exist or may not be set.
            ValueError: if the value is not valid for this attribute.
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
        vectors = self._dreams.vectors(actions, self.num_envs)
        before, self._state = self._state, None  # an interrupted step leaves nothing to go on with
        state, reward, terminated = self.world.advance(before, vectors, self._temperature)
        truncated = self._dreams.numbers(state.step) - self._first >= self.limit
        self._state = state
        if waiting.any():  # NEXT_STEP: this step only resets these lanes and ignores their actions
            reward[waiting], terminated[waiting], truncated[waiting] = 0, False, False
            self._episodes[waiting] += 1
            self._begin(waiting)
        self._over = terminated | truncated
        infos: dict[str, Any] = {}
        observation = self._dreams.observe(self._state)
        if self._over.any() and self.autoreset_mode is AutoresetMode.SAME_STEP:
            infos = self._final(observation)
            over = self._over.copy()
            self._episodes[over] += 1
            observation[over] = self._dreams.observe(self._begin(over))
        return observation, reward, terminated, truncated, infos | self._info()

    def render(self) -> tuple[np.ndarray, ...] | None:
        if self.render_mode is None:
            return None
        if self._state is None:
            raise gym.error.ResetNeeded("render() before reset(): call reset() first")
        return tuple(self.world.decode(self._state.z).cpu().numpy())

    def __copy__(self) -> DreamVectorEnv:
        """Return a copy with a state of its own, since a step overwrites the state."""
        return copy.deepcopy(self)

    def _begin(self, lanes: np.ndarray, options: dict[str, Any] | None = None) -> State:
        """Start an episode in each lane of a mask (N,), and return the new episodes' states.

        The options hold for these episodes alone.
        """
        state, temperature = self._dreams.begin(self._seeds[lanes], self._episodes[lanes], options)
        self._first[lanes] = self._dreams.numbers(state.step)
        if self._state is None:
            self._state, self._temperature = state, temperature
        else:
            rows = torch.from_numpy(lanes).to(self.world.device)
            self._state.put(rows, state)
            self._temperature[rows] = temperature
        self._over[lanes] = False
        return state

    def _mask(self, options: dict[str, Any]) -> np.ndarray:
        everyone = np.ones(self.num_envs, bool)
        mask = options.get("reset_mask", everyone)
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != everyone.shape:
            raise ValueError(f"reset_mask is {mask!r}: give a bool array ({self.num_envs},)")
        if not mask.any():
            raise ValueError("reset_mask asks for no environment: give True for one or more")
        if self._state is None and not mask.all():
            raise gym.error.ResetNeeded(
                "the first reset() must reset every environment: leave out reset_mask"
            )
        return mask

    def _final(self, observations: np.ndarray) -> dict[str, Any]:
        """Return the last observations and infos of finished episodes, under Gymnasium's keys."""
        final = np.full(self.num_envs, None, dtype=object)
        for lane in np.flatnonzero(self._over):
            final[lane] = observations[lane].copy()
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

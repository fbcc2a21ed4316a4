"""Dreams and their twins, the real games, as vectorised environments of Stable-Baselines3."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn
from torch import nn

import dreamgym  # noqa: F401
from dreamgym.checkpoint import shared_world
from dreamgym.envs import actions, seeds
from dreamgym.envs.arguments import parse_temperature
from dreamgym.envs.dream import DreamVectorEnv
from dreamgym.envs.real import RealVectorEnv
from dreamgym.envs.spaces import (
    check_actions,
    check_frames,
    check_game,
    check_observation,
    observation_space,
    spread,
)
from dreamgym.games import GAMES, Game, get
from dreamgym.twin import Twin

BATCHES = ("dreamgym.envs.dream:DreamVectorEnv", "dreamgym.envs.twins:TwinVectorEnv")
"""The vector entry points of every registered dream and twin."""
PACE = 0.05
"""How far C's weights move for each step of the optimiser, against those of its critic. C has many
weights, each on an input, so that all of them together move its outputs far; its critic has to
learn at the usual rate, or C follows a wrong one. Our choice, from a trial in CarRacing
(`training/LOG.md`)."""
NOISE = 0.1
"""Standard deviation of the noise on C's outputs when it begins to learn. Our choice: small enough
for a car that drives well to stay on the road."""


class DreamVecEnv(VecEnv):
    """N dreams as one batch, computed together; or N real games, as twins or by their pixels.

    `PPO("MlpPolicy", DreamVecEnv("DreamDoom-v0", num_envs=64, temperature=1.15))`
    `PPO("MlpPolicy", DreamVecEnv("LatentDoom-v0", num_envs=16))`
    `PPO("CnnPolicy", DreamVecEnv("PixelDoom-v0", num_envs=16))`

    Real games run in worker processes, so in a script make them below `if __name__ == "__main__":`.

    Args:
        id: the id of a registered dream, twin or real game; `"module:id"` imports a module first,
            as in `gym.make`.
        num_envs: the number of dreams or real games, N.
        **kwargs: arguments of the dream, see `dreamgym.envs.dream.DreamEnv`, or of the twins, see
            `dreamgym.envs.twins.TwinVectorEnv`, or of the real games, see
            `dreamgym.envs.real.RealVectorEnv`.

    Raises:
        ValueError: if `id` is none of them, or an argument is not valid.
    """

    def __init__(self, id: str, num_envs: int = 64, **kwargs: Any):
        if not isinstance(id, str):
            raise ValueError(f"id is {id!r}: give a string, such as 'Dream-v0'")
        module, _, name = id.rpartition(":")
        if module:
            importlib.import_module(module)
        real = [game.many for game in GAMES.values() if game.many]
        if gym.spec(name).vector_entry_point not in (*BATCHES, *real):
            ids = [(game.dream_id, game.latent_id, game.pixel_id) for game in GAMES.values()]
            known = ", ".join(sum(ids, ()))
            raise ValueError(
                f"{id} is no dream, no twin and no real game of ours: give an id such as {known}"
            )
        self.dreams: DreamVectorEnv | RealVectorEnv = gym.make_vec(
            id, num_envs, vectorization_mode="vector_entry_point",
            autoreset_mode=AutoresetMode.SAME_STEP, **kwargs,
        ).unwrapped  # type: ignore[assignment]  # fmt: skip
        super().__init__(
            self.dreams.num_envs,
            self.dreams.single_observation_space,
            self.dreams.single_action_space,
        )
        self.metadata = self.dreams.metadata

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed dream i with seed + i, at the next reset. None draws a seed at random."""
        return super().seed(seeds.one(seed))

    def reset(self) -> np.ndarray:
        if any(options != self._options[0] for options in self._options):
            raise ValueError("set_options: the lanes of a batch share their options, give a dict")
        observations, infos = self.dreams.reset(
            seed=list(self._seeds), options=self._options[0] or None
        )
        self.reset_infos = apart(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, terminated, truncated, came = self.dreams.step(self._actions)
        dones, over = terminated | truncated, came.pop("final_info", {})
        final = came.pop("final_obs", None)
        infos = apart(came, self.num_envs)
        for lane in np.flatnonzero(dones):
            infos[lane] = {key: over[key][lane].item() for key in infos[lane]} | {
                "terminal_observation": final[lane],
                "TimeLimit.truncated": bool(truncated[lane] and not terminated[lane]),
            }
        return observations, rewards, dones, infos

    def close(self) -> None:
        self.dreams.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        return self.dreams.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self.dreams, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        if set(self._get_indices(indices)) != set(range(self.num_envs)):
            raise ValueError("set_attr: the lanes of a batch share their attributes, omit indices")
        self.dreams.set_attr(attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        result = getattr(self.dreams, method_name)(*args, **kwargs)
        return [result] * len(list(self._get_indices(indices)))

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        return [False] * len(list(self._get_indices(indices)))


def apart(infos: dict[str, Any], lanes: int) -> list[dict[str, Any]]:
    """Split the info of a batch into one dict of plain numbers for each lane."""
    columns = {key: infos[key].tolist() for key in infos if not key.startswith("_")}
    return [{name: column[lane] for name, column in columns.items()} for lane in range(lanes)]


class Scaled(BaseFeaturesExtractor):
    """Standardise each number of an observation, and clip it.

    The numbers have very different scales: M's cell state varies a hundred times as much as some
    of V's latents. The means and standard deviations are part of the policy. So they are saved
    with it, and stay the same when it plays the real game.

    Args:
        mean, spread: the means and the standard deviations (I,), as `scaled` measures them.
        clip: standard deviations beyond which a number is clipped; 0: none is.

    Raises:
        ValueError: if their number is not the number I of values in an observation.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(
        self, observation_space: gym.spaces.Box, mean: Sequence[float], spread: Sequence[float],
        clip: float = 10.0,
    ):  # fmt: skip
        if not (len(mean),) == (len(spread),) == observation_space.shape:
            raise ValueError(
                f"{len(mean)} means and {len(spread)} spreads for observations of the shape "
                f"{observation_space.shape}: measure them for this observation"
            )
        super().__init__(observation_space, len(mean))
        self.clip = clip
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("spread", torch.tensor(spread, dtype=torch.float32))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        scaled = (observations - self.mean) / self.spread
        return scaled.clamp(-self.clip, self.clip) if self.clip else scaled


class UnitPolicy(ActorCriticPolicy):
    """A policy of PPO or A2C that acts from -1 to 1, which Stable-Baselines3 maps to the action's
    range.

    Its own policies act in the game's units and begin around 0 with a standard deviation of 1, so
    they never meet an action between 15 and 30, nor most of those between -1,000 and 1,000.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._squash_output = True  # its word for actions that are to be mapped

    def unscale_action(self, scaled_action: np.ndarray) -> np.ndarray:
        return super().unscale_action(np.clip(scaled_action, -1, 1))


class ControllerPolicy(ActorCriticPolicy):
    """C, the paper's controller, as the policy of PPO or A2C: one layer with tanh, and a critic.

    PPO follows the gradient of C's own weights, where CMA-ES only compares controllers.

    `PPO(ControllerPolicy, DreamVecEnv(id, continuous=True), policy_kwargs={"task": "doom"})`

    Args:
        *args: those of Stable-Baselines3's `ActorCriticPolicy`.
        **kwargs: those of Stable-Baselines3's `ActorCriticPolicy`.
        task: the game, whose C it is.
        noise: standard deviation with which C's outputs vary at first, so that PPO can compare.

    Raises:
        ValueError: if the actions are not the game's continuous ones, or there are hidden layers.
    """

    action_net: _Outputs

    def __init__(self, *args: Any, task: str, noise: float = NOISE, **kwargs: Any):
        self.task, self.noise = task, noise
        extractor = kwargs.pop("features_extractor_kwargs", None) or {}
        if kwargs.get("features_extractor_class") is Scaled:
            centred = {} if get(task).bias else {"mean": [0.0] * len(extractor["mean"])}
            extractor = extractor | centred | {"clip": 0.0}  # C has no clip, and bias or no mean
        words: dict[str, Any] = {
            "net_arch": {"pi": [], "vf": [64, 64]}, "log_std_init": math.log(noise),
        }  # fmt: skip
        super().__init__(*args, **words | kwargs | {"features_extractor_kwargs": extractor})

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        game, space = get(self.task), self.action_space
        if not isinstance(space, gym.spaces.Box) or space.shape != (len(game.low),):
            raise ValueError(
                f"the actions are {space}, C needs those of {game.called} as numbers: make the "
                "dreams with continuous=True"
            )
        if len(self.mlp_extractor.policy_net):
            raise ValueError("net_arch has hidden layers for the policy: C has none")
        self.action_net = _Outputs(self.mlp_extractor.latent_dim_pi, game)
        words: Any = self.optimizer_kwargs | {"lr": lr_schedule(1)}
        self.optimizer = self.optimizer_class(self.parameters(), **words)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"task": self.task, "noise": self.noise}

    @property
    def weights(self) -> torch.Tensor:
        """C's weights (P,), see `dreamgym.models.controller.Controller`."""
        mean, spread = self._scales()
        layer = self.action_net.layer
        pace = self.action_net.pace
        weight = pace * layer.weight.detach() / spread  # (A, I), for observations as they come
        bias = () if layer.bias is None else (pace * layer.bias.detach() - weight @ mean,)
        return torch.cat((weight.flatten(), *bias)).cpu()

    @weights.setter
    def weights(self, weights: torch.Tensor) -> None:
        mean, spread = self._scales()
        layer = self.action_net.layer
        weight, bias = weights.to(spread.device).split(
            (layer.weight.numel(), len(weights) - layer.weight.numel())
        )
        weight = weight.view_as(layer.weight)
        with torch.no_grad():
            layer.weight.copy_(weight * spread / self.action_net.pace)
            if layer.bias is not None:
                layer.bias.copy_((bias + weight @ mean) / self.action_net.pace)

    def _scales(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the means and the standard deviations (I,) by which C's inputs are scaled."""
        if isinstance(scaled := self.pi_features_extractor, Scaled):
            return scaled.mean, scaled.spread
        like = self.action_net.layer.weight[0].detach()
        return torch.zeros_like(like), torch.ones_like(like)


class _Outputs(nn.Module):
    """C's outputs, each as the game takes it: some are stretched to their range."""

    pace: torch.Tensor

    def __init__(self, inputs: int, game: Game):
        super().__init__()
        self.layer = nn.Linear(inputs, len(game.low), bias=game.bias)
        nn.init.zeros_(self.layer.weight)
        if game.bias:
            nn.init.zeros_(self.layer.bias)
        self.register_buffer("pace", torch.tensor(PACE))  # saved: a file of another pace is refused
        stretched = torch.tensor([part in game.stretched for part in range(len(game.low))])
        for name, part in zip(("low", "high"), game.box, strict=True):
            self.register_buffer(name, torch.from_numpy(part), persistent=False)
        self.register_buffer("stretched", stretched, persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = torch.tanh(self.pace * self.layer(inputs))
        ranged = self.low + (self.high - self.low) * ((outputs + 1) / 2)  # type: ignore[operator]
        return torch.where(self.stretched, ranged, outputs)  # type: ignore[arg-type]


def scaled(id: str, **kwargs: Any) -> dict[str, Any]:
    """Return `policy_kwargs` by which a policy standardises its observations with `Scaled`.

    Means and standard deviations are measured in 256 dreams of 200 random actions.

    `PPO("MlpPolicy", DreamVecEnv(id, 64), policy_kwargs=scaled(id))`

    Args:
        id: the id of a registered dream.
        **kwargs: arguments of the dream, the same as for `DreamVecEnv`.

    Raises:
        ValueError: if the observations are pictures (`"rgb"`), or as `DreamVecEnv` does.
    """
    dreams = DreamVecEnv(id, 1, **kwargs).dreams
    if not isinstance(dreams, DreamVectorEnv):
        dreams.close()
        raise ValueError(f"{id} is no dream: measure in the dream of the same world")
    seen = dreams.single_observation_space
    if seen.dtype == np.uint8:
        raise ValueError(
            f"these dreams show pictures {seen.shape}, which a CnnPolicy "
            "scales itself: leave out scaled(), or choose observation 'z', 'zh' or 'zhc'"
        )
    kind = kwargs.get("observation") or dreams.world.game.observation
    mean, deviation = spread(dreams.world, kind, *parse_temperature(dreams.temperature))
    extractor = {"mean": mean.tolist(), "spread": deviation.tolist()}
    return {"features_extractor_class": Scaled, "features_extractor_kwargs": extractor}


class VecLatentObservation(VecEnvWrapper):
    """Turn the frames of N real games into the observations of their dream, as one batch.

    The games may run in worker processes; V and M run in this one. See
    `dreamgym.wrappers.LatentObservation` for a single game.

    Args:
        venv: environments with uint8 frames (64, 64, 3), such as
            `make_vec_env("PixelDoom-v0", 8, vec_env_cls=SubprocVecEnv)`.
        world: the name of a shipped world, or a folder with a world of the environments' game.
        observation: `"z"`, `"zh"`, `"zhc"`, `"rgb"` (V's picture of the frame) or `"own"`, as in
            `dreamgym.envs.dream.DreamEnv`; None for the game's default.
        device: where V and M run, such as `"cpu"` or `"cuda"`.

    Raises:
        ValueError: if the environments show other frames, have other actions than the world's
            game, or are another game; also if the world, the device or the observation is not
            valid.
    """

    def __init__(
        self, venv: VecEnv, world: str, observation: str | None = None, device: str = "cpu"
    ):
        self.world = shared_world(world, str(device))
        check_frames(venv.observation_space, self.world.game, "the environments show")
        if venv.has_attr("game") and isinstance(game := venv.get_attr("game", 0)[0], Game):
            check_game(self.world, world, game, game.pixel_id)
        check_actions(venv.action_space, self.world.game)
        kind = self.world.game.observation if observation is None else observation
        self._twin = Twin(self.world, check_observation(kind, self.world))
        self.continuous = isinstance(venv.action_space, gym.spaces.Box)
        super().__init__(venv, observation_space(self.world, kind), venv.action_space)
        self._begun = False
        self._keys = np.random.default_rng().integers(2**31, size=self.num_envs)
        self._episodes = np.zeros(self.num_envs, np.int64)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed game i, and V's noise for it, with seed + i, at the next reset."""
        taken = self.venv.seed(seeds.one(seed))
        self._keys = np.array(
            [own % seeds.SEED_RANGE for own in taken if own is not None], np.int64
        )
        self._episodes = np.full(self.num_envs, -1)
        return taken

    def reset(self) -> np.ndarray:
        frames = np.asarray(self.venv.reset())
        self._episodes += 1
        self._twin.begin(frames, self._keys, self._episodes)
        self._begun = True
        return self._observations()

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        if not self._begun:
            raise gym.error.ResetNeeded("step() before reset(): call reset() first")
        came, rewards, dones, infos = self.venv.step_wait()
        frames, over = np.asarray(came), np.flatnonzero(dones)
        vectors = actions.to_vectors(self._actions, self.world.game, self.continuous)
        seen = frames.copy()
        for lane in over:
            seen[lane] = infos[lane]["terminal_observation"]
        self._twin.follow(vectors, seen)
        observations = self._observations()
        if len(over):
            for lane in over:
                infos[lane]["terminal_observation"] = observations[lane].copy()
            self._episodes[over] += 1
            self._twin.begin(frames[over], self._keys[over], self._episodes[over], over)
            observations = self._observations()
        return observations, rewards, dones, infos

    def _observations(self) -> np.ndarray:
        return self._twin.show()

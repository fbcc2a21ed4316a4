"""The acting part of an algorithm of Stable-Baselines3, as an agent that needs no pickle."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import gymnasium as gym
import torch
from torch import nn

from dreamgym.models.agent import ACTIVATIONS, Agent, AgentConfig
from dreamgym.sb3 import Scaled, UnitPolicy

ACTING = {
    gym.spaces.Discrete: "moves",
    gym.spaces.MultiDiscrete: "parts",
    gym.spaces.MultiBinary: "bits",
    gym.spaces.Box: "box",
}
"""How a policy of PPO or A2C acts in a space of actions, see `models.agent.ACTS`."""


def exported(model: Any, observation: str) -> Agent:
    """Return the agent by which a trained algorithm acts when it does not explore.

    Args:
        model: PPO, A2C, DQN, SAC or TD3 with an `MlpPolicy`.
        observation: the kind of observation that it takes.

    Raises:
        ValueError: if it acts by another kind of network, such as a recurrent one.
    """
    policy, found = model.policy, _network(model.policy)
    if found is None:
        raise ValueError(f"{type(policy).__name__} is no network of hidden layers alone")
    extractor, modules, acts = found
    layers = [module for module in modules if isinstance(module, nn.Linear)]
    between = {type(module) for module in modules if not isinstance(module, nn.Linear)}
    names = [name for name, kind in ACTIVATIONS.items() if {kind} == between]
    sizes = {layer.out_features for layer in layers[:-1]}
    fits = all(a.out_features == b.in_features for a, b in pairwise(layers))
    if len(names) != bool(between) or len(sizes) > 1 or not fits:
        raise ValueError(f"{type(policy).__name__} has layers that an agent has not")
    scaled = isinstance(extractor, Scaled)
    clip = float(extractor.clip) if scaled else 0.0  # type: ignore[arg-type]
    config = AgentConfig(
        layers[0].in_features, int(layers[-1].out_features), sizes.pop() if sizes else 1,
        len(layers) - 1, names[0] if names else "tanh", acts, clip, observation,
        tuple(policy.action_space.nvec.tolist()) if acts == "parts" else (),
    )  # fmt: skip
    agent = Agent(config)
    with torch.no_grad():
        for ours, theirs in zip(agent.layers, layers, strict=True):
            ours.load_state_dict(theirs.state_dict())
        if not agent.discrete:
            agent.low.copy_(torch.from_numpy(policy.action_space.low))
            agent.high.copy_(torch.from_numpy(policy.action_space.high))
        if scaled:
            agent.mean.copy_(extractor.mean)  # type: ignore[arg-type]
            agent.spread.copy_(extractor.spread)  # type: ignore[arg-type]
    return agent.eval()


def _network(policy: Any) -> tuple[nn.Module, list[nn.Module], str] | None:
    """Return what extracts features, the layers in order, and how they act; None if unknown."""
    acts = ACTING.get(type(policy.action_space))
    if hasattr(policy, "lstm_actor") or not acts:
        return None
    if hasattr(policy, "action_net"):  # PPO, A2C
        layers = [*policy.mlp_extractor.policy_net, policy.action_net]
        acts = "unit" if isinstance(policy, UnitPolicy) else acts
        return policy.pi_features_extractor, layers, acts
    if type(policy).__name__ == "DQNPolicy":
        return policy.q_net.features_extractor, list(policy.q_net.q_net), "moves"
    actor: Any = getattr(policy, "actor", None)
    if hasattr(actor, "latent_pi"):  # SAC
        return actor.features_extractor, [*actor.latent_pi, actor.mu], "squashed"
    if isinstance(getattr(actor, "mu", None), nn.Sequential):  # TD3, whose last module is a tanh
        return actor.features_extractor, list(actor.mu)[:-1], "squashed"
    return None

"""Let a policy play a batch of dreams, one for each seed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from dreamgym.world import World

from .policies import Policy

PAUSE = 50
"""Steps on a GPU between two checks for dreams that have ended.

Until the next check an ended dream is still computed, but its rewards no longer count.
"""


class Played(NamedTuple):
    """What became of N dreams."""

    returns: Tensor  # (N,) float32
    lengths: Tensor  # (N,) int64
    terminated: Tensor  # (N,) bool, false if a dream was cut off
    counts: Tensor  # (N, C), at the end, see `games.rules.Rules`


def play(
    world: World,
    policy: Policy,
    seeds: Tensor,
    low: float,
    high: float,
    limit: int = 0,
    progress: bool = False,
    pause: int = 0,
    anywhere: float = 0.0,
    short: int = 0,
) -> Played:
    """Play one dream for each seed, and return what became of them.

    Dreams that have ended are removed from the batch, and then cost no time.

    Args:
        seeds: (N,) int64.
        low, high: ends of the temperature's range.
        limit: steps after which dreams are cut off; 0: only the game's own limit applies.
        pause: steps between two checks for ended dreams; a check has to wait for a GPU. 0: 1 on a
            CPU, `PAUSE` elsewhere. The result does not depend on it.
        anywhere: the chance of each dream to begin inside a game, see `World.start`.
        short: steps after which these dreams are cut off; 0: as the others.
    """
    seeds = seeds.to(world.device)
    returns, lengths = torch.zeros_like(seeds, dtype=torch.float32), torch.zeros_like(seeds)
    rows, alive = torch.arange(len(seeds), device=world.device), torch.ones_like(seeds).bool()
    pause = pause or (1 if world.device.type == "cpu" else PAUSE)
    policy.begin(seeds)
    state = world.start(seeds, anywhere=anywhere)
    temperature = world.draw_temperature(state, low, high)
    most = min(limit or world.game.max_steps, world.game.max_steps)
    inside = state.step > 0
    terminated, counts = torch.zeros_like(seeds).bool(), state.counts.clone()
    ends = torch.where(inside, (state.step + (short or most)).clamp_max(world.game.max_steps), most)
    for step in tqdm(range(most), "dream", unit=" steps", disable=not progress):
        seen = world.observe(state, policy.observation) if policy.observation else state.z
        state, reward, dead = world.step(state, policy.act(seen), temperature)
        returns[rows] += reward * alive
        lengths[rows] += alive
        terminated[rows] |= dead & alive
        counts[rows[alive]] = state.counts[alive]
        alive &= ~dead & (state.step < ends)
        if (step + 1) % pause == 0 and not alive.all():
            policy.keep(alive)
            state, temperature = state[alive], temperature[alive]
            rows, ends = rows[alive], ends[alive]
            alive = alive[alive]
        if not len(rows):
            break
    return Played(returns.cpu(), lengths.cpu(), terminated.cpu(), counts.cpu())

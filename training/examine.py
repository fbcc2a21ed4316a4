"""Whether a world is right for the right reasons, before any controller learns in it.

V: are the small things there that decide over life and death? M: are hits and deaths foreseen on
episodes that it has not seen, are its probabilities honest, does a free dream last as long as the
real game, and does it pay there to dodge?
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from dreamgym import noise
from dreamgym.models.memory import log_likelihood
from dreamgym.models.vision import VAE
from dreamgym.models.vision import sample as sample_latent
from dreamgym.world import State, World

from .collect import random_policy
from .evaluate import VALIDATION
from .latents import Latents

HORIZONS = (1, 10, 50)
"""Steps ahead at which a hit is foretold."""
DREAMS = 8
"""Dreams that are averaged for a forecast."""
NEAR = 4.0
"""Fireballs at least this many frame pixels wide are near."""
CONTRAST = 0.5
"""A reconstruction shows an object if it keeps this share of its contrast to the scene around."""


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the probability that a positive outranks a negative (Mann, Whitney)."""
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # ties share their mean rank
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def kolmogorov(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest distance of two samples' distribution functions (Kolmogorov, Smirnov)."""
    grid = np.concatenate((a, b))
    below = [np.searchsorted(np.sort(x), grid, side="right") / len(x) for x in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def vision(v: VAE, task_id: str, episodes: int = 20, seed: int = VALIDATION) -> dict[str, float]:
    """Return V's error and how many of the visible monsters and fireballs it rebuilds.

    An object counts as rebuilt if, along the real picture's contrast between the object's box and
    the ring around it, the reconstruction keeps half.
    """
    env = gym.make(task_id, continuous=True, labels=True).unwrapped
    frames, boxes = [], []
    for index in range(episodes):
        frame, info = env.reset(seed=seed + index)
        act, over, t = random_policy(seed + index), False, 0
        while not over:
            if t % 10 == 0:
                frames.append(frame)
                boxes.append(info["labels"])
            frame, _, terminated, truncated, info = env.step(np.array([act(None)], np.float32))
            over, t = terminated or truncated, t + 1
    env.close()
    real = torch.from_numpy(np.stack(frames))
    with torch.no_grad():
        parts = [v.decode(v.encode(batch)[0]).permute(0, 2, 3, 1) for batch in real.split(256)]
    rebuilt = torch.cat(parts).numpy()
    pixels = real.numpy() / 255.0
    error = float(np.square(rebuilt - pixels).sum((1, 2, 3)).mean())
    kept: dict[str, list[bool]] = {"monster": [], "near_fireball": [], "far_fireball": []}
    for truth, guess, objects in zip(pixels, rebuilt, boxes, strict=True):
        for name, x, y, width, height in objects:
            shown = contrast(truth, guess, x, y, width, height)
            if shown is None:
                continue
            if name == "DoomImpBall":
                kept["near_fireball" if width >= NEAR else "far_fireball"].append(shown)
            elif name == "DoomImp":
                kept["monster"].append(shown)
    recall = {f"recall_{kind}": float(np.mean(hits)) for kind, hits in kept.items() if hits}
    counts = {f"seen_{kind}": float(len(hits)) for kind, hits in kept.items()}
    return {"error": error, "frames": float(len(frames)), **recall, **counts}


def contrast(
    truth: np.ndarray, guess: np.ndarray, x: float, y: float, width: float, height: float
) -> bool | None:
    """Return whether `guess` shows what is in a box of `truth`; None if it is too faint."""
    size = truth.shape[0]
    left, top = max(0, int(x)), max(0, int(y))
    right, bottom = min(size, int(np.ceil(x + width))), min(size, int(np.ceil(y + height)))
    if right <= left or bottom <= top:
        return None
    outer = (slice(max(0, top - 2), bottom + 2), slice(max(0, left - 2), right + 2))
    ring = np.ones(truth.shape[:2], bool)
    ring[top:bottom, left:right] = False
    ring = ring[outer]
    if not ring.any():
        return None

    def signal(picture: np.ndarray) -> np.ndarray:
        return picture[top:bottom, left:right].mean((0, 1)) - picture[outer][ring].mean(0)

    real = signal(truth)
    strength = float(real @ real)
    if strength < 0.05**2:
        return None
    return float(signal(guess) @ real) > CONTRAST * strength


@torch.no_grad()
def memory(world: World, latents: Latents, episodes: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Return held-out likelihood, and how well hits and deaths are foretold and their odds kept."""
    scores: dict[int, list[np.ndarray]] = {k: [] for k in HORIZONS}
    labels: dict[int, list[np.ndarray]] = {k: [] for k in HORIZONS}
    odds, hits, deaths, died, likelihood = [], [], [], [], []
    starts, lengths = latents.starts, latents.lengths
    heads = world.memory.config.heads
    for episode in episodes:
        first, length = int(starts[episode]), int(lengths[episode])
        rows = slice(first, first + length)
        mean, logvar = latents.mean[rows].float(), latents.logvar[rows].float()
        keys = noise.key(torch.full((length,), seed), torch.full((length,), int(episode)))
        z = sample_latent(mean, logvar, noise.normal(keys, torch.arange(length), mean.shape[1]))
        action, hit = latents.action[rows], latents.hit[rows].numpy()
        out, _ = world.memory.unroll(z[None], action[None])
        prediction = world.memory.predict(out)
        chance = torch.sigmoid(prediction.heads[0])
        odds.append(chance[:, heads.index("hit")].numpy())
        hits.append(hit)
        if "death" in heads:
            deaths.append(chance[:, heads.index("death")].numpy())
            died.append(latents.death[rows].numpy())
        parts = type(prediction)(*(part[0, :-1] for part in prediction))
        likelihood.append(float(log_likelihood(parts, z[1:]).mean()))
        moments = np.arange(0, length - 1, 10)
        forecast = _forecast(world, z, action, out[0], moments, int(episode))
        for k in HORIZONS:
            within = moments[moments + k <= length]
            scores[k].append(forecast[: len(within), :k].sum(1))
            labels[k].append(np.array([hit[t : t + k].any() for t in within], bool))
    report: dict[str, Any] = {"log_likelihood_per_dimension": float(np.mean(likelihood))}
    for k in HORIZONS:
        report[f"auc_hit_within_{k}"] = auc(np.concatenate(scores[k]), np.concatenate(labels[k]))
    report["hit"] = _calibration(np.concatenate(odds), np.concatenate(hits))
    if deaths:
        report["death"] = _calibration(np.concatenate(deaths), np.concatenate(died))
    return report


def _forecast(
    world: World, z: Tensor, action: Tensor, out: Tensor, moments: np.ndarray, salt: int
) -> np.ndarray:
    """Return the chance of a hit at each of the next steps (moments, steps), M dreaming from the
    moment on under the actions that were really taken; rows beyond the episode's end are zero."""
    steps = max(HORIZONS)
    forecast = np.zeros((len(moments), steps), np.float32)
    hidden = torch.cat((torch.zeros_like(out[:1]), out[:-1]))
    cells = _cells(world, z, action)
    for _ in range(1):
        at = torch.from_numpy(moments).repeat_interleave(DREAMS)
        keys = noise.key(torch.arange(len(at)), torch.full((len(at),), salt))
        zeros = torch.zeros(len(at), dtype=torch.int64)
        state = State(z[at], hidden[at], cells[at], zeros, keys, torch.full((len(at),), 1e9))
        head = world.memory.config.heads.index("hit")
        for k in range(steps):
            now = at + k
            alive = now < len(action)
            told = action[now.clamp_max(len(action) - 1)]
            prediction, _, _ = world.memory.step(state.z, told, state.h, state.c)
            chance = torch.sigmoid(prediction.heads[:, head]) * alive
            forecast[:, k] = chance.view(-1, DREAMS).mean(1).numpy()
            state, _, _ = world.step(state, told, torch.ones(len(at), 1))
    return forecast


def _cells(world: World, z: Tensor, action: Tensor) -> Tensor:
    """Return c (T, H) from before each step."""
    h = torch.zeros(1, world.memory.config.hidden)
    c, cells = h, []
    for t in range(len(z)):
        cells.append(c)
        _, h, c = world.memory.step(z[t : t + 1], action[t : t + 1], h, c)
    return torch.cat(cells)


def _calibration(odds: np.ndarray, happened: np.ndarray) -> dict[str, Any]:
    """Return how honest probabilities are: predicted and real rates, AUC, precision and recall."""
    edges = np.array([0, 1e-3, 1e-2, 0.03, 0.1, 0.3, 0.6, 1.0 + 1e-9])
    bins = np.digitize(odds, edges) - 1
    table = [
        {
            "from": float(edges[b]),
            "count": int((bins == b).sum()),
            "predicted": float(odds[bins == b].mean()),
            "happened": float(happened[bins == b].mean()),
        }
        for b in range(len(edges) - 1)
        if (bins == b).any()
    ]
    called = odds > 0.5
    return {
        "auc": auc(odds, happened),
        "mean_where_it_happened": float(odds[happened].mean()),
        "mean_elsewhere": float(odds[~happened].mean()),
        "expected": float(odds.sum()),
        "counted": int(happened.sum()),
        "recall_at_half": float(called[happened].mean()),
        "precision_at_half": float(happened[called].mean()) if called.any() else float("nan"),
        "calibration": table,
    }


@torch.no_grad()
def lives(
    world: World, latents: Latents, dreams: int = 512, seed: int = VALIDATION
) -> dict[str, Any]:
    """Compare how long held random play lives in free dreams at τ = 1 and in reality, and a player
    in the dream that stands still with one that dodges with foresight."""
    real = latents.lengths.numpy().astype(float)
    held = _lived(world, dreams, seed, _held(dreams, seed))
    wise = _lived(world, dreams, seed, None)
    return {
        "real_mean": float(real.mean()),
        "real_sd": float(real.std()),
        "dream_mean": float(held.mean()),
        "dream_sd": float(held.std()),
        "kolmogorov_smirnov": kolmogorov(held, real),
        "critical_at_5_percent": float(1.358 * np.sqrt(1 / len(held) + 1 / len(real))),
        "dream_mean_greedy_dodge": float(wise.mean()),
    }


def _held(dreams: int, seed: int) -> Tensor:
    """Return the collected policy's actions (steps, dreams, 1)."""
    limit = 2100
    columns = []
    for i in range(dreams):
        act = random_policy(seed + i)
        columns.append([act(None) for _ in range(limit)])
    wanted = torch.tensor(columns).T[..., None]
    return (wanted > 1 / 3).float() - (wanted < -1 / 3).float()


def _lived(world: World, dreams: int, seed: int, played: Tensor | None) -> np.ndarray:
    """Return the lengths of dreams under given actions, or under the action that M finds safest."""
    state = world.start(torch.arange(seed, seed + dreams))
    rows, lengths = torch.arange(dreams), torch.zeros(dreams)
    head = world.memory.config.heads.index("hit")
    for t in range(world.task.max_steps):
        if played is not None:
            told = played[t, rows]
        else:
            options = torch.tensor([0.0, -1.0, 1.0])
            risks = [
                world.memory.step(state.z, torch.full((len(state), 1), float(a)), state.h, state.c)
                for a in options
            ]
            risk = torch.stack([r[0].heads[:, head] for r in risks])
            told = options[risk.argmin(0)][:, None]
        state, _, dead = world.step(state, told, torch.ones(len(state), 1))
        lengths[rows] += 1
        if dead.any():
            state, rows = state[~dead], rows[~dead]
        if not len(rows):
            break
    return lengths.numpy()


def examine(task: str, folder: str | Path) -> dict[str, Any]:
    """Examine the world of a run on its held-out episodes and write `examination.json` there."""
    from dreamgym import tasks
    from dreamgym.checkpoint import load_world, write_json

    from . import latents as stage
    from .memory import Args, split

    folder = Path(folder)
    world, seen = load_world(folder / "world"), stage.load(folder)
    _, held = split(seen, Args().held_out)
    report = {
        "vision": vision(world.vision, tasks.get(task).pixel_id),
        "memory": memory(world, seen, held[:100]),
        "lives": lives(world, seen),
    }
    write_json(folder / "examination.json", report)
    return report

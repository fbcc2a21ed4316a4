"""The command `examine`: test V and M against real games, before C learns in their world.

Of V it asks: do reconstructions show the small objects that decide a game, such as fireballs? Of M,
on episodes that it was not trained on: does it foresee outcomes such as hits and deaths, and are
its probabilities calibrated? Of whole dreams: does random play get the same returns in the dream as
in the real game, and does dodging pay there?
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dreamgym import noise
from dreamgym.checkpoint import is_world, load_world, write_json
from dreamgym.files import replacing
from dreamgym.games import Game
from dreamgym.models.mdn_rnn import Prediction, log_likelihood
from dreamgym.models.vae import VAE
from dreamgym.models.vae import sample as sample_latent
from dreamgym.world import OBSERVATIONS, State, World

from ..data.latents import Latents, fingerprint, load
from ..flags import RUNS, Name, game_for
from ..memory import Args, split
from ..play import dreams
from ..play.games import check_shown
from ..play.policies import Exploring, Policy
from ..splits import VALIDATION
from ..vision import load_vision
from .statistics import auc, kolmogorov

EPISODES = 100
"""Largest number of held-out episodes on which M is examined."""
SPANS = (1, 10, 100, 1000)
"""Numbers of steps over which predicted and real sums of rewards are compared."""
SPACING = 50
"""Steps from one moment at which such a comparison starts to the next."""
HORIZONS = (1, 10, 50)
"""Numbers of steps within which an outcome, such as a hit, is forecast."""
DREAMS = 8
"""Dreams whose predictions are averaged for one forecast."""
EVERY = 10
"""Steps from one moment at which a forecast starts to the next."""
CONTRAST = 0.5
"""A reconstruction shows an object if it keeps more than this share of the object's contrast."""


def vision(
    v: VAE, game: Game, picture: Path, episodes: int = 20, seed: int = VALIDATION
) -> dict[str, float]:
    """Return V's squared error and, if the game marks its objects, which share of them V rebuilds.

    The frames are every tenth of some episodes of the game's own random play. A grid of frames,
    each above its reconstruction, is written to the file `picture`.

    In Doom the objects are monsters and fireballs. `recall_KIND` is the share of them that
    `contrast` finds in the reconstructions, out of `seen_KIND` that are visible in the frames.
    """
    small = {"labels": True} if game.objects else {}
    env = gym.make(game.pixel_id, continuous=True, disable_env_checker=True, **small)
    frames, boxes = [], []
    for index in range(episodes):
        frame, info = env.reset(seed=seed + index)
        policy, over, t = Exploring(game), False, 0
        policy.begin(torch.tensor([seed + index]))
        while not over:
            if t % 10 == 0:
                frames.append(frame)
                boxes.append(info.get("labels", []))
            action = policy.act(torch.empty(1, 0))[0].numpy()
            frame, _, terminated, truncated, info = env.step(action)
            over, t = terminated or truncated, t + 1
    env.close()
    real = torch.from_numpy(np.stack(frames))
    with torch.no_grad():
        parts = [v.decode(v.encode(batch)[0]).permute(0, 2, 3, 1) for batch in real.split(256)]
    rebuilt = torch.cat(parts).numpy()
    pixels = real.numpy() / 255.0
    error = float(np.square(rebuilt - pixels).sum((1, 2, 3)).mean())
    grid(real.numpy(), (rebuilt * 255).round().astype(np.uint8), picture)
    kept: dict[str, list[bool]] = {}
    for truth, guess, objects in zip(pixels, rebuilt, boxes, strict=True):
        for name, x, y, width, height in objects:
            kind = game.objects(name, width) if game.objects else ""
            shown = contrast(truth, guess, x, y, width, height) if kind else None
            if shown is not None:
                kept.setdefault(kind, []).append(shown)
    recall = {f"recall_{kind}": float(np.mean(hits)) for kind, hits in kept.items()}
    counts = {f"seen_{kind}": float(len(hits)) for kind, hits in kept.items()}
    return {"error": error, "frames": float(len(frames)), **recall, **counts}


def grid(real: np.ndarray, rebuilt: np.ndarray, path: Path, columns: int = 8) -> None:
    """Draw a sheet of 2 · `columns` of the frames (N, 64, 64, 3), each above its reconstruction.

    The frames are chosen at even distances.
    """
    chosen = np.linspace(0, len(real) - 1, 2 * columns).astype(int)
    rows = []
    for half in chosen.reshape(2, columns):
        rows += [np.concatenate(list(frames[half]), axis=1) for frames in (real, rebuilt)]
    sheet = np.concatenate(rows, axis=0)
    size = (2 * sheet.shape[1], 2 * sheet.shape[0])
    with replacing(path) as file:
        Image.fromarray(sheet).resize(size, Image.Resampling.NEAREST).save(file, "PNG")


def contrast(
    truth: np.ndarray, guess: np.ndarray, x: float, y: float, width: float, height: float
) -> bool | None:
    """Return whether the reconstruction `guess` shows the object in a box of the frame `truth`.

    The contrast of a picture is its mean colour in the box minus that in a ring of 2 pixels around
    it. The object is shown if the contrast of `guess`, projected onto that of `truth`, is more than
    the share `CONTRAST` of it. None: `truth` itself has too little contrast, or no box or ring.
    """
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
    """Return M's log likelihood of the episodes, and how good its forecasts of outcomes are.

    For each outcome these are the calibration of its probability in the next step, and the AUC of
    forecasts within each of `HORIZONS`.
    """
    names = world.memory.config.heads
    scores: dict[tuple[str, int], list[np.ndarray]] = {(n, k): [] for n in names for k in HORIZONS}
    labels: dict[tuple[str, int], list[np.ndarray]] = {key: [] for key in scores}
    odds: dict[str, list[np.ndarray]] = {name: [] for name in names}
    happened: dict[str, list[np.ndarray]] = {name: [] for name in names}
    likelihood = []
    starts, lengths = latents.starts, latents.lengths
    for episode in episodes:
        first, length = int(starts[episode]), int(lengths[episode])
        rows = slice(first, first + length)
        mean, logvar = latents.mean[rows].float(), latents.logvar[rows].float()
        keys = noise.key(torch.full((length,), seed), torch.full((length,), int(episode)))
        z = sample_latent(mean, logvar, noise.normal(keys, torch.arange(length), mean.shape[1]))
        action = latents.action[rows]
        truth = dict(zip(names, latents.outcomes[rows].T.numpy(), strict=True))
        prediction, hidden, cells = _watched(world, z, action)
        chance = torch.sigmoid(prediction.heads).numpy()  # (T, O)
        before = Prediction(*(part[:-1] for part in prediction))
        likelihood.append(float(log_likelihood(before, z[1:]).mean()))
        moments = np.arange(0, length, EVERY)
        forecast = _forecast(world, z, action, hidden, cells, moments, int(episode)).mean(1)
        for column, name in enumerate(names):
            odds[name].append(chance[:, column])
            happened[name].append(truth[name])
            for k in HORIZONS:
                score = forecast[:, :k, column].sum(1)
                scores[name, k].append(score)
                labels[name, k].append(np.array([truth[name][t : t + k].any() for t in moments]))
    report: dict[str, Any] = {"log_likelihood_per_dimension": float(np.mean(likelihood))}
    for name in names:
        report[name] = _calibration(np.concatenate(odds[name]), np.concatenate(happened[name]))
        for k in HORIZONS:
            ranked = auc(np.concatenate(scores[name, k]), np.concatenate(labels[name, k]))
            report[name][f"auc_within_{k}"] = ranked
    return report


def _watched(world: World, z: Tensor, action: Tensor) -> tuple[Prediction, Tensor, Tensor]:
    """Run M over T real steps; return its predictions, and h and c (T, H) before each step."""
    h = c = torch.zeros(1, world.memory.config.hidden)
    hidden, cells, said = [], [], []
    for t in range(len(z)):
        hidden.append(h)
        cells.append(c)
        prediction, h, c = world.memory.step(z[t : t + 1], action[t : t + 1], h, c)
        said.append(prediction)
    return Prediction(*map(torch.cat, zip(*said, strict=True))), torch.cat(hidden), torch.cat(cells)


def _forecast(
    world: World,
    z: Tensor,
    action: Tensor,
    hidden: Tensor,
    cells: Tensor,
    moments: np.ndarray,
    salt: int,
    steps: int = max(HORIZONS),
) -> np.ndarray:
    """Return the probabilities (moments, DREAMS, steps, O) of the outcomes of the next steps.

    From each moment on M dreams by itself, with the actions of the real episode. Beyond the end of
    the episode the probabilities are zero.
    """
    last = len(action) - 1
    at = torch.from_numpy(moments).repeat_interleave(DREAMS)
    keys = noise.key(torch.arange(len(at)), torch.full((len(at),), salt))
    endless = torch.full((len(at),), float("inf"))
    counts = world.rules.begin(endless)
    state = State(z[at], hidden[at], cells[at], torch.zeros_like(at), keys, counts)
    forecast = []
    for k in range(steps):
        taken = action[(at + k).clamp_max(last)]
        prediction, _, _ = world.memory.step(state.z, taken, state.h, state.c)
        chance = torch.sigmoid(prediction.heads) * (at + k <= last)[:, None]
        forecast.append(chance.view(len(moments), DREAMS, -1))
        state, _, _ = world.step(state, taken, torch.ones(len(at), 1))
    return torch.stack(forecast, dim=2).numpy()


def _calibration(odds: np.ndarray, happened: np.ndarray) -> dict[str, Any]:
    """Return how well probabilities agree with what happened.

    Args:
        odds: (N,) predicted probabilities of an outcome.
        happened: (N,) bool, whether it happened.
    """
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
        "mean_where_it_happened": _mean(odds[happened]),
        "mean_elsewhere": float(odds[~happened].mean()),
        "expected": float(odds.sum()),
        "counted": int(happened.sum()),
        "recall_at_half": _mean(called[happened]),
        "precision_at_half": _mean(happened[called]),
        "calibration": table,
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


@torch.no_grad()
def returns(world: World, latents: Latents, episodes: np.ndarray) -> dict[str, Any]:
    """Compare the sum of rewards that M predicts, under the real actions, with the real one.

    For each number of steps in `SPANS`, over moments from all episodes: the correlation of both
    sums, and their means; the same for how often each outcome happened, under its name.
    """
    names = ("return", *world.rules.heads)
    said: dict[tuple[int, str], list[float]] = {(k, name): [] for k in SPANS for name in names}
    paid: dict[tuple[int, str], list[float]] = {key: [] for key in said}
    starts, lengths = latents.starts, latents.lengths
    for episode in episodes:
        first, length = int(starts[episode]), int(lengths[episode])
        rows = slice(first, first + length)
        mean, logvar = latents.mean[rows].float(), latents.logvar[rows].float()
        keys = noise.key(torch.zeros(length, dtype=torch.int64), torch.full((length,), episode))
        z = sample_latent(mean, logvar, noise.normal(keys, torch.arange(length), mean.shape[1]))
        action, reward = latents.action[rows], latents.reward[rows].numpy()
        happened = np.column_stack((reward, latents.outcomes[rows].numpy()))  # (length, 1 + O)
        _, hidden, cells = _watched(world, z, action)
        moments = np.arange(0, length, SPACING)
        steps = min(max(SPANS), length)
        chance = _forecast(world, z, action, hidden, cells, moments, int(episode), steps)
        said_of_steps = world.rules.expected(chance, float(latents.whole[episode]))
        assert said_of_steps is not None
        pay, end = said_of_steps  # (moments, DREAMS, steps) each
        alive = np.ones_like(end)  # the probability that the game has not ended before
        alive[..., 1:] = np.cumprod(1 - end, axis=2)[..., :-1]
        shares = np.concatenate((pay[..., None], chance), axis=-1) * alive[..., None]
        expected = shares.mean(1)  # (moments, steps, 1 + O)
        for k in SPANS:
            for row, t in enumerate(moments):
                if t + k <= length:
                    for column, name in enumerate(names):
                        said[k, name].append(float(expected[row, :k, column].sum()))
                        paid[k, name].append(float(happened[t : t + k, column].sum()))
    return {
        str(k): {
            "count": len(paid[k, "return"]),
            **_agreement(said[k, "return"], paid[k, "return"]),
            "outcomes": {n: _agreement(said[k, n], paid[k, n]) for n in world.rules.heads},
        }
        for k in SPANS
        if len(paid[k, "return"]) > 1
    }


def _agreement(said: list[float], paid: list[float]) -> dict[str, float | None]:
    return {
        "correlation": _correlation(said, paid),
        "predicted": float(np.mean(said)),
        "real": float(np.mean(paid)),
    }


def _correlation(a: list[float], b: list[float]) -> float | None:
    """Return Pearson's correlation, or None if one of the samples is constant."""
    return float(np.corrcoef(a, b)[0, 1]) if np.std(a) * np.std(b) > 1e-9 else None


@torch.no_grad()
def plays(
    world: World, latents: Latents, many: int = 512, seed: int = VALIDATION
) -> dict[str, Any]:
    """Compare the returns of the game's own random play in dreams at τ = 1 and in the real game.

    If the game's rules name a harm, such as a hit, two more players play in dreams: `Still`, and
    `Careful`, which dodges by M's predictions. Dodging should have the higher mean return.

    Args:
        latents: their first data folder holds the real games of random play.
        many: number of dreams.
        seed: of the first dream.
    """
    explored = latents.source == 0
    ends = torch.cumsum(latents.reward.double(), 0)[torch.cumsum(latents.lengths, 0) - 1]
    real = torch.diff(ends, prepend=ends.new_zeros(1))[explored].numpy()
    limit, seeds = int(latents.lengths[explored].max()), torch.arange(seed, seed + many)

    def dreamt(policy: Policy) -> np.ndarray:
        """Return a policy's returns in dreams cut off at the length of the longest real game."""
        return dreams.play(world, policy, seeds, 1.0, 1.0, limit).returns.numpy()

    paid = dreamt(Exploring(world.game))
    report = {
        "real_mean": float(real.mean()),
        "real_sd": float(real.std()),
        "dream_mean": float(paid.mean()),
        "dream_sd": float(paid.std()),
        "kolmogorov_smirnov": kolmogorov(paid, real),
        "critical_at_5_percent": float(1.358 * np.sqrt(1 / len(paid) + 1 / len(real))),
    }
    if world.rules.harm:
        report["dream_mean_standing"] = float(dreamt(Still(world)).mean())
        report["dream_mean_dodging"] = float(dreamt(Careful(world)).mean())
    return report


class Still:
    """Does nothing: all actions are zero."""

    observation = ""

    def __init__(self, world: World):
        self.world = world

    def begin(self, seeds: Tensor) -> None:
        pass

    def act(self, observation: Tensor) -> Tensor:
        return observation.new_zeros(len(observation), len(self.world.game.low))

    def keep(self, rows: Tensor) -> None:
        pass


class Careful(Still):
    """Makes the move for which M predicts the smallest probability of harm in the next step."""

    observation = "zhc"

    def act(self, observation: Tensor) -> Tensor:
        world, config = self.world, self.world.memory.config
        sizes = {"z": config.z_size, "h": config.hidden, "c": config.hidden}
        order = OBSERVATIONS[self.observation]
        parts = observation.split([sizes[part] for part in order], dim=1)
        state = dict(zip(order, parts, strict=True))
        moves = torch.tensor(list(world.game.moves.values()))  # (moves, A)
        harm = world.rules.heads.index(world.rules.harm)
        risks = []
        for move in moves:
            action = move.expand(len(observation), -1)
            prediction, _, _ = world.memory.step(state["z"], action, state["h"], state["c"])
            risks.append(prediction.heads[:, harm])
        return moves[torch.stack(risks).argmin(0)]


def examine(task: str, folder: str | Path, latents: str | Path | None = None) -> dict[str, Any]:
    """Examine the world of a run, and write `examination.json` into the run's folder.

    M is examined on held-out episodes. The first data folder is taken to be random play; the
    results on all other folders are reported apart, under names that end in `_on_policy`.

    Args:
        latents: run folder of V and the latents; None: they are in `folder`.

    Raises:
        ValueError: if the world or the latents are of another game or made with another V, or if
            the game shows no pictures.
    """
    folder, sight = Path(folder), latents or folder
    world = load_world(folder / "world")
    check_shown(world)
    sees = world.vae()
    seen, v = load(sight), load_vision(sight, task)
    for name, game in {"world": world.game.name, "latents": seen.task}.items():
        if game != task:
            raise ValueError(f"the {name} of {folder} are of {game}, not of {task}")
    if fingerprint(v) != seen.vision or fingerprint(v.half().float()) != fingerprint(world.vision):
        raise ValueError(
            f"the world of {folder}, the V in {sight} and the latents there do not match: "
            "call `dreamgym memory` again"
        )
    _, held = split(seen, Args().held_out)
    source = seen.source.numpy()[held]
    report = {
        "vision": vision(sees, world.game, folder / "reconstructions.png"),
        "plays": plays(world, seen),
    }
    for name, whose in {"": source == 0, "_on_policy": source > 0}.items():
        if whose.any():
            report[f"memory{name}"] = memory(world, seen, held[whose][:EPISODES])
            if world.rules.expected(np.zeros(len(world.rules.heads)), 1.0):
                report[f"returns{name}"] = returns(world, seen, held[whose][:EPISODES])
    write_json(folder / "examination.json", report)
    return report


def main(task: Name = "", out: str = "", vision: str = "") -> None:
    """Examine V and M of a run against real games, and write examination.json.

    Args:
        task: The game; if left out, doom.
        out: Folder of the run; if left out, runs/GAME.
        vision: Run folder of V and its latents; if left out, the folder of the run.
    """
    task = game_for(task)
    out = out or f"{RUNS}/{task}"
    if not is_world(f"{out}/world"):
        raise ValueError(f"{out} holds no world: call `dreamgym memory --out {out}` first")
    print(json.dumps(examine(task, out, vision or None), indent=1))

"""The command `carry`: carry a controller over to a world whose M has gone on.

M's h and c no longer mean what they meant when M was trained further, so C's weights on them are
lost. They are found again by least squares: in recorded games, C is to do with the new M what it
did with its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from dreamgym.checkpoint import load_world, save_controller, world_folder
from dreamgym.files import check_writable
from dreamgym.models.controller import Controller
from dreamgym.world import OBSERVATIONS, World

from .data.latents import Latents, fingerprint, load
from .flags import Flat, Whole
from .memory import replayed, split
from .play.policies import find, load_fitting

RIDGE = 1e-4
"""Added to each input's sum of squares, as a share of it. Our choice: inputs that say the same
share the weight, and nothing else changes."""
SLOPE = 0.05
"""Added to the weight of a step in the squares, which is the slope of C's tanh, since an error
where that is flat changes no action. Our choice."""


@dataclass(frozen=True)
class Args:
    """Which controller is carried from where to where."""

    source: str = ""
    """The world in which it learned: a folder, or the name of a shipped world."""
    policy: str = "shipped"
    """Its file; `shipped` is the one of `source`."""
    world: str = ""
    """The world to which it is carried; its V is that of `source`."""
    latents: str = ""
    """Run folder of the M of `world`, where V's latents of the recorded games are."""
    games: Whole = 300
    """Recorded games that are used, the longest first."""


def carried(
    controller: Controller, source: World, target: World, latents: Latents, games: int
) -> tuple[Controller, list[float]]:
    """Return a controller that acts in one world as another controller does in its own.

    Args:
        controller: a linear one.
        games: how many recorded games are used, the longest first.

    Returns:
        The controller, and for each output how much of its variance in games that are held out
        the new one explains, 1 for all of it.

    Raises:
        ValueError: if C has a hidden layer, or if the latents are of another V than the worlds'.
    """
    config = controller.config
    if config.hidden:
        raise ValueError(f"C has {config.hidden} hidden units: only a linear one can be carried")
    for what, world in {"source": source, "world": target}.items():
        if fingerprint(world.vision) != latents.vision:
            raise ValueError(f"{what} has another V than the latents: name a world with the same V")
    if not OBSERVATIONS[config.observation]:
        raise ValueError("C sees the game itself and nothing of M: it can stay as it is")
    training, held_out = split(latents, 5)
    longest = latents.lengths.argsort(descending=True)
    learned, tested = (
        longest[torch.isin(longest, torch.from_numpy(part))][:games]
        for part in (training, held_out)
    )
    inputs = config.inputs + config.bias
    squares = torch.zeros(config.actions, inputs, inputs, dtype=torch.float64)
    products = torch.zeros(config.actions, inputs, dtype=torch.float64)
    for seen, x in _replayed(source, target, latents, learned, config.observation):
        ys = controller.act(seen).double().clamp(-1 + 1e-6, 1 - 1e-6)  # (N, A)
        x = _with_bias(x, config.bias)
        for part, y in enumerate(ys.T):
            weight = 1 - y.square() + SLOPE
            squares[part] += x.T @ (x * weight[:, None])
            products[part] += x.T @ (weight * torch.atanh(y))
    squares += RIDGE * torch.diag_embed(squares.diagonal(dim1=1, dim2=2)) + 1e-9 * torch.eye(inputs)
    found = torch.linalg.solve(squares, products)  # (A, I)
    weights = torch.cat((found[:, : config.inputs].flatten(), found[:, config.inputs :].flatten()))
    new = Controller(config, weights.float())
    pairs = [
        (controller.act(seen), new.act(x))
        for seen, x in _replayed(source, target, latents, tested, config.observation)
    ]
    wanted, got = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    explained = 1 - (got - wanted).var(0) / wanted.var(0)
    return new, explained.tolist()


def _with_bias(x: Tensor, bias: bool) -> Tensor:
    """Return inputs (N, I) in double precision, with a column of ones if C has a bias."""
    x = x.double()
    return torch.cat((x, torch.ones(len(x), 1, dtype=x.dtype)), 1) if bias else x


def _replayed(
    source: World, target: World, latents: Latents, games: Tensor, kind: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Replay recorded games, and yield for each step what C sees in both worlds, (N, I) each."""
    lengths = latents.lengths[games].numpy()  # the longest game is the first
    both = (
        replayed(world.memory, latents, games, lengths, torch.Generator().manual_seed(0))
        for world in (source, target)
    )
    for states in zip(*both, strict=True):
        parts = (dict(zip("zhc", state, strict=True)) for state in states)
        seen, x = (torch.cat([each[part] for part in OBSERVATIONS[kind]], 1) for each in parts)
        yield seen, x


def main(args: Flat[Args], out: str = "") -> None:
    """Carry a controller over to a world whose M has gone on from that of its own world.

    Args:
        out: Folder for `controller.safetensors`; if left out, that of `latents`.
    """
    for name in ("source", "world", "latents"):
        if not getattr(args, name):
            raise ValueError(f"{name} is missing: name the folder with --{name}")
    args = replace(args, policy=find(args.policy, world_folder(args.source)))
    source, target = load_world(args.source), load_world(args.world)
    path = Path(out or args.latents) / "controller.safetensors"
    check_writable(path)
    with torch.no_grad():
        new, explained = carried(
            load_fitting(args.policy, source), source, target, load(args.latents), args.games
        )
    save_controller(path, new, explained=explained)
    shares = ", ".join(f"{share:.0%}" for share in explained)
    print(f"the controller is {path}; it explains {shares} of what its outputs were")

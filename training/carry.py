"""The command `carry`: carry a controller over to a world whose M, or V too, has gone on.

M's h and c no longer mean what they meant when M was trained further, so C's weights on them are
lost; and so are those on z, if V was trained further. They are found again by least squares: in
recorded games, C is to do with the new V and M what it did with its own.
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

from .data.latents import Latents, encode, fingerprint, load
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
    """The world to which it is carried."""
    latents: str = ""
    """Run folder of the M of `world`, where V's latents of the recorded games are. It is enough if
    the V of `world` is that of `source`."""
    games: Whole = 300
    """Recorded games that are used, the longest first."""


def carried(
    controller: Controller,
    source: World,
    target: World,
    latents: Latents,
    games: int,
    before: Latents | None = None,
) -> tuple[Controller, list[float]]:
    """Return a controller that acts in one world as another controller does in its own.

    Args:
        controller: a linear one.
        latents: of recorded games, by the V of `target`.
        games: how many recorded games are used, the longest first.
        before: of the same games, by the V of `source`; None if that is the same V.

    Returns:
        The controller, and for each output how much of its variance in games that are held out
        the new one explains, 1 for all of it.

    Raises:
        ValueError: if C has a hidden layer, if latents are of another V than their world's, or if
            they are of other games.
    """
    config = controller.config
    if config.hidden:
        raise ValueError(f"C has {config.hidden} hidden units: only a linear one can be carried")
    pairs = {"source": (source, before or latents), "world": (target, latents)}
    for what, (world, by_v) in pairs.items():
        if fingerprint(world.vision) != by_v.vision:
            raise ValueError(
                f"{what} has another V than the latents: name a world with the same V, or name the "
                "recorded games with --data"
            )
    if before and not torch.equal(before.lengths, latents.lengths):
        raise ValueError("the latents by the two Vs are of different games: encode the same ones")
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
    both = tuple(pairs.values())
    for seen, x in _replayed(both, learned, config.observation):
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
    acts = [
        (controller.act(seen), new.act(x))
        for seen, x in _replayed(both, tested, config.observation)
    ]
    wanted, got = (torch.cat(parts) for parts in zip(*acts, strict=True))
    explained = 1 - (got - wanted).var(0) / wanted.var(0)
    return new, explained.tolist()


def _with_bias(x: Tensor, bias: bool) -> Tensor:
    """Return inputs (N, I) in double precision, with a column of ones if C has a bias."""
    x = x.double()
    return torch.cat((x, torch.ones(len(x), 1, dtype=x.dtype)), 1) if bias else x


def _replayed(
    both: tuple[tuple[World, Latents], ...], games: Tensor, kind: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Replay recorded games, and yield for each step what C sees in both worlds, (N, I) each."""
    lengths = both[0][1].lengths[games].numpy()  # the longest game is the first
    replays = (
        replayed(world.memory, latents, games, lengths, torch.Generator().manual_seed(0))
        for world, latents in both
    )
    for states in zip(*replays, strict=True):
        parts = (dict(zip("zhc", state, strict=True)) for state in states)
        seen, x = (torch.cat([each[part] for part in OBSERVATIONS[kind]], 1) for each in parts)
        yield seen, x


def main(args: Flat[Args], out: str = "", data: tuple[str, ...] = ()) -> None:
    """Carry a controller over to a world whose M, or V too, has gone on from that of its own world.

    Args:
        out: Folder for `controller.safetensors`; if left out, that of `latents`.
        data: Folders of recorded games, which the Vs of both worlds encode into `out`; needed if
            the V of `world` is not that of `source`.
    """
    if data and args.latents:
        raise ValueError("latents and data: give one of them, the latents or the games")
    needed = {"source": args.source, "world": args.world}
    needed |= {"out": out} if data else {"latents": args.latents}
    for name, given in needed.items():
        if not given:
            raise ValueError(f"{name} is missing: name the folder with --{name}")
    args = replace(args, policy=find(args.policy, world_folder(args.source)))
    source, target = load_world(args.source), load_world(args.world)
    path = Path(out or args.latents) / "controller.safetensors"
    check_writable(path)
    controller, before = load_fitting(args.policy, source), None
    if data:
        seen = encode(target.game, data, f"{out}/after", target.vision)
        before = encode(source.game, data, f"{out}/before", source.vision)
    else:
        seen = load(args.latents)
    with torch.no_grad():
        new, explained = carried(controller, source, target, seen, args.games, before)
    save_controller(path, new, explained=explained)
    shares = ", ".join(f"{share:.0%}" for share in explained)
    print(f"the controller is {path}; it explains {shares} of what its outputs were")

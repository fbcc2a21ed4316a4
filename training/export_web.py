"""The command `export-web`: a world and its policies as one page, which needs no server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dreamgym.checkpoint import load_agent, load_controller, load_world, world_folder
from dreamgym.files import check_writable, replacing
from dreamgym.games.rules import Rules
from dreamgym.models.agent import Agent
from dreamgym.models.controller import Controller
from dreamgym.web.kernel import kernel
from dreamgym.world import World

from .flags import Name, game_for, world_for
from .play.games import check_shown
from .play.policies import AGENT, CONTROLLER

SLIDERS = 10
"""Latents that the page shows as sliders."""


def export(world: str | Path, out: str | Path) -> Path:
    """Write a world, its controller and its agent as a page.

    Weights are stored in 16 bits, as in a world's folder, so nothing is lost; only the agent's are
    rounded to 16 bits here. The page computes in
    32 bits. It has a kernel in WebAssembly, and does without where a browser has none.

    Raises:
        CheckpointError: if there is no such world.
        ValueError: if `out` cannot be written.
    """
    check_writable(out)
    text = written(world)
    with replacing(out) as file:
        file.write(text.encode())
    return Path(out)


def written(world: str | Path, served: bool = False) -> str:
    """Return the page of a world.

    Args:
        served: whether `dreamgym web` serves it, with the real game beside the dream.
    """
    folder = world_folder(world)
    model = load_world(folder)
    check_shown(model)
    agent = load_agent(folder) if (folder / AGENT).exists() else None
    tensors = dict(laid_out(model)) | (dict(layers(agent)) if agent else {})
    facts = described(model) | {"policies": policies(folder, agent), "served": served}
    at, facts["tensors"] = 0, []
    for name, values in tensors.items():
        facts["tensors"].append({"name": name, "at": at, "size": values.size})
        at += values.size
    halves = np.concatenate([values.ravel() for values in tensors.values()]).astype("<f2")
    page = files("dreamgym.web").joinpath
    text = page("page.html").read_text("utf-8")
    for mark, content in {
        "TITLE": escape(f"A dream of {model.game.called}"),
        "STYLE": page("style.css").read_text("utf-8"),
        "DREAM": page("dream.js").read_text("utf-8"),
        "REALITY": page("reality.js").read_text("utf-8") if served else "",
        "PAGE": page("page.js").read_text("utf-8"),
        "FACTS": json.dumps(facts).replace("<", "\\u003c"),
        "KERNEL": base64.b64encode(kernel()).decode(),
        "WEIGHTS": base64.b64encode(halves.tobytes()).decode(),
    }.items():
        text = text.replace(f"@{mark}@", content)
    return text


def laid_out(world: World) -> Iterator[tuple[str, np.ndarray]]:
    """Yield all tensors of a world by their names, as the page multiplies by them.

    A weight has a row for each input. Rows, and those of a convolution's kernel, are filled up with
    zeros to whole multiples of four numbers.
    """
    memory, vision = world.memory, world.vae()
    yield "gates", _numbers(torch.cat((memory.weight_ih, memory.weight_hh), dim=1).T)
    yield "gates.bias", _numbers(memory.bias)
    yield "head", _filled(_numbers(memory.head.weight.T))
    yield "head.bias", _filled(_numbers(memory.head.bias))
    yield "dense", _numbers(vision.dense.weight.T)
    yield "dense.bias", _numbers(vision.dense.bias)
    for number, layer in enumerate(vision.decoder):
        assert isinstance(layer, nn.ConvTranspose2d) and layer.bias is not None
        rows = _numbers(layer.weight.permute(0, 2, 3, 1))  # (I, K, K, O)
        yield f"decoder.{number}", _filled(rows.reshape(*rows.shape[:2], -1))
        yield f"decoder.{number}.bias", _numbers(layer.bias)
    for name, part in zip(("mean", "logvar", "budget"), world.starts, strict=True):
        yield f"starts.{name}", _numbers(part)


def described(world: World) -> dict[str, Any]:
    """Return what the page has to know of a world, apart from its tensors."""
    game, m = world.game, world.memory.config
    informative = world.starts[1].mean(0).argsort()[:SLIDERS]  # V is surest of these
    return {
        "game": game.name, "called": game.called, "title": game.title, "z": m.z_size,
        "hidden": m.hidden, "mixtures": m.mixtures, "actions": m.action_size,
        "heads": list(m.heads), "rules": ruled(world.rules), "counts": list(game.rules.counts),
        "max_steps": game.max_steps, "fps": game.fps, "temperature": game.temperature,
        "stories": list(game.stories.items()),
        "keys": game.keys, "latents": informative.tolist(),
        "action": {
            "deadband": game.deadband, "stretched": list(game.stretched), "low": list(game.low),
            "high": list(game.high), "moves": [list(move) for move in game.moves.values()],
        },
    }  # fmt: skip


def ruled(rules: Rules) -> dict[str, Any]:
    """Return the rules of a game as the page knows them: their kind, and their numbers."""
    return {"kind": type(rules).__name__.lower(), **asdict(rules)}  # type: ignore[call-overload]


def layers(agent: Agent) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the weights and the biases of an agent's layers by their names."""
    for number, layer in enumerate(agent.layers):
        assert isinstance(layer, nn.Linear)
        yield f"agent.{number}", _numbers(layer.weight)
        yield f"agent.{number}.bias", _numbers(layer.bias)


def policies(folder: Path, agent: Agent | None) -> dict[str, Any]:
    """Return the policies of a world's folder, as the page plays them."""
    found: dict[str, Any] = {}
    if (folder / CONTROLLER).exists():
        found["controller"] = _controller(load_controller(folder))
    return found | ({"agent": _agent(agent)} if agent else {})


def _controller(controller: Controller) -> dict[str, Any]:
    config = controller.config
    return {
        "inputs": config.inputs, "actions": config.actions, "bias": config.bias,
        "hidden": config.hidden, "observation": config.observation,
        "weights": _listed(controller.weights),
    }  # fmt: skip


def _agent(agent: Agent) -> dict[str, Any]:
    config = agent.config
    return {
        "clip": config.clip, "activation": config.activation, "acts": config.acts,
        "observation": config.observation, "layers": len(agent.layers),
        **{name: _listed(getattr(agent, name)) for name in ("mean", "spread", "low", "high")},
    }  # fmt: skip


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().numpy()


def _listed(tensor: torch.Tensor) -> list[float]:
    """Return numbers with six digits, which a policy's weights in 16 or 32 bits need no more of."""
    return [float(f"{value:.6g}") for value in tensor.detach().float().tolist()]


def _filled(rows: np.ndarray) -> np.ndarray:
    """Fill up the last axis with zeros to a multiple of four."""
    missing = -rows.shape[-1] % 4
    return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, missing)])


def main(task: Name = "", world: str = "", out: str = "") -> None:
    """Write the playable dream as one page.

    Args:
        task: The game; if left out, that of the world, or else doom.
        world: A folder, or the name of a shipped world; if left out, the game's shipped world.
        out: The page; if left out, GAME.html.
    """
    task = game_for(task, world)
    path = export(world_for(task, world), out or f"{task}.html")
    print(f"the page is {path} ({path.stat().st_size / 1e6:.1f} MB): open it in a browser")

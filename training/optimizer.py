"""What the gradient stages share: the learning rate's course and exact checkpoints."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dreamgym.checkpoint import (
    check_same,
    load_module,
    load_tensors,
    read_json,
    save_tensors,
    write_json,
)

SAVE_EVERY = 300.0
"""Seconds between checkpoints."""
WARMUP = 200
"""Steps over which the learning rate rises from zero."""


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine down to a hundredth."""
    rise = min(1.0, (step + 1) / WARMUP)
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / max(steps, 1))))


def check(loss: Tensor, letter: str, step: int) -> None:
    """Stop before a loss that is no number reaches the weights.

    Raises:
        FloatingPointError: naming the stage, the value and the step.
    """
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"{letter}'s loss is {loss.item()} at step {step}: the last checkpoint is good, "
            "go on from it with a lower learning rate"
        )


def checkpoint(
    out: Path,
    name: str,
    module: nn.Module,
    adam: torch.optim.Adam,
    args: Any,
    step: int,
    **extra: Tensor,
) -> None:
    """Write everything that the next step depends on as one file, and the weights as another."""
    names = [name for name, _ in module.named_parameters()]
    tensors = {f"model.{key}": value for key, value in module.state_dict().items()}
    for number, state in adam.state_dict()["state"].items():
        tensors |= {f"adam.{names[number]}.{key}": value for key, value in state.items()}
    tensors |= {f"extra.{key}": value for key, value in extra.items()}
    config = asdict(module.config)  # type: ignore[call-overload]
    write_json(out / f"{name}.json", {"config": config, "args": asdict(args), "step": step})
    save_tensors(out / f"{name}.safetensors", module.state_dict())
    # Last: a run that is killed before this resumes from the file that is there.
    save_tensors(out / f"{name}.training.safetensors", tensors | {"step": torch.tensor(step)})


def begin(module: nn.Module, folder: str, name: str) -> None:
    """Fill a module with the weights of an earlier run, if there is one to go on from."""
    if folder:
        load_module(module, Path(folder) / f"{name}.safetensors")


def resume(
    out: Path, name: str, module: nn.Module, adam: torch.optim.Adam, args: Any
) -> tuple[int, dict[str, Tensor]]:
    """Load the last checkpoint, if there is one; return its step and what was saved beside it.

    Raises:
        ValueError: if it was made with other arguments.
    """
    path = out / f"{name}.training.safetensors"
    if not path.exists():
        return 0, {}
    old = read_json(out / f"{name}.json")["args"]
    check_same(old, args, f"{out} was trained")
    tensors = load_tensors(path)
    module.load_state_dict({key: tensors[f"model.{key}"] for key in module.state_dict()})
    states = {}
    for number, (name, parameter) in enumerate(module.named_parameters()):
        state = {"step": tensors[f"adam.{name}.step"]}
        for key in ("exp_avg", "exp_avg_sq"):  # the fused Adam wants the parameter's memory order
            state[key] = torch.empty_like(parameter).copy_(tensors[f"adam.{name}.{key}"]).detach()
        states[number] = state
    adam.load_state_dict(adam.state_dict() | {"state": states})
    extra = {key[6:]: value for key, value in tensors.items() if key.startswith("extra.")}
    return int(tensors["step"]), extra

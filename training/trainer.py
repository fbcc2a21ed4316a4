"""What the training of V and of M has in common: the learning rate's schedule and checkpoints.

Training that is resumed from a checkpoint gives the same bits as training without a break.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dreamgym.checkpoint import CheckpointError, load_module, load_tensors, save_tensors
from dreamgym.files import fingerprint

from .runs import OTHER, Run, finished

SAVE_EVERY = 300.0
"""Seconds between checkpoints."""
WARMUP = 200
"""Steps over which the learning rate rises from zero."""


def schedule(step: int, steps: int) -> float:
    """Return the learning rate's share of its peak at a step.

    It rises linearly over the first `WARMUP` steps. It is multiplied by half a cosine, which falls
    from 1 to 0.01 over all steps.
    """
    rise = min(1.0, (step + 1) / WARMUP)
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / max(steps, 1))))


def check(loss: Tensor, letter: str, step: int, saved: int) -> None:
    """Stop training before a loss that is NaN or infinite reaches the weights.

    Args:
        loss: a scalar.
        letter: V or M.
        step: the current step.
        saved: step of the last checkpoint; 0: there is none.

    Raises:
        FloatingPointError: if the loss is not finite; the message names it and the step.
    """
    if not torch.isfinite(loss):
        what = f"{letter}'s loss is {loss.item()} at step {step}"
        if saved:
            raise FloatingPointError(
                f"{what}: the checkpoint of step {saved} is good, go on from it as `init` with a "
                "lower learning rate"
            )
        raise FloatingPointError(f"{what}, before the first checkpoint: look at the data")


def checkpoint(
    run: Run,
    name: str,
    module: nn.Module,
    adam: torch.optim.Adam,
    step: int,
    facts: dict[str, Any] | None = None,
    **extra: Tensor,
) -> None:
    """Write one file with all that the next step depends on, and one with the weights alone.

    Args:
        facts: further facts for the run's record.
        extra: further tensors that the next step depends on.
    """
    out, names = run.path.parent, [name for name, _ in module.named_parameters()]
    tensors = {f"model.{key}": value for key, value in module.state_dict().items()}
    for number, state in adam.state_dict()["state"].items():
        tensors |= {f"adam.{names[number]}.{key}": value for key, value in state.items()}
    tensors |= {f"extra.{key}": value for key, value in extra.items()}
    run.write(config=asdict(module.config), step=step, **facts or {})  # type: ignore[call-overload]
    save_tensors(out / f"{name}.safetensors", module.state_dict())
    # This file is last: a run that is killed before it resumes from the checkpoint before.
    save_tensors(out / f"{name}.training.safetensors", tensors | {"step": torch.tensor(step)})


def finish(run: Run, name: str, module: nn.Module) -> None:
    """Mark the run as finished, with the fingerprint of its weights.

    If the file of the weights is missing or differs from `module`, it is written again first.
    """
    path = run.path.parent / f"{name}.safetensors"
    try:
        kept = load_tensors(path)
        same = all(torch.equal(kept[key], value) for key, value in module.state_dict().items())
    except (CheckpointError, KeyError, RuntimeError):
        same = False
    if not same:
        save_tensors(path, module.state_dict())
    run.write(finished=True, **run.facts | {"result": fingerprint(path)})


def result(folder: str | Path, name: str, again: str) -> dict[str, Any]:
    """Return the record of a finished run, after checking that the weights are the run's own.

    Args:
        again: the command that continues the run, for the messages.

    Raises:
        CheckpointError: if the record is missing, damaged or unfinished, or the weights are not
            those that the run has learned.
    """
    record, path = (
        finished(Path(folder) / f"{name}.json", again),
        Path(folder) / f"{name}.safetensors",
    )
    if not path.is_file() or fingerprint(path) != record.get("result"):
        raise CheckpointError(
            f"{path} is not what its run has learned: call `dreamgym {again}` again, with the same "
            "arguments, which writes it anew"
        )
    return record


def origin(init: str, name: str) -> dict[str, str]:
    """Return `{"init": fingerprint}` of the earlier weights from which a run begins; empty if none.

    Raises:
        CheckpointError: if the earlier run is missing, damaged or not finished.
    """
    if not init:
        return {"init": ""}
    return {"init": result(init, name, f"{name} --out {init}")["result"]}


def begin(module: nn.Module, folder: str, name: str) -> None:
    """Load the weights of an earlier run into a module, if `folder` is not empty."""
    if folder:
        load_module(module, Path(folder) / f"{name}.safetensors")


def resume(
    run: Run, name: str, module: nn.Module, adam: torch.optim.Adam
) -> tuple[int, dict[str, Tensor]]:
    """Load the last checkpoint into a module and its Adam; return its step and its extra tensors.

    Without a checkpoint nothing is loaded, and the step is 0.

    Raises:
        CheckpointError: if the checkpoint is damaged or of another model, or its record is missing.
    """
    path = run.path.parent / f"{name}.training.safetensors"
    if not path.exists():
        return 0, {}
    if not run.facts:
        raise CheckpointError(f"{path} exists, but its record {run.path.name} is missing: {OTHER}")
    tensors = load_tensors(path)
    try:
        module.load_state_dict({key: tensors[f"model.{key}"] for key in module.state_dict()})
        states = {}
        for number, (name, parameter) in enumerate(module.named_parameters()):
            state = {"step": tensors[f"adam.{name}.step"]}
            for key in ("exp_avg", "exp_avg_sq"):  # fused Adam needs the parameter's memory format
                kept = tensors[f"adam.{name}.{key}"]
                state[key] = torch.empty_like(parameter).copy_(kept).detach()
            states[number] = state
        adam.load_state_dict(adam.state_dict() | {"state": states})
        step = int(tensors["step"])
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path} is of another model ({error}): {OTHER}") from error
    extra = {key[6:]: value for key, value in tensors.items() if key.startswith("extra.")}
    return step, extra

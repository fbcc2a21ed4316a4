"""What the training of V and of M has in common: the learning rate's schedule and checkpoints from
which it goes on bit for bit."""

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
    """Share of the peak learning rate: a linear rise, then half a cosine down to a hundredth."""
    rise = min(1.0, (step + 1) / WARMUP)
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / max(steps, 1))))


def check(loss: Tensor, letter: str, step: int, saved: int) -> None:
    """Stop before a loss that is no number reaches the weights.

    Args:
        saved: the step of the last checkpoint; 0: there is none.

    Raises:
        FloatingPointError: naming the stage, the value and the step.
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
    """Write everything that the next step depends on as one file, and the weights as another."""
    out, names = run.path.parent, [name for name, _ in module.named_parameters()]
    tensors = {f"model.{key}": value for key, value in module.state_dict().items()}
    for number, state in adam.state_dict()["state"].items():
        tensors |= {f"adam.{names[number]}.{key}": value for key, value in state.items()}
    tensors |= {f"extra.{key}": value for key, value in extra.items()}
    run.write(config=asdict(module.config), step=step, **facts or {})  # type: ignore[call-overload]
    save_tensors(out / f"{name}.safetensors", module.state_dict())
    # Last: a run that is killed before this resumes from the file that is there.
    save_tensors(out / f"{name}.training.safetensors", tensors | {"step": torch.tensor(step)})


def finish(run: Run, name: str, module: nn.Module) -> None:
    """Write down that nothing is left to do, and what came of it; lost weights are written."""
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
    """Return the record of a run whose weights are to be read, which must be the run's own.

    Raises:
        CheckpointError: if it is missing, damaged or unfinished, or the weights are other ones.
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
    """Return the fingerprint of the weights of an earlier run from which a run is to begin.

    Raises:
        CheckpointError: if that run is not there, or not finished.
    """
    if not init:
        return {"init": ""}
    return {"init": result(init, name, f"{name} --out {init}")["result"]}


def begin(module: nn.Module, folder: str, name: str) -> None:
    """Fill a module with the weights of an earlier run, if there is one to go on from."""
    if folder:
        load_module(module, Path(folder) / f"{name}.safetensors")


def resume(
    run: Run, name: str, module: nn.Module, adam: torch.optim.Adam
) -> tuple[int, dict[str, Tensor]]:
    """Load the last checkpoint, if there is one; return its step and what was saved beside it.

    Raises:
        CheckpointError: if it is damaged, or its record is missing.
    """
    path = run.path.parent / f"{name}.training.safetensors"
    if not path.exists():
        return 0, {}
    if not run.facts:
        raise CheckpointError(f"{path} is there, but no {run.path.name} that tells of it: {OTHER}")
    tensors = load_tensors(path)
    try:
        module.load_state_dict({key: tensors[f"model.{key}"] for key in module.state_dict()})
        states = {}
        for number, (name, parameter) in enumerate(module.named_parameters()):
            state = {"step": tensors[f"adam.{name}.step"]}
            for key in ("exp_avg", "exp_avg_sq"):  # the fused Adam wants the parameter's order
                kept = tensors[f"adam.{name}.{key}"]
                state[key] = torch.empty_like(parameter).copy_(kept).detach()
            states[number] = state
        adam.load_state_dict(adam.state_dict() | {"state": states})
        step = int(tensors["step"])
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path} is of another model ({error}): {OTHER}") from error
    extra = {key[6:]: value for key, value in tensors.items() if key.startswith("extra.")}
    return step, extra

"""How V and M are trained: one loop over Adam's steps, with a learning rate that rises and falls,
a log, and checkpoints from which it goes on bit for bit."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from dreamgym.checkpoint import (
    CheckpointError,
    config_from,
    is_world,
    load_module,
    load_tensors,
    save_tensors,
    world_folder,
)
from dreamgym.files import fingerprint

from .runs import OTHER, Run, finished

SAVE_EVERY = 300.0
"""Seconds between checkpoints."""
LOG_EVERY = 20
"""Steps between points of the log: reading a loss costs little, but not nothing."""
WARMUP = 200
"""Steps over which the learning rate rises from zero."""
STEP_SEED = 1_000_003
"""Between the seeds of two steps' noise: any large number, here a prime."""

Module = TypeVar("Module", bound=nn.Module)


class Objective(Protocol):
    """What a module minimises, a batch a step."""

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a step's batch, and its parts to be logged."""

    def state(self) -> dict[str, Tensor]:
        """Return what the next step needs of the last one, beside the weights."""

    def resume(self, step: int, state: dict[str, Tensor]) -> None:
        """Get ready for a step. `state` is what was saved before it, empty before step 0."""


@dataclass(frozen=True)
class Plan:
    """How a module is trained."""

    letter: str
    """V or M, as messages call it."""
    steps: int
    learning_rate: float
    """Peak of Adam's rate."""
    seed: int
    init: str = ""
    """Run folder of the module to go on from, or a world."""
    clip: float = math.inf
    """Largest norm of a gradient."""
    batch: int = 1
    """What the progress bar and the log count for one step."""
    unit: str = "steps"
    """What they count."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the run's record says beside the module's config."""


def fit(run: Run, module: Module, objective: Objective, plan: Plan, progress: bool) -> Module:
    """Train a module to the end, from its run's last checkpoint if there is one.

    The files are the run's: `vision.json` goes with `vision.safetensors`, the weights, and with
    `vision.training.safetensors`, all that the next step depends on.

    Raises:
        CheckpointError: if the checkpoint is damaged, or its record is missing.
        FloatingPointError: if the loss is not finite; the last checkpoint is good.
    """
    name = run.path.stem
    adam = torch.optim.Adam(module.parameters(), plan.learning_rate, fused=True)
    begin(module, plan.init, name)
    step, state = resume(run, name, module, adam)
    objective.resume(step, state)
    saved_at, saved = time.monotonic(), step
    bar = tqdm(total=plan.steps, initial=step, unit_scale=plan.batch, unit=f" {plan.unit}",
               desc=plan.letter, disable=not progress)  # fmt: skip
    with bar, SummaryWriter(str(run.path.parent / "log")) as log:
        while step < plan.steps:
            for group in adam.param_groups:
                group["lr"] = plan.learning_rate * schedule(step, plan.steps)
            torch.default_generator.manual_seed(plan.seed + STEP_SEED * step)  # resumed or not
            loss, parts = objective.loss(step)
            check(loss, plan.letter, step, saved)
            adam.zero_grad()
            loss.backward()
            if plan.clip < math.inf:
                nn.utils.clip_grad_norm_(module.parameters(), plan.clip)
            adam.step()
            step += 1
            bar.update()
            if step % LOG_EVERY == 0:
                bar.set_postfix({key: f"{value.item():.4g}" for key, value in parts.items()})
                for key, value in parts.items():
                    log.add_scalar(f"{name}/{key}", value.item(), step * plan.batch)
            if step == plan.steps or time.monotonic() - saved_at > SAVE_EVERY:
                checkpoint(run, name, module, adam, step, plan.facts, **objective.state())
                saved_at, saved = time.monotonic(), step
    finish(run, name, module)
    return module.eval()


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
    facts: dict[str, Any],
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
    run.write(config=asdict(module.config), step=step, **facts)  # type: ignore[call-overload]
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

    Args:
        init: a run folder, or a world: its folder or its shipped name.

    Raises:
        CheckpointError: if the earlier run is missing, damaged or not finished.
    """
    if not init:
        return {"init": ""}
    if is_world(init):
        return {"init": fingerprint(world_folder(init) / f"{name}.safetensors")}
    return {"init": result(init, name, f"{name} --out {init}")["result"]}


def begin(module: nn.Module, init: str, name: str) -> None:
    """Load the weights of an earlier run or of a world into a module, if `init` is not empty."""
    if init:
        folder = world_folder(init) if is_world(init) else Path(init)
        load_module(module, folder / f"{name}.safetensors")


def resume(
    run: Run, name: str, module: nn.Module, adam: torch.optim.Adam
) -> tuple[int, dict[str, Tensor]]:
    """Load the last checkpoint into a module and its Adam; return its step and its extra tensors.

    Without a checkpoint nothing is loaded, and the step is 0.

    Raises:
        CheckpointError: if the checkpoint is damaged or of another model, or its record is missing.
        ValueError: if the run was begun with another config of the model.
    """
    path = run.path.parent / f"{name}.training.safetensors"
    if not path.exists():
        return 0, {}
    if not run.facts:
        raise CheckpointError(f"{path} exists, but its record {run.path.name} is missing: {OTHER}")
    config = module.config
    was = config_from(type(config), run.facts.get("config"), run.path)
    if was != config:
        raise ValueError(f"{run.path.parent} was begun with {was}, not {config}: {OTHER}")
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

"""Weights on the disk: safetensors and JSON, checked when read, never pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from dreamgym.files import replacing

C = TypeVar("C")


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of another shape; the message says what to do."""


def save_tensors(path: str | Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as one safetensors file, whole or not at all."""
    data = save({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()})
    with replacing(path) as file:
        file.write(data)


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: if it is missing or damaged, or holds a NaN or an infinity.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: check the folder, or train it")
    try:
        with safetensors.safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): get or train it again") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: tensor {name!r} holds NaN or infinity: train it again")
    return tensors


def load_module(module: nn.Module, path: str | Path) -> None:
    """Fill a module from a safetensors file, in the module's own precision.

    Raises:
        CheckpointError: if a tensor is missing, is too many, or has another shape.
    """
    tensors, wanted = load_tensors(path), module.state_dict()
    for name in sorted(tensors.keys() ^ wanted.keys()):
        problem = "is missing" if name in wanted else "is unknown"
        raise CheckpointError(f"{path}: tensor {name!r} {problem}: the file is of another model")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"{path}: tensor {name!r} has shape {tuple(tensor.shape)}, "
                f"expected {tuple(wanted[name].shape)}: the file is of another model"
            )
    module.load_state_dict(tensors)


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: if the file is missing or is no JSON object.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: check the folder, or train it")
    try:
        value = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): get or train it again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds {type(value).__name__}, not a JSON object")
    return value


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    with replacing(path) as file:
        file.write((json.dumps(value, indent=1) + "\n").encode())


def config_from(kind: type[C], values: Any, path: str | Path) -> C:
    """Build a config dataclass from JSON values.

    Raises:
        CheckpointError: if a field is missing, unknown or of another type.
    """
    expected = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict) or values.keys() != expected.keys():
        raise CheckpointError(
            f"{path}: {kind.__name__} needs the keys {sorted(expected)}, found {values!r}"
        )
    defaults = asdict(kind())  # type: ignore[call-overload]
    for name, value in values.items():
        if not isinstance(value, (int, float) if isinstance(defaults[name], float) else type(defaults[name])):
            raise CheckpointError(f"{path}: {kind.__name__}.{name} is {value!r}")
    return kind(**values)

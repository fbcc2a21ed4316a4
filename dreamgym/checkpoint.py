"""A world or a controller on the disk: safetensors and JSON, checked when read, never pickle.

A world is a folder of `config.json`, `vision.safetensors`, `memory.safetensors` and
`starts.safetensors` (μ and log σ² of real first frames, and their budgets); a controller is a
`.safetensors` file with its config beside it, and a shipped world holds its best one as
`controller.safetensors`.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from dreamgym import tasks
from dreamgym.files import replacing
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.models.memory import MDNRNN, MemoryConfig
from dreamgym.models.vision import VAE, VisionConfig
from dreamgym.modes import ours
from dreamgym.world import World

C = TypeVar("C")
FORMAT = 2
"""Version of the folder; a reader refuses those it does not know."""
LARGEST = 1 << 12
"""No size or weight in a config is larger; a damaged file must not make us allocate the machine."""
SHIPPED = Path(__file__).parent / "worlds"


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
        if not tensor.is_floating_point():
            raise CheckpointError(
                f"{path}: tensor {name!r} has dtype {tensor.dtype}, expected a floating-point one"
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
        value = json.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
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
    default, right = kind(), {}
    for name, value in values.items():
        wanted = type(getattr(default, name))
        # A size is 1 or more, unless it has 0 for its default.
        least = min(1, getattr(default, name)) if wanted is int else 0
        words: dict[Any, Any] = {
            tuple: (list, tuple),
            float: (int, float),
        }  # what JSON makes of a type
        if (
            not isinstance(value, words.get(wanted, wanted))
            or isinstance(value, bool) != (wanted is bool)
            or (wanted in (int, float) and not least <= value <= LARGEST)
            or (wanted is tuple and not all(type(each) is str for each in value))
        ):
            raise CheckpointError(
                f"{path}: {kind.__name__}.{name} is {value!r}, expected {wanted.__name__} "
                f"up to {LARGEST}: get or train it again"
            )
        right[name] = wanted(value)
    return kind(**right)


def check_same(old: dict[str, Any], args: Any, what: str, but: str = "") -> None:
    """Hold a run that is to go on to the arguments that it was begun with.

    Args:
        old: what was written down; a field that is not there had its default.
        args: a dataclass of arguments.
        what: how the message begins, such as `"runs/doom was trained"`.
        but: a field that may differ.

    Raises:
        ValueError: naming the first argument that differs and both values.
    """
    for field in fields(args):
        new, before = getattr(args, field.name), old.get(field.name, field.default)
        if field.name != but and new != before:
            raise ValueError(
                f"{what} with {field.name} {before!r}, not {new!r}: choose another --out, or "
                "delete the folder"
            )


def save_world(
    folder: str | Path, world: World, dtype: torch.dtype = torch.float16, real_frames: int = 0
) -> None:
    """Write a world as a folder.

    Args:
        dtype: half precision halves the files.
        real_frames: frames of the real game that it was learned from.
    """
    folder, (mean, logvar, budget) = Path(folder), world.starts
    parts = {
        "vision": world.vision.state_dict(),
        "memory": world.memory.state_dict(),
        "starts": {"mean": mean, "logvar": logvar, "budget": budget},
    }
    for name, tensors in parts.items():
        small = {key: tensor.to(dtype) for key, tensor in tensors.items()}
        save_tensors(folder / f"{name}.safetensors", small)
    config = {
        "format": FORMAT,
        "task": world.task.name,
        "death": world.death,
        "vision": asdict(world.vision.config),
        "memory": asdict(world.memory.config),
        "real_frames": real_frames,
    }
    write_json(folder / "config.json", config)


@ours()
def load_world(world: str | Path, device: str | torch.device = "cpu") -> World:
    """Read a world.

    Args:
        world: a shipped name, such as `"doom"`, or a folder.
        device: where it is to dream.

    Raises:
        CheckpointError: if there is no such world, or a file of it is damaged or does not fit.
    """
    folder = world_folder(world)
    path = folder / "config.json"
    config = read_json(path)
    if config.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {config.get('format')!r}, this dreamgym reads {FORMAT}: "
            "update dreamgym or train the world again"
        )
    if missing := {"task", "death", "vision", "memory"} - config.keys():
        raise CheckpointError(f"{path} lacks {sorted(missing)}: get or train it again")
    try:
        task = tasks.get(config["task"])
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    vision = VAE(config_from(VisionConfig, config["vision"], path))
    memory = MDNRNN(config_from(MemoryConfig, config["memory"], path))
    load_module(vision, folder / "vision.safetensors")
    load_module(memory, folder / "memory.safetensors")
    starts = load_tensors(folder / "starts.safetensors")
    size = memory.config.z_size
    if vision.config.z_size != size:
        raise CheckpointError(f"{path}: V has {vision.config.z_size} latents and M {size}")
    count = len(starts.get("mean", ()))
    for name, shape in {"mean": (count, size), "logvar": (count, size), "budget": (count,)}.items():
        if name not in starts or starts[name].shape != shape or not count or size % 2:
            raise CheckpointError(
                f"{folder / 'starts.safetensors'}: {name!r} must be {('S', *shape[1:])}, of one S "
                "and an even number of latents"
            )
    if not (starts["budget"] > 0).all():
        raise CheckpointError(f"{folder / 'starts.safetensors'}: a 'budget' is not above 0")
    if memory.config.action_size != len(task.low) or memory.config.heads != task.rules.heads:
        raise CheckpointError(
            f"{path}: M takes {memory.config.action_size} actions and foretells "
            f"{', '.join(memory.config.heads)}; {task.name} has {len(task.low)} and needs "
            f"{', '.join(task.rules.heads)}: train it for this task"
        )
    try:
        where = torch.zeros(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device is {device!r}, which is not here ({error}): use 'cpu'") from error
    first = (starts["mean"].float(), starts["logvar"].float(), starts["budget"].float())
    dream = World(task, vision, memory, first, config["death"])
    return dream.to(where)


def world_folder(world: str | Path) -> Path:
    """Find a world by its shipped name or its folder.

    Raises:
        CheckpointError: if there is none; the message lists the shipped ones.
    """
    if not isinstance(world, (str, os.PathLike)):
        raise CheckpointError(f"world is {world!r}: give a shipped world's name or a folder")
    shipped = sorted(path.name for path in SHIPPED.glob("*") if (path / "config.json").exists())
    if str(world) in shipped:
        return SHIPPED / str(world)
    if (Path(world) / "config.json").is_file():
        return Path(world)
    raise CheckpointError(
        f"no world {str(world)!r}: give one of the shipped ({', '.join(shipped) or 'none'}) "
        "or a folder with a config.json, as `dreamgym make` writes it"
    )


def save_controller(path: str | Path, controller: Controller, **facts: Any) -> None:
    """Write a controller and, beside it as JSON, its config and what is known about it."""
    save_tensors(path, {"weights": controller.weights.float()})
    write_json(Path(path).with_suffix(".json"), {"config": asdict(controller.config)} | facts)


def load_controller(path: str | Path) -> Controller:
    """Read a controller: a `.safetensors` file, or a folder that holds `controller.safetensors`.

    Raises:
        CheckpointError: if it is missing, damaged or of another shape.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "controller.safetensors"
    tensors = load_tensors(path)
    facts = path.with_suffix(".json")
    config = config_from(ControllerConfig, read_json(facts).get("config"), facts)
    weights = tensors.get("weights")
    if weights is None or weights.shape != (config.parameters,):
        raise CheckpointError(f"{path}: 'weights' must be ({config.parameters},): get it again")
    return Controller(config, weights)

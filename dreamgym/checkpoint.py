"""Worlds and controllers on the disk: safetensors and JSON, checked when read, and no pickle.

A world is a folder with four files: `config.json`, `vision.safetensors` (V), `memory.safetensors`
(M) and `starts.safetensors` (V's μ and log σ² of real first frames, their budgets, and perhaps
moments inside real games). A
controller is a `.safetensors` file with its config beside it in a `.json` file of the same name. A
shipped world also holds its best controller, `controller.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from dreamgym import games
from dreamgym.engines.linear import supports_bfloat16
from dreamgym.files import fingerprint, replacing
from dreamgym.games import Game, own
from dreamgym.games.rules import Rules
from dreamgym.models.agent import Agent, AgentConfig
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.models.mdn_rnn import MDNRNN, MemoryConfig
from dreamgym.models.sight import Sight, SightConfig, Vision
from dreamgym.models.standard import Standard, StandardConfig
from dreamgym.models.vae import VAE, VisionConfig
from dreamgym.modes import ours
from dreamgym.world import FORMS, State, World

C = TypeVar("C")
FORMAT = 2
"""Version of the folder's format; `load_world` refuses any other."""
LARGEST = 1 << 12
"""Largest size or weight in a config: a damaged file must not make us allocate all memory."""
FILES = ("config.json", "vision.safetensors", "memory.safetensors", "starts.safetensors")
"""The files that a world's dreams depend on."""
AGENT = "agent"
"""What the JSON file of an agent says that it is; that of a controller says nothing."""
MOMENT = "moment."
"""The names of the tensors of a world's moments inside games begin with this."""
SHIPPED = Path(__file__).parent / "worlds"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""The precisions of M's matrix products."""


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or does not fit; the message says what to do."""


def save_tensors(path: str | Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as one safetensors file, completely or not at all."""
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
    """Fill a module's parameters from a safetensors file, in the module's own precision.

    Raises:
        CheckpointError: if a tensor is missing or unknown, has another shape, or is not of a
            floating-point type, or as `load_tensors` does.
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
        CheckpointError: if the file is missing, damaged or not a JSON object.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: check the folder, or train it")
    try:
        value = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): get or train it again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds {type(value).__name__}, not a JSON object")
    return value


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON, completely or not at all."""
    with replacing(path) as file:
        file.write((json.dumps(value, indent=1) + "\n").encode())


def config_from(kind: type[C], values: Any, path: str | Path) -> C:
    """Build a config dataclass from JSON values.

    A field that is `later` than the first files may be missing. It then has its default.

    Raises:
        CheckpointError: if a field is missing or unknown, or as `check_config` does.
    """
    expected = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    later = {name for name, field in expected.items() if field.metadata.get("later")}
    if not isinstance(values, dict) or not (
        expected.keys() - later <= values.keys() <= expected.keys()
    ):
        raise CheckpointError(
            f"{path}: {kind.__name__} needs the keys {sorted(expected)}, found {values!r}"
        )
    casts: dict[Any, Any] = {(list, tuple): tuple, (int, float): float}  # JSON's types to ours
    right = {}
    for name, value in values.items():
        usual = type(getattr(kind(), name))
        right[name] = (
            value if (type(value), usual) not in casts else casts[type(value), usual](value)
        )
    return check_config(kind(**right), str(path))


def check_config(config: C, where: str) -> C:
    """Return the config if all its fields have valid types and ranges.

    It is checked after a config is read and also before one is written.

    Args:
        where: the file or folder that the message names.

    Raises:
        CheckpointError: if a field is not valid; the message names it, its value and what is
            expected.
    """
    default: Any = type(config)()
    for field in fields(config):  # type: ignore[arg-type]
        value, usual = getattr(config, field.name), getattr(default, field.name)
        wanted, kind = type(usual), str if usual else int  # of what is in a tuple
        # A size is at least 1, unless its default is 0.
        least = min(1, usual) if wanted is int else 0
        if (
            not isinstance(value, (int, float) if wanted is float else wanted)
            or isinstance(value, bool) != (wanted is bool)
            or (wanted in (int, float) and not least <= value <= LARGEST)
            or (wanted is tuple and any(type(each) is not kind for each in cast(tuple[Any], value)))
        ):
            shown = list(value) if isinstance(value, tuple) else value
            expected = {int: f"a whole number, {least} to {LARGEST}",
                        float: f"a number, {least} to {LARGEST}",
                        tuple: "a list of words" if usual else "a list of whole numbers",
                        }.get(wanted, f"a {wanted.__name__}")  # fmt: skip
            raise CheckpointError(
                f"{where}: {type(config).__name__}.{field.name} is {shown!r}, expected {expected}"
            )
    return config


def save_world(
    folder: str | Path, world: World, dtype: torch.dtype = torch.float16, real_frames: int = 0
) -> None:
    """Write a world as a folder.

    Args:
        folder: where to write. Its files are replaced if it holds a world.
        dtype: the precision of the stored weights; float16 takes half the space of float32. What
            is made of a vector's numbers, and V's statistics, are always stored in float32: they
            may be large.
        real_frames: the number of frames of the real game from which the world was learned.

    Raises:
        CheckpointError: if a config is not one that `load_world` accepts.
    """
    folder, (mean, logvar, budget) = Path(folder), world.starts
    for config in (world.vision.config, world.memory.config):
        check_config(config, str(folder))
    parts = {
        "vision": world.vision.state_dict(),
        "memory": world.memory.state_dict(),
        "starts": {"mean": mean, "logvar": logvar, "budget": budget, **_moments(world)},
    }
    (folder / "config.json").unlink(missing_ok=True)  # a half-replaced folder must not be a world
    exact = {key for key, _ in world.vision.named_buffers()}
    if not world.game.pictures:
        exact |= parts["starts"].keys()
    for name, tensors in parts.items():
        small = {
            key: _small(tensor, torch.float32 if key in exact else dtype)
            for key, tensor in tensors.items()
        }
        save_tensors(folder / f"{name}.safetensors", small)
    facts = {
        "format": FORMAT,
        "task": world.game.name,
        "death": world.death,
        **({"own": asdict(world.game.own)} if world.game.own else {}),
        "vision": asdict(world.vision.config),
        "memory": asdict(world.memory.config),
        "real_frames": real_frames,
    }
    write_json(folder / "config.json", facts)


@ours()
def load_world(world: str | Path, device: str | torch.device = "cpu") -> World:
    """Read a world, in float32.

    Args:
        world: the name of a shipped world, such as `"doom"`, or a folder.
        device: where V and M run, such as `"cpu"` or `"cuda"`.

    Raises:
        CheckpointError: if there is no such world, or one of its files is damaged or does not fit.
        ValueError: if there is no such device.
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
    game = _game(config, path)
    real_frames(path)
    vision = vision_from(config["vision"], path)
    if vision.frame != game.frame:
        raise CheckpointError(
            f"{path}: V sees frames {vision.frame}, {game.name} shows {game.frame}"
        )
    memory = MDNRNN(config_from(MemoryConfig, config["memory"], path))
    if game.rewarded and not memory.config.paid:
        raise CheckpointError(
            f"{path} was written by an older dreamgym, whose M foretold rewards apart from ends: "
            f"make it anew, such as by `dreamgym new {shlex.quote(game.name)}`"
        )
    if memory.config.paid and not game.rewarded:
        raise CheckpointError(f"{path}: M foretells rewards, which {game.name} has by its rules")
    load_module(vision, folder / "vision.safetensors")
    load_module(memory, folder / "memory.safetensors")
    starts = load_tensors(folder / "starts.safetensors")
    size = memory.config.z_size
    if vision.config.z_size != size:
        raise CheckpointError(f"{path}: V has {vision.config.z_size} latents and M {size}")
    count = starts["mean"].shape[0] if starts.get("mean", torch.empty(())).ndim else 0
    for name, shape in {"mean": (count, size), "logvar": (count, size), "budget": (count,)}.items():
        right = name in starts and starts[name].shape == shape and starts[name].is_floating_point()
        if not right or not count or size % 2:
            raise CheckpointError(
                f"{folder / 'starts.safetensors'}: {name!r} must be {('S', *shape[1:])} floats, "
                "with one S ≥ 1 for all its tensors and an even number of latents"
            )
    if not (starts["budget"] > 0).all():
        raise CheckpointError(f"{folder / 'starts.safetensors'}: a 'budget' is not above 0")
    if memory.config.action_size != len(game.low):
        raise CheckpointError(
            f"{path}: M takes actions of {memory.config.action_size} numbers, {game.name} has "
            f"actions of {len(game.low)}: train it for this game"
        )
    try:
        game.rules.foretold(memory.config.heads)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}: train it for {game.name}") from None
    try:
        where = torch.zeros(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device is {device!r}, which is not here ({error}): use 'cpu'") from error
    first = (starts["mean"].float(), starts["logvar"].float(), starts["budget"].float())
    moments = _moments_of(starts, memory.config, game.rules.foretold(memory.config.heads), folder)
    dream = World(game, vision, memory, first, config["death"], moments=moments)
    return dream.to(where)


def vision_from(config: Any, path: str | Path) -> Vision:
    """Return an untrained V, of the kind that a config, which was read as JSON, says.

    Raises:
        CheckpointError: as `config_from` does.
    """
    if isinstance(config, dict) and "inputs" in config:
        return Standard(config_from(StandardConfig, config, path))
    if isinstance(config, dict) and "latents" in config:
        return Sight(config_from(SightConfig, config, path))
    return VAE(config_from(VisionConfig, config, path))


def _game(config: dict[str, Any], path: Path) -> Game:
    """Return the game of a world. A user's own one need not be installed.

    Raises:
        CheckpointError: if it is unknown, or what is known of a user's own one is damaged.
    """
    try:
        if "own" in config:
            return own.game(own.read(config["own"]))
        return games.get(config.get("task", ""))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _small(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor in the precision in which it is stored; whole numbers stay as they are."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _moments(world: World) -> dict[str, Tensor]:
    """Return the tensors of a world's moments by name; none if it has no moments."""
    if world.moments is None:
        return {}
    names = ("z", "h", "c", "step", "counts")
    return {MOMENT + name: getattr(world.moments, name) for name in names}


def _moments_of(
    tensors: dict[str, Tensor], config: MemoryConfig, rules: Rules, folder: Path
) -> State | None:
    """Return the moments that a world's file holds, or None.

    Raises:
        CheckpointError: if some of their tensors are missing or have a wrong shape or type.
    """
    parts = {key[len(MOMENT) :]: part for key, part in tensors.items() if key.startswith(MOMENT)}
    if not parts:
        return None
    many = len(parts["z"]) if parts.get("z", torch.empty(())).ndim else 0
    columns = rules.begin(torch.ones(1)).shape[1]
    shapes = {"z": (many, config.z_size), "h": (many, config.hidden), "c": (many, config.hidden),
              "step": (many,), "counts": (many, columns)}  # fmt: skip
    for name, shape in shapes.items():
        whole = name == "step"
        part = parts.get(name, torch.empty(()))
        if not many or part.shape != shape or (part.dtype is torch.int64) != whole:
            raise CheckpointError(
                f"{folder / 'starts.safetensors'}: {MOMENT + name!r} must be {('R', *shape[1:])} "
                f"{'int64' if whole else 'floats'}, with one R ≥ 1 for all moments"
            )
    z, h, c, counts = (parts[name].float() for name in ("z", "h", "c", "counts"))
    return State(z, h, c, parts["step"], torch.zeros(many, dtype=torch.int64), counts)


def world_folder(world: str | Path) -> Path:
    """Return the folder of a world, given by its shipped name or by the folder itself.

    Raises:
        CheckpointError: if there is no such world; the message lists the shipped ones.
    """
    if not isinstance(world, (str, os.PathLike)) or not str(world):
        raise CheckpointError(f"world is {world!r}: give world= a shipped world's name or a folder")
    shipped = sorted(path.name for path in SHIPPED.glob("*") if (path / "config.json").exists())
    if str(world) in shipped:
        return SHIPPED / str(world)
    if (Path(world) / "config.json").is_file():
        return Path(world)
    raise CheckpointError(
        f"no world {str(world)!r}: give one of the shipped ({', '.join(shipped) or 'none'}) "
        "or a folder with a config.json, as `dreamgym new` and `dreamgym make` write it"
    )


def is_world(name: str | Path) -> bool:
    """Return whether this is a world: the name of a shipped one, or a folder that holds one."""
    try:
        world_folder(name)
    except CheckpointError:
        return False
    return True


def world_game(world: str | Path) -> str:
    """Return the name of the game from which a world was learned.

    Raises:
        CheckpointError: if there is no such world, its config is damaged, or its game is unknown.
    """
    path = world_folder(world) / "config.json"
    return _game(read_json(path), path).name


def world_fingerprint(world: str | Path) -> str:
    """Return a short hash of the files on which a world's dreams depend.

    Raises:
        CheckpointError: if there is no such world, or one of its files is missing.
    """
    folder = world_folder(world)
    try:
        return fingerprint(*(folder / name for name in FILES))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{error.filename} does not exist: get or train the world again"
        ) from error


def policy_fingerprint(path: str | Path) -> str:
    """Return a short hash of everything on which a policy's actions depend: weights and config.

    Args:
        path: the policy's file of weights; a `.json` file of the same name is beside it.

    Raises:
        CheckpointError: if one of its files is missing, or its JSON file is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: check the folder, or train it")
    facts = read_json(path.with_suffix(".json"))
    kind = {key: facts.get(key) for key in ("config", "algo")}
    return hashlib.sha256(f"{fingerprint(path)} {json.dumps(kind)}".encode()).hexdigest()[:16]


def real_frames(path: Path) -> int:
    """Return how many real frames a world or a policy has used, by its JSON file; 0 if not said.

    Raises:
        CheckpointError: if the file is missing or damaged, or the number is not valid.
    """
    frames = read_json(path).get("real_frames", 0)
    if not isinstance(frames, int) or isinstance(frames, bool) or frames < 0:
        raise CheckpointError(
            f"{path}: 'real_frames' is {frames!r}, expected a whole number, 0 or more: get it again"
        )
    return frames


def save_controller(path: str | Path, controller: Controller, **facts: Any) -> None:
    """Write a controller's weights and, beside them as JSON, its config and further facts.

    Args:
        path: the `.safetensors` file to write.
        **facts: what else the JSON file is to say, such as the world that it learned in.

    Raises:
        CheckpointError: if its config is not one that `load_controller` accepts.
    """
    check_config(controller.config, str(path))
    save_tensors(path, {"weights": controller.weights.float()})
    write_json(Path(path).with_suffix(".json"), {"config": asdict(controller.config)} | facts)


def load_controller(path: str | Path) -> Controller:
    """Read a controller: a `.safetensors` file, or a folder that holds `controller.safetensors`.

    Raises:
        CheckpointError: if a file is missing or damaged, or the weights have another shape than the
            config says.
    """
    path = _weights(path, "controller")
    tensors = load_tensors(path)
    facts = path.with_suffix(".json")
    config = config_from(ControllerConfig, read_json(facts).get("config"), facts)
    weights = tensors.get("weights")
    right = weights is not None and weights.shape == (config.parameters,)
    if weights is None or not right or not weights.is_floating_point():
        raise CheckpointError(
            f"{path}: 'weights' must be ({config.parameters},) floats: get it again"
        )
    return Controller(config, weights)


def save_agent(path: str | Path, agent: Agent, **facts: Any) -> None:
    """Write an agent's weights and, beside them as JSON, its config and further facts.

    Args:
        path: the `.safetensors` file to write.
        **facts: what else the JSON file is to say, such as the world that it learned in.

    Raises:
        CheckpointError: if its config is not one that `load_agent` accepts.
    """
    check_config(agent.config, str(path))
    save_tensors(path, agent.state_dict())
    write_json(
        Path(path).with_suffix(".json"), {"kind": AGENT, "config": asdict(agent.config)} | facts
    )


def is_agent(path: str | Path) -> bool:
    """Return whether a policy's file holds an `Agent`, and not a `Controller`."""
    facts = Path(path).with_suffix(".json")
    return (
        Path(path).suffix == ".safetensors"
        and facts.is_file()
        and (read_json(facts).get("kind") == AGENT)
    )


def load_agent(path: str | Path) -> Agent:
    """Read an agent: a `.safetensors` file, or a folder that holds `agent.safetensors`.

    Raises:
        CheckpointError: if a file is missing or damaged, or the weights have other shapes than the
            config says.
    """
    path = _weights(path, "agent")
    facts = path.with_suffix(".json")
    config = config_from(AgentConfig, read_json(facts).get("config"), facts)
    try:
        agent = Agent(config)
    except ValueError as error:
        raise CheckpointError(f"{facts}: {error}") from error
    load_module(agent, path)
    return agent.eval()


def _weights(policy: str | Path, kind: str) -> Path:
    """Return the file of a policy's weights: `policy`, or `kind`.safetensors in this folder.

    Raises:
        CheckpointError: if `policy` is no path, or the path of a file that is no policy.
    """
    if not isinstance(policy, (str, os.PathLike)):
        raise CheckpointError(f"policy is {policy!r}: give its file, or the folder that holds it")
    path = Path(policy)
    path = path / f"{kind}.safetensors" if path.is_dir() else path
    whole = path.suffix == ".safetensors" and path.with_suffix(".json").is_file()
    if path.is_file() and not whole:
        raise CheckpointError(
            f"{path} is no policy: give a .safetensors file that has a .json file of its name "
            "beside it"
        )
    return path


_shared: dict[tuple[Path, str, str, str], tuple[tuple[Any, ...], World]] = {}


def shared_world(world: str, device: str, precision: str = "float32", form: str = "auto") -> World:
    """Return a world that all environments of this process share.

    It is loaded once for each device, precision and form, and again if its files have changed.

    Args:
        world: the name of a shipped world, or a folder.
        device: where V and M run, such as `"cpu"` or `"cuda"`.
        precision: of M's matrix products, `"float32"`, `"bfloat16"`, or `"fastest"`, which is
            bfloat16 if the device has instructions for it and V sees pictures. That is faster for
            large batches, and slower for a single dream. Exact numbers need more than its three
            digits.
        form: how a step is computed, one of `dreamgym.world.FORMS`.

    Raises:
        ValueError: if there is no such device, precision or form; the message lists those that
            exist.
        CheckpointError: if there is no such world, or one of its files is damaged.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}: choose one of {', '.join(FORMS)}")
    if precision not in (*PRECISIONS, "fastest"):
        known = ", ".join((*PRECISIONS, "fastest"))
        raise ValueError(f"precision is {precision!r}: choose one of {known}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch's errors where it was built without GPU
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise ValueError(f"device is {device!r}: this machine has {', '.join(there)}") from error
    folder = world_folder(world).resolve()
    if precision == "fastest":
        vision = read_json(folder / "config.json").get("vision")
        exact = isinstance(vision, dict) and "inputs" in vision  # V sees numbers
        precision = "bfloat16" if supports_bfloat16(device) and not exact else "float32"
    key, files = (folder, device, precision, form), _files(folder)
    if key not in _shared or _shared[key][0] != files:
        _shared[key] = files, load_world(folder).to(device, PRECISIONS[precision], form)
    return _shared[key][1]


def _files(folder: Path) -> tuple[Any, ...]:
    """Return names, inodes, sizes and times of a world's files, which tell when they change."""
    paths = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    return tuple((p.name, s.st_ino, s.st_size, s.st_mtime_ns) for p in paths for s in [p.stat()])

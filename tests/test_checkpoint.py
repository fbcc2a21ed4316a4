"""What is read from the disk is what was written, or an error that says where and what."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dreamgym import checkpoint
from dreamgym.checkpoint import (
    CheckpointError,
    config_from,
    load_agent,
    load_module,
    load_tensors,
    read_json,
    save_tensors,
    write_json,
)
from dreamgym.models.controller import Controller, ControllerConfig
from tests.conftest import tiny_world

TENSORS = {"weight": torch.arange(6.0).view(3, 2) / 7, "bias": torch.tensor([1.0, -2.0, 3.0])}


@dataclass(frozen=True)
class Config:
    """One field of each type that configs have."""

    size: int = 3
    floor: float = 0.5
    bias: bool = True
    heads: tuple[str, ...] = ("hit", "death")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_tensors(path, TENSORS)
    return path


def error_of(call: Callable[[], Any]) -> str:
    with pytest.raises(CheckpointError) as caught:
        call()
    return str(caught.value)


def test_tensors_come_back_bit_by_bit(path: Path) -> None:
    loaded = load_tensors(path)
    assert loaded.keys() == TENSORS.keys()
    assert all(torch.equal(loaded[name], TENSORS[name]) for name in TENSORS)


def test_a_view_is_saved_as_it_is_seen(tmp_path: Path) -> None:
    save_tensors(tmp_path / "view", {"x": TENSORS["weight"].T})
    assert torch.equal(load_tensors(tmp_path / "view")["x"], TENSORS["weight"].T)


@pytest.mark.parametrize("load", [load_tensors, read_json])
def test_a_missing_file_is_named(tmp_path: Path, load: Callable[[Path], Any]) -> None:
    missing = tmp_path / "nowhere"
    assert error_of(lambda: load(missing)).startswith(f"{missing} does not exist")


@pytest.mark.parametrize("kept", [0, 4, 20, -1])
def test_a_truncated_file_is_named(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    assert error_of(lambda: load_tensors(path)).startswith(f"{path} is damaged")


@pytest.mark.parametrize("place", [0, 7, 8, 20])
def test_a_file_with_a_damaged_header_is_named(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)
    assert error_of(lambda: load_tensors(path)).startswith(f"{path} is damaged")


def test_a_pickle_in_disguise_is_refused_and_never_run(path: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    path.write_bytes(pickle.dumps(Bomb()))
    assert error_of(lambda: load_tensors(path)).startswith(f"{path} is damaged")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_tensor_that_is_not_finite_is_named(path: Path, dtype: torch.dtype, value: float) -> None:
    bias = torch.tensor([1.0, value, 3.0], dtype=dtype)
    save_tensors(path, TENSORS | {"bias": bias})
    assert error_of(lambda: load_tensors(path)).startswith(f"{path}: tensor 'bias' holds NaN")


def test_a_module_is_filled(path: Path) -> None:
    module = nn.Linear(2, 3)
    load_module(module, path)
    assert torch.equal(module.weight, TENSORS["weight"])
    assert torch.equal(module.bias, TENSORS["bias"])


def test_a_module_keeps_its_own_precision(path: Path) -> None:
    halves = {name: tensor.half() for name, tensor in TENSORS.items()}
    save_tensors(path, halves)
    module = nn.Linear(2, 3)
    load_module(module, path)
    assert module.weight.dtype == torch.float32
    assert torch.equal(module.weight, halves["weight"].float())


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": TENSORS["weight"]}, "tensor 'bias' is missing"),
        (TENSORS | {"extra": torch.zeros(1)}, "tensor 'extra' is unknown"),
        (TENSORS | {"bias": torch.zeros(4)}, "tensor 'bias' has shape (4,), expected (3,)"),
        (TENSORS | {"weight": torch.zeros(2, 3)}, "tensor 'weight' has shape (2, 3), expected"),
        (TENSORS | {"bias": torch.tensor([0.0, 0.0, torch.nan])}, "tensor 'bias' holds NaN"),
    ],
    ids=["missing", "extra", "longer", "transposed", "nan"],
)
def test_a_tensor_that_does_not_fit_is_named_and_changes_nothing(
    path: Path, tensors: dict[str, torch.Tensor], message: str
) -> None:
    save_tensors(path, tensors)
    module = nn.Linear(2, 3)
    before = module.weight.detach().clone()
    assert error_of(lambda: load_module(module, path)).startswith(f"{path}: {message}")
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_a_tensor_of_another_kind_of_number_is_named(path: Path, dtype: torch.dtype) -> None:
    save_tensors(path, TENSORS | {"bias": torch.ones(3).to(dtype)})
    message = error_of(lambda: load_module(nn.Linear(2, 3), path))
    assert str(path) in message
    assert "'bias'" in message


def test_json_comes_back(tmp_path: Path) -> None:
    value = {"a": 1, "b": [1.5, None, "τ"]}
    write_json(tmp_path / "config.json", value)
    assert read_json(tmp_path / "config.json") == value


@pytest.mark.parametrize(
    "content", [b"", b'{"a": 1', b"\x80\x02}q\x00.", b"[" * 100_000], ids=range(4)
)
def test_a_damaged_json_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    assert error_of(lambda: read_json(path)).startswith(f"{path} is damaged")


def test_json_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("[1, 2]")
    assert error_of(lambda: read_json(path)) == f"{path} holds list, not a JSON object"


def test_a_config_survives_json() -> None:
    config = Config(size=5, floor=1.0, bias=False, heads=("death",))
    values = json.loads(json.dumps(asdict(config)))
    assert config_from(Config, values, "config.json") == config


def test_a_whole_number_may_stand_for_a_float() -> None:
    config = config_from(Config, asdict(Config()) | {"floor": 2}, "config.json")
    assert type(config.floor) is float
    assert config.floor == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", "3"),
        ("size", 3.0),
        ("size", True),
        ("size", None),
        ("size", -1),
        ("size", 10**9),
        ("floor", "0.5"),
        ("floor", -0.5),
        ("floor", float("nan")),
        ("floor", float("inf")),
        ("bias", 1),
        ("heads", "death"),
        ("heads", {"death": 1}),
        ("heads", ["death", 3]),
    ],
)
def test_a_config_value_of_another_type_or_size_is_named(field: str, value: Any) -> None:
    values = asdict(Config()) | {field: value}
    message = error_of(lambda: config_from(Config, values, "some/config.json"))
    assert re.match(rf"some/config\.json: Config\.{field} is ", message)
    assert repr(value) in message


@pytest.mark.parametrize(
    "values",
    [{}, None, [1], {"size": 3}, asdict(Config()) | {"colour": 1}],
    ids=["empty", "none", "list", "missing", "unknown"],
)
def test_a_config_with_other_keys_is_named(values: Any) -> None:
    message = error_of(lambda: config_from(Config, values, "some/config.json"))
    assert message.startswith("some/config.json: Config needs the keys ['bias', 'floor'")


def test_a_world_comes_back_and_dreams_the_same(tmp_path):
    world = tiny_world()
    checkpoint.save_world(tmp_path, world, torch.float32)
    again = checkpoint.load_world(tmp_path)
    state, other = world.start(torch.arange(4)), again.start(torch.arange(4))
    for _ in range(5):
        state, _, _ = world.step(state, torch.zeros(4, 1), torch.ones(4, 1))
        other, _, _ = again.step(other, torch.zeros(4, 1), torch.ones(4, 1))
    assert torch.equal(state.z, other.z) and torch.equal(state.counts[:, 0], other.counts[:, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "has format 99, this dreamgym reads 2"),
        ({"task": "chess"}, "unknown game 'chess'"),
        ({"memory": {"hidden": 8}}, "MemoryConfig needs the keys"),
        ({"death": None}, "death is None: choose"),
    ],
)
def test_a_world_with_a_wrong_config_is_named(tmp_path, change, message):
    checkpoint.save_world(tmp_path, tiny_world())
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        checkpoint.load_world(tmp_path)


@pytest.mark.parametrize("name", ["vision", "memory", "starts"])
def test_a_world_without_a_file_or_with_half_of_it_is_named(tmp_path, name):
    checkpoint.save_world(tmp_path, tiny_world())
    path = tmp_path / f"{name}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(checkpoint.CheckpointError, match=f"{name}.safetensors is damaged"):
        checkpoint.load_world(tmp_path)
    path.unlink()
    with pytest.raises(checkpoint.CheckpointError, match=f"{name}.safetensors does not exist"):
        checkpoint.load_world(tmp_path)


def test_a_huge_size_is_refused_before_memory_is_taken(tmp_path):
    checkpoint.save_world(tmp_path, tiny_world())
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["memory"]["hidden"] = 10**12
    path.write_text(json.dumps(config))
    with pytest.raises(checkpoint.CheckpointError, match=r"MemoryConfig.hidden is 1000000000000"):
        checkpoint.load_world(tmp_path)


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    large = Controller(ControllerConfig(5000, bias=False), torch.zeros(5000))
    with pytest.raises(ValueError, match=r"ControllerConfig\.inputs is 5000, expected a whole"):
        checkpoint.save_controller(tmp_path / "c.safetensors", large)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("load", [load_agent, checkpoint.load_controller])
def test_what_is_no_policy_is_named(tmp_path: Path, load: Callable[[Any], Any]) -> None:
    assert error_of(lambda: load(None)) == (
        "policy is None: give its file, or the folder that holds it"
    )
    checkpoint.save_world(tmp_path, tiny_world())
    for name in ("config.json", "vision.safetensors"):
        assert error_of(lambda: load(tmp_path / name)).startswith(  # noqa: B023
            f"{tmp_path / name} is no policy: give a .safetensors file that has a .json file"
        )
    missing = tmp_path / "nowhere.safetensors"
    assert error_of(lambda: load(missing)).count("nowhere") == 1

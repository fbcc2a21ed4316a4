"""A controller is carried to a world whose M says the same in other words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dreamgym.checkpoint import load_controller, save_controller, save_world
from dreamgym.cli import main
from dreamgym.games import Game
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.doom import GAME as DOOM
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.training.carry import carried
from dreamgym.training.data.latents import Latents, fingerprint
from dreamgym.training.play.policies import controller_config
from dreamgym.world import World
from tests.conftest import data_set, tiny_world

GAMES = pytest.mark.parametrize("game", [DOOM, CAR_RACING], ids=["doom", "car_racing"])


def played(world: World, lengths: list[int]) -> Latents:
    """Games that V saw as random latents, played by random actions."""
    draw, frames = torch.Generator().manual_seed(0), sum(lengths)
    z, a = world.memory.config.z_size, world.memory.config.action_size
    return Latents(
        torch.randn(frames, z, generator=draw).half(), torch.full((frames, z), -4.0).half(),
        torch.rand(frames, a, generator=draw), torch.zeros(frames, 5, dtype=torch.bool),
        torch.zeros(frames), torch.tensor(lengths), torch.zeros(frames, 2),
        torch.zeros(len(lengths), dtype=torch.int64), fingerprint(world.vision),
    )  # fmt: skip


def drawn(world: World) -> Controller:
    config, draw = controller_config(world), torch.Generator().manual_seed(1)
    return Controller(config, 0.3 * torch.randn(config.parameters, generator=draw))


def reordered(world: World) -> tuple[World, torch.Tensor]:
    """The same world with M's cells in another order, and that order."""
    other, hidden = tiny_world(game=world.game), world.memory.config.hidden
    other.vision.load_state_dict(world.vision.state_dict())
    order = torch.randperm(hidden, generator=torch.Generator().manual_seed(2))
    gates = torch.cat([order + gate * hidden for gate in range(4)])
    weights = world.memory.state_dict()
    for name, weight in weights.items():
        if weight.shape[0] == 4 * hidden:
            weights[name] = weight[gates]
        if weight.ndim == 2 and weight.shape[1] == hidden:
            weights[name] = weights[name][:, order]
    other.memory.load_state_dict(weights)
    return other, order


@GAMES
def test_the_weights_follow_m_s_cells_to_their_new_places(game: Game) -> None:
    world = tiny_world(game=game)
    other, order = reordered(world)
    controller = drawn(world)
    new, explained = carried(controller, world, other, played(world, [700] * 10 + [30]), 20)
    assert min(explained) > 0.999
    config = controller.config
    size, hidden = world.memory.config.z_size, world.memory.config.hidden
    starts = {"zh": [size], "zhc": [size, size + hidden]}[config.observation]
    moved = torch.arange(config.inputs)
    for start in starts:
        moved[start : start + hidden] = start + order
    many = config.inputs * config.actions
    wanted = controller.weights[:many].view(config.actions, -1)[:, moved]
    got = new.weights[:many].view(config.actions, -1)
    assert float((got - wanted).norm() / wanted.norm()) < 0.1  # the ridge shrinks a little


def test_a_v_that_names_its_numbers_otherwise_is_no_obstacle() -> None:
    """The new V has z in the reverse order, and so M's weights on it."""
    world, other = tiny_world(game=CAR_RACING), tiny_world(game=CAR_RACING)
    lengths, size = [700] * 10 + [30], world.memory.config.z_size
    with torch.no_grad():
        for weight in other.vision.parameters():
            weight.add_(1e-3)
        weight = other.memory.get_parameter("weight_ih")
        weight[:, :size] = weight[:, :size].flip(1)
    before, after = played(world, lengths), played(other, lengths)
    after.mean, after.logvar = before.mean.flip(1), torch.full_like(before.logvar, -60)
    before.logvar = torch.full_like(before.logvar, -60)  # V is certain: no noise hides the same z
    controller = drawn(world)
    new, explained = carried(controller, world, other, after, 20, before)
    assert min(explained) > 0.999
    many = controller.config.inputs * 3
    wanted, got = (each.weights[:many].view(3, -1)[:, :size] for each in (controller, new))
    assert float((got - wanted.flip(1)).norm() / wanted.norm()) < 0.1
    with pytest.raises(ValueError, match="source has another V than the latents"):
        carried(controller, world, other, after, 20)
    before.lengths = before.lengths.flip(0)
    with pytest.raises(ValueError, match="by the two Vs are of different games"):
        carried(controller, world, other, after, 20, before)


def test_what_a_controller_cannot_take_along_is_told() -> None:
    """Of a C that looks at h alone, an M without any weights can take nothing along."""
    world, other = tiny_world(game=CAR_RACING), tiny_world(game=CAR_RACING)
    other.vision.load_state_dict(world.vision.state_dict())
    with torch.no_grad():
        for weight in other.memory.parameters():
            weight.zero_()
    controller = drawn(world)
    by_output = controller.weights[: 3 * controller.config.inputs].view(3, -1)
    by_output[:, : world.memory.config.z_size] = 0
    _, explained = carried(controller, world, other, played(world, [100] * 10), 10)
    assert max(explained) < 0.6


def test_what_does_not_fit_is_named() -> None:
    world = tiny_world()
    latents = played(world, [20] * 6)
    deep = ControllerConfig(controller_config(world).inputs, 1, hidden=3)
    with pytest.raises(ValueError, match="C has 3 hidden units: only a linear one"):
        carried(Controller(deep, torch.zeros(deep.parameters)), world, world, latents, 5)
    latents.vision = "another"
    with pytest.raises(ValueError, match="source has another V than the latents"):
        carried(drawn(world), world, world, latents, 5)


def test_the_command_writes_the_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = tiny_world()
    save_world(tmp_path / "world", world, torch.float32)
    save_controller(tmp_path / "world" / "controller.safetensors", drawn(world))
    monkeypatch.setattr("dreamgym.training.carry.load", lambda _: played(world, [300] * 6))
    words = ["carry", "--source", str(tmp_path / "world"), "--world", str(tmp_path / "world")]
    assert main([*words, "--latents", str(tmp_path / "run")]) == 0
    assert "it explains 100%" in capsys.readouterr().out
    new = load_controller(tmp_path / "run" / "controller.safetensors")
    assert new.config == drawn(world).config
    assert main(words) == 2
    assert "latents is missing: name the folder with --latents" in capsys.readouterr().err


def test_the_command_encodes_the_games_by_both_vs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their Vs are not the same, so the latents of one alone do not do."""
    for name, seed in (("old", 0), ("new", 1)):
        save_world(tmp_path / name, tiny_world(seed=seed), torch.float32)
    save_controller(tmp_path / "old" / "controller.safetensors", drawn(tiny_world()))
    words = ["carry", "--source", str(tmp_path / "old"), "--world", str(tmp_path / "new")]
    words += ["--data", str(data_set(tmp_path / "data", [30] * 6))]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert load_controller(tmp_path / "run").config == drawn(tiny_world()).config
    assert main(words) == 2
    assert "out is missing: name the folder with --out" in capsys.readouterr().err

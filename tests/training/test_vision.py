"""V learns from every frame, at the rate and with the noise that it should."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dreamgym import games
from dreamgym.checkpoint import (
    FILES,
    load_module,
    load_world,
    read_json,
    real_frames,
    save_world,
    world_fingerprint,
)
from dreamgym.cli import main
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.models.vae import VAE
from dreamgym.training import memory, trainer, vision
from dreamgym.training.data.episodes import Episode, Frames, episode_path
from tests.conftest import Z, data_set, finish, tiny_world

GREYS = (10, 200)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes of 6 frames, one dark and one bright."""
    path = tmp_path_factory.mktemp("grey")
    for index, grey in enumerate(GREYS):
        Episode(
            np.full((6, 64, 64, 3), grey, np.uint8), np.zeros((6, 1), np.float32),
            np.ones(6, np.float32), np.linspace(100, 0, 7, dtype=np.float32)[:, None],
            np.arange(6) == 5, np.zeros(6, bool),
        ).save(episode_path(path, index))  # fmt: skip
    return finish(path)


def train(data: Path, out: Path, **args: float) -> VAE:
    small = {"frames": 4 * 5, "batch": 4, "z_size": 3, **args}
    return vision.train([data], out, vision.Args(**small), progress=False)  # type: ignore[arg-type]


def test_v_learns_to_tell_apart_what_it_saw(data: Path, tmp_path: Path) -> None:
    v = train(data, tmp_path, frames=4 * 45, learning_rate=1e-2)
    shown = torch.tensor(GREYS)[:, None, None, None].expand(2, 64, 64, 3).to(torch.uint8)
    with torch.no_grad():
        rebuilt = v.decode(v.encode(shown)[0]).mean((1, 2, 3)) * 255
    assert rebuilt[1] - rebuilt[0] > (GREYS[1] - GREYS[0]) / 3


def test_v_takes_batch_after_batch_at_the_cosine_s_rate_with_fresh_noise(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, rates, shown, noise = [], [], [], []
    plain, loss, step = Frames.read, VAE.loss, torch.optim.Adam.step

    def reads(frames, number):  # type: ignore[no-untyped-def]
        batch = plain(frames, number)
        read.append(batch)
        return batch

    def lost(v, batch, rarity):  # type: ignore[no-untyped-def]
        shown.append(batch.numpy().copy())
        noise.append(torch.randn(3, generator=torch.random.default_generator.clone_state()))
        return loss(v, batch, rarity)

    def steps(adam, *rest):  # type: ignore[no-untyped-def]
        rates.append(float(adam.param_groups[0]["lr"]))
        return step(adam, *rest)

    monkeypatch.setattr(Frames, "read", reads)
    monkeypatch.setattr(VAE, "loss", lost)
    monkeypatch.setattr(torch.optim.Adam, "step", steps)
    train(data, tmp_path, frames=4 * 5 + 3, learning_rate=0.5)  # three frames make no batch
    assert len(shown) == 5
    frames = Frames(sorted(data.glob("*.npz")), 4, 0)
    for number, batch in enumerate(shown):
        assert np.array_equal(batch, plain(frames, number))
    cosine = [0.01 + 0.99 * (1 + math.cos(math.pi * n / 5)) / 2 for n in range(5)]
    assert rates == pytest.approx([0.5 * (n + 1) / 200 * part for n, part in enumerate(cosine)])
    assert len({tuple(each.tolist()) for each in noise}) == 5


def test_v_has_the_size_and_the_weight_that_it_is_told(data: Path, tmp_path: Path) -> None:
    v = train(data, tmp_path, frames=4, z_size=5, reconstruction=7.0)
    config = read_json(tmp_path / "vision.json")["config"]
    assert (v.config.z_size, v.config.reconstruction) == (5, 7.0)
    assert (config["z_size"], config["reconstruction"]) == (5, 7.0)
    read = VAE(v.config)
    load_module(read, tmp_path / "vision.safetensors")
    for one, other in zip(v.parameters(), read.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not v.training


@pytest.mark.parametrize(("game", "size"), [("doom", 64), ("car_racing", 32)])
@pytest.mark.parametrize("named", [True, False])
def test_v_has_the_size_of_its_game_unless_it_is_told(
    game: str, size: int, named: bool, tmp_path: Path
) -> None:
    folder = data_set(tmp_path / "data", [6], task=game)
    args = vision.Args(frames=4, batch=4, task=game if named else "")
    v = vision.train([folder], tmp_path / "v", args, progress=False)
    assert v.config.z_size == vision.load_vision(tmp_path / "v").config.z_size == size


def test_v_goes_on_from_the_v_that_it_is_given(data: Path, tmp_path: Path) -> None:
    taught = train(data, tmp_path / "a")
    on = train(data, tmp_path / "b", frames=4, learning_rate=1e-9, init=str(tmp_path / "a"), seed=9)
    for one, other in zip(taught.parameters(), on.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_training_is_a_function_of_its_seed(data: Path, tmp_path: Path) -> None:
    runs = [train(data, tmp_path / str(i), frames=8, seed=i // 2) for i in range(3)]
    weights = [v.dense.weight for v in runs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_stopped_run_takes_the_steps_that_are_left(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(data, tmp_path / "whole")
    loss, calls = VAE.loss, []

    def stops(v, batch, rarity):  # type: ignore[no-untyped-def]
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return loss(v, batch, rarity)

    monkeypatch.setattr(VAE, "loss", stops)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer, "SAVE_EVERY", 0.0)
        train(data, tmp_path / "parts")
    parts = train(data, tmp_path / "parts")
    assert len(calls) == 3 + 1 + 2
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)
    train(data, tmp_path / "parts")  # all done
    assert len(calls) == 6


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"batch": 0}, "batch is 0: give 1 or more"),
        ({"frames": 3, "batch": 4}, "frames is 3: give 4"),
    ],
)
def test_an_argument_that_leaves_nothing_to_learn_is_named(
    wrong: dict[str, int], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        vision.Args(**wrong)  # type: ignore[arg-type]


def same(one: VAE, other: VAE) -> bool:
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny world of each game."""
    folders = {}
    for world in (tiny_world(seed=7), tiny_world(seed=8, game=CAR_RACING)):
        folders[world.game.name] = tmp_path_factory.mktemp(world.game.name)
        save_world(folders[world.game.name], world, torch.float16)
    return folders


@pytest.mark.parametrize("game", ["doom", "car_racing"])
def test_the_v_of_a_world_is_taken_as_it_is(game: str, worlds: dict[str, Path]) -> None:
    v = vision.load_vision(worlds[game], game)
    assert v.config.z_size == Z and not v.training
    assert same(v, load_world(worlds[game]).vision)
    assert same(v, vision.load_vision(str(worlds[game])))


def test_the_v_of_a_shipped_world_is_taken_by_its_name() -> None:
    assert same(vision.load_vision("doom", "doom"), load_world("doom").vision)
    with pytest.raises(ValueError, match="doom is a world of doom: give a V of car_racing"):
        vision.load_vision("doom", "car_racing")


@pytest.mark.parametrize(("game", "other"), [("doom", "car_racing"), ("car_racing", "doom")])
def test_a_world_of_another_game_gives_no_v(game: str, other: str, worlds: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=f"is a world of {game}: give a V of {other}") as caught:
        vision.load_vision(worlds[game], other)
    assert str(worlds[game]) in str(caught.value)


def test_v_goes_on_from_the_v_of_a_world(
    data: Path, worlds: dict[str, Path], tmp_path: Path
) -> None:
    init = {"z_size": Z, "init": str(worlds["doom"])}
    first = train(data, tmp_path / "a", frames=4, learning_rate=1e-9, **init)  # type: ignore[arg-type]
    theirs = load_world(worlds["doom"]).vision
    for one, other in zip(theirs.parameters(), first.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    kept = read_json(tmp_path / "a" / "vision.json")
    before = world_fingerprint(worlds["doom"])
    train(data, tmp_path / "b", **init)  # type: ignore[arg-type]
    assert world_fingerprint(worlds["doom"]) == before  # nothing is written into the world
    assert kept["inputs"]["init"] == read_json(tmp_path / "b" / "vision.json")["inputs"]["init"]


def test_a_run_is_of_the_world_that_it_went_on_from(data: Path, tmp_path: Path) -> None:
    world = tmp_path / "world"
    save_world(world, tiny_world(seed=7))
    train(data, tmp_path / "run", frames=4, z_size=Z, init=str(world))  # type: ignore[arg-type]
    save_world(world, tiny_world(seed=8))
    with pytest.raises(ValueError, match="init"):
        train(data, tmp_path / "run", frames=4, z_size=Z, init=str(world))  # type: ignore[arg-type]


def test_a_world_whose_v_has_another_size_gives_no_first_weights(
    data: Path, worlds: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"vision\.safetensors: tensor '.*' has shape"):
        train(data, tmp_path, z_size=Z + 2, init=str(worlds["doom"]))  # type: ignore[arg-type]


def test_m_learns_on_the_v_of_a_world_by_command(
    worlds: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latents go to the run's folder, and the new world has the old one's V and moments."""
    shipped = replace(games.get("doom"), z_size=Z, hidden=8)
    monkeypatch.setitem(games.GAMES, "doom", shipped)
    folder = data_set(tmp_path / "data", [9, 12, 7])
    words = ["--data", str(folder), "--out", str(tmp_path / "run"), "--steps", "2"]
    before = world_fingerprint(worlds["doom"])
    assert main(["memory", "doom", *words, "--vision", str(worlds["doom"])]) == 0
    made = load_world(tmp_path / "run" / "world")
    assert same(made.vision, load_world(worlds["doom"]).vision)
    assert world_fingerprint(worlds["doom"]) == before
    assert sorted(path.name for path in worlds["doom"].iterdir()) == sorted(FILES)
    assert list((tmp_path / "run").glob("latents-*.npz"))
    assert made.moments is not None and len(made.moments) == memory.MOMENTS
    assert set(made.moments.counts[:, 0].tolist()) == {100}
    assert main(["memory", "doom", *words, "--vision", str(worlds["car_racing"])]) != 0
    earlier = str(tmp_path / "run" / "world")
    words[words.index("--out") + 1] = str(tmp_path / "later")
    assert main(["memory", "doom", *words, "--vision", earlier, "--init", earlier]) == 0
    assert real_frames(tmp_path / "later/world/config.json") == 2 * (9 + 12 + 7)  # of both

"""A data set in V's words: every row is where it was played, and says what came of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dreamgym.checkpoint import read_json
from dreamgym.games.doom import GAME as DOOM
from dreamgym.models.vae import VAE, VisionConfig
from dreamgym.training import memory
from dreamgym.training.data import latents
from dreamgym.training.data.episodes import Episode, episode_path
from tests.conftest import finish, tiny_world

LENGTHS = ((3, 1, 6), (4,))
"""Of the episodes of two data folders."""


def episode(length: int, seed: int) -> Episode:
    rng = np.random.default_rng(seed)
    health = 100 - np.cumsum([0, *rng.integers(0, 2, length - 1) * 21, 100]).astype(np.float32)
    return Episode(
        frames=rng.integers(256, size=(length, 64, 64, 3), dtype=np.uint8),
        actions=rng.integers(-1, 2, (length, 1)).astype(np.float32),
        rewards=rng.random(length).astype(np.float32),
        counts=health[:, None] + seed,
        terminated=np.arange(length) == length - 1,
        truncated=np.zeros(length, bool),
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = []
    for number, lengths in enumerate(LENGTHS):
        made.append(tmp_path_factory.mktemp("data"))
        for index, length in enumerate(lengths):
            episode(length, 10 * number + index).save(episode_path(made[-1], index))
        finish(made[-1])
    return made


@pytest.fixture(scope="module")
def vision() -> VAE:
    torch.manual_seed(0)
    return VAE(VisionConfig(z_size=6)).eval()


PLAYED = [(3, 0), (1, 1), (6, 2), (4, 10)]


@pytest.mark.parametrize("shard", [2, 200])
def test_every_row_is_its_own_frame_action_reward_and_outcome(
    shard: int, folders: list[Path], vision: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "SHARD", shard)
    monkeypatch.setattr(latents, "BATCH", 4)
    seen = latents.encode(DOOM, folders, tmp_path, vision, progress=False)
    assert len(list(tmp_path.glob("latents-*.npz"))) == (3 if shard == 2 else 2)
    assert seen.lengths.tolist() == [3, 1, 6, 4] and seen.starts.tolist() == [0, 3, 4, 10]
    assert seen.source.tolist() == [0, 0, 0, 1]
    for start, (length, seed) in zip(seen.starts.tolist(), PLAYED, strict=True):
        played, rows = episode(length, seed), slice(start, start + length)
        with torch.no_grad():
            mean, logvar = vision.encode(torch.from_numpy(played.frames))
        torch.testing.assert_close(seen.mean[rows].float(), mean, atol=2e-3, rtol=2e-3)
        torch.testing.assert_close(seen.logvar[rows].float(), logvar, atol=2e-3, rtol=2e-3)
        assert torch.equal(seen.action[rows], torch.from_numpy(played.actions))
        assert torch.equal(seen.reward[rows], torch.from_numpy(played.rewards))
        hit = np.diff(played.counts[:, 0]) < 0
        assert seen.counts[rows].tolist() == played.counts[:-1].tolist()
        assert seen.outcomes[rows, 0].tolist() == hit.tolist()
        assert seen.outcomes[rows, 1].tolist() == played.terminated.tolist()
    assert seen.whole.tolist() == [100, 101, 102, 110]


def test_a_smaller_data_set_leaves_nothing_of_the_larger(
    folders: list[Path], vision: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "SHARD", 1)
    latents.encode(DOOM, folders, tmp_path, vision, progress=False)
    seen = latents.encode(DOOM, folders[:1], tmp_path, vision, progress=False)
    assert seen.lengths.tolist() == [3, 1, 6]
    assert len(list(tmp_path.glob("latents-*.npz"))) == 3


def test_what_is_encoded_is_not_encoded_again(
    folders: list[Path], vision: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "SHARD", 1)
    first = latents.encode(DOOM, folders, tmp_path, vision, progress=False)
    sorted(tmp_path.glob("latents-*.npz"))[2].unlink()
    plain, calls = VAE.encode, []
    monkeypatch.setattr(VAE, "encode", lambda v, f: calls.append(len(f)) or plain(v, f))  # type: ignore
    again = latents.encode(DOOM, folders, tmp_path, vision, progress=False)
    assert calls == [6]
    assert torch.equal(first.mean, again.mean)


def test_a_world_starts_from_the_first_frame_of_every_game(
    folders: list[Path], vision: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = latents.encode(DOOM, folders, tmp_path, vision, progress=False)
    m = tiny_world().memory
    whole = memory.assemble("doom", vision, m, seen, tmp_path / "all", validation=5)
    mean, logvar, budget = whole.starts
    firsts = [0, 3, 4, 10]
    assert torch.equal(mean, seen.mean[firsts].float())
    assert torch.equal(logvar, seen.logvar[firsts].float())
    assert budget.tolist() == [100, 101, 102, 110]
    assert read_json(tmp_path / "all" / "config.json")["real_frames"] == 14 + 5
    monkeypatch.setattr(memory, "STARTS", 2)
    few = memory.assemble("doom", vision, m, seen, tmp_path / "few")
    assert [len(part) for part in few.starts] == [2, 2, 2]

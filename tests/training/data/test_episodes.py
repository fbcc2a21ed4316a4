"""Frames come off the disk as they were played."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dreamgym.training.data.episodes import (
    MANIFEST,
    Episode,
    Frames,
    episode_path,
    episode_paths,
    read_ahead,
)

LENGTHS = (3, 1, 5)


def episode(length: int, seed: int = 0) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode(
        frames=rng.integers(256, size=(length, 64, 64, 3), dtype=np.uint8),
        actions=rng.integers(-1, 2, size=(length, 1)).astype(np.float32),
        rewards=np.ones(length, np.float32),
        counts=np.linspace(100, 0, length + 1, dtype=np.float32)[:, None],
        terminated=np.arange(length) == length - 1,
        truncated=np.zeros(length, bool),
    )


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    for index, length in enumerate(LENGTHS):
        episode(length, index).save(episode_path(tmp_path, index))
    (tmp_path / MANIFEST).write_text("{}")
    return episode_paths(tmp_path)


def test_an_episode_comes_back(tmp_path: Path) -> None:
    saved = episode(4)
    saved.save(tmp_path / "episode.npz")
    loaded = Episode.load(tmp_path / "episode.npz")
    assert len(loaded) == 4
    for name, array in vars(saved).items():
        assert getattr(loaded, name).dtype == array.dtype
        assert np.array_equal(getattr(loaded, name), array)


def test_loaded_frames_are_those_that_numpy_loads(paths: list[Path]) -> None:
    for path in paths:
        with np.load(path) as arrays:
            assert np.array_equal(Episode.load(path).frames, arrays["frames"])


def test_loaded_frames_stay_on_the_disk(paths: list[Path]) -> None:
    assert isinstance(Episode.load(paths[0]).frames, np.memmap)


def test_reading_ahead_changes_nothing(paths: list[Path]) -> None:
    for path, ahead in zip(paths, read_ahead(paths), strict=True):
        alone = Episode.load(path)
        assert not isinstance(ahead.frames, np.memmap)
        for name, array in vars(alone).items():
            assert np.array_equal(getattr(ahead, name), array)


def test_a_damaged_episode_is_named_when_its_turn_comes(paths: list[Path]) -> None:
    paths[1].write_bytes(b"nothing")
    episodes = read_ahead(paths)
    next(episodes)
    with pytest.raises(ValueError, match=f"{paths[1]} is damaged"):
        next(episodes)


def test_batches_are_made_of_every_frame_that_was_played(paths: list[Path]) -> None:
    frames = Frames(paths, batch=9, seed=0)
    played = {frame.tobytes() for i, n in enumerate(LENGTHS) for frame in episode(n, i).frames}
    drawn = {frame.tobytes() for number in range(30) for frame in frames.read(number)}
    assert frames.read(0).shape == (9, 64, 64, 3)
    assert drawn == played


def test_a_batch_is_a_function_of_its_number_alone(paths: list[Path]) -> None:
    read, skipped = (Frames(paths, batch=4, seed=3, window=2) for _ in range(2))
    batches = [read.read(number) for number in range(8)]
    for number in (6, 2, 7):
        assert np.array_equal(skipped.read(number), batches[number])
    assert not np.array_equal(batches[0], batches[1])


def test_the_window_passes_each_episode_once_a_round(paths: list[Path]) -> None:
    frames = Frames(paths, batch=3, seed=0, window=1)  # a batch is an episode of mean length
    owner = {frame.tobytes(): i for i, n in enumerate(LENGTHS) for frame in episode(n, i).frames}
    owners = [{owner[frame.tobytes()] for frame in frames.read(number)} for number in range(6)]
    assert [len(each) for each in owners] == [1] * 6
    assert set.union(*owners[:3]) == set.union(*owners[3:]) == {0, 1, 2}


def test_paths_are_in_the_order_of_play(tmp_path: Path) -> None:
    for index in (100_000, 9, 10):
        episode_path(tmp_path, index).touch()
    assert episode_paths(tmp_path) == [episode_path(tmp_path, i) for i in (9, 10, 100_000)]


def test_a_folder_without_episodes_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no episodes in {tmp_path}: run `dreamgym collect`"):
        episode_paths(tmp_path)


@pytest.mark.parametrize("kept", [0, 1000, 30_000, -1000, -1])
def test_a_truncated_episode_is_named(paths: list[Path], kept: int) -> None:
    paths[2].write_bytes(paths[2].read_bytes()[:kept])
    with pytest.raises(ValueError) as caught:
        Episode.load(paths[2])
    assert str(caught.value).startswith(f"{paths[2]} is damaged")


def test_an_episode_without_its_counts_is_named(paths: list[Path]) -> None:
    arrays = vars(episode(3))
    del arrays["counts"]
    np.savez(paths[0], **arrays)
    with pytest.raises(ValueError) as caught:
        Episode.load(paths[0])
    assert str(caught.value).startswith(f"{paths[0]} is damaged")


def test_an_episode_with_too_few_frames_is_named(paths: list[Path]) -> None:
    broken = episode(5)
    broken.frames = broken.frames[:4]
    broken.save(paths[0])
    with pytest.raises(ValueError) as caught:
        Episode.load(paths[0])
    expected = f"{paths[0]} is damaged (rewards is float32 (5,), expected f4 (4,)): delete it"
    assert str(caught.value).startswith(expected)


def test_a_damaged_episode_among_the_frames_is_named(paths: list[Path]) -> None:
    paths[1].write_bytes(paths[1].read_bytes()[:1000])
    with pytest.raises(ValueError, match=str(paths[1])):
        Frames(paths, batch=4, seed=0)


def test_frames_can_be_drawn_evenly_over_the_time_in_a_game(tmp_path: Path) -> None:
    """Of nine games of 10 frames and one of 100, nine in ten draws are of a late frame."""
    paths = []
    for index, length in enumerate([10] * 9 + [100]):
        played = episode(length)
        played.frames[:] = np.arange(length, dtype=np.uint8)[:, None, None, None]
        paths.append(episode_path(tmp_path, index))
        played.save(paths[-1])
    when = {}
    for even in (False, True):
        frames = Frames(paths, 4000, seed=1, window=10, even=even)
        when[even] = frames.read(0)[:, 0, 0, 0]
        assert np.array_equal(when[even], Frames(paths, 4000, 1, 10, even).read(0)[:, 0, 0, 0])
    assert (when[True] >= 10).mean() == pytest.approx(0.9, abs=0.02)
    assert (when[False] >= 10).mean() == pytest.approx(90 / 190, abs=0.03)
    assert np.bincount(when[True], minlength=100).min() > 15  # of 40 on average

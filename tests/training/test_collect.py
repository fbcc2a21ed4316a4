"""A data set is a function of its arguments, whoever plays it and however often it is stopped."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dreamgym.checkpoint import read_json
from dreamgym.files import TEMPORARY
from dreamgym.games.doom import GAME as DOOM
from dreamgym.training import collect as collect_stage
from dreamgym.training.collect import Args, collect
from dreamgym.training.data.episodes import MANIFEST, Episode, episode_path, episode_paths
from dreamgym.training.play.games import exploring
from dreamgym.training.runs import LOCK

ARGS = Args("doom", episodes=3, seed=72)


def same(one: Episode, other: Episode) -> bool:
    return all(
        getattr(one, name).dtype == array.dtype and getattr(one, name).tobytes() == array.tobytes()
        for name, array in vars(other).items()
    )


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three games played by two processes. Tests leave the folder as they find it."""
    out = tmp_path_factory.mktemp("two")
    assert collect(ARGS, out, processes=2, progress=False) == sum(
        len(Episode.load(path)) for path in episode_paths(out)
    )
    return out


def test_the_number_of_processes_changes_no_byte(played: Path, tmp_path: Path) -> None:
    collect(ARGS, tmp_path, processes=1, progress=False)
    for index in range(3):
        one, two = (Episode.load(episode_path(out, index)) for out in (tmp_path, played))
        assert same(one, two)
    assert read_json(tmp_path / MANIFEST) == read_json(played / MANIFEST)


def test_an_interrupted_run_is_completed_and_nothing_is_played_twice(played: Path) -> None:
    lost = episode_path(played, 1)
    before = Episode.load(lost)
    before.frames = np.array(before.frames)
    manifest = read_json(played / MANIFEST)
    kept = {path: path.stat().st_mtime_ns for path in episode_paths(played) if path != lost}
    lost.unlink()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (played / f"{lost.name}.{dead.pid}-0123abcd{TEMPORARY}").write_bytes(b"half an episode")
    collect(ARGS, played, processes=1, progress=False)
    assert same(Episode.load(lost), before)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert sorted(path.name for path in played.iterdir()) == [
        LOCK,
        *(episode_path(played, i).name for i in range(3)),
        MANIFEST,
    ]
    assert read_json(played / MANIFEST) == manifest


def test_a_game_has_an_outcome_for_each_frame_and_ends_once(played: Path) -> None:
    for path in episode_paths(played):
        episode = Episode.load(path)
        length = len(episode)
        assert episode.frames.shape == (length, 64, 64, 3)
        assert episode.actions.shape == (length, 1)
        assert set(episode.actions.ravel().tolist()) <= {-1.0, 0.0, 1.0}
        assert (episode.rewards == 1).all()
        assert (episode.terminated | episode.truncated).tolist() == [False] * (length - 1) + [True]
        assert len(episode.budget) == length + 1
        assert (episode.budget[0], episode.budget[-1]) == (100, 0)
        assert episode.frames.reshape(length, -1).any(1).all()


def test_the_manifest_tells_what_the_set_is_made_of(played: Path) -> None:
    manifest = read_json(played / MANIFEST)
    assert manifest["args"]["seed"] == 72
    assert manifest["env"] == "PixelDoom-v0"
    assert manifest["lengths"] == [len(Episode.load(path)) for path in episode_paths(played)]
    assert {"dreamgym", "vizdoom", "numpy"} <= manifest["versions"].keys()


def test_another_seed_in_the_same_folder_is_refused(played: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in played.iterdir()}
    with pytest.raises(ValueError) as caught:
        collect(Args("doom", episodes=3, seed=73), played, processes=1, progress=False)
    expected = f"{played} was begun with seed 72, not 73: choose another --out, or delete"
    assert str(caught.value).startswith(expected)
    assert {path: path.stat().st_mtime_ns for path in played.iterdir()} == before


def test_a_damaged_episode_is_named(played: Path, tmp_path: Path) -> None:
    data = episode_path(played, 0).read_bytes()
    copy = episode_path(tmp_path, 0)
    copy.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError) as caught:
        Episode.load(copy)
    assert str(caught.value).startswith(f"{copy} is damaged")


@pytest.mark.parametrize("episodes", [0, -1])
def test_a_number_of_episodes_below_one_is_named(tmp_path: Path, episodes: int) -> None:
    with pytest.raises(ValueError, match=f"episodes is {episodes}: give 1 or more"):
        collect(Args("doom", episodes), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_an_unknown_task_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown task 'pong': choose one of"):
        collect(Args("pong", episodes=1), tmp_path / "out", processes=1, progress=False)
    assert not (tmp_path / "out").exists()


def test_random_play_holds_an_action_for_one_to_ten_frames() -> None:
    act = exploring(DOOM, seed=0)
    holds = Counter(len(list(same)) for _, same in groupby(act().item() for _ in range(20_000)))
    assert set(holds) == set(range(1, 11))
    for count in (holds[length] for length in range(1, 11)):
        assert count / holds.total() == pytest.approx(0.1, abs=0.02)


def test_random_play_is_uniform() -> None:
    act = exploring(DOOM, seed=0)
    held = np.array([action for action, _ in groupby(act().item() for _ in range(20_000))])
    assert -1 < held.min() < -0.99
    assert 0.99 < held.max() < 1
    assert held.mean() == pytest.approx(0, abs=0.04)
    assert held.std() == pytest.approx(3**-0.5, abs=0.02)


def test_random_play_is_a_function_of_its_seed() -> None:
    rows = []
    for seed in (0, 0, 1):
        act = exploring(DOOM, seed)
        rows.append([act().item() for _ in range(50)])
    assert rows[0] == rows[1] != rows[2]


def test_games_leave_no_scratch_folders_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    collect(Args("doom", 2), tmp_path / "data", processes=2, progress=False)
    assert not list(scratch.glob("dreamgym-*"))


@pytest.mark.parametrize(
    ("args", "frames"),
    [
        (Args("doom", 10), 10 * 310),  # as long as random play lasts
        (Args("car_racing", 10), 10 * 950),
        (Args("doom", 10, steps=50), 10 * 50),
        (Args("doom", 10, policy="shipped", world="doom"), 10 * 2100),  # as long as it may last
    ],
)
def test_a_disk_that_is_too_small_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: Args, frames: int
) -> None:
    need = frames * 64 * 64 * 3
    for free, enough in ((need, True), (need - 1, False)):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr(collect_stage.shutil, "disk_usage", lambda _, usage=usage: usage)
        if enough:
            collect_stage._check_disk(args, tmp_path, args.episodes)
        else:
            with pytest.raises(ValueError, match=f"needs .* {need / 1e9:.1f} GB and has"):
                collect_stage._check_disk(args, tmp_path, args.episodes)

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
from dreamgym.envs.vectors import Vectors
from dreamgym.files import TEMPORARY
from dreamgym.games.doom import GAME as DOOM
from dreamgym.games.game import Play
from dreamgym.training import collect as collect_stage
from dreamgym.training.collect import Args, collect
from dreamgym.training.data.episodes import MANIFEST, Episode, episode_path, episode_paths
from dreamgym.training.play.executors import InProcess, Local
from dreamgym.training.play.policies import Reference
from dreamgym.training.runs import LOCK
from tests.conftest import Inside
from tests.envs.test_own import SPRING
from tests.training.conftest import LENGTHS, Counted

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
    assert collect(ARGS, out, Local(2), progress=False) == sum(
        len(Episode.load(path)) for path in episode_paths(out)
    )
    return out


def test_the_number_of_processes_changes_no_byte(played: Path, tmp_path: Path) -> None:
    collect(ARGS, tmp_path, Local(1), progress=False)
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
    collect(ARGS, played, InProcess(), progress=False)
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
        assert episode.counts.shape == (length + 1, 1)
        assert (episode.counts[0], episode.counts[-1]) == (100, 0)
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
        collect(Args("doom", episodes=3, seed=73), played, InProcess(), progress=False)
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
def test_a_number_of_episodes_below_one_is_named(episodes: int) -> None:
    with pytest.raises(ValueError, match=f"episodes is {episodes}: give 1 or more"):
        Args("doom", episodes)


def test_an_unknown_game_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown game 'pong': choose one of"):
        Args("pong", episodes=1)


def exploring(seed: int) -> Play:
    return DOOM.explore(np.random.default_rng([seed, 1]))


def test_exploring_holds_an_action_for_one_to_ten_frames() -> None:
    act = exploring(0)
    holds = Counter(len(list(same)) for _, same in groupby(act().item() for _ in range(20_000)))
    assert set(holds) == set(range(1, 11))
    for count in (holds[length] for length in range(1, 11)):
        assert count / holds.total() == pytest.approx(0.1, abs=0.02)


def test_exploring_is_uniform() -> None:
    act = exploring(0)
    held = np.array([action for action, _ in groupby(act().item() for _ in range(20_000))])
    assert -1 < held.min() < -0.99
    assert 0.99 < held.max() < 1
    assert held.mean() == pytest.approx(0, abs=0.04)
    assert held.std() == pytest.approx(3**-0.5, abs=0.02)


def test_exploring_is_a_function_of_its_seed() -> None:
    rows = []
    for seed in (0, 0, 1):
        act = exploring(seed)
        rows.append([act().item() for _ in range(50)])
    assert rows[0] == rows[1] != rows[2]


def test_games_leave_no_scratch_folders_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    collect(Args("doom", 2), tmp_path / "data", Local(2), progress=False)
    assert not list(scratch.glob("dreamgym-*"))


@pytest.mark.parametrize(
    ("args", "frames"),
    [
        (Args("doom", 10), 10 * 310),  # as long as exploring lasts
        (Args("doom", 10, policy="random"), 10 * 310),
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


def job(args: Args, out: Path, many: int) -> collect_stage._Job:
    return collect_stage._Job(args, str(out), range(many), ("", ""), Reference("explore"))


def test_episodes_are_named_by_their_game_and_seeds(tmp_path: Path) -> None:
    label = job(Args("doom", seed=100), tmp_path, 10).label
    assert label == "ViZDoom's Take Cover with the seeds 100 to 109"


def test_an_episode_on_the_disk_is_what_was_played(counted: list[Counted], tmp_path: Path) -> None:
    assert collect_stage.play(job(Args("doom", 3, seed=4), tmp_path, 3)) == 3
    for index, (seed, length) in enumerate(LENGTHS.items()):
        episode = Episode.load(episode_path(tmp_path, index))
        steps = np.arange(length)
        assert episode.frames[:, 3, 3, 1].tolist() == (10 * seed + steps).tolist()
        assert episode.actions[:, 0].tolist() == counted[index].taken
        assert episode.rewards.tolist() == (steps + 1).tolist()
        assert episode.counts.tolist() == [[100 - n * (n + 1) / 2] for n in range(length + 1)]
        ends = steps == length - 1
        assert episode.terminated.tolist() == (ends & (seed != 5)).tolist()
        assert episode.truncated.tolist() == (ends & (seed == 5)).tolist()
        types = (episode.actions.dtype, episode.rewards.dtype, episode.counts.dtype)
        assert types == (np.float32,) * 3


def test_an_episode_that_is_there_is_not_written_again(
    counted: list[Counted], tmp_path: Path
) -> None:
    episode_path(tmp_path, 0).write_bytes(b"there")
    assert collect_stage.play(job(Args("doom", 2, seed=4), tmp_path, 2)) == 1
    assert episode_path(tmp_path, 0).read_bytes() == b"there"
    assert len(Episode.load(episode_path(tmp_path, 1))) == 1
    assert not episode_path(tmp_path, 2).exists()  # more than was asked for


def test_each_episode_has_a_seed_of_its_own(
    inside: Inside, tmp_path: Path, counted: list[Counted]
) -> None:
    assert collect(Args("doom", 3, seed=4), tmp_path, inside, progress=False) == 3 + 1 + 5
    firsts = [Episode.load(episode_path(tmp_path, i)).frames[0, 0, 0, 0] for i in range(3)]
    assert firsts == [40, 50, 60]
    assert len(inside.jobs) == 3
    episode_path(tmp_path, 1).unlink()
    collect(Args("doom", 3, seed=4), tmp_path, inside, progress=False)
    assert [list(job.indices) for job in inside.jobs[3:]] == [[1]]


def test_a_controller_s_games_share_the_same_ten_however_many_are_left(
    inside: Inside, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect_stage, "play", lambda job: 0)
    asked = Args("doom", 25, policy="shipped", world=str(folder))

    def go() -> None:
        inside.jobs.clear()
        with pytest.raises(ValueError, match="is damaged"):  # nothing was played after all
            collect(asked, tmp_path, inside, progress=False)

    go()
    for index in (*range(12), 14):
        np.savez(episode_path(tmp_path, index), rewards=np.ones(2))
    go()
    groups = [list(job.indices) for job in inside.jobs]
    assert groups == [list(range(10, 20)), list(range(20, 25))]


@pytest.mark.parametrize(("seed", "episodes"), [(-1, 1), (999_999, 2), (1_000_000, 1)])
def test_seeds_of_validation_and_test_are_not_for_training(seed: int, episodes: int) -> None:
    with pytest.raises(ValueError, match="are not for training"):
        Args("doom", episodes, seed)


def test_the_last_seed_of_training_is_one(
    inside: Inside, tmp_path: Path, counted: list[Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LENGTHS, 999_999, 1)
    counted[0].look = lambda: (np.ones((64, 64, 3), np.uint8), {"health": 0.0})  # type: ignore
    assert collect(Args("doom", 1, 999_999), tmp_path, inside, progress=False) == 1


@pytest.mark.parametrize("policy", ["random", "explore"])
def test_who_looks_at_nothing_looks_through_no_world(policy: str) -> None:
    with pytest.raises(ValueError, match=f"world is doom: {policy} play uses no world"):
        Args("doom", 1, policy=policy, world="doom")


def test_random_play_takes_a_new_action_every_step_and_exploring_holds_them(
    inside: Inside, tmp_path: Path
) -> None:
    changes = {}
    for policy in ("random", "explore"):
        args = Args("doom", 1, seed=3, policy=policy, steps=80)
        collect(args, tmp_path / policy, inside, progress=False)
        moves = Episode.load(episode_path(tmp_path / policy, 0)).actions[:, 0]
        changes[policy] = np.mean(moves[1:] != moves[:-1])
    assert changes["random"] == pytest.approx(2 / 3, abs=0.16)
    assert changes["explore"] < 0.3


def test_no_game_is_played_twice_when_a_data_set_grows(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step counts as a real frame; a group of games holds 10."""
    steps, step = [0], Vectors.step

    def counted(self: Vectors, action: object) -> object:
        steps[0] += 1
        return step(self, action)

    monkeypatch.setattr(Vectors, "step", counted)
    for episodes in (3, 5, 12, 27):
        collect(Args(SPRING, episodes), tmp_path, inside, progress=False)
        recorded = [Episode.load(episode_path(tmp_path, i)) for i in range(episodes)]
        assert steps[0] == sum(len(each) - 1 for each in recorded)  # a frame follows the last step
    episode_path(tmp_path, 4).unlink()
    collect(Args(SPRING, 27), tmp_path, inside, progress=False)
    again = Episode.load(episode_path(tmp_path, 4))
    assert same(again, recorded[4])


def test_a_function_of_the_user_s_own_plays_in_other_processes(
    tmp_path: Path, inside: Inside
) -> None:
    args = Args(SPRING, 3, policy="tests.envs.players:still")
    collect(args, tmp_path / "two", Local(1), progress=False)
    collect(args, tmp_path / "one", inside, progress=False)
    for index in range(3):
        one, two = (Episode.load(episode_path(tmp_path / out, index)) for out in ("one", "two"))
        assert same(one, two)
        place, speed = one.frames[:-1, :2].T  # after the last frame, there is no action
        assert one.actions[:-1, 0].tolist() == pytest.approx((-place - speed).tolist())
        assert np.abs(one.frames[-1, :2]).max() < np.abs(one.frames[0, :2]).max()


def test_another_function_is_another_policy(tmp_path: Path, inside: Inside) -> None:
    collect(Args(SPRING, 1, policy="tests.envs.players:still"), tmp_path, inside, progress=False)
    with pytest.raises(ValueError, match=r"the content of its policy \(tests.envs.players:wild\)"):
        collect(Args(SPRING, 2, policy="tests.envs.players:wild"), tmp_path, inside, progress=False)


@pytest.mark.parametrize(
    ("task", "policy", "words"),
    [
        (SPRING, "tests.envs.nobody:still", "nobody:still needs a module that cannot be imported"),
        (SPRING, "tests.envs.players:asleep", "tests.envs.players has no 'asleep' that can be"),
        (SPRING, "tests.envs.players:number", "tests.envs.players has no 'number' that can be"),
        (
            SPRING,
            "tests.envs.players:wild",
            r"wild does not play the game: .*array\(\[2.5\]\).*Box",
        ),
        ("doom", "tests.envs.players:still", "still cannot play doom: only a game of your own"),
    ],
)
def test_a_function_that_cannot_play_is_refused_by_name(
    tmp_path: Path, inside: Inside, task: str, policy: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        collect(Args(task, 1, policy=policy), tmp_path, inside, progress=False)
    assert not list(tmp_path.glob("*.npz"))
    with pytest.raises(ValueError, match="still play uses no world"):
        Args("doom", 1, policy="tests.envs.players:still", world="doom")


def test_a_controller_s_games_survive_being_stopped(
    folder: Path, tmp_path: Path, inside: Inside
) -> None:
    args = Args("doom", 3, seed=50, policy="shipped", world=str(folder))
    collect(args, tmp_path, inside, progress=False)
    before = [Episode.load(path) for path in episode_paths(tmp_path)]
    assert len(before) == 3
    lost = before[1]
    lost.frames = np.array(lost.frames)
    episode_path(tmp_path, 1).unlink()
    kept = episode_path(tmp_path, 2).stat().st_mtime_ns
    collect(args, tmp_path, inside, progress=False)
    assert same(Episode.load(episode_path(tmp_path, 1)), lost)
    assert episode_path(tmp_path, 2).stat().st_mtime_ns == kept


def test_a_controller_that_does_not_fit_is_refused(
    folder: Path, tmp_path: Path, inside: Inside
) -> None:
    args = Args("doom", 1, policy=str(folder / "controller.safetensors"), world="doom")
    with pytest.raises(
        ValueError, match=r"is for 38 inputs \(zhc\) and 1 actions, this world of doom"
    ):
        collect(args, tmp_path / "out", inside, progress=False)
    assert not (tmp_path / "out").exists()

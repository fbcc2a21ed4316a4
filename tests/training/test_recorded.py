"""What a user has recorded becomes the same data set as if dreamgym had recorded it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector.utils import create_empty_array

from dreamgym import games
from dreamgym.checkpoint import read_json
from dreamgym.cli import main
from dreamgym.training import collect, recorded
from dreamgym.training.data.episodes import (
    MANIFEST,
    Episode,
    dataset,
    episode_path,
    episode_paths,
    game_of,
)
from tests.conftest import Inside
from tests.envs.spring import LIMIT
from tests.envs.test_own import SPRING


@dataclass
class Data:
    """An episode as Minari gives it, see its `EpisodeData`."""

    id: int
    observations: Any
    actions: np.ndarray
    rewards: np.ndarray
    terminations: np.ndarray
    truncations: np.ndarray

    def __len__(self) -> int:
        return len(self.rewards)


class Dataset:
    """A dataset with what we use of Minari's `MinariDataset`."""

    def __init__(self, env: gym.Env[Any, Any], episodes: list[Data]):
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.episodes = episodes
        self.total_episodes, self.total_steps = len(episodes), sum(map(len, episodes))

    def iterate_episodes(self) -> Iterator[Data]:
        return iter(self.episodes)


def played(id: str, seeds: range, limit: int = 1000) -> Dataset:
    """Let the environment's own space draw the actions of some games, and record them."""
    env, episodes = gym.make(id), []
    for seed in seeds:
        seen, _ = env.reset(seed=seed)
        env.action_space.seed(seed)
        shown, steps = [seen], []
        for _ in range(limit):
            action = env.action_space.sample()
            seen, *step = env.step(action)
            shown.append(seen)
            steps.append((action, *step[:3]))
            if step[1] or step[2]:
                break
        actions, rewards, terminated, truncated = map(np.array, zip(*steps, strict=True))
        space: Any = env.observation_space
        columns = create_empty_array(space, len(shown), np.empty)
        together = gym.vector.utils.concatenate(space, shown, columns)
        episodes.append(Data(seed, together, actions, rewards, terminated, truncated))
    return Dataset(env, episodes)


@pytest.fixture
def minari(monkeypatch: pytest.MonkeyPatch) -> dict[str, Dataset]:
    """A stand-in for Minari: its datasets by their ids."""
    there: dict[str, Dataset] = {}

    def load_dataset(id: str) -> Dataset:
        if id not in there:
            raise FileNotFoundError(f"Dataset {id} not found locally")
        return there[id]

    monkeypatch.setitem(sys.modules, "minari", SimpleNamespace(load_dataset=load_dataset))
    return there


def same(one: Episode, other: Episode) -> bool:
    return all(
        getattr(one, name).dtype == array.dtype and np.array_equal(getattr(one, name), array)
        for name, array in vars(other).items()
    )


@pytest.fixture
def folder(tmp_path: Path, inside: Inside) -> Path:
    """Five of the spring's games, as `dreamgym collect` writes them."""
    path = tmp_path / "mine"
    collect.collect(collect.Args(SPRING, episodes=5), path, inside, progress=False)
    return path


def test_a_folder_of_episodes_is_taken_as_it_is(folder: Path, tmp_path: Path) -> None:
    frames = recorded.take(recorded.Args(SPRING, str(folder)), tmp_path / "out")
    assert frames == 5 * (LIMIT + 1) and game_of(tmp_path / "out") == SPRING
    pairs = zip(episode_paths(folder), dataset([tmp_path / "out"], SPRING), strict=True)
    assert all(same(Episode.load(one), Episode.load(other)) for one, other in pairs)


def test_no_more_frames_are_taken_than_asked_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for frames, many in ((3 * (LIMIT + 1), 3), (3 * (LIMIT + 1) - 1, 2), (1, recorded.LEAST)):
        out = tmp_path / str(frames)
        args = recorded.Args(SPRING, str(folder), frames)
        assert recorded.take(args, out) == many * (LIMIT + 1)
        assert len(episode_paths(out)) == many
    assert f"82 frames of 2 games instead of random play, the first of {5 * 41}" in (
        capsys.readouterr().out
    )


def test_what_was_taken_is_not_taken_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    recorded.take(recorded.Args(SPRING, str(folder)), out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    moved = folder.rename(tmp_path / "moved")  # the content counts, not its place
    recorded.take(recorded.Args(SPRING, str(moved)), out)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_what_was_left_half_written_is_written(folder: Path, tmp_path: Path) -> None:
    out, args = tmp_path / "out", recorded.Args(SPRING, str(folder))
    recorded.take(args, out)
    whole = read_json(out / MANIFEST)
    episode_path(out, 3).unlink()
    record = (out / MANIFEST).read_text().replace('"finished": true', '"finished": false')
    (out / MANIFEST).write_text(record.replace("lengths", "length"))
    recorded.take(args, out)
    assert read_json(out / MANIFEST) == whole and len(episode_paths(out)) == 5


def test_other_data_in_the_same_folder_are_refused(
    folder: Path, tmp_path: Path, inside: Inside
) -> None:
    out = tmp_path / "out"
    recorded.take(recorded.Args(SPRING, str(folder)), out)
    other = tmp_path / "other"
    collect.collect(collect.Args(SPRING, episodes=4, seed=9), other, inside, progress=False)
    with pytest.raises(ValueError, match=r"the content of its data \(.*other\) was"):
        recorded.take(recorded.Args(SPRING, str(other)), out)
    with pytest.raises(ValueError, match="was begun with other inputs"):
        collect.collect(collect.Args(SPRING, episodes=5), out, inside, progress=False)
    with pytest.raises(ValueError, match="was begun with other inputs"):
        recorded.take(recorded.Args(SPRING, str(folder)), other)


def test_a_folder_of_another_game_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"mine holds games of {SPRING}, not of CartPole-v1"):
        recorded.take(recorded.Args("CartPole-v1", str(folder)), tmp_path / "out")
    known = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(known.replace("high=(2.0,)", "high=(1.0,)"))
    with pytest.raises(ValueError, match=r"was recorded in Facts\(.*high=\(1.0,\).*now"):
        recorded.take(recorded.Args(SPRING, str(folder)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dataset_of_minari_is_what_the_same_actions_show_us(
    minari: dict[str, Dataset], tmp_path: Path
) -> None:
    """Discrete actions; the games end by themselves."""
    minari["mine-v0"] = theirs = played("CartPole-v1", range(3))
    frames = recorded.take(recorded.Args("CartPole-v1", "mine-v0"), tmp_path)
    assert frames == theirs.total_steps + 3
    for path, data in zip(dataset([tmp_path], "CartPole-v1"), theirs.episodes, strict=True):
        ours, env = Episode.load(path), gym.make("CartPole-v1")
        seen, _ = env.reset(seed=data.id)
        assert ours.frames[0].tolist() == [*seen.tolist(), 0]
        for step, action in enumerate(data.actions):
            assert ours.actions[step].tolist() == np.eye(2)[action].tolist()
            seen, reward, *_ = env.step(action)
            assert ours.frames[step + 1].tolist() == pytest.approx([*seen.tolist(), np.log(2)])
            assert ours.rewards[step] == reward == 1
        assert len(ours) == len(data) + 1 and not ours.actions[-1].any()
        assert ours.terminated.tolist() == [False] * (len(data) - 1) + [True] * 2
        assert not ours.truncated.any()
        assert ours.counts.shape == (len(data) + 2, 0)


def test_a_box_action_is_taken_as_it_is_and_games_that_were_cut_off_are_truncated(
    minari: dict[str, Dataset], tmp_path: Path
) -> None:
    minari["a/spring-v0"] = theirs = played(SPRING, range(3), limit=7)  # nothing says that it ends
    recorded.take(recorded.Args(SPRING, "a/spring-v0"), tmp_path)
    for path, data in zip(episode_paths(tmp_path), theirs.episodes, strict=True):
        ours = Episode.load(path)
        assert ours.actions[:7].tolist() == data.actions.tolist()
        assert ours.truncated.tolist() == [False] * 6 + [True] * 2 and not ours.terminated.any()


class Nested(gym.Env[Any, Any]):
    """Shows a choice and two numbers."""

    observation_space = gym.spaces.Dict(
        {"where": gym.spaces.Discrete(3), "fast": gym.spaces.Box(-1, 1, (2,))}
    )
    action_space = gym.spaces.Discrete(3, start=5)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self._seen(0), {}

    def step(self, action: Any) -> Any:
        return self._seen(int(action) - 5), float(action), False, False, {}

    def _seen(self, where: int) -> Any:
        return {"where": where, "fast": np.full(2, where / 4, np.float32)}


def test_nested_observations_and_moves_from_another_start(
    minari: dict[str, Dataset], tmp_path: Path
) -> None:
    gym.register(id="Nested-v0", entry_point=Nested, max_episode_steps=9)
    try:
        minari["nested-v0"] = theirs = played("Nested-v0", range(2))
        recorded.take(recorded.Args("Nested-v0", "nested-v0"), tmp_path)
        ours, moves = Episode.load(episode_path(tmp_path, 1)), theirs.episodes[1].actions - 5
        assert ours.actions[:9].tolist() == np.eye(3)[moves].tolist()
        fast = np.repeat(moves[:, None] / 4, 2, 1)
        wanted = np.hstack(
            (fast, np.eye(3)[moves], np.log1p(moves + 5)[:, None])
        )  # by the alphabet
        assert np.allclose(ours.frames[1:], wanted)
    finally:
        gym.registry.pop("Nested-v0")
        games._own.cache_clear()


def test_a_dataset_of_other_spaces_is_refused_by_name(
    minari: dict[str, Dataset], tmp_path: Path
) -> None:
    minari["acrobot-v0"] = played("Acrobot-v1", range(2), limit=5)
    words = r"acrobot-v0 was recorded in another game than CartPole-v1: its observation_space is "
    with pytest.raises(ValueError, match=words + r"Box\(.*, that of CartPole-v1 is Box\("):
        recorded.take(recorded.Args("CartPole-v1", "acrobot-v0"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_the_game_cannot_show_is_named(minari: dict[str, Dataset], tmp_path: Path) -> None:
    minari["bad-v0"] = bad = played(SPRING, range(3), limit=4)
    bad.episodes[1].observations[2] = np.nan
    with pytest.raises(ValueError, match=r"bad-v0, episode 1: .*only finite numbers"):
        recorded.take(recorded.Args(SPRING, "bad-v0"), tmp_path / "out")
    bad.episodes[1].observations[2], bad.episodes[2].actions[0] = 0, 5
    with pytest.raises(ValueError, match=r"bad-v0, episode 2: action is .*takes one of Box"):
        recorded.take(recorded.Args(SPRING, "bad-v0"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_episode_is_too_few(minari: dict[str, Dataset], tmp_path: Path) -> None:
    minari["one-v0"] = played(SPRING, range(1))
    with pytest.raises(ValueError, match="one-v0 holds 1 episodes: M needs 2 or more"):
        recorded.take(recorded.Args(SPRING, "one-v0"), tmp_path)


def test_a_dataset_that_is_not_there_says_how_to_get_it(
    minari: dict[str, Dataset], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["new", "CartPole-v1", "--data", "D4RL/nothing-v2"]
    assert main(words) == 2
    assert "call `minari download D4RL/nothing-v2`" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "minari", None)  # as if it were not installed
    assert main(words) == 2
    assert "needs `pip install 'minari[hdf5]'`" in capsys.readouterr().err

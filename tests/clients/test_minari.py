"""Minari collects dreams as a data set, and dreams are learned from what it has collected."""

import numpy as np
import pytest

from dreamgym.training import recorded
from dreamgym.training.data.episodes import Episode, dataset
from tests.clients.page import blocks, typed_python

pytestmark = pytest.mark.clients
RECORD = """
import gymnasium as gym, minari
env = minari.DataCollector(gym.make("{id}"))
for seed in range(3):
    env.reset(seed=seed)
    env.action_space.seed(seed)
    over = False
    while not over:
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        over = terminated or truncated
env.create_dataset("mine/played-v0", algorithm_name="random")
"""
"""Records three random games; in a process of its own, because Minari leaves files open."""


def test_a_data_set_of_dreams_recovers_its_environment(tmp_path):
    pytest.importorskip("minari")
    (code,) = blocks("Minari", "python")
    printed = typed_python(code, tmp_path, MINARI_DATASETS_PATH=str(tmp_path / "datasets"))
    assert "2 episodes, DreamDoom-v0 at 1.15" in printed


def test_a_data_set_recovers_its_environment_where_dreamgym_was_not_imported(tmp_path):
    pytest.importorskip("minari")
    folder = {"MINARI_DATASETS_PATH": str(tmp_path / "datasets")}
    (code,) = blocks("Minari", "python")
    typed_python(code, tmp_path, **folder)
    printed = typed_python(
        "import minari\n"
        "env = minari.load_dataset('doom/dreamt-v0').recover_environment()\n"
        "print(env.reset(seed=0)[0].shape)",
        tmp_path,
        **folder,
    )
    assert "(1088,)" in printed


@pytest.mark.parametrize("id", ["CartPole-v1", "Pendulum-v1"])
def test_a_data_set_that_minari_recorded_is_learned_from(id, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    typed_python(RECORD.format(id=id), tmp_path)
    frames = recorded.take(recorded.Args(id, "mine/played-v0"), tmp_path / "out")
    there = minari.load_dataset("mine/played-v0")
    assert frames == there.total_steps + 3
    for path, data in zip(dataset([tmp_path / "out"], id), there, strict=True):
        ours = Episode.load(path)
        assert np.allclose(ours.frames[:, :-1], data.observations)
        assert np.allclose(ours.rewards[:-1], data.rewards)
        taken = ours.actions[:-1]
        assert np.allclose(taken.argmax(1) if id == "CartPole-v1" else taken, data.actions)
        assert ours.terminated[-1] == data.terminations[-1] != ours.truncated[-1]
    with pytest.raises(ValueError, match="minari download mine/other-v0"):
        recorded.take(recorded.Args(id, "mine/other-v0"), tmp_path / "other")

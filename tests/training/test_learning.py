"""An agent learns in the dreams that were asked for, and is kept by what the real game pays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO

from dreamgym.checkpoint import read_json, save_world
from dreamgym.training import learner
from dreamgym.training.data import VALIDATION
from dreamgym.zoo import ppo
from tests.conftest import tiny_world

ROLLOUT = 4 * 16
"""Steps of a tiny PPO between updates, all dreams together."""


class Reality:
    """Real games of 3 frames; validation n pays its score, give or take a hundred."""

    def __init__(self, patch: pytest.MonkeyPatch, *scores: float):
        self.scores, self.seeds, self.steps = list(scores), [], []  # type: ignore[var-annotated]
        patch.setattr(learner, "real", self.play)

    def play(self, task, world, policy, seeds, *_, **__):  # type: ignore[no-untyped-def]
        self.seeds.append(list(seeds))
        self.steps.append(PPO.load(policy).num_timesteps)
        score = self.scores[len(self.seeds) - 1]
        luck = np.resize([100.0, -100.0], len(seeds)) * (-1) ** len(self.seeds)
        return [
            {"seed": s, "return": score + x, "length": 3} for s, x in zip(seeds, luck, strict=True)
        ]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for env, hyper in ppo.hyperparams.items():
        less = {"n_envs": 4, "n_steps": 16, "batch_size": 16, "n_epochs": 1}
        monkeypatch.setitem(ppo.hyperparams, env, hyper | less)


def args(folder: Path, validations: int, **other: Any) -> learner.Args:
    asked = {"timesteps": validations * ROLLOUT, "validate": ROLLOUT, "games": 4, "patience": 0,
             "scaled": False}  # fmt: skip
    return learner.Args(str(folder), "ppo", **asked | other)


@pytest.mark.parametrize("scores", [(1.0, 5.0, 3.0), (5.0, 1.0, 3.0), (1.0, 3.0, 5.0)])
@pytest.mark.parametrize("stopped", [False, True])
def test_the_agent_of_the_best_mean_is_kept(
    scores: tuple, stopped: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reality = Reality(monkeypatch, *scores)
    if stopped:
        learner.learn(args(folder, 2), tmp_path, progress=False)
    path = learner.learn(args(folder, 3), tmp_path, progress=False)
    best = int(np.argmax(scores))
    assert PPO.load(path).num_timesteps == reality.steps[best]
    facts = read_json(tmp_path / "policy.json")
    assert (facts["real"], facts["steps"]) == (5, reality.steps[best])
    assert facts["real_frames"] == 3 * 4 * 3
    curve = read_json(tmp_path / "learning.json")["curve"]
    assert [point["real"] for point in curve] == list(scores)
    assert [point["real_frames"] for point in curve] == [12, 24, 36]
    assert [point["steps"] for point in curve] == reality.steps
    assert reality.seeds == [list(range(VALIDATION, VALIDATION + 4))] * 3


@pytest.mark.parametrize(
    ("patience", "scores", "played"),
    [
        (1, (1.0, 3.0, 2.0, 9.0), 3),
        (2, (1.0, 3.0, 4.0, 2.0, 3.0, 9.0), 5),
        (2, (1.0, 3.0, 2.0, 4.0), 4),
        (0, (3.0, 2.0, 1.0, 0.0), 4),
    ],
)
def test_learning_stops_after_so_many_validations_that_were_no_better(
    patience: int, scores: tuple, played: int, folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    reality = Reality(monkeypatch, *scores)
    learner.learn(args(folder, len(scores), patience=patience), tmp_path, progress=False)
    assert len(reality.seeds) == played


def test_validations_are_a_tenth_of_the_way_apart_unless_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reality = Reality(monkeypatch, *range(20))
    learner.learn(args(folder, 10, validate=0), tmp_path, progress=False)
    assert reality.steps == [ROLLOUT * n for n in range(1, 11)]


def test_dreams_are_those_that_were_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[tuple, dict]] = []
    plain = learner.DreamVecEnv

    def dreams(*words, **named):  # type: ignore[no-untyped-def]
        made.append((words, named))
        return plain(*words, **named)

    monkeypatch.setattr(learner, "DreamVecEnv", dreams)
    Reality(monkeypatch, 1.0)
    asked = args(folder, 1, low=0.6, high=1.7, envs=3, observation="z", validate=48, timesteps=48)
    learner.learn(asked, tmp_path, progress=False)
    (words, named) = made[-1]
    assert words == ("DreamDoom-v0", 3)
    assert named["world"] == str(folder)
    assert named["temperature"] == (0.6, 1.7)
    assert named["observation"] == "z"


def test_the_dream_s_mean_stands_beside_the_real_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Reality(monkeypatch, 7.0)
    seen: list[list[float]] = []
    plain = learner._Validation.validate

    def validates(callback):  # type: ignore[no-untyped-def]
        seen.append([episode["r"] for episode in callback.model.ep_info_buffer])
        plain(callback)

    monkeypatch.setattr(learner._Validation, "validate", validates)
    asked = args(folder, 1, timesteps=8 * ROLLOUT, validate=8 * ROLLOUT)
    learner.learn(asked, tmp_path, progress=False)
    (point,) = read_json(tmp_path / "learning.json")["curve"]
    assert seen[0] and point["dream"] == pytest.approx(np.mean(seen[0]))


def test_an_agent_sees_the_dream_as_it_is_and_only_its_rewards_are_scaled(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it saw by running statistics, it would not see in the real game."""
    made = []
    plain = learner.VecNormalize

    def normal(*words, **named):  # type: ignore[no-untyped-def]
        made.append(plain(*words, **named))
        return made[-1]

    monkeypatch.setattr(learner, "VecNormalize", normal)
    Reality(monkeypatch, 1.0)
    learner.learn(args(folder, 1), tmp_path, progress=False)
    assert not made[0].norm_obs and made[0].norm_reward and made[0].gamma == 0.997


def test_what_the_dreams_paid_is_their_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of this dream is a hit of 21 health or more, so it pays 1 to 5 and is over."""
    save_world(tmp_path / "world", tiny_world(hit=50.0))
    Reality(monkeypatch, 1.0)
    asked = args(tmp_path / "world", 1, validate=64, timesteps=64)
    learner.learn(asked, tmp_path / "run", progress=False)
    (point,) = read_json(tmp_path / "run" / "learning.json")["curve"]
    assert 1 <= point["dream"] <= 5

"""Scores: the same whatever the number of processes, with all that is needed to repeat them."""

import json

import numpy as np
import pytest
import torch

from dreamgym.checkpoint import load_controller, save_controller
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.training.evaluate import confidence, evaluate, real, tournament

KEYS = {
    "task", "env", "policy", "temperature", "seed", "episodes", "mean", "sd", "ci95",
    "real_frames", "command", "commit", "versions", "hardware",
}  # fmt: skip


def test_a_score_does_not_depend_on_the_processes(folder, tmp_path):
    policy = str(folder / "controller.safetensors")
    scores = [
        evaluate("doom", str(folder), policy, "twin", 12, 2_000_000, (1, 1), None, processes)
        for processes in (1, 2)
    ]
    assert scores[0]["episodes"] == scores[1]["episodes"]
    assert [each["seed"] for each in scores[0]["episodes"]] == list(range(2_000_000, 2_000_012))


def test_a_tournament_is_each_controller_s_own_games(folder):
    config = load_controller(folder).config
    players = [Controller(config, torch.full((config.parameters,), w)) for w in (-1.0, 0.0, 1.0)]
    returns, frames = tournament("doom", folder, players, range(2), 2)
    alone = [real("doom", folder, player, range(2), 1, progress=False) for player in players]
    assert returns.tolist() == [[game["return"] for game in games] for games in alone]
    assert frames == returns.sum()  # in Doom a frame pays 1


def test_a_result_file_holds_the_contract_s_keys(folder, tmp_path):
    out = tmp_path / "score.json"
    score = evaluate("doom", str(folder), "random", "dream", 50, 7, (0.9, 1.1), out)
    assert json.loads(out.read_text()).keys() == KEYS
    returns = [each["return"] for each in score["episodes"]]
    assert score["mean"] == pytest.approx(np.mean(returns))
    assert score["sd"] == pytest.approx(np.std(returns, ddof=1))
    assert score["ci95"][0] < score["mean"] < score["ci95"][1]
    assert score["real_frames"] == 0


def test_the_interval_covers_the_mean_of_known_samples():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        low, high = confidence(rng.normal(5, 2, size=40))
        covered += low < 5 < high
    assert 50 <= covered <= 60


def test_a_controller_of_another_world_is_refused(folder, tmp_path):
    config = ControllerConfig(inputs=7)
    save_controller(tmp_path / "c.safetensors", Controller(config, torch.zeros(7)))
    with pytest.raises(ValueError, match="is for 7 inputs and 1 actions, this world shows 38"):
        evaluate("doom", str(folder), str(tmp_path / "c.safetensors"), "dream", 1, 0, (1, 1), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"env": "moon"}, "env is 'moon': choose 'twin' or 'dream'"),
        ({"episodes": 0}, "episodes is 0: give 1 or more"),
        ({"world": "nowhere"}, "no world 'nowhere'"),
        ({"policy": "missing.safetensors"}, "missing.safetensors does not exist"),
    ],
)
def test_bad_input_is_named(folder, change, message):
    good = {
        "task": "doom", "world": str(folder), "policy": "random", "env": "dream", "episodes": 1,
        "seed": 0, "temperature": (1.0, 1.0), "out": None,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        evaluate(**(good | change))

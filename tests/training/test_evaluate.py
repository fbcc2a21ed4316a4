"""Scores: the same whatever the number of processes, with all that is needed to repeat them."""

import json

import numpy as np
import pytest
import torch

from dreamgym.checkpoint import load_controller, load_world, save_controller
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.training.evaluate import choice, confidence, dream, evaluate, real, tournament

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


@pytest.mark.parametrize("pause", [2, 7, 1000])
@pytest.mark.parametrize("name", ["folder", "car_folder"])
def test_dreams_that_are_over_count_no_more_however_late_one_looks(name, pause, request):
    """A GPU is asked now and then, a CPU every step: what they pay is the same."""
    world = load_world(request.getfixturevalue(name))
    controller = load_controller(request.getfixturevalue(name) / "controller.safetensors")
    asked = (controller, torch.arange(40), 1.0, 1.2, 400)
    wanted, lengths = dream(world, *asked, pause=1)
    assert len(set(lengths.tolist())) > 3
    late, late_lengths = dream(world, *asked, pause=pause)
    assert torch.equal(late, wanted) and torch.equal(late_lengths, lengths)


@pytest.mark.parametrize("name", ["folder", "car_folder"])
def test_a_step_with_its_controller_never_waits_for_the_device(name, request):
    """A graph without a break: nothing in it asks what a tensor holds, as CUDA graphs need it."""
    path = request.getfixturevalue(name)
    world = load_world(path).to("cpu", form="torch")
    controller = load_controller(path / "controller.safetensors")
    state, tau = world.start(torch.arange(32)), torch.ones(32, 1)

    def step(state):
        return world.step(state, choice(controller, world, state), tau)

    graph = torch.compile(step, backend="eager", fullgraph=True)
    for got, wanted in zip(graph(state)[1:], step(state)[1:], strict=True):
        assert torch.equal(got, wanted)

"""Scores: the same whatever the number of processes, with all that is needed to repeat them."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from dreamgym.checkpoint import (
    load_controller,
    load_world,
    read_json,
    save_controller,
    save_world,
    write_json,
)
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.training import evaluate as evaluation
from dreamgym.training.evaluate import evaluate
from dreamgym.training.measure.statistics import confidence
from dreamgym.training.play.dreams import play as dream
from dreamgym.training.play.games import score as real
from dreamgym.training.play.games import tournament
from dreamgym.training.play.XXX import choice
from tests.conftest import tiny_world

KEYS = {
    "task", "env", "policy", "temperature", "seed", "episodes", "mean", "sd", "ci95",
    "real_frames", "fingerprints", "command", "commit", "versions", "hardware",
}  # fmt: skip


def test_a_score_does_not_depend_on_the_processes(folder, tmp_path):
    policy = str(folder / "controller.safetensors")
    scores = [
        evaluate("doom", str(folder), policy, "twin", 12, 2_000_000, None, None, processes)
        for processes in (1, 2)
    ]
    assert scores[0]["episodes"] == scores[1]["episodes"]
    assert [each["seed"] for each in scores[0]["episodes"]] == list(range(2_000_000, 2_000_012))


def test_a_tournament_is_each_controller_s_own_games(folder, inside):
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


def test_the_interval_covers_the_mean_of_known_samples(monkeypatch):
    monkeypatch.setattr(evaluation, "RESAMPLES", 1000)
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
        ({"env": "twin"}, r"temperature is \(1.0, 1.0\): the real game has none, leave it out"),
        ({"temperature": (1.0, float("nan"))}, r"temperature is \(1.0, nan\)"),
        ({"seed": -1}, "seed is -1: keep seeds from 0 to 2,147,483,647"),
        ({"processes": -1}, "processes is -1: give 1 or more"),
        ({"env": "moon"}, "env is 'moon': choose 'twin' or 'dream'"),
        ({"episodes": 0}, "episodes is 0: give 1 or more"),
        ({"episodes": 10**9}, "episodes is 1000000000: give 1 or more, up to 1,000,000"),
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


def test_a_result_that_could_not_be_written_is_refused_before_the_games(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluation, "dream", lambda *_, **__: pytest.fail("it dreams"))
    (tmp_path / "file").touch()
    for out, message in ((tmp_path, "is a folder"), (tmp_path / "file" / "score.json", "file")):
        with pytest.raises((ValueError, OSError), match=message):
            evaluate("doom", str(folder), "random", "dream", 2, 0, (1.0, 1.0), out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_result_names_the_content_of_its_world_and_policy(folder, tmp_path):
    world = shutil.copytree(folder, tmp_path / "world")

    def prints() -> dict[str, str]:
        return evaluate("doom", str(world), "shipped", "dream", 2, 0, None, None)["fingerprints"]

    before = prints()
    moved = shutil.copytree(world, tmp_path / "moved")
    there = evaluate("doom", str(moved), str(moved), "dream", 2, 0, None, None)
    assert there["fingerprints"] == before
    facts = read_json(world / "controller.json")
    write_json(world / "controller.json", facts | {"final": 900.0})  # what is said of it
    assert prints() == before
    controller = load_controller(world)
    save_controller(world / "controller.safetensors",
                    Controller(controller.config, controller.weights + 1), **facts)  # fmt: skip
    other = prints()
    assert other["world"] == before["world"] and other["policy"] != before["policy"]
    save_world(world, tiny_world(seed=1))
    assert prints()["world"] != before["world"]


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.mark.parametrize("tracked", [False, True])
def test_a_commit_is_the_package_s_own(tmp_path, monkeypatch, tracked):
    """An installed dreamgym lies in a folder of somebody's project, whose commits are not ours."""
    root = tmp_path / "project" / ("" if tracked else "env/site-packages/dreamgym")
    file = root / "training" / "evaluate.py"
    file.parent.mkdir(parents=True)
    file.touch()
    project = tmp_path / "project"
    (project / "theirs.py").touch()
    git(project, "init", "-q")
    git(project, "add", "theirs.py", *(["training"] if tracked else []))
    git(project, "commit", "-qm", "Begin")
    monkeypatch.setattr(evaluation, "__file__", str(file))
    assert evaluation.commit() == (git(project, "rev-parse", "--short", "HEAD") if tracked else "")
    monkeypatch.setenv("GIT_DIR", str(project / ".git"))  # as it is inside somebody's hook
    assert evaluation.commit() == (git(project, "rev-parse", "--short", "HEAD") if tracked else "")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/usr/bin/dreamgym", "evaluate", "a b"], "dreamgym evaluate 'a b'"),
        (["/x/dreamgym/__main__.py", "bench"], "dreamgym bench"),
        (["study.py", "--fast"], "python study.py --fast"),
    ],
)
def test_a_command_is_the_one_that_was_typed(argv, said, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    assert evaluation.command() == said


def test_games_are_one_world_s_and_one_policy_s(folder, tmp_path):
    """Whatever takes their place while they are played."""
    world = shutil.copytree(folder, tmp_path / "world")
    job = evaluation._Games("doom", str(world), "weights", (0,), ("other", ""), b"", None)
    with pytest.raises(ValueError, match="world was changed while it was in use: begin anew"):
        evaluation._world(job)
    policy = tmp_path / "policy.zip"
    policy.touch()
    write_json(tmp_path / "policy.json", {"algo": "ppo"})
    job = evaluation._Games("doom", str(world), str(policy), (0,), ("", "other"))
    with pytest.raises(ValueError, match=r"policy.zip was changed while it played: begin anew"):
        evaluation._controller(job)


def test_a_controller_is_read_once_for_all_its_games(folder, tmp_path, monkeypatch):
    """A search may write another one over it meanwhile."""
    jobs = []
    monkeypatch.setattr(
        evaluation.workers, "run", lambda _, given, *__, **___: jobs.extend(given) or []
    )
    real("doom", folder, folder / "controller.safetensors", range(25), progress=False)
    assert len(jobs) == 3 and len({job.weights for job in jobs}) == 1 and jobs[0].weights


def test_the_commit_is_the_one_that_played(folder, monkeypatch):
    monkeypatch.setattr(evaluation, "commit", lambda: "before")
    plain = evaluation.dream

    def dream(*given, **more):
        monkeypatch.setattr(evaluation, "commit", lambda: "after")
        return plain(*given, **more)

    monkeypatch.setattr(evaluation, "dream", dream)
    assert evaluate("doom", str(folder), "random", "dream", 2, 0, None, None)["commit"] == "before"

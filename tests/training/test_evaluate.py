"""Scores: the same whoever's processes play, with all that is needed to repeat them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from dreamgym.checkpoint import (
    load_controller,
    load_world,
    read_json,
    save_controller,
    save_world,
    write_json,
)
from dreamgym.games.doom import GAME as DOOM
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.training import evaluate as stage
from dreamgym.training.evaluate import Args, evaluate
from dreamgym.training.measure.fidelity import Args as Fidelity
from dreamgym.training.measure.fidelity import fidelity
from dreamgym.training.play import games
from dreamgym.training.play.dreams import play
from dreamgym.training.play.executors import InProcess, Local
from dreamgym.training.play.policies import Controlled
from dreamgym.training.splits import TEST
from dreamgym.world import World
from tests.conftest import tiny_world
from tests.envs import test_own, test_pictures
from tests.envs.test_own import SPRING

KEYS = {
    "task", "env", "policy", "temperature", "seed", "episodes", "mean", "sd", "ci95",
    "real_frames", "fingerprints", "command", "commit", "versions", "hardware",
}  # fmt: skip


def dreaming(world: Path, policy: str = "random", **more: Any) -> dict[str, Any]:
    """Score a policy in two dreams."""
    given = {"env": "dream", "episodes": 2, "seed": 0} | more
    return evaluate(Args("doom", policy, world=str(world), **given), InProcess())


def test_a_score_does_not_depend_on_the_processes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(games, "SIDE_BY_SIDE", 2)  # two jobs
    asked = Args("doom", str(folder / "controller.safetensors"), "twin", 4, world=str(folder))
    one, two = (evaluate(asked, Local(processes))["episodes"] for processes in (1, 2))
    assert one == two
    assert [each["seed"] for each in one] == list(range(2_000_000, 2_000_004))


def test_a_result_file_holds_the_contract_s_keys(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "score.json"
    asked = Args("doom", "random", "dream", 50, 7, (0.9, 1.1), str(folder))
    score = evaluate(asked, InProcess(), out)
    assert json.loads(out.read_text()).keys() == KEYS
    returns = [each["return"] for each in score["episodes"]]
    assert score["mean"] == pytest.approx(np.mean(returns))
    assert score["sd"] == pytest.approx(np.std(returns, ddof=1))
    assert score["ci95"][0] < score["mean"] < score["ci95"][1]
    assert score["real_frames"] == 0


@pytest.mark.parametrize("env", ["twin", "dream"])
def test_a_score_is_of_the_seeds_the_game_and_the_range_that_are_asked_for(
    env: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def played(task: str, world: Path, policy: str, seeds: range, executor: Any) -> list[Any]:
        assert (task, policy) == ("doom", str(folder / "controller.safetensors"))
        return [{"seed": seed, "return": seed / 2, "length": 2} for seed in seeds]

    monkeypatch.setattr(stage, "score", played)
    tau = None if env == "twin" else (0.8, 1.2)
    asked = Args("doom", "shipped", env, 12, TEST, tau, str(folder))
    score = evaluate(asked, InProcess(), tmp_path / "score.json")
    games = score["episodes"]
    assert [game["seed"] for game in games] == list(range(2_000_000, 2_000_012))
    assert score["env"] == {"twin": "LatentDoom-v0", "dream": "DreamDoom-v0"}[env]
    assert score["temperature"] == {"twin": None, "dream": [0.8, 1.2]}[env]
    assert score["mean"] == pytest.approx(np.mean([game["return"] for game in games]))
    assert read_json(tmp_path / "score.json")["mean"] == score["mean"]
    if env == "dream":
        policy, seeds = Controlled(load_controller(folder), DOOM), torch.arange(TEST, TEST + 12)
        paid, lengths, *_ = play(load_world(folder), policy, seeds, 0.8, 1.2)
        assert [game["return"] for game in games] == paid.tolist()
        assert [game["length"] for game in games] == lengths.tolist()


@pytest.mark.parametrize(
    ("temperature", "said"), [(None, [1.15, 1.15]), (0.9, [0.9, 0.9]), ((0.5, 2.0), [0.5, 2.0])]
)
def test_a_temperature_is_a_number_a_pair_or_the_game_s_own(
    folder: Path, temperature: Any, said: list[float]
) -> None:
    assert dreaming(folder, temperature=temperature)["temperature"] == said


def test_random_play_and_the_game_s_own_are_two_policies(folder: Path) -> None:
    scores = {policy: dreaming(folder, policy, episodes=20) for policy in ("random", "explore")}
    assert scores["random"]["episodes"] != scores["explore"]["episodes"]
    for policy, score in scores.items():
        assert score["policy"] == score["fingerprints"]["policy"] == policy
        assert score["real_frames"] == 0


def test_real_frames_are_the_world_s_and_the_controller_s_own(folder: Path, tmp_path: Path) -> None:
    world = shutil.copytree(folder, tmp_path / "world")
    for name, frames in (("config.json", 1000), ("controller.json", 24)):
        write_json(world / name, read_json(world / name) | {"real_frames": frames})
    for policy, frames in (("shipped", 1024), ("random", 0)):
        assert dreaming(world, policy)["real_frames"] == frames


class Seen(gym.Env[Any, Any]):
    """Shows what an agent of Doom's pixels sees: four frames, channels first."""

    observation_space = gym.spaces.Box(0, 255, (12, 64, 64), np.uint8)
    action_space = gym.spaces.Discrete(3)


def test_an_agent_of_pixels_owes_no_frame_to_the_world(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its score is of the pixel game, and counts the frames of its own learning alone."""
    world = shutil.copytree(folder, tmp_path / "world")
    write_json(world / "config.json", read_json(world / "config.json") | {"real_frames": 1000})
    PPO("CnnPolicy", Seen(), n_steps=8, batch_size=8).save(tmp_path / "policy.zip")
    write_json(tmp_path / "policy.json", {"algo": "ppo", "real_frames": 777})

    def played(*given: Any) -> list[Any]:
        return [{"seed": seed, "return": 1.0, "length": 2} for seed in given[3]]

    monkeypatch.setattr(stage, "score", played)
    asked = Args("doom", str(tmp_path / "policy.zip"), "twin", 3, world=str(world))
    score = evaluate(asked, InProcess())
    assert (score["env"], score["real_frames"]) == ("PixelDoom-v0", 777)


def test_a_controller_of_another_world_is_refused(folder: Path, tmp_path: Path) -> None:
    config = ControllerConfig(inputs=7)
    save_controller(tmp_path / "c.safetensors", Controller(config, torch.zeros(7)))
    message = (
        r"is for 7 inputs \(zhc\) and 1 actions, this world of doom shows 38 as zhc and takes 1"
    )
    with pytest.raises(ValueError, match=message):
        dreaming(folder, str(tmp_path / "c.safetensors"))


def test_a_world_of_another_game_is_refused(car_folder: Path) -> None:
    with pytest.raises(ValueError, match="is a world of car_racing, not of doom"):
        dreaming(car_folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"env": "twin"}, r"temperature is \(1.0, 1.0\): the real game has none, leave it out"),
        ({"temperature": (1.0, float("nan"))}, r"temperature is \(1.0, nan\)"),
        ({"seed": -1}, "seed is -1: keep seeds from 0 to 2,147,483,647"),
        ({"env": "moon"}, "env is 'moon': choose 'twin' or 'dream'"),
        ({"episodes": 0}, "episodes is 0: give 1 or more"),
        ({"episodes": 10**9}, "episodes is 1000000000: give 1 or more, up to 1,000,000"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str) -> None:
    good = Args("doom", "random", "dream", 1, 0, (1.0, 1.0))
    with pytest.raises(ValueError, match=message):
        replace(good, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "pong"}, "is a world of doom, not of pong"),
        ({"task": "CartPole-v1", "world": ""}, "--world, such as the folder that `dreamgym new Ca"),
        ({"world": "nowhere"}, "no world 'nowhere'"),
        ({"policy": "missing.safetensors"}, "missing.safetensors does not exist"),
    ],
)
def test_what_is_not_there_is_named(folder: Path, change: dict[str, Any], message: str) -> None:
    good = Args("doom", "random", "dream", 1, 0, world=str(folder))
    with pytest.raises(ValueError, match=message):
        evaluate(replace(good, **change), InProcess())


def test_a_result_that_could_not_be_written_is_refused_before_the_games(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.dreams, "play", lambda *_, **__: pytest.fail("it dreams"))
    asked = Args("doom", "random", "dream", 2, 0, world=str(folder))
    (tmp_path / "file").touch()
    for out, message in ((tmp_path, "is a folder"), (tmp_path / "file" / "score.json", "file")):
        with pytest.raises((ValueError, OSError), match=message):
            evaluate(asked, InProcess(), out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_result_names_the_content_of_its_world_and_policy(folder: Path, tmp_path: Path) -> None:
    world = shutil.copytree(folder, tmp_path / "world")

    def prints() -> dict[str, str]:
        return dreaming(world, "shipped")["fingerprints"]

    before = prints()
    moved = shutil.copytree(world, tmp_path / "moved")
    assert dreaming(moved, str(moved))["fingerprints"] == before
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


def test_a_game_that_is_not_installed_is_dreamt(tmp_path: Path) -> None:
    save_world(tmp_path, test_own.own_world())
    config = read_json(tmp_path / "config.json")
    gone = config["own"] | {"id": "Gone-v0"}
    write_json(tmp_path / "config.json", config | {"task": "Gone-v0", "own": gone})
    found = evaluate(Args("Gone-v0", "random", "dream", 2, 0, world=str(tmp_path)), InProcess())
    assert found["task"] == "Gone-v0" and len(found["episodes"]) == 2


@pytest.mark.parametrize(("episodes", "told"), [(1, False), (2, True)])
def test_one_game_tells_nothing_of_the_spread(
    episodes: int, told: bool, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.main(Args("doom", "random", "dream", episodes, 0, world=str(folder)))
    assert ("95 %" in capsys.readouterr().out) == told


def test_the_commit_is_the_one_that_played(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = ["before"]
    monkeypatch.setattr("dreamgym.training.measure.results.commit", lambda: commits[-1])
    plain = stage.dreams.play

    def played(*given: Any, **more: Any) -> Any:
        commits.append("after")
        return plain(*given, **more)

    monkeypatch.setattr(stage.dreams, "play", played)
    assert dreaming(folder)["commit"] == "before" and commits == ["before", "after"]


SEEN: list[np.ndarray] = []


def pushes_back(seen: np.ndarray) -> np.ndarray:
    """Push a spring's mass to its place, whatever is seen of it; and remember what was seen."""
    SEEN.append(seen)
    return np.clip(-seen.ravel()[:1].astype(np.float32), -2, 2)


def fails(seen: np.ndarray) -> np.ndarray:
    raise KeyError("no wheels")


def turns_left(seen: np.ndarray) -> int:
    SEEN.append(seen)
    return 0


def test_a_user_s_function_plays_its_game_as_without_dreamgym(tmp_path: Path) -> None:
    save_world(tmp_path, test_own.own_world())
    asked = Args(SPRING, f"{__name__}:pushes_back", episodes=3, world=str(tmp_path))
    found = evaluate(asked, InProcess())
    env = gym.make(SPRING)
    for episode in found["episodes"]:
        seen, _ = env.reset(seed=episode["seed"])
        paid, over = 0.0, False
        while not over:
            seen, reward, ended, cut, _ = env.step(pushes_back(seen))
            paid, over = paid + float(reward), ended or cut
        assert episode["return"] == pytest.approx(paid, rel=1e-5)
    assert found["real_frames"] == 0 and len(found["fingerprints"]["policy"]) == 16


@pytest.mark.parametrize(
    ("world", "function", "kind"),
    [
        (test_own.own_world(), pushes_back, "own"),
        (test_pictures.own_world(), turns_left, "rgb"),
    ],
    ids=["numbers", "pictures"],
)
def test_a_user_s_function_sees_in_the_dream_what_the_dream_shows(
    world: World, function: Any, kind: str, tmp_path: Path
) -> None:
    save_world(tmp_path, world)
    name = f"{__name__}:{function.__name__}"
    SEEN.clear()
    found = evaluate(Args(world.game.name, name, "dream", 2, 7, world=str(tmp_path)), InProcess())
    again = load_world(tmp_path)
    shown = again.observe(again.start(torch.tensor([7, 8])), kind).numpy()
    assert np.array_equal(np.stack(SEEN[:2]), shown)
    assert found["env"] == "Dream-v0" and found["policy"] == name


def test_a_user_s_function_that_fails_is_named(tmp_path: Path) -> None:
    save_world(tmp_path, test_own.own_world())
    asked = Args(SPRING, f"{__name__}:fails", "dream", 2, 0, world=str(tmp_path))
    with pytest.raises(ValueError, match=f"{__name__}:fails failed: KeyError: 'no wheels'"):
        evaluate(asked, InProcess())


@pytest.mark.parametrize(
    ("world", "function"),
    [(test_own.own_world(), pushes_back), (test_pictures.own_world(), turns_left)],
    ids=["numbers", "pictures"],
)
def test_a_user_s_function_is_gauged(world: World, function: Any, tmp_path: Path) -> None:
    save_world(tmp_path, world)
    name = f"{__name__}:{function.__name__}"
    asked = Fidelity(world.game.name, str(tmp_path), name, 4, 0, replays=1)
    found = fidelity(asked, InProcess())
    assert found["real"]["games"] == found["dream"]["games"] == 4
    assert found["onward"]["1"]["reward"].keys() == {"real", "dream", "correlation"}

"""A run is known by what is in it: its inputs' content, one process at a time, finished or not."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dreamgym.checkpoint import (
    load_controller,
    load_tensors,
    load_world,
    read_json,
    save_controller,
    save_tensors,
    save_world,
    write_json,
)
from dreamgym.cli import main
from dreamgym.files import TEMPORARY
from dreamgym.games.doom import GAME as DOOM
from dreamgym.models.controller import Controller
from dreamgym.models.mdn_rnn import MemoryConfig
from dreamgym.training import collect, evolve, memory, train, trainer, vision
from dreamgym.training.data import latents
from dreamgym.training.data.episodes import Episode, episode_path
from dreamgym.training.demo import demo
from dreamgym.training.play.executors import InProcess
from dreamgym.training.runs import LOCK, Run, finished, held
from tests.conftest import data_set, tiny_world

SMALL = vision.Args(frames=128)


@dataclass(frozen=True)
class Args:
    size: int = 1
    policy: str = "here"
    steps: int = 0


def collected(args: collect.Args, out: Path) -> int:
    """Collect in this process."""
    return collect.collect(args, out, InProcess(), progress=False)


def evolved(args: evolve.Args, out: Path, seconds: float = float("inf")) -> Controller:
    """Evolve in this process."""
    return evolve.evolve(args, out, InProcess(), progress=False, seconds=seconds)


def learned(args: train.Args, out: Path) -> Path:
    """Train an agent in this process."""
    return train.learn(args, out, InProcess(), progress=False)


def test_a_run_goes_on_with_its_own_arguments_and_inputs(tmp_path: Path) -> None:
    with Run(tmp_path, "stage", Args(), {"policy": "abc"}) as run:
        assert run.facts == {}
        run.write(step=3)
    with Run(tmp_path, "stage", Args(policy="moved there"), {"policy": "abc"}) as run:
        assert run.facts == {"step": 3}
        run.finish()
    assert finished(tmp_path / "stage.json", "stage")["step"] == 3
    with pytest.raises(ValueError, match=r"begun with size 1, not 2: choose another --out"):
        Run(tmp_path, "stage", Args(size=2), {"policy": "abc"}).__enter__()
    expected = r"the content of its policy \(here\) was abc, is xyz: choose another --out"
    with pytest.raises(ValueError, match=expected):
        Run(tmp_path, "stage", Args(), {"policy": "xyz"}).__enter__()
    with held(tmp_path):  # a refusal lets go of the folder
        pass


def test_a_run_may_grow_but_not_shrink(tmp_path: Path) -> None:
    for steps in (10, 20, 15):  # of which 15 are done
        with Run(tmp_path, "stage", Args(steps=steps), {}, grows="steps") as run:
            run.at_least(steps)
            run.write()
    with (
        pytest.raises(ValueError, match="holds 15 steps already, more than 10: ask for 15 or more"),
        Run(tmp_path, "stage", Args(steps=10), {}, grows="steps") as run,
    ):
        run.at_least(15)


@pytest.mark.parametrize(
    "text", ["{}", "[]", "{", '{"args": null, "inputs": {}, "finished": true}', "\x00"]
)
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "stage.json").write_text(text)
    with pytest.raises(ValueError) as caught:
        Run(tmp_path, "stage", Args(), {}).__enter__()
    assert str(tmp_path / "stage.json") in str(caught.value)


@pytest.mark.parametrize("name", ["vision", "memory", "evolution", "learning", "manifest"])
def test_a_damaged_record_of_a_stage_is_a_sentence(
    tmp_path: Path, folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = data_set(tmp_path / "data", [40, 40])
    out = data if name == "manifest" else tmp_path / "out"
    out.mkdir(exist_ok=True)
    (out / f"{name}.json").write_text("{}")
    where = {"vision": ["--data", str(data)], "memory": ["--data", str(data), "--vision", ""],
             "evolution": ["--world", str(folder)], "learning": ["--world", str(folder)],
             "manifest": ["--episodes", "2"]}[name]  # fmt: skip
    if name == "memory":
        vision.train([data], tmp_path / "v", SMALL, progress=False)
        where[-1] = str(tmp_path / "v")
    command = {"evolution": "evolve", "learning": "train", "manifest": "collect"}.get(name, name)
    assert main([command, "doom", *where, "--out", str(out)]) == 2
    assert f"{out / name}.json is damaged" in capsys.readouterr().err


def test_a_folder_is_one_process_s_until_that_ends(tmp_path: Path) -> None:
    code = f"""
import time
from dreamgym.training.runs import held
with held({str(tmp_path)!r}):
    print("held", flush=True)
    time.sleep(600)
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    partial = tmp_path / f"weights.{other.pid}-0123abcd{TEMPORARY}"
    partial.touch()
    with pytest.raises(ValueError, match="in use by another process: wait until it ends"):
        held(tmp_path).__enter__()
    assert partial.exists()  # the other one may be writing it
    other.send_signal(signal.SIGKILL)
    other.wait()
    other.stdout.close()
    with held(tmp_path):
        assert not partial.exists()


def test_a_run_that_is_open_is_not_opened_twice(tmp_path: Path) -> None:
    again = Run(tmp_path, "manifest", collect.Args("doom", 1), {})
    with (
        Run(tmp_path, "manifest", collect.Args("doom", 1), {}),
        pytest.raises(ValueError, match="in use by another process"),
    ):
        again.__enter__()
    with Run(tmp_path, "manifest", collect.Args("doom", 1), {}):
        pass


def test_latents_follow_the_content_of_the_data(tmp_path: Path) -> None:
    v = vision.train([data_set(tmp_path / "a/data", [40] * 3)], tmp_path / "v", SMALL, False)
    first = latents.encode(DOOM, [tmp_path / "a/data"], tmp_path / "out", v, progress=False)
    assert len(first.mean) == 3 * 40
    again = data_set(tmp_path / "b/data", [60] * 3, seed=1)
    second = latents.encode(DOOM, [again], tmp_path / "out", v, progress=False)
    assert len(second.mean) == 3 * 60 and second.content != first.content
    moved = shutil.copytree(again, tmp_path / "c")
    written = [path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.npz")]
    third = latents.encode(DOOM, [moved], tmp_path / "out", v, progress=False)
    assert third.content == second.content
    assert [path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.npz")] == written


@pytest.mark.parametrize("kept", [0, 100, -30])
def test_a_truncated_shard_is_made_again_and_named_where_it_is_read(
    tmp_path: Path, kept: int
) -> None:
    data = data_set(tmp_path / "data", [40] * 3)
    v = vision.train([data], tmp_path / "v", SMALL, progress=False)
    before = latents.encode(DOOM, [data], tmp_path / "v", v, progress=False)
    shard = tmp_path / "v" / "latents-0000.npz"
    shard.write_bytes(shard.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"latents-0000.npz is damaged .*: delete it and call"):
        latents.load(tmp_path / "v")
    after = latents.encode(DOOM, [data], tmp_path / "v", v, progress=False)
    assert torch.equal(after.mean, before.mean) and after.content == before.content


def test_v_is_of_the_data_that_it_was_trained_on(tmp_path: Path) -> None:
    one, two = data_set(tmp_path / "1", [40] * 3), data_set(tmp_path / "2", [40] * 3, seed=1)
    before = vision.train([one], tmp_path / "v", SMALL, progress=False)
    with pytest.raises(ValueError, match="begun with other inputs: the content of its data"):
        vision.train([two], tmp_path / "v", SMALL, progress=False)
    moved = shutil.copytree(one, tmp_path / "moved")
    after = vision.train([moved], tmp_path / "v", SMALL, progress=False)
    assert torch.equal(before.mean.weight, after.mean.weight)


def test_a_v_that_is_half_trained_is_no_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, args = data_set(tmp_path / "data", [40] * 3), vision.Args(frames=3 * 128)
    loss, losses = vision.VAE.loss, []

    def stops(self: vision.VAE, frames: torch.Tensor, rarity: float) -> object:
        losses.append(1)
        if len(losses) == 3:
            raise KeyboardInterrupt
        return loss(self, frames, rarity)

    monkeypatch.setattr(vision.VAE, "loss", stops)
    monkeypatch.setattr(trainer, "SAVE_EVERY", 0.0)
    with pytest.raises(KeyboardInterrupt):
        vision.train([data], tmp_path / "v", args, progress=False)
    for use in (vision.load_vision, lambda v: trainer.origin(str(v), "vision")):
        with pytest.raises(ValueError, match="v is not finished: call `dreamgym vision --out"):
            use(tmp_path / "v")
    vision.train([data], tmp_path / "v", args, progress=False)
    vision.load_vision(tmp_path / "v")


def test_data_that_are_not_all_there_are_no_input(tmp_path: Path) -> None:
    data = data_set(tmp_path / "data", [40] * 3)
    (data / "episode-000001.npz").unlink()
    with pytest.raises(ValueError, match="holds 2 episodes, its"):
        vision.train([data], tmp_path / "v", SMALL, progress=False)
    (data / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"manifest\.json does not exist: call `dreamgym collect"):
        vision.train([data], tmp_path / "v", SMALL, progress=False)


def test_m_is_of_the_latents_that_it_was_trained_on(tmp_path: Path) -> None:
    one, two = data_set(tmp_path / "1", [40] * 3), data_set(tmp_path / "2", [40] * 3, seed=1)
    v = vision.train([one], tmp_path / "v", SMALL, progress=False)
    config, args = MemoryConfig(hidden=8), memory.Args(steps=1, batch=2, length=8)
    for data, fits in ((one, True), (two, False)):
        seen = latents.encode(DOOM, [data], tmp_path / "v", v, progress=False)
        if fits:
            memory.train(seen, tmp_path / "m", args, config, progress=False)
        else:
            with pytest.raises(ValueError, match="the content of its latents was"):
                memory.train(seen, tmp_path / "m", args, config, progress=False)


def test_m_of_another_shape_is_refused_before_it_learns(tmp_path: Path) -> None:
    data = data_set(tmp_path / "data", [40] * 3)
    v = vision.train([data], tmp_path / "v", SMALL, progress=False)
    seen = latents.encode(DOOM, [data], tmp_path / "v", v, progress=False)
    config = MemoryConfig(action_size=3, heads=("tile", "tiles", "fall"))
    with pytest.raises(ValueError, match="M's action_size is 3, the latents' 1: they are of"):
        memory.train(seen, tmp_path / "m", memory.Args(steps=1), config, progress=False)


def test_a_data_set_is_one_policy_s(folder: Path, tmp_path: Path) -> None:
    world = shutil.copytree(folder, tmp_path / "world")
    policy = world / "controller.safetensors"
    args = collect.Args("doom", 1, policy=str(policy), world=str(world), steps=3)
    collected(args, tmp_path / "data")
    moved = shutil.copytree(world, tmp_path / "moved")
    there = replace(args, policy=str(moved / policy.name), world=str(moved))
    assert collected(there, tmp_path / "data") == 3
    old = load_controller(policy)
    save_controller(policy, Controller(old.config, old.weights + 1))
    with pytest.raises(ValueError, match=r"content of its policy \(.*\) was .*, is "):
        collected(replace(args, episodes=2), tmp_path / "data")
    save_controller(policy, old)
    save_world(world, tiny_world(seed=1))
    with pytest.raises(ValueError, match=r"content of its world \(.*\) was .*, is "):
        collected(replace(args, episodes=2), tmp_path / "data")


def test_a_controller_that_still_learns_plays_no_data(folder: Path, tmp_path: Path) -> None:
    stage = evolve.Args(str(folder), 2, population=4, rollouts=1, validate=0)
    evolved(stage, tmp_path, seconds=0)
    assert not read_json(tmp_path / "evolution.json")["finished"]
    policy = str(tmp_path / "controller.safetensors")
    args = collect.Args("doom", 1, policy=policy, world=str(folder), steps=3)
    with pytest.raises(ValueError, match="is not finished: call `dreamgym evolve --out"):
        collected(args, tmp_path / "data")
    evolved(stage, tmp_path)
    assert collected(args, tmp_path / "data") == 3


def test_a_search_is_of_one_world_and_keeps_its_first_steps(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = shutil.copytree(folder, tmp_path / "world")
    stage = evolve.Args(str(world), 2, population=4, rollouts=1, validate=0)
    whole = evolved(stage, tmp_path / "whole")
    evolved(replace(stage, generations=1), tmp_path / "parts")
    # Another device, another processor: other dreams to measure by, in the last digits.
    monkeypatch.setattr(evolve, "first_steps", lambda *_: pytest.fail("they are kept"))
    parts = evolved(stage, tmp_path / "parts")
    assert torch.equal(parts.weights, whole.weights)
    moved = shutil.copytree(world, tmp_path / "moved")
    there = replace(stage, world=str(moved))
    assert torch.equal(evolved(there, tmp_path / "parts").weights, whole.weights)
    save_world(world, tiny_world(seed=1))
    with pytest.raises(ValueError, match=r"content of its world \(.*\) was .*, is "):
        evolved(replace(stage, generations=3), tmp_path / "parts")


def test_a_search_that_began_at_a_controller_goes_on_from_that_alone(
    folder: Path, tmp_path: Path
) -> None:
    init = tmp_path / "init.safetensors"
    first = load_controller(folder)
    save_controller(init, first)
    stage = evolve.Args(str(folder), 1, 4, 1, validate=0, init=str(init))
    evolved(stage, tmp_path / "run")
    save_controller(init, Controller(first.config, first.weights + 1))
    with pytest.raises(ValueError, match=r"content of its init \(.*\) was .*, is "):
        evolved(replace(stage, generations=2), tmp_path / "run")


def test_an_agent_learns_in_one_world(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = shutil.copytree(folder, tmp_path / "world")
    monkeypatch.setattr(train, "score", lambda *_, **__: [{"return": 1.0, "length": 1}])
    stage = train.Args(str(world), "a2c", 64, envs=4, scaled=False, games=1)
    learned(stage, tmp_path / "run")
    assert read_json(tmp_path / "run" / "learning.json")["finished"]
    save_world(world, tiny_world(seed=1))
    with pytest.raises(ValueError, match=r"content of its world \(.*\) was .*, is "):
        learned(replace(stage, timesteps=128), tmp_path / "run")


def test_a_world_that_is_written_over_is_none_until_it_is_whole(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = shutil.copytree(folder, tmp_path / "world")

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("dreamgym.checkpoint.save_tensors", full)
    with pytest.raises(OSError, match="No space left"):
        save_world(world, tiny_world(seed=1))
    with pytest.raises(ValueError, match="no world"):  # rather than half of each
        load_world(world)


def test_a_loss_that_is_no_number_tells_of_a_checkpoint_only_if_there_is_one() -> None:
    nan = torch.tensor(np.nan)
    with pytest.raises(ArithmeticError, match="before the first checkpoint: look at the data"):
        trainer.check(nan, "M", 0, saved=0)
    with pytest.raises(ArithmeticError, match="the checkpoint of step 20 is good"):
        trainer.check(nan, "M", 23, saved=20)


def test_the_lock_is_no_part_of_a_world_or_a_data_set(tmp_path: Path) -> None:
    with held(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} <= {LOCK}


def test_weights_that_were_lost_or_replaced_are_written_again(tmp_path: Path) -> None:
    data = data_set(tmp_path / "data", [40] * 3)
    before = vision.train([data], tmp_path / "v", SMALL, progress=False)
    weights, other = tmp_path / "v" / "vision.safetensors", vision.VAE(SMALL.config)
    for spoil in (lambda: weights.unlink(), lambda: save_tensors(weights, other.state_dict())):
        spoil()
        with pytest.raises(ValueError, match="is not what its run has learned: call `dreamgym vis"):
            vision.load_vision(tmp_path / "v")
        vision.train([data], tmp_path / "v", SMALL, progress=False)
        assert torch.equal(vision.load_vision(tmp_path / "v").mean.weight, before.mean.weight)


def test_latents_and_m_are_of_the_v_of_their_world(tmp_path: Path) -> None:
    data = data_set(tmp_path / "data", [40] * 3)
    one, two = (
        vision.train([data], tmp_path / str(n), replace(SMALL, seed=n), progress=False)
        for n in range(2)
    )
    seen = [
        latents.encode(DOOM, [data], tmp_path / str(n), v, progress=False)
        for n, v in enumerate((one, two))
    ]
    config, args = MemoryConfig(hidden=8), memory.Args(steps=1, batch=2, length=8)
    m = memory.train(seen[0], tmp_path / "m", args, config, progress=False)
    with pytest.raises(ValueError, match="the latents are of another V: encode the data with this"):
        memory.assemble("doom", two, m, seen[0], tmp_path / "world")
    init = replace(args, init=str(tmp_path / "m"))
    with pytest.raises(ValueError, match="learned from another V's latents"):
        memory.train(seen[1], tmp_path / "m1", init, config, progress=False)
    memory.train(seen[0], tmp_path / "m2", init, config, progress=False)


def test_another_user_s_latents_are_read_and_not_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_set(tmp_path / "data", [40] * 3)
    v = vision.train([data], tmp_path / "v", SMALL, progress=False)
    before = latents.encode(DOOM, [data], tmp_path / "v", v, progress=False)
    monkeypatch.setattr(latents, "held", lambda _: pytest.fail("it locks"))
    assert latents.encode(DOOM, [data], tmp_path / "v", v, progress=False).content == before.content


@pytest.mark.parametrize("column", ["what", "mean", "action", "lengths", "reward"])
@pytest.mark.parametrize("value", [np.array(1), np.zeros(0), np.array(["a"]), np.full(3, 9999)])
def test_a_column_that_is_another_is_named(tmp_path: Path, column: str, value: np.ndarray) -> None:
    data = data_set(tmp_path / "data", [40] * 3)
    v = vision.VAE(SMALL.config)
    latents.encode(DOOM, [data], tmp_path / "v", v, progress=False)
    shard = tmp_path / "v" / "latents-0000.npz"
    with np.load(shard) as arrays:
        columns = dict(arrays) | {column: value}
    np.savez(shard, **columns)
    with pytest.raises(ValueError, match=r"latents-0000.npz is damaged"):
        latents.load(tmp_path / "v")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rewards", np.float32(1)), ("frames", np.zeros((40, 64, 64, 3), np.float32)),
        ("actions", np.full((40, 1), np.nan, np.float32)),
        ("counts", np.zeros((40, 1), np.float32)), ("counts", np.full((41, 1), 100.0)),
        ("counts", np.full((41, 1), np.inf, np.float32)), ("terminated", np.zeros(40, np.int64)),
    ],
)  # fmt: skip
def test_an_episode_that_is_none_is_named(tmp_path: Path, name: str, value: object) -> None:
    path = episode_path(data_set(tmp_path, [40]), 0)
    episode = Episode.load(path)
    arrays = vars(episode) | {"frames": np.array(episode.frames), name: value}
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"episode-000000.npz is damaged"):
        Episode.load(path)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"curve": [{}]}, {"curve": [None]}, {"curve": {}}, {"curve": None},
        {"curve": [{"generation": 2, "dream": 1.0}]},
        {"curve": [{"generation": 1, "dream": None}]},
        {"curve": [{"generation": 1, "dream": 1.0, "real": "good"}]},
        {"args": {}},
    ],
)  # fmt: skip
def test_a_search_s_record_is_read_point_by_point(
    folder: Path, tmp_path: Path, spoilt: dict[str, object]
) -> None:
    stage = evolve.Args(str(folder), 1, population=4, rollouts=1, validate=0)
    evolved(stage, tmp_path)
    path = tmp_path / "evolution.json"
    write_json(path, read_json(path) | spoilt)
    with pytest.raises(ValueError, match=r"evolution.json"):
        evolved(replace(stage, generations=2), tmp_path)


@pytest.mark.parametrize("steps", [None, torch.ones(3), -torch.ones(38)])
def test_a_search_s_state_is_checked(
    folder: Path, tmp_path: Path, steps: torch.Tensor | None
) -> None:
    stage = evolve.Args(str(folder), 1, population=4, rollouts=1, validate=0)
    evolved(stage, tmp_path)
    path = tmp_path / "evolution.safetensors"
    kept = load_tensors(path)
    del kept["steps"]
    save_tensors(path, kept | ({} if steps is None else {"steps": steps}))
    with pytest.raises(ValueError, match=r"does not hold what evolution.json tells of"):
        evolved(replace(stage, generations=2), tmp_path)


@pytest.mark.parametrize(
    "spoilt", [{"steps": "many"}, {"curve": [{}]}, {"returns": [1]}, {"seconds": None}]
)
def test_an_agent_s_record_is_read_point_by_point(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: dict[str, object]
) -> None:
    monkeypatch.setattr(train, "score", lambda *_, **__: [{"return": 1.0, "length": 1}])
    stage = train.Args(str(folder), "a2c", 64, envs=4, scaled=False, games=1)
    learned(stage, tmp_path)
    path = tmp_path / "learning.json"
    write_json(path, read_json(path) | spoilt)
    with pytest.raises(ValueError, match=r"learning.json is damaged"):
        learned(replace(stage, timesteps=128), tmp_path)


def test_an_agent_that_was_lost_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "score", lambda *_, **__: [{"return": 1.0, "length": 1}])
    stage = train.Args(str(folder), "a2c", 64, envs=4, scaled=False, games=1)
    learned(stage, tmp_path).unlink()
    with pytest.raises(ValueError, match=r"policy.zip is missing, which learning.json tells of"):
        learned(stage, tmp_path)


def test_an_agent_s_weights_keep_their_own_facts_after_a_kill(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the best agent's file and the curve, which then does not know of it."""
    scores, write = [100.0, 300.0, 200.0, 200.0], Run.write

    def killed(self: Run, finished: bool = False, **facts: object) -> None:
        if len(facts["curve"]) == 2:  # type: ignore[arg-type]
            raise KeyboardInterrupt
        write(self, finished, **facts)

    monkeypatch.setattr(train, "score", lambda *_, **__: [{"return": scores.pop(0), "length": 10}])
    stage = train.Args(str(folder), "a2c", 192, envs=4, scaled=False, games=1, validate=64)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "write", killed)
        learned(stage, tmp_path)
    before = read_json(tmp_path / "policy.json")
    assert before["real"] == 300
    weights = (tmp_path / "policy.zip").read_bytes()
    learned(stage, tmp_path)
    after = read_json(tmp_path / "policy.json")
    assert (tmp_path / "policy.zip").read_bytes() == weights
    assert (after["real"], after["steps"]) == (300, before["steps"])


def test_a_demonstration_leaves_strangers_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    kept = [tmp_path / "run" / "thesis.txt", tmp_path / f"film.iso{TEMPORARY}"]
    for path in kept:
        path.touch()
    with pytest.raises(
        ValueError, match="run was not made by a demonstration: choose another --out"
    ):
        demo("doom", tmp_path, 1, 2, InProcess())
    assert all(path.exists() for path in kept)

"""The command: good words run, bad ones are named before any work, nothing is a traceback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest

from dreamgym import cli
from dreamgym.checkpoint import read_json, write_json
from dreamgym.cli import main
from dreamgym.training import vision
from tests.conftest import data_set


def test_help_names_every_stage(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for stage in ("collect", "vision", "memory", "examine", "evolve", "evaluate", "make", "demo"):
        assert stage in shown


def test_help_keeps_the_names_of_commands_apart_from_their_texts():
    for name, (_, words) in cli.COMMANDS.items():
        (line,) = (line for line in cli.overview().splitlines() if line.endswith(words))
        assert line.split("  ")[1] == name


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dreamgym {version('dreamgym')}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("evaluate doom --world nowhere", "no world 'nowhere'"),
        ("evaluate doom --env dream --temperature -1", "temperature is -1.0"),
        ("evaluate doom --temperature 1", "the real game has none, leave it out"),
        ("evaluate doom --seed -1", "seed is -1: keep seeds from 0 to"),
        ("evaluate doom --processes -1", "processes is -1: give 1 or more"),
        ("evaluate doom --episodes 0", "episodes is 0: give 1 or more"),
        ("evaluate doom --out .", ". is a folder: give the name of a file"),
        ("evolve doom --temperature 1 2 3", "temperature is (1.0, 2.0, 3.0)"),
        ("evolve doom --processes -1 --out unused", "processes is -1: give 1 or more"),
        ("evolve doom --rollouts 1000000", "rollouts is 1000000: give 1 to 999,999"),
        (
            "evolve doom --population 100000000",
            "population is 100000000, rollouts 16, C has 1088 weights: too",
        ),
        ("evolve doom --population 1000000 --rollouts 1", "too many for this machine"),
        ("evolve doom --games 200000", "games is 200000: give 1 to 100,000"),
        ("evolve doom --seed -1", "seed is -1: give 0 to"),
        ("evolve doom --hidden 300", "C has 326700 weights: too many for this machine"),
        ("evolve doom --finalists -5", "finalists is -5: give 0 or more"),
        ("evolve doom --processes 100000", "processes is 100000: give 1 or more, up to"),
        ("evaluate --world= --env dream", "--world is empty: leave it out, or give it a value"),
        ("collect --policy=", "--policy is empty: leave it out, or give it a value"),
        ("vision --data=", "--data is empty: leave it out, or give it a value"),
        ("train doom --device nonsense", "device is 'nonsense'"),
        ("film doom --seed 99999999999999999999", "give 0 to 2,147,483,647"),
        ("evolve doom --hidden 5000", "hidden is 5000, expected a whole number, 0 to 4096"),
        ("evolve doom --reality --temperature 1", "--temperature is for dreams"),
        ("evolve doom --reality --form torch", "--form is for dreams"),
        ("evolve doom --init nowhere.safetensors", "nowhere.safetensors does not exist"),
        ("train doom --processes -1", "processes is -1: give 1 or more"),
        ("train doom --temperature nan", "temperature is nan"),
        ("train doom --temperature", "--temperature is empty: leave it out, or give it a value"),
        ("evaluate --env dream --temperature --world doom", "--temperature is empty: leave it out"),
        ("make", "which game? give doom or car_racing"),
        ("train doom --envs 1000000000", "num_envs is 1000000000: they take"),
        ("train doom --observation rgb", "observation is 'rgb': choose one of z, zh, zhc"),
        ("collect doom --episodes 0 --out unused", "episodes is 0"),
        ("collect doom --processes -1 --out unused", "processes is -1: give 1 or more"),
        ("collect doom --policy random --world doom", "world is doom: random play uses no"),
        ("collect doom --policy shipped --world nowhere", "no world 'nowhere'"),
        ("vision doom --reconstruction -1", "VisionConfig.reconstruction is -1.0, expected a"),
        ("vision doom --reconstruction nan", "VisionConfig.reconstruction is nan, expected a"),
        ("vision doom --frames 5", "frames is 5: give 128 or more"),
        ("memory doom --steps 0", "steps is 0: give 1 or more"),
        ("demo --seconds nan", "seconds nan: give 2 games or more and a time"),
        ("demo --seconds inf", "seconds inf: give 2 games or more and a time"),
        ("demo --processes -1", "processes is -1: give 1 or more"),
        ("iterate doom --processes -1", "processes is -1: give 1 or more"),
        ("iterate doom --rounds 0", "rounds is 0: give 1 or more"),
        ("film doom --out .", ". is a folder: give the name of a file"),
        ("film doom --out x.mp4", "out is x.mp4: a film is a GIF, give a name that ends in .gif"),
        ("play doom --out x.mp4", "out is x.mp4: a film is a GIF, give a name that ends in .gif"),
        ("evaluate CartPole-v1", "the folder that `dreamgym new CartPole-v1` writes"),
        ("examine doom", "runs/doom holds no world: call `dreamgym memory --out runs/doom` first"),
        ("evaluate --policy nosuch", "nosuch does not exist"),
        ("film doom --seed -1", "seed is -1: give 0 to"),
        ("film doom --steps 0", "steps is 0: give 1 or more"),
        ("film doom --temperature -1", "temperature is -1"),
        (
            "play doom --real --both",
            "--real shows the real game alone, --both beside the dream: giv",
        ),
        ("bench doom --out .", ". is a folder: give the name of a file"),
        ("report", "README.md does not exist: call this in a clone, or give --readme a file"),
        ("evaluate doom --out /proc/x.json", "/proc/x.json cannot be written ("),
        ("make doom --share 0", "share is 0.0: give a number above 0, such as 0.1"),
    ],
)
def test_bad_input_ends_with_a_sentence_and_leaves_nothing(
    words, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    shown = capsys.readouterr()
    assert message in shown.err and not shown.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("evaluate doom --env dream --episodes 1 --out file/x.json", "file/x.json"),
        ("evolve doom --out file/run", "file/run"),
        ("new CartPole-v1 --out file/run", "file/run"),
    ],
)
def test_a_place_inside_a_file_is_named(words, place, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(words.split()) == 2
    shown = capsys.readouterr()
    wanted = f"{place} cannot be written (file is a file): choose another place"
    assert wanted in shown.err and not shown.out
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("steps", ["nan", "inf", "-5", "2.5", "many"])
@pytest.mark.parametrize("option", ["--timesteps", "--validate"])
def test_a_number_of_steps_that_is_none_is_named(option, steps, capsys):
    assert main(["train", "doom", f"{option}={steps}"]) == 2
    assert (
        f"{steps!r} is not a whole number: give 0 or more, such as 2e6" in capsys.readouterr().err
    )


@pytest.mark.parametrize("command", ["collect", "train", "evolve", "evaluate"])
def test_an_unknown_task_lists_those_there_are(command, capsys):
    assert main([command, "chess"]) == 2
    assert "unknown game 'chess': choose one of car_racing, doom" in capsys.readouterr().err


def test_an_unknown_command_or_flag_is_named(capsys):
    assert main(["dance"]) == 2
    assert "no command 'dance': choose one of collect, vision" in capsys.readouterr().err
    assert main([]) == 2
    assert "no command is given: choose one of collect" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["evolve", "--gravity", "3"])
    assert stop.value.code == 2
    assert "--gravity" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evolve", "train", "evaluate", "film", "bench"])
def test_another_game_s_world_is_refused(command, car_folder, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([command, "doom", "--world", str(car_folder)]) == 2
    assert "is a world of car_racing, not of doom: leave the game out" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_game_is_the_world_s_and_so_is_its_temperature(car_folder, tmp_path, capsys):
    words = ["--generations", "1", "--population", "4", "--rollouts", "1", "--validate", "0"]
    out = ["--out", str(tmp_path / "run")]
    assert main(["evolve", "--world", str(car_folder), *words, *out]) == 0
    record = read_json(tmp_path / "run" / "evolution.json")
    assert record["args"]["temperature"] == [1.0, 1.0]  # Doom's is 1.15
    score = ["--env", "dream", "--episodes", "2", "--out", str(tmp_path / "score.json")]
    assert main(["evaluate", "--world", str(car_folder), *score]) == 0
    assert read_json(tmp_path / "score.json")["env"] == "DreamCarRacing-v0"


def test_data_of_another_game_are_refused(tmp_path, capsys):
    cars = data_set(tmp_path / "cars", [40] * 3, task="car_racing")
    games = data_set(tmp_path / "games", [40] * 3)
    out = ["--out", str(tmp_path / "run")]
    assert main(["vision", "doom", "--data", str(cars), *out]) == 2
    assert "cars holds games of car_racing, not of doom" in capsys.readouterr().err
    assert main(["vision", "--data", str(cars), str(games), *out]) == 2
    assert "games holds games of doom, not of car_racing" in capsys.readouterr().err
    assert main(["vision", "--data", str(cars), *out, "--frames", "128"]) == 0
    assert read_json(tmp_path / "run" / "vision.json")["config"]["z_size"] == 32  # CarRacing's
    assert main(["memory", "doom", "--data", str(games), *out]) == 2
    assert "run holds a V of car_racing, not of doom" in capsys.readouterr().err
    sight = ["--vision", str(tmp_path / "v"), "--out", str(tmp_path / "m")]
    vision.train([games], tmp_path / "v", vision.Args(frames=128), progress=False)
    assert main(["memory", "doom", "--data", str(cars), *sight]) == 2
    assert "cars holds games of car_racing, not of doom" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", {"task": ["doom"]}, "config.json: unknown game ['doom']"),
        ("config.json", {"task": None}, "config.json: unknown game None"),
        ("config.json", {"real_frames": None}, "'real_frames' is None, expected a whole number"),
        ("controller.json", {"real_frames": "many"}, "'real_frames' is 'many', expected a whole"),
        ("controller.json", {"config": None}, "ControllerConfig needs the keys"),
    ],
)
def test_a_damaged_world_or_policy_is_named(file, change, message, folder, tmp_path, capsys):
    world = shutil.copytree(folder, tmp_path / "world")
    write_json(world / file, read_json(world / file) | change)
    words = ["--policy", str(world), "--env", "dream", "--episodes", "2"]
    assert main(["evaluate", "--world", str(world), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_terminal_that_lacks_a_letter_shows_another(encoding, folder, tmp_path):
    out = tmp_path / "score.json"
    for words in (["evolve", "--help"],
                  ["evaluate", "--world", str(folder), "--env", "dream", "--episodes", "2",
                   "--out", str(out)]):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "dreamgym", *words], capture_output=True,
            env=os.environ | {"PYTHONIOENCODING": encoding},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode(encoding)
        assert b"Traceback" not in done.stderr
    shown = done.stdout.decode(encoding)
    assert ("±" in shown) == (encoding != "ascii")
    assert json.loads(out.read_text())["episodes"]


def test_whoever_stops_reading_gets_no_traceback(folder):
    words = ["evaluate", "--env", "dream", "--episodes", "2", "--world"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dreamgym", *words, str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 128 + signal.SIGPIPE
    assert b"Traceback" not in said and b"Exception ignored" not in said


def test_a_closed_terminal_loses_no_score(folder, tmp_path):
    out = tmp_path / "score.json"
    words = f"evaluate --env dream --episodes 2 --world {folder} --out {out} >&- 2>&-"
    done = subprocess.run(["sh", "-c", f"{sys.executable} -m dreamgym {words}"])
    assert done.returncode == 0
    assert json.loads(out.read_text())["episodes"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_demonstration_that_is_stopped_leaves_nothing_behind(number, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "dreamgym", "demo", "--out", str(tmp_path / "demo")],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    run = tmp_path / "demo" / "run" / "log"  # it learns
    until = time.monotonic() + 120
    while not run.exists() and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(number)
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == (130 if number == signal.SIGINT else 128 + number)
    assert "Traceback" not in said
    assert [path.name for path in (tmp_path / "demo").iterdir() if path.name != ".lock"] == []


def test_signals_that_are_the_caller_s_stay_the_caller_s():
    def mine(*_: object) -> None: ...

    for handler in (mine, signal.SIG_IGN, signal.SIG_DFL):
        before = signal.signal(signal.SIGHUP, handler)  # SIG_IGN is what nohup sets
        try:
            with cli._ending_on(signal.SIGHUP, signal.SIGTERM):
                same = signal.getsignal(signal.SIGHUP) == handler
                assert same == (handler is not signal.SIG_DFL)
            assert signal.getsignal(signal.SIGHUP) == handler
        finally:
            signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_where_an_error_came_from(place, capsys):
    words = ["evaluate", "--world", "nowhere"]
    assert main(["--debug", *words] if place == "before" else [*words, "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert main(words) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("command", "spins"), [("evaluate", "10000"), ("vision", None)])
def test_threads_sleep_soon_where_a_policy_and_a_dream_take_turns(
    command: str, spins: str | None
) -> None:
    """PyTorch reads it when it is imported, so another process has to tell."""
    code = f"""
import os, contextlib
from dreamgym.cli import main
with contextlib.suppress(SystemExit):
    main(["{command}", "--help"])
print(os.environ.get("GOMP_SPINCOUNT"))
"""
    usual = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=usual, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == str(spins)

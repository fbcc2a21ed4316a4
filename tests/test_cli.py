"""The command: good words run, bad ones are named, nothing is a traceback."""

import pytest

from dreamgym.cli import main


def test_help_names_every_stage(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for stage in ("collect", "vision", "memory", "examine", "evolve", "evaluate", "make", "demo"):
        assert stage in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "doom", "--world", "nowhere"], "no world 'nowhere'"),
        (["evaluate", "doom", "--temperature", "-1"], "temperature is -1.0"),
        (["evolve", "doom", "--temperature", "1", "2", "3"], "temperature is (1.0, 2.0, 3.0)"),
        (["collect", "doom", "--episodes", "0", "--out", "unused"], "episodes is 0"),
    ],
)
def test_bad_input_ends_with_a_sentence(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_unknown_task_lists_those_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["collect", "chess"])
    assert "doom" in capsys.readouterr().err

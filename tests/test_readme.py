"""What README says is what the results say; its examples run."""

import runpy
import shlex
from pathlib import Path

import pytest

from dreamgym import cli
from dreamgym.training.report import rendered

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_the_tables_agree_with_the_results():
    readme = (ROOT / "README.md").read_text()
    assert rendered(readme) == readme, "run `dreamgym report`"


def test_a_readme_without_marks_is_named():
    with pytest.raises(ValueError, match="README needs the lines"):
        rendered("nothing")


def test_every_command_is_one_that_exists():
    lines = (ROOT / "README.md").read_text().replace("\\\n", " ").splitlines()
    commands = [line.partition("#")[0] for line in lines if line.startswith("dreamgym ")]
    assert len(commands) > 5
    for command in commands:
        cli._parser().parse_args(shlex.split(command)[1:])  # exits on what it does not know


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_is_short(example, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write a film
    assert len(example.read_text().splitlines()) <= 30
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out

"""The notebook and the page about a user's own games: their code runs, and does what they say."""

from __future__ import annotations

import ast
import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from dreamgym.games import own
from dreamgym.games.rules import ended, paid
from dreamgym.training import new

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "examples" / "own_game.ipynb"
PAGE = ROOT / "docs" / "own-games.md"
FRAMES = "FRAMES = 10_000"
MOST = 150_000
"""Bytes of the notebook with its pictures."""


def code() -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """For each cell of code: the file that it writes, if it writes one, its code, its outputs."""
    for cell in json.loads(BOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            first, _, rest = "".join(cell["source"]).partition("\n")
            magic, _, file = first.partition(" ")
            writes = magic == "%%writefile"
            yield (file, rest, cell["outputs"]) if writes else ("", f"{first}\n{rest}", [])


def test_the_notebook_is_small_and_holds_what_its_run_showed() -> None:
    book = json.loads(BOOK.read_text())
    assert book["nbformat"] == 4 and BOOK.stat().st_size < MOST
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert "".join(cells[0]["source"]).startswith(FRAMES)
    for _, source, _ in code():
        ast.parse(source)
    shown = [each for cell in cells for each in cell["outputs"]]
    pictures = [each["data"]["image/png"] for each in shown if "data" in each]
    assert [base64.b64decode(each)[:4] for each in pictures] == [b"\x89PNG"]
    said = "".join("".join(each.get("text", [])) for each in shown)
    assert "the dream pays" in said and "the real game pays" in said


@pytest.mark.slow
def test_the_notebook_runs(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small budget: what it learns is not asked here, but that every cell works."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(len(plt.gcf().axes)))
    for name, few in {"ROUNDS": 2, "UPDATES": 50, "GENERATIONS": 2, "TEST": 4, "FINAL": 2}.items():
        monkeypatch.setattr(new, name, few)
    made: dict[str, Any] = {}
    for file, source, _ in code():
        if file:
            (elsewhere / file).write_text(source)
        else:
            exec(source.replace(FRAMES, "FRAMES = 1_000"), made)
    plt.close("all")
    assert shown == [3]
    assert {len(paid) for paid in made["returns"].values()} == {30}
    made["dream"].reset(seed=0)
    after, reward, over, *_ = made["dream"].step(made["actions"][0])
    assert reward == 1 - np.abs(after[0] - 1) and over == (abs(after[0] - 1) > 1)
    for env in ("dream", "real", "dreams"):
        made[env].close()


def test_the_game_and_the_rules_of_the_page_agree(elsewhere: Path) -> None:
    """Its modules are written as the page shows them; the spring begins inside and outside."""
    blocks = re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert [name for name, _ in blocks] == ["my_games", "my_rules"]
    for name, source in blocks:
        (elsewhere / f"{name}.py").write_text(source)
    env, rules = gym.make("my_games:Spring-v0").unwrapped, own.known("my_rules:SpringRules")
    assert rules
    env.reset(seed=0)
    ends = 0
    for place in np.linspace(-4, 4, 81, dtype=np.float32):
        env.at = np.array([place, 0.5], np.float32)
        before, action = env.at.copy(), np.array([1.5], np.float32)
        after, reward, over, *_ = env.step(action)
        steps = before[None], action[None], after[None]
        assert paid(rules, *steps, np.zeros(1))[0] == pytest.approx(reward)
        assert ended(rules, *steps, np.zeros(1, bool))[0] == over
        ends += over
    assert 0 < ends < 81

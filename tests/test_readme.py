"""README and the pages of `docs/` say what the results say; their commands and examples run."""

import json
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreamgym import cli
from dreamgym.checkpoint import CheckpointError, read_json
from dreamgym.training.measure import learners
from dreamgym.training.measure.report import BEGIN, END, RESULTS, rendered, report

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
TABLES = [page for page in (README, *DOCS) if BEGIN in page.read_text()]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
GAME = {
    "name": "toy",
    "title": "Toy",
    "unit": "points",
    "random": "toy-random",
    "controller": "toy-c",
    "benches": ["toy-bench", "toy-bench-other"],
    "paper": "9 ± 1",
    "rows": [{"file": "toy-random", "label": "random"}, {"file": "toy-never", "label": "never"}],
    "agents": [
        {"file": "toy-slow", "name": "A2C", "label": "A2C"},
        {"file": "toy-quick", "name": "PPO", "label": "PPO, linear"},
    ],
    "printed": [{"label": "theirs", "score": "9 ± 1"}],
    "learners": [
        {"file": "toy-random", "name": "random", "label": "random", "where": ""},
        {"file": "toy-pixels-dqn", "name": "DQN", "label": "DQN", "where": "pixels"},
        {"file": "toy-pixels-ppo", "name": "PPO", "label": "PPO", "where": "pixels"},
        {"file": "toy-twin", "name": "C", "label": "CMA-ES", "where": "twin"},
        {"file": "toy-c", "name": "C", "label": "C", "where": "dream"},
    ],
    "quoted": [{"label": "A3C (theirs)", "where": "pixels", "score": "9 ± 1"}],
    "published": {"label": "theirs", "score": 9},
}


def score(mean: float, games: int = 2) -> dict:
    return {
        "mean": mean,
        "sd": 0.5,
        "ci95": [mean - 1, mean + 1],
        "real_frames": 1000,
        "episodes": [{"return": mean}] * games,
    }


@pytest.fixture
def results(tmp_path):
    """A folder of results of one toy game."""
    curve = [{"steps": 1000, "real": 5, "seconds": 60}, {"steps": 2000, "real": 4, "seconds": 120}]
    rows = [
        {"what": "PixelToy-v0, 2 processes", "rate": 50.0, "ratio": 1.0},
        {
            "what": "dream × 16, float32",
            "rate": 5000.0,
            "share": 0.5,
            "ratio": 100.0,
            "added": 1234.4,
            "jax": 2.5,
        },
        {"what": "CMA-ES", "rate": 0.25, "waiting": 0.125},
    ]
    files = {
        "tables": {"games": [GAME]},
        "toy-random": score(1, 1000),
        "toy-random-dream": score(2),
        "toy-c": score(3),
        "toy-slow": score(4),
        "toy-quick": score(5),
        "toy-slow-learning": {"curve": curve},
        "toy-quick-learning": {"curve": curve},
        "toy-temperature": {
            "args": {"task": "doom"},
            "rows": [
                {"temperature": 0.1, "dream": score(9), "real": score(2)},
                {"temperature": 7.0, "dream": score(8), "real": score(3)},
            ],
            "random": score(1),
            "correlation": 0.6,
            "p_value": 0.28,
        },
        "toy-bench": {"hardware": "2 cores", "commit": "abc", "rows": rows},
        "toy-bench-other": {"hardware": "9 cores", "commit": "def", "rows": rows[:1]},
    }
    for name, facts in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(facts))
    return tmp_path


def asked(kind: str, results: Path) -> list[str]:
    """Return the lines that `dreamgym report` writes for one table."""
    page = rendered(f"before\n<!-- {kind}: {BEGIN}\nold\n{END}\nafter\n", results)
    first, begin, *lines, end, last = page.splitlines()
    assert (first, begin, end, last) == ("before", f"<!-- {kind}: {BEGIN}", END, "after")
    return lines


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_the_tables_agree_with_the_results(page):
    assert rendered(page.read_text()) == page.read_text(), "run `dreamgym report`"


def learned(results: Path, name: str, returns: list[float], frames: int, pace: float) -> None:
    """Write the score of one seed and the record of its learning."""
    facts = {"mean": np.mean(returns), "sd": np.std(returns, ddof=1), "ci95": [0, 0],
             "real_frames": frames, "episodes": [{"return": paid} for paid in returns]}  # fmt: skip
    curve = [{"steps": n, "real": n, "real_frames": n * frames // 2} for n in (1, 2)]
    record = {"curve": curve, "steps_per_second": pace, "waited": pace / 1000}
    for end, content in {"": facts, "-learning": record}.items():
        (results / f"{name}{end}.json").write_text(json.dumps(content))


@pytest.fixture
def several(results):
    """The results with three seeds of PPO from pixels, one of C in the twin, and none of DQN."""
    for end, paid in {"": 2.0, "-seed1": 4.0, "-seed10": 9.0}.items():
        learned(results, f"toy-pixels-ppo{end}", [paid] * 4, 600 + int(paid), 100 * paid)
    learned(results, "toy-pixels-ppo-seed1-dream", [99.0] * 4, 1, 1)
    (results / "toy-twin.json").write_text(json.dumps(score(7)))
    return results


def test_learners_stand_with_their_frames_and_all_their_seeds(several):
    """The interval of three seeds ends at the worst and the best, since each may be all three."""
    head, _, *lines = asked("learners of toy", several)
    assert head.split(" | ")[3:6] == ["score", "IQM [95 % interval]", "games"]
    assert lines == [
        "| random |  | 1,000 | 1 ± 0 | 1 [1, 1] | 1,000 |  |  |  |",
        "| PPO | real game, by its pixels | 605 | 5 ± 3 | 4 [2, 9] | 12 | 3 | 500 | 50% |",
        "| CMA-ES | real game, seen through V and M | 1,000 | 7 ± 0 | 7 [7, 7] | 2 | 1 |  |  |",
        "| C | dream | 1,000 | 3 ± 0 | 3 [3, 3] | 2 | 1 |  |  |",
        "| *A3C (theirs)* | real game, by its pixels |  | *9 ± 1* |  |  |  |  |  |",
    ]


def test_the_summary_shows_who_learned_best_from_pixels(several):
    alone = "| PPO, learned only from the real game's pixels | 5 ± 3 (PPO, 605 frames) |"
    assert alone in asked("summary", several)
    learned(several, "toy-pixels-dqn", [5.5, 5.5], 700, 1)
    row = "| the best of DQN and PPO, learned only from the real game's pixels | {} |"
    assert row.format("6 ± 0 (DQN, 700 frames)") in asked("summary", several)
    learned(several, "toy-pixels-dqn", [1.0, 1.0], 700, 1)
    assert row.format("5 ± 3 (PPO, 605 frames)") in asked("summary", several)


def test_the_summary_says_which_learner_was_not_scored_in_a_game(several):
    other = GAME | {
        "name": "other",
        "learners": [
            {"file": f"other-{name}", "name": name, "label": name, "where": "pixels"}
            for name in ("DQN", "A2C", "PPO")
        ],
    }
    (several / "tables.json").write_text(json.dumps({"games": [GAME, other]}))
    learned(several, "other-A2C", [5.0, 5.0], 700, 1)
    *_, row, _ = asked("summary", several)
    assert row == (
        "| the best of PPO and A2C, learned only from the real game's pixels "
        "| 5 ± 3 (PPO, 605 frames; no score of A2C) | 5 ± 0 (A2C, 700 frames; no score of PPO) |"
    )


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"finished": False, "steps": 1000}, " (unfinished: 1,000 of 2,000 steps)"),
        ({"finished": False, "steps": 2048}, ""),
        ({"finished": True, "steps": 1000}, ""),
    ],
)
def test_a_learner_that_was_stopped_is_marked(several, facts, told):
    """It has stopped early by its patience if it is finished after fewer steps."""
    path = several / "toy-pixels-ppo-learning.json"
    record = json.loads(path.read_text()) | facts | {"args": {"timesteps": 2000}}
    path.write_text(json.dumps(record))
    assert asked("learners of toy", several)[3].startswith(f"| PPO{told} | real game")


def test_any_table_joins_the_seeds_of_a_score(results):
    learned(results, "toy-quick-seed1", [7.0, 7.0], 1, 1)
    assert (
        "| PPO, linear |  | 6 ± 1 | 5 to 7 | 4 of 2 seeds |" in asked("agents of toy", results)[3]
    )


def test_a_picture_is_drawn_of_what_was_learned_and_shown_below_the_table(several, tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"<!-- learners of toy: {BEGIN}\n{END}\n")
    report(page, several)
    assert not list(several.glob("*.png")) and "![" not in page.read_text()
    report(page, several, plots=True)
    assert "(../training/results/toy-learners.png)" in page.read_text()
    with Image.open(several / "toy-learners.png") as picture:
        assert picture.size == (1350, 975)
    (toy,) = learners.learners(GAME | {"learners": GAME["learners"][2:3]}, several)
    first, *_ = toy.curves()
    assert [part.tolist() for part in first] == [[301, 602], [1, 2]]


def test_no_picture_is_drawn_where_nobody_learned_in_the_real_game(results):
    page = results / "README.md"
    page.write_text(f"<!-- summary: {BEGIN}\n{END}\n")
    report(page, results, plots=True)
    assert not list(results.glob("*.png"))


def test_frames_of_a_world_s_data_count_from_the_first_validation(results):
    learned(results, "toy-twin", [1.0, 2.0], 600, 1)
    whole = json.loads((results / "toy-twin.json").read_text()) | {"real_frames": 5600}
    (results / "toy-twin.json").write_text(json.dumps(whole))
    (twin,) = learners.learners(GAME | {"learners": GAME["learners"][3:4]}, results)
    ((frames, real),) = twin.curves()
    assert frames.tolist() == [5300, 5600] and real.tolist() == [1, 2]


def test_a_damaged_record_of_learning_is_named(several):
    (several / "toy-pixels-ppo-learning.json").write_text('{"curve": [{"steps": 1}]}')
    with pytest.raises(CheckpointError, match=r"toy-pixels-ppo-learning\.json is damaged"):
        asked("learners of toy", several)


def test_the_learners_that_the_tables_list_are_known():
    """A wrong name of a file would leave a row out without a word."""
    games = read_json(RESULTS / "tables.json")["games"]
    for name, entry in ((game["name"], entry) for game in games for entry in game["learners"]):
        assert entry["where"] in learners.WHERE
        if not (RESULTS / f"{entry['file']}.json").exists():
            assert re.fullmatch(rf"{name}-(pixels|twin|reality)(-\w+)?", entry["file"])


def test_the_pages_that_hold_tables_are_known():
    names = ["README.md", "benchmarks.md", "own-games.md", "results.md"]
    assert [page.name for page in TABLES] == names


def test_the_summary_has_four_rows_and_shows_the_best_agent(results):
    assert asked("summary", results)[2:] == [
        "| random actions | 1 ± 0 |",
        "| our controller, learned only in the dream | 3 ± 0 |",
        "| our best agent of Stable-Baselines3, learned only in the dream | 5 ± 0 (PPO) |",
        "| the controller of World Models (2018), as published | 9 ± 1 |",
    ]


def test_scores_are_those_that_were_measured_then_those_that_others_printed(results):
    assert asked("scores of toy", results)[2:] == [
        "| random | 2 ± 0 | 1 ± 0 | 0 to 2 | 1,000 |",
        "| *theirs* |  | *9 ± 1* |  |  |",
    ]


def test_an_agent_s_steps_are_those_of_the_checkpoint_that_was_kept(results):
    assert asked("agents of toy", results)[3] == (
        "| PPO, linear |  | 5 ± 0 | 4 to 6 | 2 | 1,000 | 2 |"
    )


def test_a_benchmark_shows_every_row_of_every_machine(results):
    first, blank, *table = asked("benchmark of toy", results)
    assert (first, blank) == ("2 cores (commit abc):", "")
    assert table[2:] == [
        "| PixelToy-v0, 2 processes | 50 | 1.0 |  |  |  |  |",
        "| dream × 16, float32 | 5,000 | 100 | 50% | 1,234 | 2.5 |  |",
        "| CMA-ES | 0.25 |  |  |  |  | 12% |",
        "",
        "9 cores (commit def):",
        "",
        *table[:2],
        "| PixelToy-v0, 2 processes | 50 | 1.0 |  |  |  |  |",
    ]


def test_temperatures_have_the_paper_s_scores_beside_ours(results):
    assert asked("temperatures of toy", results)[2:] == [
        "| 0.10 | 9 ± 0 | 2 ± 0 | 1 to 3 | *2086* | *193* |",
        "| 7.00 | 8 ± 0 | 3 ± 0 | 2 to 4 |  |  |",
        "| random play |  | 1 ± 0 | 0 to 2 |  |  |",
        "",
        "The rank correlation (Spearman's) of our real scores with the paper's is 0.60 (p = 0.28).",
    ]


def test_a_damaged_experiment_is_named(results):
    (results / "toy-temperature.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"toy-temperature.json lacks \['args'"):
        asked("temperatures of toy", results)


def test_the_sentence_about_speed_says_which_ratio_is_meant(results):
    assert asked("speed", results) == [
        "* Toy on 2 cores: *dream × 16, float32* makes 5,000 steps a second. "
        "That is 100 × *PixelToy-v0, 2 processes* (50)."
    ]


def test_own_games_are_told_with_all_their_seeds(results):
    players = {"random": 1, "learned": 2, "dreamt": 3, "direct": 4}
    for seed, more in ((0, 10.0), (1, 30.0)):
        told = {"task": "Toy-v0", "real_frames": 1000 + 2000 * seed}
        for name, mean in players.items():
            games = [{"return": mean + more}] * 2
            told[name] = {"mean": mean + more, "sd": 0, "ci95": [0, 0], "episodes": games}
        (results / f"own-toy-seed{seed}.json").write_text(json.dumps(told))
    cells = "2,000 | 21 ± 12 | 22 ± 12 (12, 32) | 23 ± 12 | 24 ± 12 (14, 34)"
    assert asked("own", results)[2:] == [f"| Toy-v0 | {cells} |"]


def test_no_own_games_are_told_if_none_was_scored(results):
    assert asked("own", results) == []


def test_no_speed_is_told_of_a_benchmark_without_games(results):
    (results / "toy-bench.json").write_text(json.dumps({"hardware": "2 cores", "rows": []}))
    with pytest.raises(CheckpointError, match="no dreams or no real games: measure it again"):
        asked("speed", results)


@pytest.mark.parametrize("kind", ["score of toy", "scores of chess", "scores", "summary of toy"])
def test_a_table_that_is_not_known_is_named(kind, results):
    with pytest.raises(ValueError, match=f"no table '<!-- {kind}: .* of toy"):
        asked(kind, results)


@pytest.mark.parametrize("page", ["nothing", f"<!-- summary: {BEGIN}\n", f"{END}\n"])
def test_a_page_without_marks_is_refused(page):
    with pytest.raises(ValueError, match="a table needs a line such as"):
        rendered(page)


def test_a_damaged_score_is_named(results):
    (results / "toy-c.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"toy-c.json lacks \['ci95'"):
        asked("summary", results)


def test_a_report_writes_readme_and_the_pages_beside_it(tmp_path, results):
    (tmp_path / "docs").mkdir()
    stale = f"<!-- speed: {BEGIN}\nold\n{END}\n"
    for name, text in {"README.md": stale, "docs/a.md": stale, "docs/b.md": "no table\n"}.items():
        (tmp_path / name).write_text(text)
    report(tmp_path / "README.md", results)
    assert "old" not in (tmp_path / "README.md").read_text() + (tmp_path / "docs/a.md").read_text()
    assert (tmp_path / "docs/b.md").read_text() == "no table\n"


def test_readme_shows_code_within_15_lines():
    lines = README.read_text().splitlines()
    assert next(n for n, line in enumerate(lines) if line.startswith("```")) <= 15


def test_readme_has_at_most_20_rows_of_tables():
    lines = README.read_text().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    heads = [line for line in rows if set(line) <= set("|- ")]  # one below each table's header
    assert len(heads) == 2
    assert len(rows) - 2 * len(heads) <= 20


def test_the_first_lines_of_python_run():
    (code,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.M | re.S)[:1]
    made: dict = {}
    exec(code, made)
    assert made["dreams"].num_envs == 1024
    assert made["real"].observation_space == made["dream"].observation_space
    for name in ("dream", "dreams", "real"):
        made[name].close()


@pytest.mark.parametrize("page", [README, *DOCS, ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name)
def test_every_command_is_one_that_exists(page, elsewhere):
    """The modules that a page writes are there when its commands name them."""
    modules = r"^```python\n# (\w+)\.py\n(.*?)^```"
    for name, source in re.findall(modules, page.read_text(), re.M | re.S):
        (elsewhere / f"{name}.py").write_text(source)
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            command, *words = shlex.split(line, comments=True) or [""]
            if command == "dreamgym":
                cli.parsed(words)  # exits on what it does not know


@pytest.mark.parametrize("page", [README, *DOCS, ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name)
def test_every_file_that_is_named_exists(page):
    text = page.read_text()
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"^make ([a-z-]+)", text, re.M)) <= set(targets)


def test_the_notebook_s_index_has_a_line_for_each_entry():
    head, *entries = (ROOT / "training" / "LOG.md").read_text().split("\n## ")
    titles = [entry.partition("\n")[0] for entry in entries]
    anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
    assert re.findall(r"^\* .*\]\(#([^)]+)\): \S", head, re.M) == anchors


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_is_short(example, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write a film
    assert len(example.read_text().splitlines()) <= 30
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out

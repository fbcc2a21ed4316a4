"""The command `report`: render the tables of README and `docs/` from `training/results/`.

A page marks the place of a table by two comments. The table is written between them:

    <!-- scores of doom: written by `dreamgym report` -->
    <!-- end -->

`results/tables.json` lists the rows of each game's tables and their labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dreamgym.checkpoint import CheckpointError, read_json
from dreamgym.files import replacing
from dreamgym.games import GAMES

from .direct import PLAYERS
from .learners import WHERE, learners, plot
from .results import joined, read_score, seeds

RESULTS = Path(__file__).parents[1] / "results"
BEGIN, END = "written by `dreamgym report` -->", "<!-- end -->"
BLOCK = re.compile(rf"(<!-- (\w+)(?: of (\w+))?: {re.escape(BEGIN)}\n)(.*?)({END})", re.S)
"""Matches a table and its two comments; the groups give its kind and its game, if it has one."""
HEAD = [
    "what",
    "per second",
    "× its reference",
    "share of the bound",
    "added µs",
    "× JAX",
    "waiting",
]
"""The columns of a benchmark."""
Facts = dict[str, Any]


def summary(games: list[Facts], results: Path) -> list[str]:
    """Return a table with a column for each game.

    Its rows are random play, our controller, our best agent of Stable-Baselines3, the best of those
    that learned from the real game's pixels, if any was scored, and the paper's controller.
    """
    best = [max(_agents(game, results), key=lambda agent: agent["mean"]) for game in games]
    pixels = _of_pixels(games, results)
    return _table(
        ["playing the real game", *(f"{game['title']}: {game['unit']}" for game in games)],
        [
            ["random actions", *_scores(games, "random", results)],
            ["our controller, learned only in the dream", *_scores(games, "controller", results)],
            ["our best agent of Stable-Baselines3, learned only in the dream",
             *(f"{_score(agent)} ({agent['name']})" for agent in best)],
            *pixels,
            ["the controller of World Models (2018), as published",
             *(game["paper"] for game in games)],
        ],
    )  # fmt: skip


def scores(game: Facts, results: Path) -> list[str]:
    """Return a row for each controller that was scored, then the scores that others published."""
    rows = [
        [row["label"], *_measured(row["file"], results)]
        for row in game["rows"]
        if (results / f"{row['file']}.json").exists()
    ]
    rows += [[f"*{row['label']}*", "", f"*{row['score']}*", "", ""] for row in game["printed"]]
    return _table(["player", "in the dream", "in the real game", "95 % interval", "games"], rows)


def agents(game: Facts, results: Path) -> list[str]:
    """Return a row for each agent of Stable-Baselines3 that was scored."""
    rows = []
    for agent in _agents(game, results):
        curve = read_json(results / f"{agent['file']}-learning.json")["curve"]
        kept, seconds = max(curve, key=lambda point: point["real"]), curve[-1]["seconds"]
        rows.append([agent["label"], *_measured(agent["file"], results),
                     f"{kept['steps']:,}", f"{seconds / 60:.0f}"])  # fmt: skip
    return _table(
        ["algorithm", "in the dream", "in the real game", "95 % interval", "games",
         "steps in the dream", "minutes"],
        rows,
    )  # fmt: skip


def learning(game: Facts, results: Path) -> list[str]:
    """Return a row for each learner of the real game, and for those of the dream beside them.

    A learner that was stopped before it had made all its steps is marked.
    Then come the scores that others published, and the picture, if `report --plots` has drawn it.
    """
    rows = []
    for each in learners(game, results):
        middle, low, high = each.middle
        pace, waited = each.known("steps_per_second"), each.known("waited")
        rows.append(
            [each.label + _unfinished(each.records), WHERE[each.where], f"{each.frames:,.0f}",
             _score(each.score),
             f"{middle:.0f} [{low:.0f}, {high:.0f}]", f"{len(each.score['episodes']):,}",
             f"{len(each.scores)}" if each.where else "",
             "" if pace is None else _rate(pace), "" if waited is None else f"{waited:.0%}"]
        )  # fmt: skip
    rows += [
        [f"*{row['label']}*", WHERE[row["where"]], "", f"*{row['score']}*", *[""] * 5]
        for row in game["quoted"]
    ]
    lines = _table(
        ["learner", "where it learns", "real frames", "score", "IQM [95 % interval]", "games",
         "seeds", "steps per second", "waiting"],
        rows,
    )  # fmt: skip
    if (picture := _picture(game, results)).exists():
        lines += ["", f"![Real scores of {game['title']} over the real frames that they cost]"
                  f"(../training/results/{picture.name})"]  # fmt: skip
    return lines


def speeds(games: list[Facts], results: Path) -> list[str]:
    """Return a sentence for each game: its fastest dream against each row of real games.

    The machine is the first of those on which the game was measured.
    """
    lines = []
    for game in games:
        bench = results / f"{game['benches'][0]}.json"
        table = read_json(bench)
        dreams = [row for row in table["rows"] if row["what"].startswith("dream ×")]
        real = [row for row in table["rows"] if "processes" in row["what"]]
        if not dreams or not real:
            raise CheckpointError(f"{bench} has no dreams or no real games: measure it again")
        fastest = max(dreams, key=lambda row: row["rate"])
        ratios = [
            f"{_times(fastest['rate'] / row['rate'])} × *{row['what']}* ({_rate(row['rate'])})"
            for row in real
        ]
        lines.append(
            f"* {game['title']} on {table['hardware']}: *{fastest['what']}* makes "
            f"{_rate(fastest['rate'])} steps a second. That is {' and '.join(ratios)}."
        )
    return lines


def benchmark(game: Facts, results: Path) -> list[str]:
    """Return a table for each machine on which `dreamgym bench` has measured."""
    lines = []
    for name in game["benches"]:
        table = read_json(results / f"{name}.json")
        head = _table(HEAD, [])
        lines += [f"{table['hardware']} (commit {table['commit']}):", ""]
        lines += [*head, *(speed(row) for row in table["rows"]), ""]
    return lines[:-1]


def speed(row: Facts) -> str:
    """Return one line of a benchmark; see `HEAD`."""
    cells = [
        f"{row[key]:{form}}" if key in row else ""
        for key, form in (("share", ".0%"), ("added", ",.0f"), ("jax", ".1f"), ("waiting", ".0%"))
    ]
    ratio = _times(row["ratio"]) if "ratio" in row else ""
    return _line([row["what"], _rate(row["rate"]), ratio, *cells])


def temperatures(game: Facts, results: Path) -> list[str]:
    """Return a row for each temperature in which C evolved, with the published scores beside ours.

    Below them is a row of random play, and a sentence on how well the two rankings agree.
    """
    path = results / f"{game['name']}-temperature.json"
    found = read_json(path)
    if lacking := {"args", "rows", "random"} - found.keys():
        raise CheckpointError(f"{path} lacks {sorted(lacking)}: measure it again")
    published, rows = GAMES[found["args"]["task"]].published, []
    for row in found["rows"]:
        low, high = row["real"]["ci95"]
        theirs = published.get(row["temperature"], ("", ""))
        rows.append(
            [f"{row['temperature']:.2f}", _score(row["dream"]), _score(row["real"]),
             f"{low:.0f} to {high:.0f}", *(f"*{mean}*" if mean else "" for mean in theirs)]
        )  # fmt: skip
    low, high = found["random"]["ci95"]
    rows.append(["random play", "", _score(found["random"]), f"{low:.0f} to {high:.0f}", "", ""])
    lines = _table(
        ["τ", "in the dream", "in the real game", "95 % interval", "*paper's dream*",
         "*paper's real game*"],
        rows,
    )  # fmt: skip
    if "correlation" in found:
        lines += ["", f"The rank correlation (Spearman's) of our real scores with the paper's is "
                  f"{found['correlation']:.2f} (p = {found['p_value']:.2f})."]  # fmt: skip
    return lines


def own(results: Path) -> list[str]:
    """Return a row for each user's own game of which `direct` has written scores.

    They are read from `own-NAME-seedN.json`, of any number of seeds.
    """
    found: dict[str, list[Facts]] = {}
    for path in sorted(results.glob("own-*-seed*.json")):
        told = read_json(path)
        found.setdefault(told["task"], []).append(told)
    if not found:
        return []
    rows = []
    for task, runs in sorted(found.items()):
        frames = sum(run["real_frames"] for run in runs) / len(runs)
        scored = {name: [run[name] for run in runs] for name in PLAYERS}
        cells = {name: _score(joined(scores)) for name, scores in scored.items()}
        for name in ("learned", "direct"):
            cells[name] += f" ({', '.join(str(round(score['mean'])) for score in scored[name])})"
        rows.append([task, f"{frames:,.0f}", *cells.values()])
    return _table(
        ["game", "real frames", "random", "learned in the dream (by seed)", "in the dream",
         "PPO in the game, as many frames (by seed)"],
        rows,
    )  # fmt: skip


OF_ALL: dict[str, Callable[[list[Facts], Path], list[str]]] = {
    "summary": summary, "speed": speeds, "own": lambda _, results: own(results),
}  # fmt: skip
OF_ONE: dict[str, Callable[[Facts, Path], list[str]]] = {
    "scores": scores, "agents": agents, "learners": learning, "benchmark": benchmark,
    "temperatures": temperatures,
}  # fmt: skip
"""Tables that a page may ask for: `OF_ALL` for all games together, `OF_ONE` for one game."""


def rendered(page: str, results: Path = RESULTS) -> str:
    """Return a page with its tables brought up to date.

    Raises:
        ValueError: if the page has no table, or asks for an unknown one.
    """
    if not page.count(BEGIN) == page.count(END) == len(BLOCK.findall(page)) > 0:
        raise ValueError(
            f"a table needs a line such as '<!-- summary: {BEGIN}' before it and {END!r} after it"
        )
    games = {game["name"]: game for game in read_json(results / "tables.json")["games"]}

    def written(block: re.Match[str]) -> str:
        begin, kind, name, _, end = block.groups()
        if kind in OF_ALL and name is None:
            lines = OF_ALL[kind](list(games.values()), results)
        elif kind in OF_ONE and name in games:
            lines = OF_ONE[kind](games[name], results)
        else:
            raise ValueError(
                f"there is no table {begin.strip()!r}: write {', '.join(OF_ALL)}, or "
                f"{', '.join(OF_ONE)} of {', '.join(games)}"
            )
        return "".join((begin, *(f"{line}\n" for line in lines), end))

    return BLOCK.sub(written, page)


def report(readme: str | Path = "README.md", results: Path = RESULTS, plots: bool = False) -> None:
    """Update the tables of a README, and of the pages with tables in `docs/` beside it.

    Args:
        plots: also draw the picture of each game of which someone learned in the real game.

    Raises:
        ValueError: if there is no such README.
    """
    readme = Path(readme)
    if not readme.is_file():
        raise ValueError(f"{readme} does not exist: call this in a clone, or give --readme a file")
    for game in read_json(results / "tables.json")["games"] if plots else ():
        if any(each.where in ("pixels", "twin") for each in learners(game, results)):
            plot(game, results, _picture(game, results))
    pages = {readme: readme.read_text("utf-8")}
    for path in sorted((readme.parent / "docs").glob("*.md")):
        if BEGIN in (text := path.read_text("utf-8")):
            pages[path] = text
    for path, text in {path: rendered(text, results) for path, text in pages.items()}.items():
        with replacing(path) as file:
            file.write(text.encode())


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [_line(cells) for cells in (head, ["---"] * len(head), *rows)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _agents(game: Facts, results: Path) -> list[Facts]:
    """Return the agents of a game that were scored, each merged with its score in the real game."""
    return [
        agent | _read(agent["file"], results)
        for agent in game["agents"]
        if seeds(agent["file"], results)
    ]


def _scores(games: list[Facts], which: str, results: Path) -> list[str]:
    return [_score(_read(game[which], results)) for game in games]


def _measured(name: str, results: Path) -> list[str]:
    """Return four cells: score in the dream (or empty), real score, its interval, games played."""
    score, dreamt = _read(name, results), results / f"{name}-dream.json"
    low, high = score["ci95"]
    many = len(seeds(name, results))
    return [
        _score(read_score(dreamt)) if dreamt.exists() else "",
        _score(score),
        f"{low:.0f} to {high:.0f}",
        f"{len(score['episodes']):,}" + (f" of {many} seeds" if many > 1 else ""),
    ]


def _read(name: str, results: Path) -> Facts:
    """Read a score, of all its optimiser seeds together."""
    return joined([read_score(results / f"{each}.json") for each in seeds(name, results) or [name]])


def _of_pixels(games: list[Facts], results: Path) -> list[list[str]]:
    """Return a row that shows, for each game, who learned best from its pixels; none if nobody did.

    It names the algorithms that were scored, and those of them that were not scored in this game.
    """
    found = [
        {each.name: each for each in learners(game, results) if each.where == "pixels"}
        for game in games
    ]
    names = list(dict.fromkeys(name for each in found for name in each))
    if not names:
        return []
    cells = []
    for scored in found:
        lacking = [name for name in names if name not in scored]
        less = f"; no score of {_and(lacking)}" if lacking else ""
        best = max(scored.values(), key=lambda each: each.score["mean"], default=None)
        cells.append(
            f"{_score(best.score)} ({best.name}, {best.frames:,.0f} frames{less})" if best else ""
        )
    who = f"the best of {_and(names)}" if len(names) > 1 else names[0]
    return [[f"{who}, learned only from the real game's pixels", *cells]]


def _and(names: list[str]) -> str:
    """Return names as one writes them in a sentence, such as `DQN, A2C and PPO`."""
    return " and ".join(", ".join(names).rsplit(", ", 1))


def _unfinished(records: list[Facts]) -> str:
    """Return in brackets how far a learner came whose learning was stopped; empty if it was not.

    A run that has made all its steps has learned all that it was to learn, even if it was stopped
    before it was marked as finished.
    """
    steps = [(each["steps"], each["args"]["timesteps"]) for each in records
             if each.get("finished") is False]  # fmt: skip
    told = [f"{made:,} of {asked:,} steps" for made, asked in steps if made < asked]
    return f" (unfinished: {', '.join(told)})" if told else ""


def _picture(game: Facts, results: Path) -> Path:
    return results / f"{game['name']}-learners.png"


def _score(score: Facts) -> str:
    return f"{round(score['mean'])} ± {round(score['sd'])}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2f}"


def _times(ratio: float) -> str:
    return f"{ratio:,.1f}" if ratio < 100 else f"{ratio:,.0f}"


def main(readme: str = "README.md", plots: bool = False) -> None:
    """Update the tables of README and docs/ from the files in training/results.

    Args:
        readme: The README; the folder docs/ is expected beside it.
        plots: Also draw GAME-learners.png in training/results.
    """
    report(readme, plots=plots)

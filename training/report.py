"""README's tables, rendered from the files in `training/results/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dreamgym.checkpoint import read_json
from dreamgym.files import replacing

RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- results: written by `dreamgym report` -->", "<!-- end of results -->"
DOOM = (
    ("doom-random-uniform", "random: a new action every tic"),
    ("doom-controller", "**controller of 1,088 weights, learned only in the dream**"),
)
CAR_RACING = (
    ("car_racing-random", "random: a new action every frame"),
    ("car_racing-z", "C sees z only, 99 weights, learned only in the dream"),
    ("car_racing-z-hidden", "C sees z only, hidden layer of 40, learned only in the dream"),
    ("car_racing-controller", "**C sees z and h, 867 weights, learned only in the dream**"),
    ("car_racing-anew", "the same, evolved anew in that dream by the words of the two rows above"),
    ("car_racing-reality", "the same, 24 generations of 32 games in the real game, no dream"),
)
AGENTS = (
    ("doom-ppo", "Take Cover, PPO"),
    ("doom-a2c", "Take Cover, A2C"),
    ("doom-dqn", "Take Cover, DQN"),
    ("doom-linear-z", "Take Cover, PPO, a linear policy that sees z"),
    ("doom-linear-zh", "Take Cover, PPO, a linear policy that sees z and h"),
    ("doom-linear-zhc", "Take Cover, PPO, a linear policy that sees z, c and h"),
    ("car_racing-ppo", "CarRacing, PPO"),
    ("car_racing-sac", "CarRacing, SAC"),
    ("car_racing-sac-hot", "CarRacing, SAC, temperatures from 1.5 to 2.5"),
)
"""What `dreamgym train` made; beside the scores lies how it learned."""
PRINTED = {
    "doom": (
        ("random (Ha & Schmidhuber)", "210 ± 108"),
        ("controller, τ = 1.15 (Ha & Schmidhuber)", "1092 ± 556"),
    ),
    "car_racing": (
        ("C sees z only, real game (Ha & Schmidhuber)", "632 ± 251"),
        ("z only, hidden layer of 40, real game (Ha & Schmidhuber)", "788 ± 141"),
        ("z and h, real game (Ha & Schmidhuber)", "906 ± 21"),
        ("DQN (in Ha & Schmidhuber)", "343 ± 18"),
        ("A3C, continuous (in Ha & Schmidhuber)", "591 ± 45"),
        ("A3C, discrete (in Ha & Schmidhuber)", "652 ± 10"),
        ("C learned only in the dream, from an expert's data (Wellmer & Kwok, 2021)", "625 ± 289"),
    ),
}
"""World Models, tables 1 and 2; Dropout's Dream Land."""


def table(results: Path = RESULTS) -> str:
    """Return the measured scores as Markdown."""
    lines = []
    for task, game, rows in (("doom", "Take Cover", DOOM), ("car_racing", "CarRacing", CAR_RACING)):
        lines += [
            f"| {game} | in the dream | in the real game | 95 % interval | games |",
            "| --- | --- | --- | --- | --- |",
            *(_row(label, name, results) for name, label in rows
              if (results / f"{name}.json").exists()),
            *(f"| *{label}, as printed* | | *{score}* | | |" for label, score in PRINTED[task]),
            "",
        ]  # fmt: skip
        bench = results / f"{task}-bench.json"
        if bench.exists():
            lines += [
                f"| {game}: speed, one run on two cores | a second | × real, × stock "
                "| share of M's products | waiting for it |",
                "| --- | --- | --- | --- | --- |",
                *(speed(row) for row in read_json(bench)["rows"]),
                "",
            ]  # fmt: skip
    lines += [
        "| Stable-Baselines3, learned only in the dream | in the dream | in the real game "
        "| 95 % interval | games | dream steps | minutes, validation included |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, label in AGENTS:
        if (results / f"{name}.json").exists():
            curve = read_json(results / f"{name}-learning.json")["curve"]
            kept, minutes = max(curve, key=lambda point: point["real"]), curve[-1]["seconds"] / 60
            lines.append(f"{_row(label, name, results)} {kept['steps']:,} | {minutes:.0f} |")
    return "\n".join(lines).strip()


def speed(row: dict[str, Any]) -> str:
    """Return one line of a benchmark."""
    rate, ratio = row["rate"], row.get("ratio")
    cells = (
        row["what"],
        f"{rate:,.0f}" if rate >= 10 else f"{rate:.2f}",
        "" if ratio is None else f"{ratio:,.1f}" if ratio < 100 else f"{ratio:,.0f}",
        *(f"{row[key]:.0%}" if key in row else "" for key in ("share", "waiting")),
    )
    return f"| {' | '.join(cells)} |"


def _row(label: str, name: str, results: Path) -> str:
    """Return one line: a real score and, if it was measured, the dream's."""
    score, dreamt = read_json(results / f"{name}.json"), results / f"{name}-dream.json"
    dream = _score(read_json(dreamt)) if dreamt.exists() else ""
    low, high = score["ci95"]
    return (
        f"| {label} | {dream} | {_score(score)} | {low:.0f} to {high:.0f} "
        f"| {len(score['episodes']):,} |"
    )


def _score(score: dict[str, Any]) -> str:
    return f"{score['mean']:.0f} ± {score['sd']:.0f}"


def rendered(readme: str, results: Path = RESULTS) -> str:
    """Return a README with its tables brought up to date.

    Raises:
        ValueError: if the marks between which they stand are not there.
    """
    before, mark, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"README needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{table(results)}\n{END}{after}"


def report(readme: str | Path = "README.md") -> None:
    """Bring a README up to date."""
    text = rendered(Path(readme).read_text("utf-8"))
    with replacing(readme) as file:
        file.write(text.encode())

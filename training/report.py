"""README's tables, rendered from the files in `training/results/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dreamgym.checkpoint import read_json
from dreamgym.files import replacing

RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- results: written by `dreamgym report` -->", "<!-- end of results -->"
PAPER = (
    ("random (Ha & Schmidhuber)", "210 ± 108"),
    ("controller, τ = 1.15 (Ha & Schmidhuber)", "1092 ± 556"),
)
"""World Models, table 2."""
ROWS = (
    ("doom-random-uniform", "random: a new action every tic"),
    ("doom-controller", "**controller of 1,088 weights, learned only in the dream**"),
)


def table(results: Path = RESULTS) -> str:
    """Return the measured scores as Markdown."""
    lines = [
        "| Take Cover, real game | steps survived | 95 % interval | games |",
        "| --- | --- | --- | --- |",
    ]
    for name, label in ROWS:
        path = results / f"{name}.json"
        if path.exists():
            lines.append(_row(label, read_json(path)))
    lines += [f"| *{label}, as printed in 2018* | *{score}* | | |" for label, score in PAPER]
    bench = results / "doom-bench.json"
    if bench.exists():
        lines += [
            "",
            "| Speed, one run on two cores | steps or frames/s | × real game, × stock |",
            "| --- | --- | --- |",
        ]
        lines += [
            f"| {row['what']} | {row['rate']:,.0f} | {row['ratio']:.1f} |"
            for row in read_json(bench)["rows"]
        ]
    return "\n".join(lines)


def _row(label: str, score: dict[str, Any]) -> str:
    low, high = score["ci95"]
    return (
        f"| {label} | {score['mean']:.0f} ± {score['sd']:.0f} | {low:.0f} to {high:.0f} "
        f"| {len(score['episodes']):,} |"
    )


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
    text = rendered(Path(readme).read_text())
    with replacing(readme) as file:
        file.write(text.encode())

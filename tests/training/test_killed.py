"""A stage that is killed again and again comes to the bits of one that was left in peace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dreamgym.files import TEMPORARY, fingerprint
from dreamgym.training.data.episodes import content, episode_paths

KILLS = 5
SEED = 0
CODE = """
import sys
from dreamgym.training import trainer
trainer.SAVE_EVERY = 0.0
from dreamgym.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(words: list[str], seconds: float | None = None) -> bool:
    """Run a command; kill it after some seconds; return whether it came to its end."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def stages(place: Path) -> list[tuple[list[str], float]]:
    """Return each stage's command, and the seconds within which it is killed."""
    data, out = ["--data", str(place / "data")], ["--out", str(place / "run")]
    world = ["--world", str(place / "run" / "world"), "--out", str(place / "controller")]
    return [
        (["collect", "doom", "--episodes", "12", "--out", str(place / "data")], 25),
        (["vision", "doom", *data, *out, "--frames", "2560"], 25),
        (["memory", "doom", *data, *out, "--steps", "6"], 25),
        (["evolve", "doom", *world, "--generations", "6", "--population", "6", "--rollouts", "2",
          "--validate", "3", "--games", "2", "--finalists", "0"], 25),
    ]  # fmt: skip


@pytest.mark.slow
def test_killed_stages_come_to_the_same_bits(tmp_path: Path) -> None:
    rng, killed = np.random.default_rng(SEED), 0
    for place in ("peace", "killed"):
        for words, longest in stages(tmp_path / place):
            for _ in range(KILLS if place == "killed" else 0):
                killed += not run(words, rng.uniform(3, longest))
            assert run(words)
    ends = []
    for place in (tmp_path / "peace", tmp_path / "killed"):
        weights = [place / "run" / "vision.safetensors", place / "run" / "memory.safetensors",
                   place / "controller" / "controller.safetensors"]  # fmt: skip
        ends.append((content(episode_paths(place / "data")), fingerprint(*weights)))
        assert not list(place.rglob(f"*{TEMPORARY}"))
    assert ends[0] == ends[1]
    assert killed >= KILLS  # not all of them too late

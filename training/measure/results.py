"""Scores as JSON, with everything that is needed to repeat them.

A score may consist of several optimiser seeds, one file for each: `NAME.json`, `NAME-seed1.json`,
`NAME-seed2.json`, … The records of learning beside them are `NAME-learning.json`,
`NAME-seed1-learning.json`, …
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dreamgym.checkpoint import CheckpointError, read_json
from dreamgym.engines.linear import supports_bfloat16

from .statistics import confidence_over_seeds


def result(
    task: str,
    env: str,
    policy: str,
    temperature: Any,
    seed: int,
    episodes: list[dict[str, Any]],
    frames: int,
    fingerprints: dict[str, str],
    made: dict[str, Any],
) -> dict[str, Any]:
    """Return a score with everything that is needed to repeat it.

    Args:
        task, env, policy, temperature, seed: what was played, as `evaluate.Args` has it; `env` is
            the id of the environment.
        episodes: `{seed, return, length}` of each.
        frames: real frames that were used to make the world and the policy.
        fingerprints: of the world and of the policy.
        made: what `origin` returned before the games began.
    """
    return {
        "task": task,
        "env": env,
        "policy": policy,
        "temperature": temperature,
        "seed": seed,
        **summary([episodes]),
        "real_frames": frames,
        "fingerprints": fingerprints,
        **made,
        "episodes": episodes,
    }


def summary(seeds: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the `mean` and the `sd` of all games, and the `ci95` of the mean.

    Args:
        seeds: the episodes of each optimiser seed.
    """
    games = [np.array([episode["return"] for episode in episodes]) for episodes in seeds]
    returns = np.concatenate(games)
    return {
        "mean": float(returns.mean()),
        "sd": float(returns.std(ddof=1)) if len(returns) > 1 else 0.0,
        "ci95": list(confidence_over_seeds(games)),
    }


def joined(scores: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the score of several optimiser seeds together: `mean`, `sd`, `ci95`, `episodes`."""
    if len(scores) == 1:
        return scores[0]
    games = [score["episodes"] for score in scores]
    return summary(games) | {"episodes": list(itertools.chain(*games))}


def seeds(name: str, folder: Path) -> list[str]:
    """Return the names of the score `name` and of its further seeds; empty if there is none."""
    if not (folder / f"{name}.json").exists():
        return []
    more = [path.stem for path in folder.glob(f"{name}-seed*.json")]
    numbers = [found for each in more if (found := re.fullmatch(rf"{name}-seed(\d+)", each))]
    return [name, *(found[0] for found in sorted(numbers, key=lambda found: int(found[1])))]


def read_score(path: Path) -> dict[str, Any]:
    """Read a score.

    Raises:
        CheckpointError: if it is damaged.
    """
    score = read_json(path)
    if lacking := {"mean", "sd", "ci95", "episodes"} - score.keys():
        raise CheckpointError(f"{path} lacks {sorted(lacking)}: measure it again")
    return score


def origin() -> dict[str, Any]:
    """Return what a result was made with: the command, the code's versions and the machine."""
    names = ("dreamgym", "gymnasium", "vizdoom", "torch", "numpy", "numba", "stable-baselines3")
    return {
        "command": command(),
        "commit": commit(),
        "versions": {name: version(name) for name in names},
        "hardware": f"{platform.machine()} with {widest()}, {os.cpu_count()} cores",
    }


def widest() -> str:
    """Return what of this processor PyTorch uses, such as `AVX2`; speeds depend on it most."""
    half = " and bfloat16" if supports_bfloat16("cpu") else ""
    return torch.backends.cpu.get_cpu_capability() + half


def command() -> str:
    """Return the command line of this process: `dreamgym …` or `python …`."""
    program, *words = sys.argv or [""]
    ours = Path(program).name == "dreamgym" or Path(program).match("dreamgym/__main__.py")
    return shlex.join(["dreamgym", *words] if ours else ["python", program, *words])


def commit() -> str:
    """Return the commit of the running dreamgym, with `+` if files differ from it.

    git is asked only if it tracks this very file, because an installed package may lie inside
    another project's repository. Otherwise the commit is the one that pip recorded when it
    installed from a repository. If there is none, the result is empty.
    """
    here = Path(__file__).resolve()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}

    def git(*words: str) -> str | None:
        done = subprocess.run(
            ["git", *words], cwd=here.parent, env=clean, capture_output=True, text=True, timeout=10
        )
        return done.stdout.strip() if done.returncode == 0 else None

    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        tracked = git("ls-files", "--error-unmatch", here.name) is not None
        if tracked and git("rev-parse", "--show-toplevel") == str(here.parents[2]):
            return git("describe", "--always", "--dirty=+", "--exclude=*") or ""
    source = json.loads(distribution("dreamgym").read_text("direct_url.json") or "{}")
    return str(source.get("vcs_info", {}).get("commit_id", ""))[:7]

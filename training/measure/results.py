"""Scores as files, with everything that is needed to repeat them."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dreamgym.engines.linear import supports_bfloat16

from .statistics import confidence


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
        frames: real ones behind the policy.
        fingerprints: of the world and of the policy.
        made: what made it, as `origin` said before the games began.
    """
    returns = np.array([episode["return"] for episode in episodes])
    low, high = confidence(returns)
    return {
        "task": task,
        "env": env,
        "policy": policy,
        "temperature": temperature,
        "seed": seed,
        "mean": float(returns.mean()),
        "sd": float(returns.std(ddof=1)) if len(returns) > 1 else 0.0,
        "ci95": [low, high],
        "real_frames": frames,
        "fingerprints": fingerprints,
        **made,
        "episodes": episodes,
    }


def origin() -> dict[str, Any]:
    """Return what made a result: the command, the code and the machine."""
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
    """Return the words by which this process was started; `dreamgym …` if it is the command."""
    program, *words = sys.argv or [""]
    ours = Path(program).name == "dreamgym" or Path(program).match("dreamgym/__main__.py")
    return shlex.join(["dreamgym", *words] if ours else ["python", program, *words])


def commit() -> str:
    """Return the commit of dreamgym that runs, with `+` if files differ from it; empty if unknown.

    An installed package lies in a folder that another project's repository may hold: only a clone
    that tracks this very file is asked, or else what pip wrote down of the one it came from.
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

"""The house holds: imports run one way, and each dependency stays in the rooms meant for it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOMES = {"dreamgym": ROOT / "dreamgym", "dreamgym.training": ROOT / "training"}

LEAVES = {"tasks", "files", "modes"}
# Lowest first. A room imports leaves and lower floors, never up or across its own floor.
FLOORS = [
    {"models", "noise"},
    {"kernels", "product"},
    {"world"},
    {"checkpoint"},
    {"envs"},
    {"wrappers"},
    {"sb3", "zoo"},
    {"training"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FLOOR |= dict.fromkeys(LEAVES, -1) | {"__init__": -1}

KNOW_NO_GYM = {"models", "noise", "product", "world"}
KNOW_SB3 = {"sb3", "training"}
HEAVY = {"numba", "torch", "vizdoom", "pygame", "stable_baselines3"}


def modules() -> dict[str, Path]:
    """Every module of the package under its public name."""
    return {
        ".".join([name, *path.relative_to(home).with_suffix("").parts]): path
        for name, home in HOMES.items()
        for path in sorted(home.rglob("*.py"))
    }


def room(module: str) -> str:
    """The part of the package that a dotted name lies in; the package itself is `__init__`."""
    _, name, *_ = [*module.split("."), "__init__"]
    return name


def imports(module: str, source: str) -> Iterator[str]:
    """Absolute dotted names that a module imports anywhere, in functions too."""
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            prefix = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def offences(module: str, source: str) -> list[str]:
    """What a module imports against the rules."""
    here = room(module)
    found = []
    for name in imports(module, source):
        top = name.split(".")[0]
        if top == "dreamgym":
            there = room(name) if room(name) in FLOOR else "__init__"
            if here in LEAVES:
                found.append(f"{module} is a leaf and imports {name}")
            elif there != here and FLOOR[there] >= max(FLOOR[here], 0):
                found.append(f"{module} imports {name}, which is not below it")
        elif top == "training":
            found.append(f"{module} imports {name}; its public name is dreamgym.training")
        elif top == "gymnasium" and here in KNOW_NO_GYM:
            found.append(f"{module} imports {name}; {here} knows no Gymnasium")
        elif top in {"stable_baselines3", "sb3_contrib"} and here not in KNOW_SB3:
            found.append(f"{module} imports {name}; only {sorted(KNOW_SB3)} may")
    return found


@pytest.mark.parametrize("module", modules())
def test_imports_run_one_way(module: str) -> None:
    assert room(module) in FLOOR, f"give {room(module)} a floor in this test and in the design"
    assert offences(module, modules()[module].read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("dreamgym.world", "from dreamgym.envs.dream import DreamEnv"),
        ("dreamgym.world", "from dreamgym import checkpoint"),
        ("dreamgym.models.memory", "from ..world import World"),
        ("dreamgym.models.__init__", "from .. import noise"),
        ("dreamgym.noise", "def f():\n    import gymnasium.spaces"),
        ("dreamgym.envs.dream", "import dreamgym.sb3"),
        ("dreamgym.envs.dream", "from stable_baselines3 import PPO"),
        ("dreamgym.envs.dream", "from dreamgym.wrappers import LatentObservation"),
        ("dreamgym.training.memory", "from dreamgym.cli import main"),
        ("dreamgym.cli", "import training.collect"),
        ("dreamgym.cli", "from training import collect"),
        ("dreamgym.tasks", "from . import files"),
        ("dreamgym.files", "import dreamgym"),
        ("dreamgym.__init__", "from dreamgym.envs import dream"),
    ],
)
def test_an_offence_is_seen(module: str, source: str) -> None:
    assert len(offences(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("dreamgym.__init__", "import gymnasium\nfrom dreamgym.tasks import TASKS"),
        ("dreamgym.models.memory", "import torch\nfrom .vision import VAE"),
        ("dreamgym.world", "from dreamgym.models.mdn_rnn import MDNRNN\nfrom . import noise"),
        ("dreamgym.training.controller", "from stable_baselines3 import PPO\nfrom .data import D"),
        ("dreamgym.training.memory", "from dreamgym.models.mdn_rnn import MDNRNN"),
        ("dreamgym.cli", "from dreamgym import __version__\nfrom dreamgym.training import collect"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert offences(module, source) == []


@pytest.mark.parametrize("folder", ["dreamgym", "training", "tests", "examples"])
def test_each_file_says_what_it_is(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        source = path.read_text("utf-8")
        assert ast.get_docstring(ast.parse(source)), f"{path} has no docstring"
        assert "utils" not in {path.stem, path.parent.name}, f"{path}: which noun is it?"
        tops = {name.split(".")[0] for name in imports("outside", source)}
        assert "training" not in tops, f"{path}: the public name is dreamgym.training"


def test_importing_dreamgym_is_light() -> None:
    code = "import sys, dreamgym; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "dreamgym" in loaded
    assert not HEAVY & loaded

"""The house holds: imports run one way, and each dependency stays in the rooms meant for it."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamgym.games import GAMES, Game

ROOT = Path(__file__).parent.parent
HOMES = {"dreamgym": ROOT / "dreamgym", "dreamgym.training": ROOT / "training"}

LEAVES = {"compiling", "files", "modes"}
# Lowest first. A room imports leaves and lower floors, never up or across its own floor.
FLOORS = [
    {"games", "models", "noise"},
    {"engines"},
    {"world"},
    {"twin"},
    {"checkpoint"},
    {"envs"},
    {"wrappers"},
    {"sb3", "web", "zoo"},
    {"training"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FLOOR |= dict.fromkeys(LEAVES, -1) | {"__init__": -1}
REGISTRATION = ("__init__", "games")
"""The package registers the games."""

KNOW_NO_GYM = {"games", "models", "noise", "engines", "world", "twin"}
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
            elif (
                there != here
                and (here, there) != REGISTRATION
                and FLOOR[there] >= max(FLOOR[here], 0)
            ):
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
        ("dreamgym.modes", "from . import files"),
        ("dreamgym.games.rules", "from dreamgym import noise"),
        ("dreamgym.engines.linear", "from dreamgym.twin import Twin"),
        ("dreamgym.files", "import dreamgym"),
        ("dreamgym.__init__", "from dreamgym.envs import dream"),
    ],
)
def test_an_offence_is_seen(module: str, source: str) -> None:
    assert len(offences(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("dreamgym.__init__", "import gymnasium\nfrom dreamgym.games import GAMES"),
        ("dreamgym.models.memory", "import torch\nfrom .vae import VAE"),
        ("dreamgym.world", "from dreamgym.models.mdn_rnn import MDNRNN\nfrom . import noise"),
        (
            "dreamgym.training.evolve",
            "from stable_baselines3 import PPO\nfrom .data import episodes",
        ),
        ("dreamgym.training.memory", "from dreamgym.models.mdn_rnn import MDNRNN"),
        ("dreamgym.cli", "from dreamgym import __version__\nfrom dreamgym.training import collect"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert offences(module, source) == []


def test_no_import_goes_in_a_circle() -> None:
    """Also within a room, and whether a file imports at its top or in a function."""
    files = modules()
    below = {
        module: {
            name if name in files else name.rpartition(".")[0]
            for name in imports(module, path.read_text("utf-8"))
        }
        & files.keys()
        for module, path in files.items()
    }
    assert graphlib.TopologicalSorter(below).prepare() is None


def named(path: Path) -> set[str]:
    """Names of games in a file's code: in identifiers and in strings, but not in docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    words = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word):
                words.add(word)
            case ast.Constant(value=str() as word) if id(node) not in docs:
                words.add(word)
            case ast.ImportFrom(module=module, names=names):
                words |= {module or "", *(each.name for each in names)}
    titles = {word.lower() for game in GAMES.values() for word in (game.name, game.title)}
    rules = {type(game.rules).__name__ for game in GAMES.values()}
    return {word for word in words if word in rules or any(t in word.lower() for t in titles)}


def test_only_the_games_and_what_plays_them_name_a_game() -> None:
    """ViZDoom is a library; the environments of the real games name their own."""
    real = {game.real.partition(":")[0] for game in GAMES.values()} | {"dreamgym.envs.keeper"}
    found = {
        module: names
        for module, path in modules().items()
        if not module.startswith("dreamgym.games.") and module not in real
        and (names := {word for word in named(path) if "vizdoom" not in word.lower()})
    }  # fmt: skip
    assert found == {}


def test_no_two_files_of_one_name_mean_different_things() -> None:
    """What is known of a game and the environment in which it is played are of one thing."""
    stems = Counter(path.stem for path in modules().values() if path.stem != "__init__")
    assert {stem for stem, times in stems.items() if times > 1} <= GAMES.keys()


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


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
def test_a_process_that_only_plays_a_real_game_starts_without_pytorch(game: Game) -> None:
    module = game.real.split(":")[0]
    code = f"import sys, dreamgym.envs.workers, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert module in loaded
    assert "torch" not in loaded

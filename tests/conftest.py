"""A tiny random world: right in every shape, wrong in every prediction."""

import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from dreamgym import games
from dreamgym.checkpoint import save_controller, save_world
from dreamgym.games import Game
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.doom import GAME as DOOM
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.models.mdn_rnn import MDNRNN, MemoryConfig
from dreamgym.models.vae import VAE, VisionConfig
from dreamgym.training import collect
from dreamgym.training.data.episodes import Episode, episode_path, episode_paths
from dreamgym.training.runs import Run
from dreamgym.world import State, World

Z, HIDDEN = 6, 16

# Whoever runs the tests may ignore hang-ups, as nohup does; what they start should not.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def tiny_world(
    hit: float | tuple[float, ...] = -3.0,
    death: str = "health",
    seed: int = 0,
    game: Game = DOOM,
    hidden: int = HIDDEN,
) -> World:
    """Return a small world whose outcomes come with about the chances sigmoid(`hit`).

    Of several chances, those that are left out at the end are 0.
    """
    torch.manual_seed(seed)
    heads = game.rules.heads
    memory = MDNRNN(MemoryConfig(Z, len(game.low), hidden, heads=heads))
    with torch.no_grad():
        named = (*hit, *[-50.0] * (len(heads) - len(hit))) if isinstance(hit, tuple) else hit
        memory.head.bias[-len(heads) :] = torch.tensor(named)
    starts = (torch.randn(8, Z), torch.full((8, Z), -1.0), torch.full((8,), 100.0))
    return World(game, VAE(VisionConfig(z_size=Z)), memory, starts, death)


def with_moments(world: World, many: int = 40) -> World:
    """Return the same world with made-up moments inside games, no two of them alike."""
    torch.manual_seed(2)
    size = world.memory.config.hidden
    z, h, c = torch.randn(many, Z), torch.rand(many, size) * 2 - 1, torch.randn(many, size)
    step = 10 * torch.arange(1, many + 1)
    counts = world.rules.begin(torch.full((many,), 100.0))
    counts[:, 0] = 100 - torch.arange(many)
    if counts.shape[1] > 1:
        counts[:, 1] = torch.arange(many) // 2
    moments = State(z, h, c, step, torch.zeros_like(step), counts)
    return World(
        world.game, world.vision, world.memory, world.starts, world.death, world.form, moments
    )


def data_set(folder: Path, lengths: list[int], seed: int = 0, task: str = "doom") -> Path:
    """Write a finished data set of games that nobody played; return its folder."""
    rng, size = np.random.default_rng(seed), len(games.get(task).low)
    counts = games.get(task).rules.counts
    folder.mkdir(parents=True, exist_ok=True)
    for index, length in enumerate(lengths):
        last = np.arange(length) == length - 1
        Episode(
            frames=rng.integers(256, size=(length, 64, 64, 3), dtype=np.uint8),
            actions=rng.integers(-1, 2, (length, size)).astype(np.float32),
            rewards=np.ones(length, np.float32),
            counts=np.outer(np.append(np.full(length, 100), 0), np.eye(len(counts))[0]).astype(
                np.float32
            ),
            terminated=last,
            truncated=np.zeros(length, bool),
        ).save(episode_path(folder, index))
    return finish(folder, task, seed)


def finish(folder: Path, task: str = "doom", seed: int = 0) -> Path:
    """Write what `collect` writes of episodes that are all there; return their folder."""
    lengths = [len(Episode.load(path)) for path in episode_paths(folder)]
    args = collect.Args(task, len(lengths), seed)
    with Run(folder, "manifest", args, {"policy": "random", "world": ""}, "episodes") as run:
        run.write(finished=True, lengths=lengths)
    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Let every test draw the same numbers every time, whatever ran before it."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which Python finds modules; they and the games they register are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    registered, modules = dict(gym.registry), set(sys.modules)
    gym.registry.pop("Spring-v0", None)
    yield tmp_path
    gym.registry.clear()
    gym.registry.update(registered)
    for name in sys.modules.keys() - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    games._own.cache_clear()


class Inside:
    """An executor that works in this process, which need not start, and keeps the jobs."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []

    def map(
        self, function: Callable[[Any], Any], jobs: Sequence[Any], timeout: float = 0
    ) -> Iterator[tuple[int, Any]]:
        self.jobs.extend(jobs)
        yield from ((number, function(job)) for number, job in enumerate(jobs))


@pytest.fixture
def inside() -> Inside:
    return Inside()


@pytest.fixture
def world() -> World:
    return tiny_world()


@pytest.fixture(scope="session")
def safe_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny world in which nobody is ever hit."""
    path = tmp_path_factory.mktemp("safe")
    save_world(path, tiny_world(hit=-50.0))
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny world as a folder, with a controller."""
    path = tmp_path_factory.mktemp("world")
    return saved(path, tiny_world(), ControllerConfig(Z + 2 * HIDDEN), [1.15, 1.15])


@pytest.fixture(scope="session")
def car_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny world of CarRacing, with a controller."""
    world = tiny_world(hit=(-1.0, -4.0, -9.0), game=CAR_RACING)
    config = ControllerConfig(Z + HIDDEN, 3, True, "zh")
    return saved(tmp_path_factory.mktemp("car"), world, config, [1.0, 1.2])


def saved(path: Path, world: World, config: ControllerConfig, temperature: list[float]) -> Path:
    """Save a world with a controller of random weights."""
    save_world(path, world)
    torch.manual_seed(1)
    controller = Controller(config, torch.randn(config.parameters))
    save_controller(path / "controller.safetensors", controller, temperature=temperature)
    return path

"""A game of which nothing else in the house knows goes all the way from its frames to a score."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest
import torch

import dreamgym
from dreamgym.checkpoint import load_world, read_json, save_world
from dreamgym.envs import actions
from dreamgym.games import GAMES
from dreamgym.models.mdn_rnn import MemoryConfig
from dreamgym.training import collect, evaluate, evolve, memory, vision
from dreamgym.training.data import latents
from dreamgym.training.data.episodes import Episode, episode_paths
from dreamgym.training.measure.examine import examine
from tests.conftest import Inside, tiny_world
from tests.games.grid import FUEL, GAME


@pytest.fixture
def grid() -> Iterator[str]:
    """The game, added, and taken away again."""
    dreamgym.add(GAME)
    yield GAME.name
    del GAMES[GAME.name]
    for name in (GAME.pixel_id, GAME.latent_id, GAME.dream_id):
        del gym.registry[name]


def test_a_third_game_is_learned_dreamt_and_played(
    grid: str, tmp_path: Path, inside: Inside
) -> None:
    data, run, c = tmp_path / "data", tmp_path / "run", tmp_path / "c"
    frames = collect.collect(collect.Args(grid, 30), data, inside, progress=False)
    episodes = [Episode.load(path) for path in episode_paths(data)]
    assert frames == sum(map(len, episodes))
    assert all(episode.counts[0] == FUEL for episode in episodes)
    v = vision.train([data], run, vision.Args(frames=1280, task=grid), progress=False)
    assert v.config.z_size == GAME.z_size
    seen = latents.encode(GAME, [data], run, v, progress=False)
    reached = sum(float(episode.rewards.max()) > 0 for episode in episodes)
    assert 0 < seen.outcomes.sum() == reached < len(episodes)  # some walks ran out of fuel
    config = MemoryConfig(GAME.z_size, 1, GAME.hidden, heads=GAME.rules.heads)
    m = memory.train(seen, run, memory.Args(steps=20, batch=8, length=16), config, progress=False)
    memory.assemble(grid, v, m, seen, run / "world")
    assert load_world(run / "world").game is GAME
    assert set(examine(grid, run)["memory"]) == {"log_likelihood_per_dimension", "goal"}
    stage = evolve.Args(
        str(run / "world"), 2, population=4, rollouts=2, validate=2, games=3, finalists=0
    )
    evolve.evolve(stage, c, inside, progress=False)
    for env, name in (("twin", "LatentGrid-v0"), ("dream", "DreamGrid-v0")):
        args = evaluate.Args(grid, str(c), env, 5, world=str(run / "world"))
        score = evaluate.evaluate(args, inside, tmp_path / f"{env}.json")
        assert (score["env"], len(score["episodes"])) == (name, 5)
        assert all(-0.1 * FUEL - 1e-3 <= each["return"] <= 10 for each in score["episodes"])
        assert all(1 <= each["length"] <= FUEL for each in score["episodes"])
    spent = read_json(c / "evolution.json")["curve"][-1]["real_frames"]
    assert score["real_frames"] == frames + spent


def test_its_dream_is_an_environment_like_any_other(grid: str, tmp_path: Path) -> None:
    save_world(tmp_path, tiny_world(-50.0, game=GAME))  # no goal
    env = gym.make(GAME.dream_id, world=str(tmp_path))
    _, info = env.reset(seed=0)
    assert info["fuel"] == 100  # of the tiny world's first frames
    observation, reward, terminated, _, info = env.step(1)
    assert env.observation_space.contains(observation)
    assert (reward, terminated, info["fuel"]) == (pytest.approx(-0.1), False, 99)


def test_its_random_moves_are_all_of_its_moves() -> None:
    keys = torch.arange(1000) * 2**40
    drawn = actions.random(keys, torch.zeros_like(keys), GAME)
    assert sorted(set(drawn[:, 0].tolist())) == sorted(move for (move,) in GAME.moves.values())

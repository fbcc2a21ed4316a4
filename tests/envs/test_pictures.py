"""A user's own game that shows pictures: their scale, its frames, its dream and its twin."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from dreamgym import games
from dreamgym.checkpoint import CheckpointError, load_world, save_world
from dreamgym.cli import main
from dreamgym.envs import actions, pictures
from dreamgym.envs.vectors import Vectors
from dreamgym.games import FRAME, PAID, own
from dreamgym.models.mdn_rnn import MDNRNN
from dreamgym.models.sight import PIXELS, Sight, SightConfig
from dreamgym.models.standard import StandardConfig
from dreamgym.training.memory import config_for
from dreamgym.training.play.policies import Called
from dreamgym.world import World
from tests.envs.dot import LIMIT, PAY, Dot, column
from tests.envs.test_own import refuse_facts

DOT = "tests.envs.dot:Dot-v0"
DRAWN = f"{DOT}+pixels"
WHITE = column(1)
SPACE = gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def enlarged(picture: np.ndarray) -> np.ndarray:
    """A picture (8, 8, 3) as (64, 64, 3), each pixel as a block."""
    return picture.repeat(8, axis=0).repeat(8, axis=1)


def own_world(id: str = DOT, end: float = -50.0) -> World:
    """A random world of a game of pictures, whose dreams end with the chance sigmoid(`end`)."""
    torch.manual_seed(0)
    game = games.get(id)
    memory = MDNRNN(replace(config_for(game), hidden=16))
    with torch.no_grad():
        memory.head.bias[-1] = end
    vision = Sight(SightConfig(game.z_size - 2)).half().float()  # as it is stored
    vision.standard.mean.fill_(0.1)
    vision.standard.deviation.fill_(0.3)  # float16 cannot hold it
    vision.standard.paid.copy_(torch.tensor([0.0, 2.5]))
    frames = torch.from_numpy(np.stack([Vectors(id).reset(seed=seed)[0] for seed in range(8)]))
    mean, logvar = vision.encode(frames)
    return World(game, vision, memory, (mean, logvar, torch.ones(8)))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    save_world(tmp_path / "world", own_world())
    return str(tmp_path / "world")


def test_a_large_picture_is_averaged() -> None:
    picture = random(128, 192, 3)
    wanted = picture.reshape(64, 2, 64, 3, 3).mean((1, 3))
    assert np.abs(pictures.scaled(picture) - wanted).max() <= 1  # it rounds twice


def test_a_small_picture_is_enlarged_in_blocks() -> None:
    picture = random(8, 8, 3)
    assert np.array_equal(pictures.scaled(picture), enlarged(picture))
    assert np.array_equal(pictures.scaled(random(*FRAME)), random(*FRAME))


def test_grey_is_repeated_and_a_fourth_channel_is_not_seen() -> None:
    grey, four = random(100, 70), random(70, 100, 4)
    shown = pictures.scaled(grey)
    assert np.array_equal(shown, pictures.scaled(grey[:, :, None]))
    assert np.array_equal(shown, pictures.scaled(grey[:, :, None].repeat(3, 2)))
    assert np.array_equal(pictures.scaled(four), pictures.scaled(four[:, :, :3]))


@pytest.mark.parametrize("shape", [(1, 1), (5, 7, 1), (63, 65, 3), (210, 160, 4), (1, 500)])
def test_pictures_of_any_size_fit(shape: tuple[int, ...]) -> None:
    scaled = pictures.scaled(np.full(shape, 77, np.uint8))
    assert scaled.shape == FRAME and scaled.dtype == np.uint8 and (scaled == 77).all()


@pytest.mark.parametrize(
    ("space", "is_picture"),
    [
        (SPACE, True),
        (gym.spaces.Box(0, 255, (7, 9), np.uint8), True),
        (gym.spaces.Box(0, 255, (7, 9, 4), np.uint8), True),
        (gym.spaces.Box(0, 1, (7, 9), np.uint8), False),  # a board
        (gym.spaces.Box(0, 255, (7, 9, 2), np.uint8), False),
        (gym.spaces.Box(0, 255, (7, 9)), False),
        (gym.spaces.Box(0, 255, (128,), np.uint8), False),  # the memory of an Atari
        (gym.spaces.Discrete(3), False),
    ],
    ids=str,
)
def test_pictures_are_known_by_their_space(space: gym.Space[Any], is_picture: bool) -> None:
    assert pictures.shown(space) == is_picture


@pytest.mark.parametrize(("name", "pixels"), [(DOT, False), (DRAWN, True)])
def test_what_is_known_of_a_game_of_pictures(name: str, pixels: bool) -> None:
    game = games.get(name)
    assert (game.name, game.own.id, game.own.pixels) == (name, DOT, pixels)
    assert (game.frame, game.frame_type, game.pictures, game.rewarded) == (
        PAID,
        np.uint8,
        True,
        True,
    )
    assert (game.z_size, game.hidden, game.observation) == (34, 256, "zh")
    assert own.game(own.read(json.loads(json.dumps(asdict(game.own))))).name == name
    assert pickle.loads(pickle.dumps(game)).frame == PAID
    config = config_for(game)
    assert (config.z_size, config.action_size, config.residual) == (34, 3, 0)


def test_a_game_of_numbers_can_be_learned_from_what_it_draws() -> None:
    game = games.get("CartPole-v1+pixels")
    assert game.pictures and game.max_steps == 500 and len(game.moves) == 2
    assert not games.get("CartPole-v1").pictures


@pytest.mark.parametrize(
    "change", [{"picture": 1}, {"picture": False, "pixels": True}, {"numbers": 3}], ids=str
)
def test_damaged_facts_are_refused(folder: str, change: dict[str, Any]) -> None:
    refuse_facts(folder, change)


@pytest.mark.parametrize(("name", "colour"), [(DOT, [1, 1, 1]), (DRAWN, [1, 0, 0])])
def test_a_frame_is_the_picture_and_the_squeezed_reward(name: str, colour: list[int]) -> None:
    env, game = Vectors(name), Dot()
    frame, _ = env.reset(seed=3)
    game.reset(seed=3)
    rewards = []
    for action in (1, 2, 2, 0, 0, 0, 0):
        assert env.observation_space.contains(frame)
        shown = enlarged(column(game.place) * np.array(colour, np.uint8))
        assert np.array_equal(frame[:PIXELS].reshape(FRAME), shown)
        squeezed = frame[PIXELS:].view(np.float32)[0]
        assert squeezed == pytest.approx(np.log1p(rewards[-1]) if rewards else 0)
        frame, reward, *_ = env.step(action)
        assert reward == game.step(action)[1]
        rewards.append(reward)
    assert {0, PAY} == set(rewards)


class Told(gym.Env[Any, Any]):
    """Shows, draws and pays what it is told."""

    observation_space = SPACE
    action_space = gym.spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(
        self, shows: Any = WHITE, draws: Any = None, pays: float = 1.0, render_mode: str = ""
    ):
        self.shows, self.draws, self.pays, self.render_mode = shows, draws, pays, render_mode

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        return self.shows, {}

    def step(self, _: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.shows, self.pays, False, False, {}

    def render(self) -> Any:
        return self.draws


@pytest.mark.parametrize(
    ("name", "told", "words"),
    [
        (
            "Framed-v0+pixels",
            {},
            r"render\(\) of Framed-v0\+pixels returned None at step 0 .*: with render_mode=",
        ),
        ("Framed-v0+pixels", {"draws": np.zeros((4, 4, 3))}, r"returned float64 \(4, 4, 3\)"),
        ("Framed-v0+pixels", {"draws": np.zeros((4, 4), np.uint8)}, r"returned uint8 \(4, 4\)"),
        ("Framed-v0+pixels", {"draws": [column(1)]}, "returned a list"),
        (
            "Framed-v0",
            {"shows": np.zeros((4, 4, 3), np.uint8)},
            r"Framed-v0 .* shows uint8 \(4, 4, 3\)",
        ),
        (
            "Framed-v0",
            {"shows": np.zeros((8, 8, 3))},
            r"its observation_space has uint8 \(8, 8, 3\)",
        ),
        ("Framed-v0", {"pays": float("nan")}, r"Framed-v0 .* pays nan: only finite numbers"),
    ],
    ids=str,
)
def test_what_is_no_picture_is_named(name: str, told: dict[str, Any], words: str) -> None:
    gym.register(id="Framed-v0", entry_point=Told, kwargs=told)
    try:
        env = Vectors(name)
        with pytest.raises(ValueError, match=words):
            env.reset()
            env.step(0)
    finally:
        gym.registry.pop("Framed-v0")


def without_mode() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1")


def test_a_function_that_takes_no_render_mode_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"cannot be made with render_mode='rgb_array'.*TypeError"):
        games.get(f"{__name__}:without_mode+pixels")


SHOWN: list[np.ndarray] = []


def looks(seen: np.ndarray) -> int:
    SHOWN.append(seen)
    return 0


def test_a_user_s_function_sees_the_picture_that_v_sees() -> None:
    game = games.get("CartPole-v1+pixels")
    env = Vectors(game.name)
    frame, _ = env.reset(seed=0)
    env.close()
    policy = Called(f"{__name__}:looks", game)
    assert policy.act(torch.from_numpy(np.stack([frame, frame]))).tolist() == [[1, 0], [1, 0]]
    assert len(SHOWN) == 2 and SHOWN[0].shape == (64, 64, 3) and SHOWN[0].dtype == np.uint8
    assert np.array_equal(SHOWN[0].ravel(), frame[: 64 * 64 * 3])


def test_a_game_that_draws_nothing_is_named() -> None:
    with pytest.raises(ValueError, match=r"Spring-v0 draws no pictures: .*'rgb_array'"):
        games.get("tests.envs.spring:Spring-v0+pixels")


def test_pictures_for_v_are_drawn_in_one_mode() -> None:
    with pytest.raises(ValueError, match="render_mode is 'human'"):
        Vectors(DRAWN, render_mode="human")


def test_a_picture_of_another_form_is_told_what_to_be() -> None:
    class First(gym.Env[np.ndarray, Any]):
        observation_space = gym.spaces.Box(0, 255, (3, 8, 8), np.uint8)
        action_space = gym.spaces.Discrete(2)

    gym.register(id="First-v0", entry_point=First)
    try:
        with pytest.raises(ValueError, match=r"uint8 \(3, 8, 8\) from 0 to 255: pictures must be"):
            games.get("First-v0")
    finally:
        gym.registry.pop("First-v0")


def test_a_world_survives_the_disk_bit_for_bit(folder: str, tmp_path: Path) -> None:
    world, again = own_world(), load_world(folder)
    assert again.game.own == world.game.own and again.vision.config == world.vision.config
    for key, tensor in world.vision.state_dict().items():
        assert torch.equal(again.vision.state_dict()[key], tensor), key
    save_world(tmp_path / "again", again)
    names = ("config.json", "vision.safetensors", "memory.safetensors", "starts.safetensors")
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (Path(folder) / name).read_bytes()


def test_a_v_of_numbers_is_refused(folder: str) -> None:
    path = Path(folder) / "config.json"
    config = json.loads(path.read_text())
    config["vision"] = asdict(StandardConfig(34))
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"V sees frames \(34,\), .* shows \(12292,\)"):
        load_world(folder)


def test_compiled_code_sees_and_draws_what_pytorch_does() -> None:
    world = own_world()
    plain = world.to("cpu", form="torch")
    env = Vectors(DOT)
    env.reset(seed=0)
    frames = torch.from_numpy(np.stack([env.step(0)[0] for _ in range(3)]))
    for ours, theirs in zip(world.encode(frames), plain.encode(frames), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
    z = world.encode(frames)[0]
    drawn = world.decode(z)
    assert drawn.shape == (3, *FRAME) and drawn.dtype is torch.uint8
    assert (drawn.int() - plain.decode(z).int()).abs().max() <= 1
    wanted = (255 * world.vae().decode(z[:, :32])).permute(0, 2, 3, 1)
    assert (drawn - wanted).abs().max() <= 1


def test_the_compiled_step_is_pytorch_s() -> None:
    world = own_world(end=-1.0)
    plain = world.to("cpu", form="torch")
    state, tau = world.start(torch.arange(100)), torch.full((100, 1), 0.8)
    action = actions.random(state.key, state.step, world.game)
    wanted, pay, dead = plain.step(state, action, tau)
    after, reward, over = world.step(state, action, tau)
    for field in fields(after):
        torch.testing.assert_close(
            getattr(after, field.name), getattr(wanted, field.name), atol=1e-4, rtol=1e-4
        )
    torch.testing.assert_close(reward, pay, atol=1e-3, rtol=1e-3)
    told = world.vision.reward(after.z, torch.zeros_like(over))
    assert torch.equal(reward[~over], told[~over]) and torch.equal(over, dead) and over.any()


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_the_dream_shows_z_and_h_and_draws_v_s_picture(folder: str) -> None:
    env = gym.make("Dream-v0", world=folder, render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=True)
    assert env.observation_space.shape == (34 + 16,)
    assert env.action_space == gym.spaces.Discrete(3)
    env.reset(seed=1)
    for step in range(1, LIMIT + 1):
        _, reward, terminated, truncated, _ = env.step(step % 3)
        world, z = env.unwrapped.world, env.unwrapped._state.z
        assert reward == pytest.approx(float(world.vision.reward(z, torch.tensor([False]))[0]))
        assert np.array_equal(env.render(), world.decode(z)[0])
        assert not terminated and truncated == (step == LIMIT)


def test_a_dream_may_show_pictures_but_not_the_game_s_own_observation(folder: str) -> None:
    env = gym.make("Dream-v0", world=folder, observation="rgb")
    assert env.observation_space == gym.spaces.Box(0, 255, FRAME, np.uint8)
    assert env.observation_space.contains(env.reset(seed=0)[0])
    many = gym.make_vec("Dream-v0", 3, world=folder, observation="rgb", render_mode="rgb_array")
    seen, _ = many.reset(seed=0)
    assert seen.shape == (3, *FRAME) and np.array_equal(many.render(), seen)
    with pytest.raises(ValueError, match="observation is 'own': choose one of z, zh, zhc, rgb"):
        gym.make("Dream-v0", world=folder, observation="own")


@pytest.mark.parametrize("name", [DOT, DRAWN])
def test_the_twin_is_the_real_game_as_v_sees_it(tmp_path: Path, name: str) -> None:
    save_world(tmp_path, own_world(name))
    twin = gym.make("Latent-v0", world=str(tmp_path), observation="z", render_mode="rgb_array")
    real, world = Vectors(name, render_mode="rgb_array"), load_world(tmp_path)
    assert twin.observation_space.shape == (34,)
    seen, _ = twin.reset(seed=5)
    frame, _ = real.reset(seed=5)
    for action in (2, 1, 0, 2):
        mean, logvar = world.encode(torch.from_numpy(frame[None]))
        away = (torch.from_numpy(seen) - mean[0]).abs()
        assert (away <= 6 * torch.exp(0.5 * logvar[0])).all()
        seen, reward, *_ = twin.step(action)
        frame, pay, *_ = real.step(action)
        assert reward == pay and np.array_equal(twin.render(), real.render())


def test_a_batch_of_twins_is_the_twins(tmp_path: Path) -> None:
    """In worker processes, which know the game by its name alone."""
    save_world(tmp_path, own_world(DRAWN))
    many = gym.make_vec("Latent-v0", 3, world=str(tmp_path), processes=2)
    one = gym.make("Latent-v0", world=str(tmp_path))
    seen, _ = many.reset(seed=4)
    alone, _ = one.reset(seed=5)
    for _ in range(5):
        assert seen[1].tolist() == alone.tolist()
        seen, rewards, *_ = many.step(np.full(3, 2))
        alone, reward, *_ = one.step(2)
        assert rewards[1] == reward
    many.close()


@pytest.mark.parametrize("command", ["export-web", "bench", "play", "film"])
def test_a_command_that_shows_our_games_refuses_others(
    folder: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--world", folder]) == 2
    assert "is a game of your own" in capsys.readouterr().err

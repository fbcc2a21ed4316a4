"""A dream of a user's own game is made by one command, and what learns in it can be scored."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import dreamgym
from dreamgym import games
from dreamgym.checkpoint import (
    load_world,
    read_json,
    real_frames,
    save_controller,
    save_world,
)
from dreamgym.cli import main
from dreamgym.games.recipe import Round
from dreamgym.models.controller import Controller
from dreamgym.models.mdn_rnn import MDNRNN
from dreamgym.models.sight import Sight, SightConfig
from dreamgym.models.standard import EXACT, Standard, StandardConfig
from dreamgym.training import collect, iterate, memory, new, recorded, vision
from dreamgym.training.data import latents
from dreamgym.training.data.episodes import MANIFEST, Episode, episode_path
from dreamgym.training.iterate import Plan
from dreamgym.training.measure import direct
from dreamgym.training.play import dreams, policies
from dreamgym.training.play.games import score
from dreamgym.training.splits import TEST
from tests.conftest import Inside
from tests.envs.spring import LIMIT
from tests.envs.test_own import own_world

DOT = "tests.envs.dot:Dot-v0"
SPRING = "tests.envs.spring:Spring-v0"


def test_an_episode_ends_with_the_last_frame_and_its_reward(tmp_path: Path, inside: Inside) -> None:
    collect.collect(collect.Args(SPRING, episodes=3), tmp_path, inside, progress=False)
    episode, game = Episode.load(episode_path(tmp_path, 1)), gym.make(SPRING)
    seen, _ = game.reset(seed=1)
    assert episode.frames[0].tolist() == [*seen.tolist(), 0]
    for step in range(len(episode) - 1):
        seen, reward, *_ = game.step(episode.actions[step])
        assert episode.frames[step + 1, :2].tolist() == seen.tolist()
        assert episode.rewards[step] == pytest.approx(reward)
        squeezed = np.sign(reward) * np.log1p(abs(reward))
        assert episode.frames[step + 1, 2] == pytest.approx(squeezed)
    assert len(episode) == LIMIT + 1 and episode.truncated[LIMIT - 1 :].all()


def test_v_standardises_exactly(tmp_path: Path, inside: Inside) -> None:
    collect.collect(collect.Args(SPRING, episodes=20), tmp_path / "data", inside, progress=False)
    v = vision.train([tmp_path / "data"], tmp_path / "run", vision.Args(task=SPRING), False)
    assert isinstance(v, Standard)
    paths = [episode_path(tmp_path / "data", i) for i in range(20)]
    frames = torch.from_numpy(np.concatenate([Episode.load(path).frames for path in paths]))
    mean, logvar = v.encode(frames)
    torch.testing.assert_close(mean.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(mean.std(0)[:3], torch.ones(3), atol=1e-2, rtol=0)
    assert not mean[:, 3].any() and torch.all(logvar == EXACT)
    torch.testing.assert_close(v.decode(mean), frames, atol=1e-4, rtol=1e-4)
    again = vision.load_vision(tmp_path / "run", SPRING)
    assert torch.equal(again.deviation, v.deviation)


def test_a_dream_pays_no_more_than_was_ever_paid() -> None:
    v, on = Standard(StandardConfig(1)), torch.zeros(3, dtype=torch.bool)
    far = torch.tensor([[50.0, 0.0], [-50.0, 0.0], [0.5, 0.0]])
    assert v.reward(far, on)[0] > 1e21
    v.bound(torch.tensor([-3.0, 0.0, 7.0]))
    assert v.reward(far, on).tolist() == pytest.approx([7, -3, np.expm1(0.5)])
    assert v.reward(far.flip(1), ~on).tolist() == v.reward(far, on).tolist()


def test_a_dream_pays_what_later_rounds_have_found(tmp_path: Path, inside: Inside) -> None:
    """V measured the games of the first round alone, and M has seen those of all."""
    args = collect.Args(SPRING, episodes=4)
    collect.collect(args, tmp_path / "data", inside, progress=False)
    v = vision.train([tmp_path / "data"], tmp_path / "run", vision.Args(task=SPRING), False)
    seen = latents.encode(games.get(SPRING), [tmp_path / "data"], tmp_path, v, progress=False)
    assert seen.reward.max() <= 0
    seen.reward[7] = 1e4
    m = MDNRNN(memory.config_for(games.get(SPRING)))
    world = memory.assemble(SPRING, v, m, seen, tmp_path / "world")
    z = torch.full((1, 4), 1e6)
    assert world.vision.reward(z, torch.tensor([True])).item() == pytest.approx(1e4, rel=1e-4)


def test_a_number_that_never_changes_becomes_zero() -> None:
    v = Standard(StandardConfig(3))
    assert v.encode(torch.zeros(2, 3))[0].tolist() == [[0.0] * 4] * 2


def test_v_learns_pictures_and_measures_rewards(tmp_path: Path, inside: Inside) -> None:
    """Also if it goes on from an earlier V, which saw other rewards."""
    for number, seed in enumerate((0, 50)):
        args = collect.Args(DOT, episodes=8, seed=seed)
        collect.collect(args, tmp_path / f"data-{number}", inside, progress=False)
    asked = vision.Args(frames=256, batch=64, task=DOT)
    data = [tmp_path / "data-0"]
    first = vision.train(data, tmp_path / "first", asked, progress=False)
    assert isinstance(first, Sight) and first.config.z_size == 34
    data.append(tmp_path / "data-1")
    again = replace(asked, init=str(tmp_path / "first"), batch=256)  # one step, from there
    second = vision.train(data, tmp_path / "second", again, progress=False)
    close = [
        (first.vae.state_dict()[key] - value).abs().max() < 1e-3
        for key, value in second.vae.state_dict().items()
    ]
    assert all(close)
    for v, folders in ((first, data[:1]), (second, data)):
        episodes = [
            Episode.load(path) for folder in folders for path in folder.glob("episode-*.npz")
        ]
        paid = np.concatenate([np.log1p(np.append(0, each.rewards[:-1])) for each in episodes])
        assert v.standard.mean.item() == pytest.approx(paid.mean(), abs=1e-5)
        assert v.standard.deviation.item() == pytest.approx(paid.std(), abs=1e-5)
    assert first.standard.mean != second.standard.mean
    again_v = vision.load_vision(tmp_path / "second", DOT)
    for key, value in second.state_dict().items():
        assert torch.equal(again_v.state_dict()[key], value)


def test_latents_of_pictures_end_with_a_frame_that_closes(tmp_path: Path, inside: Inside) -> None:
    collect.collect(collect.Args(DOT, episodes=4), tmp_path, inside, progress=False)
    torch.manual_seed(0)
    v = Sight(SightConfig(32)).eval()
    seen = latents.encode(games.get(DOT), [tmp_path], tmp_path, v, progress=False)
    assert seen.closing and seen.mean.shape == (sum(seen.lengths), 34)
    ends = (seen.starts + seen.lengths - 1).tolist()
    assert not seen.action[ends].any() and not seen.reward[ends].any()
    for number, end in enumerate(ends):
        episode = Episode.load(episode_path(tmp_path, number))
        assert seen.mean[end, 32] == pytest.approx(np.log1p(episode.rewards[-2]), abs=1e-3)


@pytest.mark.slow
def test_one_command_makes_a_dream_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dot that nobody described: what learns in its dream goes to where it is paid, and stays."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    monkeypatch.setattr(new, "SIGHT", (12_800, 1_600))
    monkeypatch.setattr(new, "ROUNDS", 2)
    monkeypatch.setattr(new, "TIMESTEPS", 50_000)
    assert main(["new", DOT, "--pixels", "--out", "dot", "--frames", "2000"]) == 0
    found, random = read_json("dot/fidelity.json"), read_json("dot/random.json")
    assert found["real"]["return"][0] > 3 * random["mean"]
    assert load_world("dot").game.name == f"{DOT}+pixels"
    dream = gym.make("Dream-v0", world="dot", render_mode="rgb_array")
    dream.reset(seed=0)
    shown = dream.render()
    columns = shown[..., 0].reshape(64, 8, 8).mean((0, 2))  # the red of each place
    assert (columns > 128).sum() == 1 and shown[..., 1:].mean() < 20


@pytest.mark.slow
def test_one_command_makes_a_dream_that_knows_the_game(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spring that nobody described: its dream follows its law, and C holds it still in both."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    assert main(["new", SPRING, "--out", "spring", "--frames", "6000"]) == 0
    assert "Dream-v0" in capsys.readouterr().out
    world, found = load_world("spring"), read_json("spring/fidelity.json")
    pay, limit = (
        found["real"]["return"][0],
        0.1 * json.loads(Path("spring/random.json").read_text())["mean"],
    )
    assert pay > limit  # ten times nearer to 0 than random play
    assert found["dream"]["return"][0] == pytest.approx(pay, abs=-limit)
    assert "real game" in Path("spring/README.md").read_text()
    # The law, one step from each of many places.
    at = torch.tensor(np.random.default_rng(0).uniform(-1, 1, (200, 2)), dtype=torch.float32)
    mean, logvar = world.encode(torch.cat((at, torch.zeros(200, 1)), 1))
    state = world.begin(mean, logvar, torch.arange(200), torch.ones(200, 1))
    push = torch.linspace(-2, 2, 200)[:, None]
    after, reward, dead = world.step(state, push, torch.full((200, 1), 0.1))
    speed = at[:, 1] + 0.2 * (push[:, 0] - at[:, 0])
    wanted = torch.stack((at[:, 0] + 0.2 * speed, speed), 1)
    assert (world.observe(after, "own") - wanted).abs().mean() < 0.05
    assert (reward + 100 * at[:, 0] ** 2).abs().median() < 5
    assert not dead.any()
    dreamgym.register_world("spring", "DreamSpring-v0")
    assert gym.make_vec("DreamSpring-v0", 4).reset(seed=0)[0].shape == (4, 2)


def test_v_of_pictures_is_trained_in_the_first_rounds_alone() -> None:
    rounds, numbers = (new.recipe(50_000, "ppo", 200, pictures=each) for each in (True, False))
    assert tuple(each.frames for each in rounds) == (*new.SIGHT, *[0] * (new.ROUNDS - 2))
    assert [each.budget for each in rounds] == [each.budget for each in numbers]


def test_the_rounds_share_the_frames() -> None:
    rounds = new.recipe(50_000, "cma", 200)
    assert len(rounds) == new.ROUNDS
    assert rounds[0].frames and not any(each.frames for each in rounds[1:])
    assert sum(each.budget for each in rounds) == pytest.approx(50_000, abs=new.ROUNDS)


def test_what_was_recorded_is_learned_from_too() -> None:
    alone, more = (new.recipe(50_000, "ppo", 200, given)[1] for given in (0, 200_000))
    assert (alone.updates, more.updates) == (1250, 6250)
    assert (alone.timesteps, more.timesteps) == (200_000, 1_000_000)
    assert alone.budget == more.budget


@pytest.mark.parametrize(
    ("frames", "longest", "games"),
    [
        (20_000, 500, 10),  # a quarter of 20,000 frames is ten such games
        (20_000, 1000, 5),
        (20_000, 1100, new.FEW),
        (20_000, 10, 10),  # the most
        (1000, 1000, new.FEW),
    ],
)
def test_games_that_choose_take_a_share_of_the_frames(
    frames: int, longest: int, games: int
) -> None:
    assert new.choosing(frames, longest, most=10) == games


def test_a_round_plays_as_many_games_as_its_frames_allow(tmp_path: Path, inside: Inside) -> None:
    """The first three of the spring's games have `LIMIT` + 1 frames each."""
    args = collect.Args(SPRING, episodes=3)
    iterate._play(args, 10 * (LIMIT + 1), tmp_path / "more", inside)
    assert len(iterate._lengths(tmp_path / "more")) == 10
    iterate._play(args, LIMIT, tmp_path / "fewest", inside)
    assert iterate._lengths(tmp_path / "fewest") == [LIMIT + 1] * 3


@pytest.mark.parametrize(("most", "games"), [(5, 5), (5.9, 5), (10, 10), (11, 10), (1, 3)])
def test_a_round_plays_no_game_for_which_there_may_be_no_room(
    tmp_path: Path, inside: Inside, most: float, games: int
) -> None:
    args, longest = collect.Args(SPRING, episodes=3), LIMIT + 1
    for _ in range(2):  # the second time nothing is left to play
        iterate._play(args, 10 * longest, tmp_path, inside, int(most * longest))
        assert len(iterate._lengths(tmp_path)) == games


def test_short_games_leave_room_for_more(tmp_path: Path, inside: Inside) -> None:
    """CartPole's random games last about 20 steps, and may last 500."""
    iterate._play(collect.Args("CartPole-v1", episodes=10), 1000, tmp_path, inside, 2000)
    lengths = iterate._lengths(tmp_path)
    assert len(lengths) == round(1000 / np.mean(lengths[:10])) > 10 + 2000 // 501
    assert sum(lengths) <= 2000


def test_data_of_a_changed_game_are_refused(tmp_path: Path, inside: Inside) -> None:
    """A game of the same id with other ends of its actions is another game."""
    collect.collect(collect.Args(SPRING, episodes=2), tmp_path, inside, progress=False)
    path = tmp_path / MANIFEST
    known = path.read_text()
    path.write_text(known.replace("high=(2.0,)", "high=(1.0,)"))
    assert path.read_text() != known
    with pytest.raises(ValueError, match=str(tmp_path)):
        collect.collect(collect.Args(SPRING, episodes=2), tmp_path, inside, progress=False)


def test_the_command_finds_a_game_in_the_current_folder(tmp_path: Path) -> None:
    """As `python -m` does, and unlike other scripts that pip installs."""
    (tmp_path / "my_games.py").write_text("raise SystemError('found')")
    words = [Path(sys.executable).parent / "dreamgym", "new", "my_games:Mine-v0"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "my_games:Mine-v0 needs a module that cannot be imported: found" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["new"], "which game?"),
        (["new", "doom"], "dreamgym make doom"),
        (["new", "CartPole-v1", "--frames", "10"], "give 1,000 or more"),
        (["new", SPRING, "--pixels"], "draws no pictures"),
        (["new", "CartPole-v1", "--seed", "12"], "seed is 12: give 0 to 9"),
        (["new", "CartPole-v1", "--out", "README.md"], "README.md is a file: give the name of a"),
        (["new", "CartPole-v1", "--algo", "sac"], "algo is 'sac': choose one of ppo, cma"),
        (["new", SPRING, "--rules", "gone_games:Mine"], "gone_games:Mine cannot be imported"),
        (["new", "CartPole-v1", "--explore", "best"], "explore is 'best': give explore, random"),
        (["new", "CartPole-v1", "--explore", "tests.nobody:plays"], "a module that cannot be imp"),
        (["new", "CartPole-v1", "--explore", "random", "--data", "mine"], "explore is random, but"),
    ],
    ids=str,
)
def test_a_wrong_command_says_what_to_give(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert message in shown.err and not shown.out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"real_frames": "many"}, "real_frames is 'many': give a whole number, such as 50_000"),
        ({"kwargs": "x"}, "kwargs is 'x': give a dictionary, such as {'continuous': True}"),
    ],
    ids=str,
)
def test_a_wrong_argument_says_what_to_give(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        dreamgym.learn("CartPole-v1", str(tmp_path / "out"), **given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("timesteps", "learner"), [(0, "controller"), (2000, "agent")])
def test_a_small_world_is_made_and_scored(
    tmp_path: Path,
    inside: Inside,
    monkeypatch: pytest.MonkeyPatch,
    timesteps: int,
    learner: str,
) -> None:
    few = Round(12, 0, 200, 30, 2, rollouts=2, validate=2, games=2, timesteps=timesteps)
    again = Round(4, 0, 0, 30, 2, rollouts=2, validate=2, games=2, timesteps=timesteps)
    monkeypatch.setattr(new, "TEST", 4)
    out = tmp_path / "world"
    new.new("CartPole-v1", Plan((few, again), final=2), out, inside)
    found = new.examined("CartPole-v1", out, inside)
    assert found["real"]["games"] == found["dream"]["games"] == 4
    world = load_world(out)
    data = list(out.glob("data/round-*/*.npz"))
    frames = sum(len(Episode.load(path)) for path in data)
    counted = sum(real_frames(out / name) for name in ("config.json", f"{learner}.json"))
    assert len(data) == 16 and counted > frames
    assert world.memory.config.residual == 4 and world.moments is not None
    assert isinstance(world.vision, Standard)
    assert world.vision.paid.tolist() == pytest.approx([0, np.log(2)])  # of each step 1
    shipped = policies.find("shipped", out)
    assert shipped == str(out / f"{learner}.safetensors")
    assert f"Its {learner} learned in the dream alone" in (out / "README.md").read_text()
    policy = policies.load(shipped, world, world.game)
    played = dreams.play(world, policy, torch.arange(5), 1.0, 1.0)
    assert played.lengths.min() >= 1 and played.returns.isfinite().all()
    told = direct.direct(direct.Args(str(out), episodes=3), inside, progress=False)
    assert told["real_frames"] == counted <= told["direct_frames"]
    (end,) = read_json(out / "direct-seed0" / "learning.json")["curve"]  # no agent before the last
    assert counted <= end["steps"]
    agent, seeds = out / "direct-seed0" / "policy.zip", range(TEST, TEST + 3)
    dreamt = dreams.play(world, policy, torch.tensor(seeds), 1.0, 1.0).returns.tolist()
    for name, returns in {
        "random": score("CartPole-v1", out, "random", seeds, inside),
        "learned": score("CartPole-v1", out, shipped, seeds, inside),
        "dreamt": [{"return": each} for each in dreamt],
        "direct": score("CartPole-v1", out, agent, seeds, inside),
    }.items():
        games = told[name]["episodes"]
        assert [game["seed"] for game in games] == list(seeds)
        assert [game["return"] for game in games] == [game["return"] for game in returns]
        assert told[name]["env"] == ("Dream-v0" if name == "dreamt" else "Latent-v0")
        assert told[name]["fingerprints"].keys() == {"world", "policy"}


class Widening(gym.Env[np.ndarray, Any]):
    """Shows a number that is small in the first games of all, and large in those after them."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gym.spaces.Discrete(2)
    games = 0

    def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
        Widening.games += 1
        self.steps = 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self._seen(), 1.0, self.steps == 8, False, {}

    def _seen(self) -> np.ndarray:
        far = 1000.0 if Widening.games > 12 else 1.0
        return np.array([far * self.steps / 8], np.float32)


def test_v_measures_again_what_has_grown(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted: list[list[float]] = []
    convert = memory.restandardise

    def noted(m: MDNRNN, before: Standard, after: Standard) -> None:
        converted.append([float(v.deviation[0]) for v in (before, after)])
        convert(m, before, after)

    monkeypatch.setattr(memory, "restandardise", noted)
    Widening.games = -20  # some are made to learn what the game is
    few = Round(12, 0, 200, 20, 2, rollouts=2, validate=2, games=1)
    later = Round(4, 0, 0, 20, 2, rollouts=2, validate=2, games=1)
    name, runs = f"{__name__}:Widening", tmp_path / "runs"
    plan = Plan((replace(few, episodes=32), later, later), final=1)
    iterate.iterate(name, plan, tmp_path / "data", runs, inside)
    measured = [(runs / f"round-{number}" / "vision.json").exists() for number in range(3)]
    assert measured == [True, True, False]
    worlds = [load_world(runs / f"round-{number}" / "world") for number in range(3)]
    reach = [1 / float(world.vision.deviation[0]) for world in worlds]  # type: ignore[arg-type]
    assert reach[0] > 1 > 0.02 > reach[1] == reach[2]
    assert converted == [pytest.approx([1 / reach[0], 1 / reach[1]])]


def test_a_shipped_game_has_no_such_comparison(inside: Inside) -> None:
    with pytest.raises(ValueError, match=r"doom ships with dreamgym: call .*--env twin"):
        direct.direct(direct.Args("doom"), inside)


def test_a_comparison_needs_the_frames_behind_the_world(tmp_path: Path, inside: Inside) -> None:
    save_world(tmp_path, own_world())
    config = policies.controller_config(load_world(tmp_path))
    save_controller(
        tmp_path / "controller.safetensors",
        Controller(config, torch.zeros(config.parameters)),
        real_frames=0,
    )
    with pytest.raises(ValueError, match="does not tell how many real frames"):
        direct.direct(direct.Args(str(tmp_path)), inside)


def test_a_world_is_made_by_rules_that_agree_with_the_game_and_by_no_others(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong rules cost no games: the right ones go on from what was played."""
    few = Round(3, 0, 200, 30, 2, rollouts=2, validate=2, games=2)
    monkeypatch.setattr(new, "FINAL", 2)
    monkeypatch.setattr(new, "TEST", 4)
    out, right = tmp_path / "world", "tests.envs.spring:SpringRules"
    wrong = "tests.training.measure.test_agreement:Late"
    with pytest.raises(ValueError, match=r":Late pays .* at step 1 of episode 0"):
        new.new(SPRING, Plan((few,), rules=wrong), out, inside)
    played = {path: path.stat().st_mtime_ns for path in out.glob("data/round-0/*.npz")}
    assert len(played) == 3 and not (out / "runs/round-0/world").exists()
    new.new(SPRING, Plan((few,), rules=right), out, inside)
    assert all(path.stat().st_mtime_ns == then for path, then in played.items())
    new.examined(SPRING, out, inside)
    assert f"`{right}` says the reward and whether the game ends" in (out / "README.md").read_text()
    env = gym.make("Dream-v0", world=str(out))
    seen, _ = env.reset(seed=0)
    _, reward, *_ = env.step(env.action_space.sample())
    assert reward == -100 * seen[0] ** 2
    with pytest.raises(ValueError, match="holds a round of other arguments or data"):
        new.new(SPRING, Plan((few,)), out, inside)  # a finished round by rules is not one without


class Failing(gym.Env[np.ndarray, int]):
    """Episodes of 400 steps, and an engine that fails at the 1,000th step of them all."""

    observation_space = gym.spaces.Box(-9, 9, (1,))
    action_space = gym.spaces.Discrete(2)
    taken = 0

    def reset(self, **_: object) -> tuple[np.ndarray, dict[str, object]]:
        self.step_number = 0
        return np.zeros(1, np.float32), {}

    def step(self, _: int) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        self.step_number, Failing.taken = self.step_number + 1, Failing.taken + 1
        if Failing.taken == 1000:
            raise ZeroDivisionError("no wheels")
        return np.zeros(1, np.float32), 1.0, self.step_number == 400, False, {}


def test_a_game_that_fails_loses_no_episode_that_was_over(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Games are played one by one here, so the third fails at its 200th step."""
    monkeypatch.setattr(collect, "SIDE_BY_SIDE", 1)
    gym.register(id="Failing-v0", entry_point=Failing)
    try:
        args = collect.Args("Failing-v0", episodes=4, seed=50)
        words = "Failing-v0 failed at step 200 of the game with seed 52: ZeroDivisionError: no whee"
        with pytest.raises(RuntimeError, match=words):
            collect.collect(args, tmp_path, inside, progress=False)
        assert [episode_path(tmp_path, i).exists() for i in range(4)] == [True, True, False, False]
        kept = episode_path(tmp_path, 1).stat().st_mtime_ns
        assert collect.collect(args, tmp_path, inside, progress=False) == 4 * 401
        assert episode_path(tmp_path, 1).stat().st_mtime_ns == kept
    finally:
        gym.registry.pop("Failing-v0")


def test_a_world_is_made_of_what_was_recorded(tmp_path: Path, inside: Inside) -> None:
    """The first round plays nothing, and the second one what the budget allows."""
    mine, out = tmp_path / "mine", tmp_path / "world"
    asked = collect.Args(SPRING, episodes=8, policy="tests.envs.players:still")
    collect.collect(asked, mine, inside, progress=False)
    given = recorded.take(recorded.Args(SPRING, str(mine)), out / "data" / "round-0")
    first = Round(10, 0, 200, 20, 1, rollouts=1, validate=1, games=1)
    stop = iterate.Stop(3 * (LIMIT + 1) + 5, patience=2)
    rounds = (first, replace(first, frames=0))
    new.new(SPRING, Plan(rounds, 1, stop=stop, given=True), out, inside)
    assert given == 8 * (LIMIT + 1) == sum(iterate._lengths(out / "data" / "round-0"))
    played = sum(iterate._lengths(out / "data" / "round-1"))
    assert 2 * (LIMIT + 1) + 5 < played <= 3 * (LIMIT + 1) + 5  # no room for a game more
    counted = sum(real_frames(out / name) for name in ("config.json", "controller.json"))
    chosen = counted - given - played  # two games validate, two choose
    assert 4 <= chosen <= 4 * LIMIT
    assert load_world(out).game.name == SPRING

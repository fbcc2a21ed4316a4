"""Rounds hand on the right things: seeds, data, V, M and C, and the better one is kept."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamgym.checkpoint import load_controller, read_json, save_controller, save_world, write_json
from dreamgym.games.doom import GAME as DOOM
from dreamgym.games.recipe import Round
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.training import iterate
from dreamgym.training.data.episodes import MANIFEST
from dreamgym.training.play.executors import Executor, InProcess
from dreamgym.training.splits import FINAL
from tests.conftest import tiny_world

FIRST = Round(5, 300, 1000, 30, 4, validate=2, games=7, rollouts=3, low=0.9, high=1.1)
ROUNDS = (
    FIRST,
    replace(FIRST, episodes=2, frames=0, updates=40),  # V and M go on
    replace(FIRST, episodes=3, frames=0, anew=True),  # M and C begin anew
    replace(FIRST, episodes=4, frames=500),  # V learns more, and M and C go on
)
SPENT = 11
"""Real frames that each round's validations cost."""


class Stages:
    """Every stage that a round calls, written down instead of done."""

    def __init__(self, patch: pytest.MonkeyPatch, scores: list[float], finals: dict[str, float]):
        self.scores, self.finals = iter(scores), finals
        self.plays: list[Any] = []
        self.sights: list[Any] = []
        self.encoded: list[Any] = []
        self.memories: list[Any] = []
        self.evolved: list[Any] = []
        self.worlds: list[int] = []
        self.finalists: list[tuple[str, list[int]]] = []
        self.examined: list[Path] = []
        patch.setattr(iterate.collect, "collect", self.collect)
        patch.setattr(iterate.vision, "train", lambda *words: self.sights.append(words))
        patch.setattr(iterate.vision, "load_vision", lambda folder, task: folder)
        patch.setattr(iterate.latents, "encode", self.encode)
        patch.setattr(iterate.memory, "train", lambda *words, vision: self.memories.append(words))
        patch.setattr(iterate.memory, "assemble", self.assemble)
        patch.setattr(iterate.evolve, "evolve", self.evolve)
        patch.setattr(iterate, "examine", lambda task, best, sight: self.examined.append(sight))
        patch.setattr(iterate, "score", self.score)
        patch.setattr(iterate, "dataset", lambda seen, task: seen)
        patch.setattr(iterate, "content", lambda paths: f"that of {paths[0].name}")

    def collect(self, args: Any, out: Path, executor: Executor) -> None:
        self.plays.append((args, out))
        write_json(out / MANIFEST, {"lengths": [10] * args.episodes})

    def encode(self, task: Any, seen: Any, out: Path, v: Any) -> list[Path]:
        self.encoded.append((list(seen), out, v))
        return list(seen)

    def assemble(self, task, v, m, z, out, death="health", validation=0, rules=""):  # type: ignore[no-untyped-def]
        assert not rules
        self.worlds.append(validation)
        save_world(out, tiny_world(game=DOOM, seed=len(self.worlds)), real_frames=validation)

    def evolve(self, args: Any, out: Path, executor: Executor) -> None:
        self.evolved.append((args, out))
        config = ControllerConfig(38)
        weights = torch.full((config.parameters,), float(len(self.evolved)))
        path = out / "controller.safetensors"
        save_controller(
            path, Controller(config, weights), real=next(self.scores), real_frames=SPENT
        )

    def score(self, task, world, policy, seeds, executor):  # type: ignore[no-untyped-def]
        name = Path(world).parent.name
        self.finalists.append((name, list(seeds)))
        return [{"return": self.finals[name] + seed % 2, "length": 2} for seed in seeds]


def go(out: Path) -> None:
    iterate.iterate("doom", iterate.Plan(ROUNDS), out / "data", out / "runs", InProcess())


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stages:
    made = Stages(monkeypatch, [1.0, 9.0, 8.0, 2.0], {"round-1": 5.0, "round-2": 6.0})
    go(tmp_path)
    return made


def test_another_seed_plays_other_games_and_learns_by_other_luck(
    stages: Stages, tmp_path: Path
) -> None:
    stages.scores, stages.finals = iter([1.0, 9.0, 8.0, 2.0]), {"round-1": 5.0, "round-2": 6.0}
    other = tmp_path / "other"
    again = partial(iterate.iterate, "doom", data=other / "data", out=other / "runs")
    again(iterate.Plan(ROUNDS, seed=1), executor=InProcess())
    games = [{args.seed + i for i in range(args.episodes)} for args, _ in stages.plays]
    assert not set().union(*games[:4]) & set().union(*games[4:])
    luck = [args.seed for args, _ in stages.evolved]
    assert len(set(luck)) == len(luck) == 2 * len(ROUNDS)
    assert [args.seed for *_, args in stages.sights] == [0, 0, 1, 1]
    assert [words[2].seed for words in stages.memories] == [0] * 4 + [1] * 4
    with pytest.raises(ValueError, match="holds a round of other arguments or data"):
        again(iterate.Plan(ROUNDS, seed=2), executor=InProcess())
    with pytest.raises(ValueError, match="seed is 10: give 0 to 9"):
        iterate.Plan(ROUNDS, seed=10)


MANY = tuple(replace(each, budget=0) for each in (FIRST, *[ROUNDS[1]] * 7))


def stopped(
    patch: pytest.MonkeyPatch, out: Path, scores: list[float], frames: int = 400, **more: Any
) -> Stages:
    """Go through up to eight rounds with these scores; all their games have ten frames."""
    stages = Stages(patch, scores, {f"round-{number}": 1.0 for number in range(8)})
    patch.setattr(iterate, "_longest", lambda task: 10)
    patch.setattr(iterate, "frames_of", lambda path: 10)
    plan = iterate.Plan(MANY, stop=iterate.Stop(frames, patience=2), **more)
    iterate.iterate("doom", plan, out / "data", out / "runs", InProcess())
    return stages


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([1, 3, 2, 3], "rounds 2 and 3 scored no better than round 1 (3)"),
        ([5, 1, 4], "rounds 1 and 2 scored no better than round 0 (5)"),
        ([1, 2, 1, 3, 1, 4, 4, 4], ""),
        ([1, 2, 3, 4, 5, 6, 7, 8], ""),
    ],
)
def test_rounds_end_when_two_in_a_row_are_no_better(
    scores: list[float],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stages = stopped(monkeypatch, tmp_path, scores)
    assert len(stages.evolved) == len(scores)
    said = [line for line in capsys.readouterr().out.splitlines() if "no further" in line]
    assert len(said) == (0 if len(scores) == 8 else 1)
    assert not said or words in said[0]
    again = stopped(monkeypatch, tmp_path, scores)  # decides the same, and does nothing
    assert not again.evolved and not again.plays
    assert (capsys.readouterr().out.count("no further round") == 1) == bool(said)


@pytest.mark.parametrize(
    ("frames", "games"),
    [
        (400, [5, 5, 5, 5, 5, 5, 5, 5]),
        (170, [5, 2, 2, 2, 2, 1, 2, 1]),  # 120 // 7, 100 // 6, 80 // 5, …
        (95, [5, 1, 1, 1, 1]),  # 5 frames are too few for another game
        (59, [5]),
        (30, [5]),  # the fewest
    ],
)
def test_the_rounds_share_what_frames_are_left_and_end_when_none_are(
    frames: int, games: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stages = stopped(monkeypatch, tmp_path, list(range(1, 9)), frames)
    assert list({out: args.episodes for args, out in stages.plays}.values()) == games
    assert sum(games) <= max(frames // 10, games[0])


def test_what_is_given_takes_the_place_of_the_first_games_and_of_no_frames(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = tmp_path / "data" / "round-0"
    first.mkdir(parents=True)
    write_json(first / MANIFEST, {"lengths": [10] * 50})
    stages = stopped(monkeypatch, tmp_path, list(range(1, 9)), 350, given=True)
    plays = {out.name: args for args, out in stages.plays}
    assert [args.episodes for args in plays.values()] == [5] * 7 and "round-0" not in plays
    assert plays["round-1"].seed == 50
    best = tmp_path / "runs" / "best"
    files = [read_json(best / name)["real_frames"] for name in ("config.json", "controller.json")]
    assert sum(files) == 500 + 350 + 8 * SPENT + 2 * 100 * 2
    with pytest.raises(ValueError, match="round-0 holds a round of other arguments or data"):
        stopped(monkeypatch, tmp_path, [], 350)


def test_the_first_games_are_played_by_whom_the_caller_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stages = stopped(monkeypatch, tmp_path, [3, 2, 1], explore="random")
    who = {out.name: args.policy for args, out in stages.plays}
    assert who["round-0"] == "random" and "runs/round-0/" in who["round-1"]
    with pytest.raises(ValueError, match="round-0 holds a round of other arguments or data"):
        stopped(monkeypatch, tmp_path, [])


def test_no_game_is_played_twice_and_each_by_the_controller_before(
    stages: Stages, tmp_path: Path
) -> None:
    args = [each for each, _ in stages.plays]
    assert [each.seed for each in args] == [0, 5, 7, 10]
    assert [each.episodes for each in args] == [5, 2, 3, 4]
    assert [each.steps for each in args] == [300] * 4
    runs = [tmp_path / "runs" / f"round-{n}" for n in range(4)]
    assert [each.policy for each in args] == [
        "explore", *(str(run / "controller" / "controller.safetensors") for run in runs[:3]),
    ]  # fmt: skip
    assert [each.world for each in args] == ["", *(str(run / "world") for run in runs[:3])]


def test_v_and_m_learn_from_all_that_was_seen_so_far(stages: Stages, tmp_path: Path) -> None:
    data = [tmp_path / "data" / f"round-{n}" for n in range(4)]
    assert [out for _, out in stages.plays] == data
    assert [seen for seen, _, _ in stages.encoded] == [data[: n + 1] for n in range(4)]
    assert [words[0] for words in stages.memories] == [data[: n + 1] for n in range(4)]
    assert [words[2].frames for words in stages.sights] == [1000, 500]
    assert [words[2].task for words in stages.sights] == ["doom", "doom"]


def test_each_stage_goes_on_from_what_it_should(stages: Stages, tmp_path: Path) -> None:
    runs = [tmp_path / "runs" / f"round-{n}" for n in range(4)]
    assert [words[1] for words in stages.sights] == [runs[0], runs[3]]
    assert [words[2].init for words in stages.sights] == ["", str(runs[0])]
    sights = [runs[0], runs[0], runs[0], runs[3]]
    assert [(out, v) for _, out, v in stages.encoded] == [(run, run) for run in sights]
    assert [words[1] for words in stages.memories] == runs
    assert [words[2].init for words in stages.memories] == [
        "", str(runs[0]), "", str(runs[2] / "world"),
    ]  # fmt: skip
    assert [words[2].steps for words in stages.memories] == [30, 40, 30, 30]
    asked = [args for args, _ in stages.evolved]
    first, third = (str(runs[n] / "controller" / "controller.safetensors") for n in (0, 2))
    assert [each.init for each in asked] == ["", first, "", third]
    assert [each.world for each in asked] == [str(run / "world") for run in runs]
    assert [each.seed for each in asked] == [0, 1, 2, 3]
    for each in asked:
        assert (each.generations, each.rollouts, each.validate, each.games) == (4, 3, 2, 7)
        assert (each.temperature, each.steps) == ((0.9, 1.1), 300)


def test_the_best_of_two_on_fresh_games_is_kept(stages: Stages, tmp_path: Path) -> None:
    """Round 1 was better on validation, round 2 is when both play again."""
    fresh = list(range(FINAL, FINAL + 100))
    assert stages.finalists == [("round-1", fresh), ("round-2", fresh)]
    best = tmp_path / "runs" / "best"
    assert (load_controller(best).weights == 3).all()
    facts = read_json(best / "controller.json")
    assert facts["real"] == 8 and facts["final"] == 6.5
    assert stages.examined == [tmp_path / "runs" / "round-0"]  # by the V that it dreams with


def test_real_frames_of_all_rounds_are_counted_once(stages: Stages, tmp_path: Path) -> None:
    assert stages.worlds == [0, SPENT, 2 * SPENT, 3 * SPENT]
    best = tmp_path / "runs" / "best"
    files = [read_json(best / name)["real_frames"] for name in ("config.json", "controller.json")]
    data, validations, finals = 10 * (5 + 2 + 3 + 4), 4 * SPENT, 2 * 100 * 2
    assert sum(files) == data + validations + finals


def test_what_is_done_is_not_done_again(stages: Stages, tmp_path: Path) -> None:
    go(tmp_path)
    assert len(stages.plays) == len(stages.evolved) == 4
    assert len(stages.finalists) == 2


def test_who_has_played_the_last_choice_does_not_play_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = Stages(monkeypatch, [1.0, 9.0, 8.0, 2.0], {"round-2": 6.0})
    evolve = stages.evolve

    def evolves(args: Any, out: Path, executor: Executor) -> None:
        evolve(args, out, executor)
        if out.parent.name == "round-1":  # its own finalists have played, and were counted
            path = out / "controller.json"
            write_json(path, read_json(path) | {"final": 7.0})

    monkeypatch.setattr(iterate.evolve, "evolve", evolves)
    go(tmp_path)
    assert [name for name, _ in stages.finalists] == ["round-2"]
    best = tmp_path / "runs" / "best"
    assert (load_controller(best).weights == 2).all()
    files = [read_json(best / name)["real_frames"] for name in ("config.json", "controller.json")]
    assert sum(files) == 10 * 14 + 4 * SPENT + 100 * 2


class Learners(Stages):
    """Agents and their imitations as well, written down instead of trained."""

    def __init__(self, patch: pytest.MonkeyPatch, scores: list[float], finals: dict[str, float]):
        super().__init__(patch, scores, finals)
        self.trained: list[Any] = []
        self.imitated: list[Any] = []
        patch.setattr(iterate.train, "learn", self.learn)
        patch.setattr(iterate.distil, "distil", self.distil)

    def learn(self, args: Any, out: Path, executor: Executor, earlier: int = 0) -> None:
        self.trained.append((args, out))
        out.mkdir(parents=True, exist_ok=True)
        name = iterate.CONTROLLER if args.controller else iterate.AGENT
        for file in (name, "policy.zip"):
            (out / file).write_bytes(f"{len(self.trained)}".encode())
        real = 4.0 if args.controller else next(self.scores)
        write_json(
            (out / name).with_suffix(".json"), {"real": real, "real_frames": earlier + SPENT}
        )

    def distil(self, args: Any, out: Path) -> Path:
        self.imitated.append((args, out))
        path = out / iterate.CONTROLLER
        write_json(path.with_suffix(".json"), {"real_frames": SPENT})
        return path


AGENTS = (
    FIRST,
    replace(FIRST, episodes=2, frames=0, timesteps=50, anywhere=0.5, short=9, chance=0.1, hold=3),
    replace(FIRST, episodes=3, frames=600, timesteps=70, falling=0.01, imitated=10,
            even=True, rarity=0.25),
)  # fmt: skip


def test_an_agent_goes_on_from_the_last_one_and_c_imitates_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stages = Learners(monkeypatch, [1.0, 7.0, 8.0], {"round-1": 5.0, "round-2": 6.0})
    out, runs = tmp_path / "runs", [tmp_path / "runs" / f"round-{n}" for n in range(3)]
    for _ in range(2):  # the second time nothing is left to do
        iterate.iterate("doom", iterate.Plan(AGENTS), tmp_path / "data", out, InProcess())
    plays = [args for args, _ in stages.plays]
    assert [(each.chance, each.hold) for each in plays] == [(0.02, 10), (0.1, 3), (0.02, 10)]
    assert [Path(each.policy).name for each in plays[1:]] == [iterate.CONTROLLER, iterate.AGENT]
    assert [(words[2].even, words[2].rarity) for words in stages.sights] == [
        (False, 0), (True, 0.25),
    ]  # fmt: skip
    first, second, third = (args for args, _ in stages.trained)
    assert [out for _, out in stages.trained] == [
        runs[1] / "agent", runs[2] / "agent", runs[2] / "controller",
    ]  # fmt: skip
    assert (first.timesteps, first.init, first.rate) == (50, "", 0)
    assert (first.anywhere, first.steps, first.temperature) == (0.5, 9, (0.9, 1.1))
    assert (second.timesteps, second.rate, second.steps) == (70, 0.01, 300)
    assert second.init == str(runs[1] / "agent" / "policy.zip")
    assert (third.controller, third.timesteps, third.validate) == (True, 10, 3)
    assert (third.rate, third.patience) == (iterate.GENTLE, 0)
    assert third.init == str(runs[2] / "imitation" / iterate.CONTROLLER)
    (asked, place), = stages.imitated  # fmt: skip
    assert asked.policy == str(runs[2] / "agent" / iterate.AGENT)
    assert (asked.world, place) == (str(runs[2] / "world"), runs[2] / "imitation")


def test_an_agent_and_its_imitation_are_both_kept_with_all_real_frames(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Learners(monkeypatch, [1.0, 7.0, 8.0], {"round-1": 5.0, "round-2": 6.0})
    best = tmp_path / "runs" / "best"
    plan = iterate.Plan(AGENTS)
    iterate.iterate("doom", plan, tmp_path / "data", tmp_path / "runs", InProcess())
    assert (best / iterate.AGENT).read_bytes() == b"2"
    assert (best / iterate.CONTROLLER).read_bytes() == b"3"
    data, validations, finals = 10 * (5 + 2 + 3), 4 * SPENT, 2 * 100 * 2
    world = read_json(best / "config.json")["real_frames"]
    for name in (iterate.AGENT, iterate.CONTROLLER):
        facts = read_json((best / name).with_suffix(".json"))
        assert world + facts["real_frames"] == data + validations + finals
    assert read_json(best / "controller.json")["real"] == 4
    assert read_json(best / "agent.json")["final"] == 6.5


def test_c_evolves_beside_an_agent_from_the_c_of_the_round_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And not from the agent whose games the round has seen; from nothing if there is no C."""
    stages = Learners(monkeypatch, [1.0, 7.0, 8.0, 3.0, 9.0, 2.0], {"round-2": 5.0, "round-3": 6.0})
    beside = replace(FIRST, episodes=2, frames=0, timesteps=50, evolved=True)
    out = tmp_path / "runs"
    plan = iterate.Plan((FIRST, AGENTS[1], beside, replace(beside, episodes=4)))
    iterate.iterate("doom", plan, tmp_path / "data", out, InProcess())
    third = out / "round-2" / "controller" / iterate.CONTROLLER
    assert [args.init for args, _ in stages.evolved] == ["", "", str(third)]
    assert [Path(args.init).parts[-3:] for args, _ in stages.trained[1:]] == [
        ("round-1", "agent", "policy.zip"), ("round-2", "agent", "policy.zip"),
    ]  # fmt: skip
    best = out / "best"
    names = [iterate.AGENT, iterate.CONTROLLER]
    assert all((best / name).exists() for name in names)
    frames = [read_json(best / name)["real_frames"] for name in ("config.json", "agent.json")]
    data, validations, finals = 10 * (5 + 2 + 2 + 4), 6 * SPENT, 2 * 100 * 2
    assert sum(frames) == data + validations + finals


def test_no_policy_of_an_earlier_choice_stays_beside_the_best_world(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of one round, C is the best; of two, the agent of the second."""
    Learners(monkeypatch, [1.0, 7.0], {"round-0": 1.0, "round-1": 5.0})
    best = tmp_path / "runs" / "best"
    for rounds, kept in ((1, iterate.CONTROLLER), (2, iterate.AGENT)):
        plan = iterate.Plan(AGENTS[:rounds])
        iterate.iterate("doom", plan, tmp_path / "data", tmp_path / "runs", InProcess())
        there = {path.name for path in best.iterdir()} & {
            name for each in (iterate.CONTROLLER, iterate.AGENT)
            for name in (each, str(Path(each).with_suffix(".json")))
        }  # fmt: skip
        assert there == {kept, str(Path(kept).with_suffix(".json"))}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"imitated": 5}, "no agent learns: give timesteps"),
     ({"imitated": 5, "timesteps": 9, "evolved": True}, "imitated and evolved")],
)  # fmt: skip
def test_a_round_whose_parts_do_not_go_together_is_refused(
    wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        replace(FIRST, **wrong)

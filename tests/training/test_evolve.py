"""C is chosen by what its dreams pay on average, and kept by what the real game pays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dreamgym.checkpoint import load_controller, load_world, read_json, save_controller, save_world
from dreamgym.envs import actions
from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.models.controller import Controller
from dreamgym.training import evolve
from dreamgym.training.evolve import Args
from dreamgym.training.optimisers import CMAES
from dreamgym.training.play import dreams
from dreamgym.training.play.executors import InProcess
from dreamgym.training.play.policies import Controlled, controller_config
from dreamgym.training.runs import LOCK
from dreamgym.training.splits import FINAL, VALIDATION
from dreamgym.world import World
from tests.conftest import Inside, tiny_world, with_moments

BEST = -0.3


def args(folder: Path, generations: int, **other: Any) -> Args:
    asked = {"population": 16, "rollouts": 2, "validate": 0, "scaled": False, **other}
    return Args(str(folder), generations, **asked)


def small(folder: Path, generations: int = 4, **other: Any) -> Args:
    """What is asked of a search that does dream."""
    return args(folder, generations, **{"population": 6, "rollouts": 3, "scaled": True, **other})


def validated(folder: Path, generations: int, finalists: int = 0) -> Args:
    """What is asked of a search whose every mean plays two real games."""
    return args(folder, generations, validate=1, games=2, finalists=finalists, final_games=2)


def go(asked: Args, out: Path, **other: Any) -> Controller:
    """Evolve a controller in this process."""
    return evolve.evolve(asked, out, InProcess(), **{"progress": False, **other})


def paid(weights: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
    """A bandit: on average the best is -0.3, on even seeds 1 or more, on odd ones -1 or less."""
    luck = torch.where(seeds % 2 == 0, 1.0, -1.0)
    return (-(weights - BEST).square() + 4 * luck[:, None] * weights).sum(1)


def played_dreams(returns: torch.Tensor) -> dreams.Played:
    nothing = torch.zeros(len(returns))
    return dreams.Played(returns, nothing, nothing, nothing[:, None])


@pytest.fixture
def bandit(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Dreams and games that pay as the bandit does; returns who dreamed with which seed."""
    asked = []

    def dreamed(world, policy, seeds, *_, **__):  # type: ignore[no-untyped-def]
        weights = policy.controller.weights
        asked.append((weights, seeds))
        return played_dreams(paid(weights, seeds))

    def played(task, world, controllers, seeds, executor):  # type: ignore[no-untyped-def]
        seeds = torch.tensor(list(seeds))
        rows = [paid(each.weights.expand(len(seeds), -1), seeds) for each in controllers]
        return torch.stack(rows).numpy(), 7

    monkeypatch.setattr(dreams, "play", dreamed)
    monkeypatch.setattr(evolve, "tournament", played)
    return asked


@pytest.mark.parametrize("reality", [False, True])
def test_a_member_counts_by_the_mean_of_its_dreams_not_by_the_luckiest(
    reality: bool, folder: Path, tmp_path: Path, bandit: list
) -> None:
    best = go(args(folder, 50, reality=reality), tmp_path)
    assert (best.weights - BEST).square().mean() < BEST**2 / 6
    assert best.weights.mean() == pytest.approx(BEST, abs=0.1)


def test_all_members_dream_on_the_same_seeds_and_each_generation_on_its_own(
    folder: Path, tmp_path: Path, bandit: list
) -> None:
    go(args(folder, 3, rollouts=5, seed=2), tmp_path)
    rounds = []
    for weights, seeds in bandit:
        rows = weights.view(16, 5, -1)
        assert (rows == rows[:, :1]).all()  # a member's own, five times
        assert len({tuple(row.tolist()) for row in rows[:, 0]}) == 16
        assert (seeds.view(16, 5) == seeds[:5]).all()
        rounds.append(set(seeds.tolist()))
    assert [len(each) for each in rounds] == [5, 5, 5]
    assert len(set.union(*rounds)) == 15


@pytest.mark.parametrize("seed", [0, 1, 9, 12_345])
def test_dreams_stay_off_the_seeds_of_validation_and_test(
    seed: int, folder: Path, tmp_path: Path, bandit: list
) -> None:
    go(args(folder, 2, rollouts=16, population=4, seed=seed), tmp_path)
    for _, seeds in bandit:
        assert int(seeds.min()) >= 0 and int(seeds.max()) < VALIDATION


def test_finished_dreams_change_nothing_for_the_others() -> None:
    world, seeds = tiny_world(hit=-2.0), torch.arange(40)
    config = controller_config(world)
    weights = torch.randn(40, config.parameters)
    together = dreamt(world, Controller(config, weights), seeds)
    for row in (3, 17):
        assert dreamt(world, Controller(config, weights[row]), seeds[[row]]) == together[row]
    assert len(together.unique()) > 10


def dreamt(world: World, controller: Controller, seeds: torch.Tensor) -> torch.Tensor:
    """Return what a controller's dreams pay."""
    return dreams.play(world, Controlled(controller, world.game), seeds, 1.0, 1.0)[0]


def test_the_curve_tells_the_mean_dream_and_the_best_member_s(
    folder: Path, tmp_path: Path, bandit: list
) -> None:
    go(args(folder, 2, temperature=(0.9, 1.3)), tmp_path)
    curve = read_json(tmp_path / "evolution.json")["curve"]
    for (weights, seeds), point in zip(bandit, curve, strict=True):
        returns = paid(weights, seeds).view(16, 2)
        assert point["dream"] == pytest.approx(float(returns.mean()), rel=1e-5)
        assert point["dream_best"] == pytest.approx(float(returns.mean(1).max()), rel=1e-5)
        assert point["temperature"] == [0.9, 1.3]
        assert 0 < point["sigma"] < 1
    assert [point["generation"] for point in curve] == [1, 2]


def test_dreams_have_the_range_and_the_limit_that_are_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def dreamed(world, policy, seeds, *rest, **inside):  # type: ignore[no-untyped-def]
        asked.append((*rest, inside))
        return played_dreams(torch.arange(len(seeds)).float())

    monkeypatch.setattr(dreams, "play", dreamed)
    go(args(folder, 1, temperature=(0.7, 1.4), steps=33, anywhere=0.5, short=20), tmp_path)
    assert asked == [(0.7, 1.4, 33, {"anywhere": 0.5, "short": 20})]


class Watched(CMAES):
    """A search that remembers whom it asked and what it came to."""

    def __init__(self, *given: Any):
        super().__init__(*given)
        self.asked: list[np.ndarray] = []
        self.means: list[torch.Tensor] = []

    def ask(self) -> np.ndarray:
        self.asked.append(super().ask())
        return self.asked[-1]

    def tell(self, losses: np.ndarray) -> None:
        super().tell(losses)
        self.means.append(torch.tensor(self.mean).float())


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    """Every search that is made."""
    made: list[Watched] = []

    def search(*given: Any) -> Watched:
        made.append(Watched(*given))
        return made[-1]

    monkeypatch.setattr(evolve, "CMAES", search)
    return made


class Reality:
    """Real games that pay the next number, and who was asked to play them."""

    def __init__(self, patch: pytest.MonkeyPatch, scores: Iterable[float]):
        self.scores, self.players, self.seeds = iter(scores), [], []  # type: ignore[var-annotated]
        patch.setattr(evolve, "score", self.play)

    def play(self, task, world, policy, seeds, *_, **__):  # type: ignore[no-untyped-def]
        self.players.append(policy.weights.clone())
        self.seeds.append(list(seeds))
        score = next(self.scores)  # every second game a point more, every other a point less
        luck = [1.0 if seed % 2 else -1.0 for seed in seeds]
        return [{"return": score + each, "length": 3} for each in luck]


@pytest.mark.parametrize(
    "scores", [(500.0, 900.0, 100.0), (100.0, 500.0, 900.0), (900.0, 500.0, 100.0)]
)
@pytest.mark.parametrize("stopped", [False, True])
def test_of_two_checkpoints_the_better_one_s_weights_are_kept(
    scores: tuple, stopped: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    bandit: list,
) -> None:  # fmt: skip
    reality = Reality(monkeypatch, list(scores))
    asked = {"validate": 2, "games": 4, "finalists": 0}
    if stopped:
        go(args(folder, 4, **asked), tmp_path)
    kept = go(args(folder, 6, **asked), tmp_path)
    best = int(np.argmax(scores))
    assert torch.equal(kept.weights, reality.players[best])
    facts = read_json(tmp_path / "controller.json")
    assert (facts["generation"], facts["real"]) == (2 * best + 2, max(scores))
    assert facts["real_frames"] == 3 * 4 * 3
    assert reality.seeds == [list(range(VALIDATION, VALIDATION + 4))] * 3
    curve = read_json(tmp_path / "evolution.json")["curve"]
    assert [point.get("real") for point in curve] == [None, scores[0], None, scores[1], None,
                                                      scores[2]]  # fmt: skip
    assert [p["real_frames"] for p in curve if "real" in p] == [12, 24, 36]


def test_it_is_the_mean_of_the_search_that_plays_the_real_game(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bandit: list
) -> None:
    reality = Reality(monkeypatch, [1.0, 2.0])
    last = go(args(folder, 2, validate=1, games=1, finalists=0), tmp_path)
    assert torch.equal(last.weights, reality.players[1])
    rows = bandit[0][0].view(16, 2, -1)[:, 0]
    first = reality.players[0]
    assert not any(torch.equal(first, row) for row in rows)  # no single member
    assert first.norm() < rows.norm(dim=1).min()  # and nearer to where all of them began
    assert isinstance(last, Controller)


@pytest.mark.parametrize("final", [(600.0, 700.0), (700.0, 600.0)])
def test_of_two_finalists_the_better_one_s_weights_are_kept(
    final: tuple, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bandit: list
) -> None:
    reality = Reality(monkeypatch, [500.0, 900.0, 100.0, *final])
    asked = args(folder, 3, validate=1, games=2, finalists=2, final_games=6)
    kept = go(asked, tmp_path)
    second, first = reality.players[0], reality.players[1]  # of validation, in order of play
    assert torch.equal(reality.players[3], first) and torch.equal(reality.players[4], second)
    assert torch.equal(kept.weights, (first, second)[int(np.argmax(final))])
    assert reality.seeds[3] == reality.seeds[4] == list(range(FINAL, FINAL + 6))
    facts = read_json(tmp_path / "controller.json")
    assert (facts["final"], facts["real"]) == (700, 900 if final[0] > final[1] else 500)
    assert evolve.spent(tmp_path) == facts["real_frames"] == 3 * (3 * 2 + 2 * 6)
    read = load_controller(tmp_path / "controller.safetensors")
    assert torch.equal(read.weights, kept.weights)
    again = go(asked, tmp_path)
    assert torch.equal(again.weights, kept.weights)
    assert len(reality.players) == 5  # nobody plays again


def test_frames_of_learning_and_of_validation_are_added_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bandit: list
) -> None:
    Reality(monkeypatch, [1.0])
    asked = args(folder, 3, reality=True, validate=2, games=5, finalists=0)
    go(asked, tmp_path)
    curve = read_json(tmp_path / "evolution.json")["curve"]
    assert [point["real_frames"] for point in curve] == [7, 14 + 15, 21 + 15]
    assert read_json(tmp_path / "controller.json")["real_frames"] == 36


def test_a_search_that_ran_out_of_time_stops_after_a_generation(
    folder: Path, tmp_path: Path, bandit: list
) -> None:
    go(args(folder, 9), tmp_path, seconds=0)
    assert len(bandit) == 1
    go(args(folder, 9), tmp_path, seconds=0)
    assert len(bandit) == 1  # one it has already


def test_another_seed_is_another_search(folder: Path, tmp_path: Path, bandit: list) -> None:
    ends = [
        go(args(folder, 2, seed=seed), tmp_path / str(i)).weights
        for i, seed in enumerate((3, 3, 4))
    ]
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


def test_a_search_that_goes_on_begins_there_with_half_the_step(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, searches: list, bandit: list
) -> None:
    init, config = tmp_path / "init.safetensors", controller_config(load_world(folder))
    save_controller(init, Controller(config, torch.full((config.parameters,), 5.0)))
    monkeypatch.setattr(evolve, "first_steps", lambda *_: np.full(config.parameters, 0.2))
    anew, on = (
        args(folder, 1, population=500, scaled=True, init=begun) for begun in ("", str(init))
    )
    for asked, first, spread in ((anew, 0, 0.2), (on, 5, 0.1)):
        go(asked, tmp_path / str(first))
        (drawn,) = searches[-1].asked
        assert drawn.mean() == pytest.approx(first, abs=0.01)
        assert drawn.std() == pytest.approx(spread, rel=0.05)


def test_without_validation_the_last_mean_is_kept_and_told(
    folder: Path, tmp_path: Path, bandit: list
) -> None:
    go(args(folder, 3), tmp_path)
    facts = read_json(tmp_path / "controller.json")
    curve = read_json(tmp_path / "evolution.json")["curve"]
    assert facts["generation"] == 3 and facts["dream"] == curve[-1]["dream"]


@pytest.mark.parametrize("hidden", [0, 5])
def test_a_first_step_is_one_over_the_input_s_spread_and_the_root_of_their_number(
    hidden: int, car_folder: Path
) -> None:
    world = load_world(car_folder)
    config = controller_config(world, hidden=hidden)
    steps = evolve.first_steps(world, config, args(car_folder, 1, temperature=1.0))
    inputs, outputs = config.layers[0]
    weights = steps[: inputs * outputs].reshape(outputs, inputs)
    assert (weights == weights[0]).all()  # each output sees the same
    biases = steps[inputs * outputs : (inputs + 1) * outputs]
    assert biases == pytest.approx([(inputs + 1) ** -0.5] * outputs)
    state, seen, alive = world.start(torch.arange(256)), [], torch.ones(256, dtype=torch.bool)
    for _ in range(200):
        seen.append(world.observe(state, config.observation)[alive])
        action = actions.random(state.key, state.step, world.game)
        state, _, dead = world.step(state, action, torch.ones(256, 1))
        alive &= ~dead
    spread = torch.cat(seen).std(0).clamp_min(1e-3).numpy()
    assert weights[0] * spread == pytest.approx([(inputs + 1) ** -0.5] * inputs, rel=1e-4)
    if hidden:  # a hidden unit is tanh of a number of unit spread, about 0.6
        assert steps[-(hidden * 3) - 3 : -3] == pytest.approx([1 / 0.6 / 6**0.5] * 15)
        assert steps[-3:] == pytest.approx([6**-0.5] * 3)


def test_a_finalist_of_before_a_stop_is_called_back_as_it_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bandit: list
) -> None:
    reality = Reality(monkeypatch, [500.0, 900.0, 1.0, 2.0, 100.0])
    asked = {"validate": 1, "games": 2, "finalists": 2, "final_games": 2}
    go(args(folder, 2, **asked), tmp_path)
    kept = go(args(folder, 3, **asked), tmp_path)
    assert torch.equal(kept.weights, reality.players[0])


@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("name", ["folder", "car_folder"])
def test_a_scaled_search_begins_with_layers_of_unit_spread(
    request: pytest.FixtureRequest, name: str, hidden: int
) -> None:
    world = load_world(request.getfixturevalue(name))
    config = controller_config(world, hidden=hidden)
    asked = small(Path(name), hidden=hidden, temperature=world.game.temperature)
    steps = evolve.first_steps(world, config, asked)
    assert steps.shape == (config.parameters,) and (steps > 0).all()
    zeros = np.zeros(config.parameters)
    drawn = [CMAES(zeros, 6, seed, steps, evolve.SPREAD).ask() for seed in range(200)]
    weights = torch.tensor(np.concatenate(drawn)).float()
    state, seen = world.start(torch.arange(64)), []
    for _ in range(50):
        seen.append(world.observe(state, config.observation))
        action = actions.random(state.key, state.step, world.game)
        state, _, _ = world.step(state, action, torch.ones(64, 1))
    x = torch.cat(seen)[torch.randint(64 * 50, (len(weights),))] - torch.cat(seen).mean(0)
    (inputs, outputs), size = config.layers[0], config.layers[0][0] * config.layers[0][1]
    rows = weights[:, :size].unflatten(1, (outputs, inputs))
    first = torch.einsum("noi,ni->no", rows, x)
    if config.bias:
        first += weights[:, size : size + outputs]
    assert first.std().item() == pytest.approx(1, abs=0.15)
    if hidden:
        last = torch.atanh(Controller(config, weights).act(x).clamp(-0.9999, 0.9999))
        assert last.std().item() == pytest.approx(1, abs=0.25)


def test_a_resumed_evolution_is_the_uninterrupted_one(folder: Path, tmp_path: Path) -> None:
    whole = go(small(folder), tmp_path / "whole")
    go(small(folder, 2), tmp_path / "parts")
    parts = go(small(folder), tmp_path / "parts")
    assert torch.equal(whole.weights, parts.weights)
    curves = [read_json(tmp_path / name / "evolution.json")["curve"] for name in ("whole", "parts")]
    assert curves[0] == curves[1]


def test_another_run_s_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    go(small(folder, 1), tmp_path)
    with pytest.raises(ValueError, match="choose another --out"):
        go(small(folder, 1, seed=5), tmp_path)


def test_a_run_holds_safetensors_json_a_picture_and_logs(folder: Path, tmp_path: Path) -> None:
    go(small(folder, 1), tmp_path)
    kinds = {path.suffix for path in tmp_path.iterdir() if path.is_file() and path.name != LOCK}
    assert kinds == {".safetensors", ".json", ".png"}


def test_the_learning_curve_is_drawn(tmp_path: Path) -> None:
    curve = [{"generation": i, "dream": 10.0 * i} for i in range(1, 5)]
    curve[3]["real"] = 35.0
    evolve.plot(curve, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_it_can_learn_in_the_real_game_and_counts_its_frames(
    folder: Path, tmp_path: Path, inside: Inside
) -> None:
    asked = small(folder, 2, population=4, rollouts=1, reality=True)
    evolve.evolve(asked, tmp_path, inside, progress=False)
    assert len(inside.jobs) == 2 * 4
    curve = read_json(tmp_path / "evolution.json")["curve"]
    spent = np.cumsum([4 * point["dream"] for point in curve])  # in Doom a frame pays 1
    assert [point["real_frames"] for point in curve] == spent.tolist()


def test_what_no_car_can_do_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_world(tmp_path / "world", tiny_world(hit=(-9.0, -9.0, -9.0), game=CAR_RACING))
    returns = torch.tensor([962.0, 961.0, 999.0, -50.0])
    monkeypatch.setattr(dreams, "play", lambda *_, **__: played_dreams(returns))
    go(args(tmp_path / "world", 1, population=4, rollouts=1), tmp_path / "run")
    curve = read_json(tmp_path / "run" / "evolution.json")["curve"]
    assert curve[0]["impossible"] == 0.5


def test_its_dreams_begin_where_it_is_told_and_are_cut_there_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_world(tmp_path / "world", with_moments(tiny_world(hit=-50.0)))
    plain, told = dreams.play, []

    def play(world, policy, seeds, *rest, **asked):  # type: ignore[no-untyped-def]
        played = plain(world, policy, seeds, *rest, **asked)
        begun = world.start(seeds, anywhere=asked["anywhere"]).step
        told.append((begun > 0, played.lengths))
        return played

    monkeypatch.setattr(dreams, "play", play)
    asked = args(tmp_path / "world", 2, population=4, rollouts=8, anywhere=0.5, short=7, steps=40)
    go(asked, tmp_path / "run")
    assert len(told) == 2
    for inside, lengths in told:
        assert torch.equal(lengths, torch.where(inside, 7, 40))
        assert 0 < inside.sum() < 32


def test_a_search_inside_games_needs_a_world_that_knows_them(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="this world knows no moments inside games"):
        go(small(folder, 1, anywhere=0.5), tmp_path)


@pytest.mark.parametrize(("name", "value"), [("anywhere", -0.1), ("anywhere", 1.5), ("short", -1)])
def test_a_share_or_a_cut_that_is_none_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        evolve.Args("doom", **{name: value})  # type: ignore[arg-type]


def test_it_sees_what_it_is_told_to_see(folder: Path, tmp_path: Path) -> None:
    best = go(small(folder, 1, observation="z", hidden=4), tmp_path)
    z = tiny_world().size("z")
    assert best.config.layers == [(z, 4), (4, 1)]
    with pytest.raises(ValueError, match="observation is 'sky': choose one of z, zh, zhc"):
        go(small(folder, 1, observation="sky"), tmp_path / "sky")


def test_a_search_goes_on_only_from_a_controller_of_its_shape(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = go(small(folder, 1), tmp_path / "first")
    init = str(tmp_path / "first" / "controller.safetensors")
    monkeypatch.setattr(evolve, "first_steps", lambda *_: np.full(first.config.parameters, 1e-6))
    still = go(small(folder, 1, init=init), tmp_path / "still")
    torch.testing.assert_close(still.weights, first.weights, atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="the search needs a ControllerConfig"):
        go(small(folder, 1, init=init, observation="z"), tmp_path / "z")


def test_of_two_equal_validations_the_first_is_kept_with_its_own_facts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, searches: list, bandit: list
) -> None:
    Reality(monkeypatch, [700.0, 900.0, 900.0])
    best = go(validated(folder, 3), tmp_path)
    facts = read_json(tmp_path / "controller.json")
    curve = read_json(tmp_path / "evolution.json")["curve"]
    assert facts["generation"] == 2 and torch.equal(best.weights, searches[0].means[1])
    assert facts["dream"] == curve[1]["dream"] and facts["real_frames"] == 3 * 2 * 3


def test_a_rerun_with_fewer_generations_relabels_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bandit: list
) -> None:
    Reality(monkeypatch, [500.0, 900.0, 100.0, 400.0, 600.0])
    go(validated(folder, 3, finalists=2), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    with pytest.raises(ValueError, match="holds 3 generations already, more than 2: ask for 3 or"):
        go(validated(folder, 2, finalists=2), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == before


def test_a_finalist_s_weights_go_by_no_other_generation_s_facts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, searches: list, bandit: list
) -> None:
    """The last choice falls on generation 1; then the search goes on, and is stopped."""
    Reality(monkeypatch, [500.0, 900.0, 100.0, 400.0, 600.0])
    first = go(validated(folder, 3, finalists=2), tmp_path)
    means = searches[0].means
    assert torch.equal(first.weights, means[0])
    best = go(validated(folder, 9, finalists=2), tmp_path, seconds=0)
    facts = read_json(tmp_path / "controller.json")
    assert torch.equal(best.weights, means[facts["generation"] - 1])


def test_a_demonstration_s_bar_tells_the_seconds_that_are_left(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(small(folder, 1000), tmp_path, seconds=2, progress=True)
    shown = capsys.readouterr().err
    assert "of 2 s" in shown and "1000" not in shown


def test_validations_that_were_not_kept_have_cost_frames_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bandit: list
) -> None:
    def scores() -> Iterator[float]:
        yield from (900.0, 100.0, 100.0)
        raise KeyboardInterrupt

    Reality(monkeypatch, scores())
    with pytest.raises(KeyboardInterrupt):
        go(validated(folder, 9), tmp_path)
    facts = read_json(tmp_path / "controller.json")
    assert (facts["generation"], facts["real_frames"]) == (1, 18) == (1, evolve.spent(tmp_path))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("final_games", 0, "give 1 to 400,000"),
        ("games", 0, "give 1 to 100,000"),
        ("games", 100_001, "give 1 to 100,000"),
        ("population", 3, "give 4 or more"),
        ("finalists", -1, "give 0 or more"),
        ("seed", 2**32, "give 0 to 4,294,967,295"),
    ],
)
def test_numbers_of_no_search_are_refused(name: str, value: int, words: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}: {words}"):
        Args("doom", **{name: value})

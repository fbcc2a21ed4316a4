"""Evolution in the dream: exact resume, no pickle, the best on validation is kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dreamgym.checkpoint import load_controller, load_world, save_controller, save_world
from dreamgym.models.controller import Controller
from dreamgym.tasks import CAR_RACING
from dreamgym.training import controller
from dreamgym.training.controller import Args, evolve
from dreamgym.training.evaluate import controller_config, dream
from dreamgym.training.games import uniform
from dreamgym.training.runs import LOCK
from tests.conftest import tiny_world


def args(folder, generations=4, **kwargs):
    return Args(str(folder), generations, population=6, rollouts=3, validate=0, **kwargs)


def test_a_resumed_evolution_is_the_uninterrupted_one(folder, tmp_path):
    whole = evolve(args(folder), tmp_path / "whole", progress=False)
    evolve(args(folder, generations=2), tmp_path / "parts", progress=False)
    parts = evolve(args(folder), tmp_path / "parts", progress=False)
    assert torch.equal(whole.weights, parts.weights)
    curves = [json.loads((tmp_path / n / "evolution.json").read_text()) for n in ("whole", "parts")]
    assert curves[0]["curve"] == curves[1]["curve"]


def test_another_run_s_folder_is_refused(folder, tmp_path):
    evolve(args(folder, generations=1), tmp_path, progress=False)
    with pytest.raises(ValueError, match="choose another --out"):
        evolve(args(folder, generations=1, seed=5), tmp_path, progress=False)


def test_a_run_holds_safetensors_json_a_picture_and_logs(folder, tmp_path):
    evolve(args(folder, generations=1), tmp_path, progress=False)
    kinds = {path.suffix for path in tmp_path.iterdir() if path.is_file() and path.name != LOCK}
    assert kinds == {".safetensors", ".json", ".png"}


def test_cma_es_learns_what_pays(folder, tmp_path, monkeypatch):
    """A dream whose length is a known function of the weights, with its best at 0.3."""

    def known(world, controller, seeds, low, high, limit):
        return -(controller.weights - 0.3).square().sum(1), None

    monkeypatch.setattr(controller, "dream", known)
    best = evolve(
        Args(str(folder), 60, population=16, rollouts=1, validate=0, scaled=False),
        tmp_path,
        progress=False,
    )
    assert (best.weights - 0.3).square().mean() < 0.3**2 / 10


@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("name", ["folder", "car_folder"])
def test_a_scaled_search_begins_with_layers_of_unit_spread(request, name, hidden):
    world = load_world(request.getfixturevalue(name))
    stage = args(name, hidden=hidden)
    config = controller_config(world, hidden=hidden)
    steps = controller.first_steps(world, config, stage)
    assert steps.shape == (config.parameters,) and (steps > 0).all()
    zeros = np.zeros(config.parameters)
    drawn = [controller.strategy(replace(stage, seed=i), steps, zeros).ask() for i in range(200)]
    weights = torch.tensor(np.concatenate(drawn)).float()
    state, seen = world.start(torch.arange(64)), []
    for _ in range(50):
        seen.append(world.observe(state, config.observation))
        told = uniform(state.key, state.step, world.task)
        state, _, _ = world.step(state, told, torch.ones(64, 1))
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
    unscaled = np.concatenate([controller.strategy(stage, None, zeros).ask() for _ in range(9)])
    assert unscaled.std() == pytest.approx(0.1, abs=0.02)


def test_the_controller_that_transfers_is_kept(folder, tmp_path, monkeypatch):
    scores = iter([500.0, 900.0, 100.0])

    def known(*_, **__):
        return [{"return": next(scores), "length": 1}]

    monkeypatch.setattr(controller, "real", known)
    evolve(
        Args(str(folder), 3, population=6, rollouts=2, validate=1, games=1, finalists=0),
        tmp_path, progress=False,
    )  # fmt: skip
    kept = json.loads((tmp_path / "controller.json").read_text())
    assert kept["generation"] == 2 and kept["real"] == 900
    load_controller(tmp_path / "controller.safetensors")


def test_the_best_on_validation_play_again_on_fresh_seeds(folder, tmp_path, monkeypatch):
    scores, seeds = iter([500.0, 900.0, 100.0, 400.0, 600.0]), []

    def known(task, world, policy, played, *_, **__):
        seeds.append(played)
        return [{"return": next(scores), "length": 1}]

    monkeypatch.setattr(controller, "real", known)
    stage = Args(str(folder), 3, population=6, rollouts=2, validate=1, games=1, finalists=2)
    best = evolve(stage, tmp_path, progress=False)
    kept = json.loads((tmp_path / "controller.json").read_text())
    assert (kept["generation"], kept["real"], kept["final"]) == (1, 500, 600)
    assert kept["real_frames"] == 5
    assert not set(seeds[0]) & set(seeds[-1])
    again = evolve(stage, tmp_path, progress=False)  # plays no game: `scores` has run out
    assert torch.equal(again.weights, best.weights)


def test_finished_dreams_change_nothing_for_the_others():
    world = tiny_world(hit=-2.0)
    config = controller_config(world)
    torch.manual_seed(0)
    weights = torch.randn(40, config.parameters)
    seeds = torch.arange(40)
    together, _ = dream(world, Controller(config, weights), seeds, 1.0, 1.0)
    one, other = Controller(config, weights[3]), Controller(config, weights[17])
    alone = [dream(world, c, seeds[i], 1.0, 1.0)[0] for c, i in ((one, [3]), (other, [17]))]
    assert together[3] == alone[0] and together[17] == alone[1]
    assert len(np.unique(together)) > 10


def test_the_learning_curve_is_drawn(tmp_path):
    curve = [{"generation": i, "dream": 10.0 * i} for i in range(1, 5)]
    curve[3]["real"] = 35.0
    controller.plot(curve, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_it_can_learn_in_the_real_game_and_counts_its_frames(folder, tmp_path, inside):
    stage = Args(str(folder), 2, population=4, rollouts=1, validate=0, reality=True)
    evolve(stage, tmp_path, 2, progress=False)
    curve = json.loads((tmp_path / "evolution.json").read_text())["curve"]
    spent = np.cumsum([4 * point["dream"] for point in curve])  # in Doom a frame pays 1
    assert [point["real_frames"] for point in curve] == spent.tolist()


def test_what_no_car_can_do_is_counted(tmp_path, monkeypatch):
    save_world(tmp_path / "world", tiny_world(hit=(-9.0, -9.0, -9.0), task=CAR_RACING))

    def known(world, controller, seeds, low, high, limit):
        return torch.tensor([962.0, 961.0, 999.0, -50.0]), None

    monkeypatch.setattr(controller, "dream", known)
    stage = Args(str(tmp_path / "world"), 1, population=4, rollouts=1, validate=0)
    evolve(stage, tmp_path / "run", progress=False)
    curve = json.loads((tmp_path / "run" / "evolution.json").read_text())["curve"]
    assert curve[0]["impossible"] == 0.5


def test_it_sees_what_it_is_told_to_see(folder, tmp_path):
    best = evolve(args(folder, 1, observation="z", hidden=4), tmp_path, progress=False)
    z = tiny_world().size("z")
    assert best.config.layers == [(z, 4), (4, 1)]
    with pytest.raises(ValueError, match="observation is 'sky': choose one of z, zh, zhc"):
        evolve(args(folder, 1, observation="sky"), tmp_path / "sky", progress=False)


def test_a_search_goes_on_only_from_a_controller_of_its_shape(folder, tmp_path):
    first = evolve(args(folder, 1), tmp_path / "first", progress=False)
    init = str(tmp_path / "first" / "controller.safetensors")
    still = controller.strategy(
        args(folder, 1, init=init), np.full(first.config.parameters, 1e-6), first.weights.numpy()
    )
    assert np.allclose(still.ask()[0], first.weights.numpy(), atol=1e-3)
    with pytest.raises(ValueError, match="the search is for ControllerConfig"):
        evolve(args(folder, 1, init=init, observation="z"), tmp_path / "z", progress=False)


def known_scores(monkeypatch, *scores):
    """Let the mean's validations, one after another, pay this."""
    left = list(scores)

    def play(*_, **__):
        return [{"return": left.pop(0), "length": 1}]

    monkeypatch.setattr(controller, "real", play)
    return left


def means(folder, tmp_path, monkeypatch, generations):
    """Return CMA-ES's mean after each generation of the search that `validated` does."""
    known_scores(monkeypatch, *range(generations))
    told, kept = controller.strategy, []

    def strategy(*given):
        es = told(*given)
        tell = es.tell
        es.tell = lambda *losses: (tell(*losses), kept.append(torch.tensor(es.mean).float()))
        return es

    with monkeypatch.context() as patch:
        patch.setattr(controller, "strategy", strategy)
        evolve(validated(folder, generations), tmp_path / "means", progress=False)
    return kept


def validated(folder, generations, finalists=0):
    return Args(
        str(folder), generations, population=6, rollouts=2, validate=1, games=1,
        finalists=finalists,
    )  # fmt: skip


def test_of_two_equal_validations_the_first_is_kept_with_its_own_facts(
    folder, tmp_path, monkeypatch
):
    each = means(folder, tmp_path, monkeypatch, 3)
    known_scores(monkeypatch, 700.0, 900.0, 900.0)
    best = evolve(validated(folder, 3), tmp_path / "run", progress=False)
    facts = json.loads((tmp_path / "run" / "controller.json").read_text())
    curve = json.loads((tmp_path / "run" / "evolution.json").read_text())["curve"]
    assert facts["generation"] == 2 and torch.equal(best.weights, each[1])
    assert facts["dream"] == curve[1]["dream"] and facts["real_frames"] == 3


def test_a_rerun_with_fewer_generations_relabels_nothing(folder, tmp_path, monkeypatch):
    known_scores(monkeypatch, 500.0, 900.0, 100.0, 400.0, 600.0)
    evolve(validated(folder, 3, finalists=2), tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    with pytest.raises(ValueError, match="holds 3 generations already, more than 2: ask for 3 or"):
        evolve(validated(folder, 2, finalists=2), tmp_path, progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == before


def test_a_finalist_s_weights_go_by_no_other_generation_s_facts(folder, tmp_path, monkeypatch):
    """The last choice falls on generation 1; then the search goes on, and is stopped."""
    each = means(folder, tmp_path, monkeypatch, 4)
    known_scores(monkeypatch, 500.0, 900.0, 100.0, 400.0, 600.0)
    run = tmp_path / "run"
    first = evolve(validated(folder, 3, finalists=2), run, progress=False)
    assert torch.equal(first.weights, each[0])
    known_scores(monkeypatch, 200.0)
    best = evolve(validated(folder, 9, finalists=2), run, progress=False, seconds=0)
    facts = json.loads((run / "controller.json").read_text())
    assert torch.equal(best.weights, each[facts["generation"] - 1])


def test_a_demonstration_s_bar_tells_the_seconds_that_are_left(folder, tmp_path, capsys):
    evolve(args(folder, generations=1000), tmp_path, seconds=2)
    shown = capsys.readouterr().err
    assert "of 2 s" in shown and "1000" not in shown


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    config = controller_config(tiny_world())
    large = replace(config, inputs=5000)
    with pytest.raises(ValueError, match=r"ControllerConfig\.inputs is 5000, expected a whole"):
        save_controller(tmp_path / "c.safetensors", Controller(large, torch.zeros(5000)))
    assert not list(tmp_path.iterdir())


def test_validations_that_were_not_kept_have_cost_frames_too(folder, tmp_path, monkeypatch):
    def stopped(*_, **__):
        if len(left) == 0:
            raise KeyboardInterrupt
        return [{"return": left.pop(0), "length": 20}]

    left = [900.0, 100.0, 100.0]
    monkeypatch.setattr(controller, "real", stopped)
    with pytest.raises(KeyboardInterrupt):
        evolve(validated(folder, 9), tmp_path, progress=False)
    facts = json.loads((tmp_path / "controller.json").read_text())
    assert (facts["generation"], facts["real_frames"]) == (1, 60) == (1, controller.spent(tmp_path))


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

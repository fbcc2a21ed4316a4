"""The shipped worlds dream what they have always dreamt, and the real games show what they did."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from dreamgym import games
from dreamgym.checkpoint import load_world
from dreamgym.games import Game
from tests import golden

WAYS = [(form, precision) for form in golden.FORMS for precision in golden.PRECISIONS]
CLOSE = {"float32": {0.5: 1e-5, 1.0: 1e-3}, "bfloat16": {0.5: 5e-3, 0.99: 0.1}}
"""How far from what is kept a share of all numbers may be after 10 steps. Other orders of rounding
were 1e-7 away in the middle and 2e-5 at most; bfloat16, which rounds to 3 digits, 1e-3 in the
middle and 0.04 at the hundredth most."""


@pytest.fixture(params=sorted(games.GAMES))
def task(request: pytest.FixtureRequest) -> Game:
    return games.get(request.param)


def compare(found: dict[str, str]) -> None:
    """Hold traces to those that are kept of this machine, if they are."""
    kept = golden.known()
    if not found.keys() & kept.keys():
        pytest.skip(f"no such traces of {golden.machine()} are kept: `python -m tests.golden` does")
    assert found == {name: kept.get(name) for name in found}


@pytest.mark.parametrize(("form", "precision"), WAYS)
def test_dreams_are_what_they_were_to_the_bit(task: Game, form: str, precision: str) -> None:
    found = golden.alone(task, form, precision)
    assert golden.among_others(task, form, precision) == found
    compare({f"{task.name} {form} {precision} {kind}": found[kind] for kind in golden.KINDS})


@pytest.mark.parametrize(("form", "precision"), WAYS)
def test_dreams_are_what_they_were_on_any_machine(task: Game, form: str, precision: str) -> None:
    world = load_world(task.name).to("cpu", golden.DTYPES[precision], form)
    kept = load_file(golden.FOLDER / f"{task.name}.safetensors")
    moments = [
        golden.state(task, kept, number) for number in range(golden.STEPS // golden.EVERY + 1)
    ]
    first = world.start(torch.tensor(golden.SEEDS))
    assert torch.allclose(first.z, moments[0].z, atol=1e-5)
    assert torch.equal(first.key, moments[0].key)
    away, counts = [], []
    for number, (before, after) in enumerate(pairwise(moments)):
        dreamt = golden.further(world, before, number)
        assert torch.equal(dreamt.step, after.step)
        away += [(getattr(dreamt, part) - getattr(after, part)).abs().flatten() for part in "zhc"]
        counts.append(dreamt.counts == after.counts)
    for share, bound in CLOSE[precision].items():
        assert torch.quantile(torch.cat(away), share) < bound
    assert torch.cat(counts).float().mean() >= (1 if precision == "float32" else 0.9)


def test_real_games_are_what_they_were_to_the_bit(task: Game) -> None:
    compare(golden.games(task))


@pytest.mark.parametrize("seed", golden.GAME_SEEDS)
def test_real_games_are_what_they_were_on_any_machine(task: Game, seed: int) -> None:
    kept = load_file(golden.FOLDER / f"{task.name}.safetensors")
    before = {name: kept[f"game.{seed}.{name}"] for name in ("seen", "wanted", "done", "paid")}
    seen, wanted, _, paid = map(torch.from_numpy, golden.game(task, seed, before["done"].numpy()))
    assert torch.allclose(seen[:: golden.EVERY], before["seen"], atol=2e-3)
    assert torch.allclose(wanted, before["wanted"], atol=2e-3)
    assert torch.allclose(paid, before["paid"], atol=1e-5)

"""The page dreams what Python dreams: noise, steps, pictures, rules and policies."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from dreamgym import noise
from dreamgym.checkpoint import load_controller, load_world, save_agent
from dreamgym.cli import main
from dreamgym.envs import actions
from dreamgym.models.agent import Agent, AgentConfig
from dreamgym.training import export_web
from dreamgym.training.play import dreams
from dreamgym.training.play.policies import Controlled, Networked
from dreamgym.web.kernel import kernel
from dreamgym.world import State, World

PLAY = Path(__file__).parent / "play.js"
DREAMS = 500
NEAR = 1e-3
"""The largest difference of a number in z: sums are taken in another order."""
pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")


def played(
    page: Path, how: str, *cases: dict[str, Any], seconds: float = 300
) -> list[dict[str, Any]]:
    """Return what comes of some cases in a page, see `play.js`."""
    done = subprocess.run(
        ["node", str(PLAY), str(page), how], input=json.dumps(cases), capture_output=True,
        text=True, check=False, timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def dreamt(world: World, seed: int, tau: float, steps: int) -> tuple[list[State], list[Any]]:
    """Return the states of a dream under random actions, and what its steps have brought."""
    state = world.start(torch.tensor([seed]))
    states, came = [state], []
    for _ in range(steps):
        action = actions.random(state.key, state.step, world.game)
        state, reward, dead = world.step(state, action, torch.full((1, 1), tau))
        came.append((action[0].tolist(), reward.item(), dead.item()))
        states.append(state.clone())
        if dead:
            break
    return states, came


def page_of(world: str, tmp_path: Path) -> Path:
    return export_web.export(world, tmp_path / "page.html")


@pytest.mark.parametrize("how", ["wasm", "js"])
@pytest.mark.parametrize("world", ["doom", "car_racing"])
def test_a_shipped_dream_is_the_same_in_the_page(world: str, how: str, tmp_path: Path) -> None:
    """A step from the same state, at five temperatures."""
    model, page, steps = load_world(world), page_of(world, tmp_path), 20 if how == "js" else 200
    cases, wanted = [], []
    for seed, tau in enumerate((0.0, 0.5, 1.0, 1.15, 2.0)):
        states, came = dreamt(model, seed, tau, steps)
        cases.append({
            "seed": seed, "tau": tau, "actions": [action for action, *_ in came],
            "forced": {name: [getattr(each, name)[0].tolist() for each in states]
                       for name in ("z", "h", "c", "counts")},
        })  # fmt: skip
        wanted.append((states, came))
    for (states, came), found in zip(wanted, played(page, how, *cases), strict=True):
        for name in ("h", "c"):
            ours = torch.cat([getattr(each, name) for each in states[1:]]).numpy()
            np.testing.assert_allclose(found[name], ours, atol=NEAR)
        ours = torch.cat([each.z for each in states]).numpy()
        np.testing.assert_allclose(found["z"][0], ours[0], atol=1e-5)
        # A number that lies on the border between two Gaussians may fall to the other one.
        far = np.abs(np.array(found["z"]) - ours) > NEAR
        assert far.mean() < 1e-4
        np.testing.assert_allclose(found["reward"], [reward for _, reward, _ in came], atol=1e-4)
        assert found["over"] == [dead for *_, dead in came]
        counts = [each.counts[0].tolist() for each in states]
        np.testing.assert_allclose(found["counts"], counts)
        ours = model.decode(torch.tensor([found["last"]]))[0].numpy()
        shown = np.array(found["picture"], np.int64).reshape(64, 64, 4)
        assert (shown[..., 3] == 255).all()
        assert np.abs(shown[..., :3] - ours).max() <= 1


@pytest.mark.parametrize("world", ["doom", "car_racing"])
def test_the_noise_is_the_packages_own(world: str, tmp_path: Path) -> None:
    seed, episode = 2**31 - 1, 3
    case = {"seed": seed, "episode": episode, "tau": 1.0, "steps": 1, "policy": "controller"}
    (found,) = played(page_of(world, tmp_path), "wasm", case)
    key = noise.key(torch.tensor([seed]), torch.tensor([episode]))
    wanted = noise.uniform(key, torch.tensor([3]), 8, first=5)[0].tolist()
    assert found["noise"][0] + found["noise"][1] == wanted
    begun = load_world(world).start(torch.tensor([seed]), torch.tensor([episode]))
    np.testing.assert_allclose(found["z"][0], begun.z[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("world", ["doom", "car_racing"])
def test_the_controller_acts_as_in_python(world: str, tmp_path: Path) -> None:
    model = load_world(world)
    player = Controlled(load_controller(export_web.world_folder(world)), model.game)
    case = {"seed": 7, "tau": 1.0, "steps": 30, "policy": "controller"}
    (found,) = played(page_of(world, tmp_path), "wasm", case)
    state = model.start(torch.tensor([7]))
    player.begin(torch.tensor([7]))
    for step, action in enumerate(found["action"]):
        for name in ("z", "h", "c"):
            seen = found[name][step - (name != "z")] if step or name == "z" else None
            if seen:
                setattr(state, name, torch.tensor([seen]))
        chosen = player.act(model.observe(state, player.observation))
        np.testing.assert_allclose(action, chosen[0].numpy(), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("world", "what"), [("doom", "length"), ("car_racing", "return")])
def test_free_dreams_go_as_they_do_in_python(world: str, what: str, tmp_path: Path) -> None:
    """Two samples of 500 dreams by the same controller, by the test of Kolmogorov and Smirnov.

    If Doom's dreams in the page were half as deadly again, it would fail with a chance of 94 %, if
    1.3 times as deadly, of 46 % (simulated, with deaths at a constant rate).
    """
    model = load_world(world)
    case = {"tau": 1.0, "steps": model.game.max_steps, "policy": "controller", "brief": True}
    cases = [case | {"seed": DREAMS + seed} for seed in range(DREAMS)]
    found = [each[what] for each in played(page_of(world, tmp_path), "wasm", *cases, seconds=3600)]
    player = Controlled(load_controller(export_web.world_folder(world)), model.game)
    dreamt = dreams.play(model, player, torch.arange(DREAMS), 1.0, 1.0)
    ours = (dreamt.lengths if what == "length" else dreamt.returns).numpy()
    tested = stats.ks_2samp(found, ours)
    print(f"{what}: {np.mean(found):.0f} ± {np.std(found):.0f} in the page, {ours.mean():.0f} ± "
          f"{ours.std():.0f} in Python, p = {tested.pvalue:.2f}")  # fmt: skip
    assert tested.pvalue > 1e-3


@pytest.mark.parametrize("acts", ["moves", "box"])
def test_an_agent_acts_as_in_python(acts: str, folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folder, tmp_path / "world")
    model = load_world(folder)
    outputs = len(model.game.moves) if acts == "moves" else len(model.game.low)
    torch.manual_seed(0)
    config = AgentConfig(model.size("zhc"), outputs, 8, 2, "relu", acts, 2.0, "zhc")
    agent = Agent(config)
    agent.mean.fill_(0.1), agent.spread.fill_(0.5)
    save_agent(folder / "agent.safetensors", agent)
    case = {"seed": 7, "tau": 1.0, "steps": 20, "policy": "agent"}
    (found,) = played(page_of(str(folder), tmp_path), "wasm", case)
    player, state = Networked(agent, model.game), model.start(torch.tensor([7]))
    for step, action in enumerate(found["action"]):
        state.z = torch.tensor([found["z"][step]])
        if step:
            state.h, state.c = (torch.tensor([found[name][step - 1]]) for name in "hc")
        assert action == player.act(model.observe(state, "zhc"))[0].tolist()


def test_the_page_holds_all_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "dream.html"
    assert main(["export-web", "car_racing", "--out", str(page)]) == 0
    assert "open it in a browser" in capsys.readouterr().out
    text = page.read_text("utf-8")
    assert page.stat().st_size < 15e6
    assert not re.search("@[A-Z]+@", text)
    for outside in ("http://", "https://", "src=", "import(", "fetch(", "XMLHttpRequest"):
        assert outside not in text
    assert len(kernel()) < 500


def test_an_unknown_world_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export-web", "--world", str(tmp_path), "--out", str(tmp_path / "a.html")]) == 2
    assert "no world" in capsys.readouterr().err


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    page = page_of("car_racing", tmp_path)
    text = page.read_text("utf-8")
    begin = text.index('id="weights">') + len('id="weights">')
    page.write_text(text[:begin] + text[begin + 800 :], "utf-8")
    done = subprocess.run(
        ["node", str(PLAY), str(page), "wasm"], input="[]", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode and "The weights in this page are damaged" in done.stderr

"""The page in a browser: it needs no net, and does what keys, mouse and sliders say.

`make test-web` runs these tests, if Chromium is installed.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreamgym.training import export_web
from dreamgym.training.serve import Server

api = pytest.importorskip("playwright.sync_api", reason="run `make test-web`")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


class Opened:
    """A page without a net, and what went wrong in it."""

    def __init__(self, browser: Any, path: Path | str, after: str = "", **how: Any):
        how = {"viewport": {"width": 800, "height": 900}, "offline": True, "has_touch": True} | how
        self.context = browser.new_context(**how)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        address = path.as_uri() if isinstance(path, Path) else path
        self.page.goto(f"{address}{after}")

    def run(self, script: str) -> Any:
        return self.page.evaluate(script)

    def until(self, script: str) -> None:
        self.page.wait_for_function(script, timeout=120_000)


@pytest.fixture(scope="module", params=["doom", "car_racing"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of each shipped world."""
    return export_web.export(request.param, tmp_path_factory.mktemp("page") / "dream.html")


@pytest.fixture
def opened(browser: Any, path: Path) -> Iterator[Opened]:
    found = Opened(browser, path, "#tau=0.5&seed=7")
    found.until("window.page && page.dreams[0].steps > 0")
    yield found
    assert found.errors == []
    assert len(found.asked) == 1  # the page itself
    found.context.close()


def test_it_plays_the_asked_dream_by_the_controller(opened: Opened) -> None:
    assert opened.run("page.model.engine") == "WebAssembly"
    assert opened.run("[page.tau, page.dreams[0].tau, page.driver]") == [0.5, 0.5, "controller"]
    colours = """() => new Set(page.pixels.data).size"""
    assert opened.run(colours) > 2


def test_a_seed_plays_the_same_dream_again(opened: Opened) -> None:
    last = """async (seed) => {
        page.pause(true); page.begin(seed);
        for (let step = 0; step < 20 && !page.dreams[0].over; step++) page.advance();
        page.draw();
        return [...page.dreams[0].z, ...page.pixels.data];
    }"""
    first = opened.page.evaluate(last, 7)
    assert opened.page.evaluate(last, 8) != first
    assert opened.page.evaluate(last, 7) == first


def test_keys_take_over_and_give_back(opened: Opened) -> None:
    opened.run("page.begin(7)")
    opened.page.keyboard.down("ArrowLeft")
    opened.until("page.driver === 'you' && page.action[0] < 0")
    opened.page.keyboard.up("ArrowLeft")
    opened.page.keyboard.down("ArrowRight")
    opened.until("page.action[0] > 0")
    opened.page.keyboard.up("ArrowRight")
    opened.page.keyboard.press("m")
    assert opened.run("page.driver") == "controller"
    if opened.run("'agent' in page.policies"):
        opened.page.select_option("#driver", "agent")
        opened.page.keyboard.press("ArrowLeft")
        opened.page.keyboard.press("m")
        assert opened.run("page.driver") == "agent"


def test_mouse_and_touch_drive(opened: Opened) -> None:
    box = opened.page.locator("#picture").bounding_box()
    opened.page.mouse.move(box["x"] + 5, box["y"] + 5)
    opened.page.mouse.down()
    opened.until("page.driver === 'you' && page.pointer[0] < 0")
    opened.page.mouse.up()
    assert opened.run("page.pointer") is None


def test_pause_step_and_rewind(opened: Opened) -> None:
    opened.run("page.begin(7)")
    opened.page.keyboard.press("Space")
    before = opened.run("page.dreams[0].steps")
    opened.page.keyboard.press(".")
    assert opened.run("page.dreams[0].steps") == before + 1
    opened.page.wait_for_timeout(200)
    assert opened.run("page.dreams[0].steps") == before + 1
    opened.page.click("#rewind")
    assert opened.run("page.dreams[0].steps") == max(
        0, before + 1 - opened.run("10 * page.config.fps")
    )
    opened.page.click("#pause")
    opened.until("page.dreams[0].steps > 1")


def test_temperatures_change_the_dreams(opened: Opened) -> None:
    opened.page.locator("#tau").fill("1.3")
    assert opened.run("page.dreams[0].tau") == 1.3
    assert "tau=1.3" in opened.page.url
    opened.page.click("#stories button >> nth=0")
    assert opened.run("page.dreams[0].tau") == 0.1
    assert not opened.page.locator("#other").is_visible()
    opened.page.keyboard.press("t")
    opened.page.locator("#tau2").fill("2")
    assert opened.run("page.two && page.dreams[1].tau") == 2
    opened.until("page.dreams[1].steps > 0 || page.dreams[1].over")


def test_latents_can_be_changed_while_it_waits(opened: Opened) -> None:
    opened.page.click("#latents summary")
    latent = opened.run("page.config.latents[0]")
    opened.page.locator("#sliders input >> nth=0").fill("2")
    assert opened.run(f"page.paused && page.dreams[0].z[{latent}]") == 2
    opened.page.click("#view summary")
    opened.until("document.querySelectorAll('#pushes .bar').length > 0")


@pytest.mark.parametrize("world", ["doom", "car_racing"])
def test_the_dream_is_let_go_of_beside_the_real_game(browser: Any, world: str) -> None:
    with Server(world) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found = Opened(browser, server.address, offline=False)
        found.until("window.page && page.dreams[0].steps > 0")
        found.page.click("#real")
        found.until("page.reality && page.reality.steps > 5")
        assert found.run("page.distance") == 0  # the dream is what V sees of the game
        found.page.keyboard.press("l")
        found.until("page.free && page.distance > 1")
        assert found.run("page.dreams[0].over || page.dreams[0].steps === page.reality.steps")
        found.page.keyboard.press("g")
        found.until("!page.reality && !document.querySelector('#reality').offsetParent")
        assert found.errors == []
        found.context.close()
        server.shutdown()
        thread.join()


def test_if_the_real_game_dies_the_page_says_so_and_the_dream_goes_on(browser: Any) -> None:
    with Server("doom") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found = Opened(browser, server.address, offline=False, color_scheme="dark")
        found.until("window.page && page.dreams[0].steps > 0")
        found.page.click("#real")
        found.until("page.reality && page.reality.steps > 5")
        for visitor in list(server.visitors.values()):
            os.kill(visitor.process.pid or 0, signal.SIGKILL)
        found.page.wait_for_selector("#message:not([hidden])")
        steps = found.run("page.dreams[0].steps")
        found.until(f"!page.reality && page.dreams[0].steps > {steps} || page.dreams[0].over")
        assert found.page.locator("#game").is_visible()
        assert not found.page.locator("#reality").is_visible()
        found.page.click("#real")
        found.until("page.reality && page.reality.steps > 0")
        assert not found.page.locator("#message").is_visible()
        found.context.close()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 800, 1280])
def test_the_layout_holds(browser: Any, path: Path, width: int, theme: str) -> None:
    found = Opened(browser, path, viewport={"width": width, "height": 700}, color_scheme=theme)
    found.until("window.page")
    found.page.keyboard.press("t")
    assert found.run("document.documentElement.scrollWidth") <= width
    assert found.errors == []
    found.context.close()


def test_without_webassembly_it_dreams_the_same(browser: Any, path: Path) -> None:
    found = Opened(browser, path, "?javascript#seed=3")
    found.until("window.page")
    assert found.run("page.model.engine") == "JavaScript"
    assert "JavaScript" in found.page.locator("#help").inner_text()
    found.context.close()


def test_a_browser_that_does_not_run_it_is_told_so(browser: Any, path: Path) -> None:
    found = Opened(browser, path, java_script_enabled=False)
    message = found.page.locator("#message")
    message.wait_for(state="visible", timeout=60_000)
    assert "a browser of 2021 or later" in message.inner_text()
    found.context.close()


def test_a_damaged_page_says_so(browser: Any, path: Path, tmp_path: Path) -> None:
    text = path.read_text("utf-8")
    begin = text.index('id="weights">') + len('id="weights">')
    (tmp_path / "damaged.html").write_text(text[:begin] + text[begin + 800 :], "utf-8")
    found = Opened(browser, tmp_path / "damaged.html")
    found.page.wait_for_selector("#message:not([hidden])")
    assert "are damaged" in found.page.locator("#message").inner_text()
    assert not found.page.locator("#game").is_visible()
    found.context.close()


@pytest.mark.slow
def test_how_fast_it_is(opened: Opened, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints when the first frame is there and how long frames take; a busy machine is slower."""
    opened.page.reload()
    opened.until("window.page && page.dreams[0].steps > 0")
    first = opened.run("performance.now()")
    gaps = opened.run(
        """() => new Promise((resolve) => {
        const gaps = [];
        let last = performance.now();
        const next = () => {
            const now = performance.now();
            gaps.push(now - last);
            last = now;
            gaps.length < 600 ? requestAnimationFrame(next) : resolve(gaps);
        };
        requestAnimationFrame(next);
    })"""
    )
    opened.asked.pop()  # the page once more
    middle, late = np.quantile(gaps, (0.5, 0.95))
    with capsys.disabled():
        print(f"\nfirst frame after {first:.0f} ms; frames: median {middle:.1f} ms, "
              f"95 % within {late:.1f} ms")  # fmt: skip
    assert len(gaps) == 600


@pytest.mark.slow
def test_ten_minutes_of_play_leave_the_heap_as_it_was(opened: Opened) -> None:
    """The frames of ten minutes, one after the other; garbage is collected before each look."""
    devtools = opened.context.new_cdp_session(opened.page)
    opened.run("page.pause(true)")

    def heap(minutes: int) -> float:
        """Play on for some minutes, and return how many MB are in use then."""
        for _ in range(60 * minutes):
            opened.run("""() => {
                for (let frame = 0; frame < page.config.fps; frame++) {
                    if (page.ended) page.begin(page.seed + 1);
                    page.advance();
                    page.draw();
                }
            }""")
        devtools.send("HeapProfiler.collectGarbage")
        return float(devtools.send("Runtime.getHeapUsage")["usedSize"]) / 1e6

    early, late = heap(1), heap(9)
    print(f"{early:.1f} MB after one minute, {late:.1f} MB after ten")
    assert late < early + 1

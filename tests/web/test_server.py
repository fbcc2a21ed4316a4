"""The page's server: whom it answers, what it plays, and that no game outlives its visitor."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreamgym.checkpoint import load_world
from dreamgym.training import serve
from dreamgym.training.serve import Server
from dreamgym.training.window import Reality


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with Server(str(folder)) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def ask(
    server: Server, body: Any = None, token: str | None = None, host: str | None = None
) -> tuple[int, bytes]:
    """Send a request, a GET if there is no body, and return the status and the answer."""
    wire = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    headers = {"Host": host or f"127.0.0.1:{server.server_port}"}
    address = f"/?token={server.token if token is None else token}"
    content = body if body is None or isinstance(body, str) else json.dumps(body)
    wire.request("GET" if body is None else "POST", address, content, headers)
    answer = wire.getresponse()
    found = answer.status, answer.read()
    wire.close()
    return found


def ended(pid: int) -> bool:
    """Return whether a process ends within some seconds."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_the_page_knows_that_it_is_served(server: Server) -> None:
    status, page = ask(server)
    assert status == 200 and b'"served": true' in page and b"fetch(" in page


@pytest.mark.parametrize("body", [None, {"visitor": "a", "seed": 1}])
@pytest.mark.parametrize(
    "wrong", [{"token": ""}, {"token": "é"}, {"token": "x" * 22}, {"host": "evil.example:80"}]
)
def test_nobody_else_is_answered(server: Server, body: Any, wrong: dict[str, str]) -> None:
    wrong = {name: value.replace("é", "%C3%A9") for name, value in wrong.items()}
    status, said = ask(server, body, **wrong)
    assert status == 403 and b"dreamgym web" in said
    assert not server.visitors


def test_it_plays_the_real_game_as_v_and_m_see_it(server: Server, folder: Path) -> None:
    game = Reality(load_world(folder))
    game.begin(5)
    came = [ask(server, {"visitor": "a", "seed": 5})]
    for action in (1.0, 1.0, -1.0):
        game.step(np.array([action], np.float32))
        came.append(ask(server, {"visitor": "a", "action": [action]}))
    assert [status for status, _ in came] == [200] * 4
    assert came[-1][1] == serve.packed(game)
    numbers = np.frombuffer(came[-1][1][: -64 * 64 * 3], "<f4")
    assert numbers[:4].tolist() == [3, 3, 0, 100] and len(numbers) == 4 + game.world.size("zhc")
    game.env.close()


def test_each_visitor_has_a_process_that_ends_with_the_visit(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "VISITORS", 2)
    for name in ("a", "b"):
        assert ask(server, {"visitor": name, "seed": 1})[0] == 200
    processes = {name: visitor.process.pid for name, visitor in server.visitors.items()}
    status, said = ask(server, {"visitor": "c", "seed": 1})
    assert status == 503 and said == b"2 pages play real games already: close one of them"
    assert ask(server, {"visitor": "a", "close": True}) == (200, b"")
    assert ended(processes["a"])
    monkeypatch.setattr(serve, "IDLE", 0.0)  # b is gone without a word
    assert ended(processes["b"])


def test_a_game_that_was_killed_says_so_and_can_begin_anew(server: Server) -> None:
    ask(server, {"visitor": "a", "seed": 1})
    os.kill(server.visitors["a"].process.pid or 0, signal.SIGKILL)
    status, said = ask(server, {"visitor": "a", "action": [0.0]})
    assert status == 503 and said
    assert ask(server, {"visitor": "a", "seed": 1})[0] == 200


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", '{"seed": 1}', {"visitor": "a"}, {"visitor": "a", "action": [1, 2]},
     {"visitor": "a", "action": [float("nan")]}, {"visitor": "a", "action": 3},
     {"visitor": "a", "seed": "x"}, '{"visitor": "a", "seed": 1e999}', "x" * (serve.LARGEST + 1)],
)  # fmt: skip
def test_what_it_does_not_understand_is_refused(server: Server, body: Any) -> None:
    assert ask(server, body)[0] == 400
    assert not server.visitors


def test_a_game_that_has_not_begun_cannot_go_on(server: Server) -> None:
    assert ask(server, {"visitor": "a", "action": [1]}) == (
        503, b"this game has ended: begin a new one",
    )  # fmt: skip
    assert not server.visitors


def test_a_port_in_use_is_named(server: Server, folder: Path) -> None:
    with pytest.raises(ValueError, match=f"port {server.server_port} cannot be used"):
        Server(str(folder), server.server_port)
    with pytest.raises(ValueError, match="port 70000 cannot be used"):
        Server(str(folder), 70_000)

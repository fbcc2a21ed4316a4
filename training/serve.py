"""The command `web`: the page of a playable dream on this machine, with the real game beside it."""

from __future__ import annotations

import hmac
import json
import secrets
import sys
import threading
import time
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from dreamgym.checkpoint import load_world, world_folder
from dreamgym.envs.workers import SPAWN

from .export_web import written
from .flags import Name, Whole, game_for, world_for
from .window import Reality

VISITORS = 4
"""Most visitors at once: each has a process with a game of its own."""
IDLE = 30.0
"""Seconds without a request after which a visitor's game ends."""
PATIENCE = 120.0
"""Seconds within which a game must answer; its process has to load V and M first."""
LARGEST = 10_000
"""Most bytes of a request."""


def play(pipe: Connection, world: str) -> None:
    """Play real games in a process of their own, until the other end of the pipe is closed.

    A request is the seed of a new game, or an action. The answer is what `packed` returns.
    """
    reality = Reality(load_world(world))
    try:
        while True:
            asked = pipe.recv()
            if isinstance(asked, int):
                reality.begin(asked)
            elif not reality.over:
                reality.step(np.asarray(asked, np.float32))
            pipe.send_bytes(packed(reality))
    except (EOFError, OSError, KeyboardInterrupt):
        pass
    finally:
        reality.env.close()


def packed(reality: Reality) -> bytes:
    """Return a moment of a game as the page reads it.

    They are float32 numbers (the steps, the score, whether it is over, the counts, z, h, c), and
    then the frame (64, 64, 3) uint8.
    """
    state, counts = reality.state, [reality.info[n] for n in reality.world.rules.counts]
    numbers = np.concatenate([
        [reality.steps, reality.score, reality.over], counts,
        state.z[0].numpy(), state.h[0].numpy(), state.c[0].numpy(),
    ])  # fmt: skip
    return numbers.astype("<f4").tobytes() + reality.picture().tobytes()


class Visitor:
    """One visitor's game, in a process of its own."""

    def __init__(self, world: str):
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=play, args=(theirs, world), daemon=True)
        self.process.start()
        theirs.close()
        self.lock, self.seen = threading.Lock(), time.monotonic()

    def ask(self, what: int | list[float]) -> bytes:
        """Begin a game by its seed, or play on by an action, and return the moment after it.

        Raises:
            OSError: if the game has ended, or does not answer.
        """
        with self.lock:
            try:
                self.pipe.send(what)
                if not self.pipe.poll(PATIENCE):
                    raise OSError(f"the game does not answer within {PATIENCE:.0f} s")
                return self.pipe.recv_bytes()
            except EOFError:
                raise OSError("the game's process has ended") from None
            finally:
                self.seen = time.monotonic()

    def close(self) -> None:
        """End the game and its process."""
        self.pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()


class Server(ThreadingHTTPServer):
    """Serves the page, and a real game to each visitor, on this machine alone.

    The address holds a token, without which nothing is answered. So no other page in the browser
    can play, and the `Host` of a request must be this machine's.

    Args:
        world: name or folder of the world.
        port: 0 for any that is free.

    Raises:
        ValueError: if the port is in use.
    """

    daemon_threads = True

    def __init__(self, world: str, port: int = 0):
        self.folder = str(world_folder(world))
        self.game, self.token = load_world(self.folder).game, secrets.token_urlsafe(16)
        self.page = written(self.folder, served=True).encode()
        self.visitors: dict[str, Visitor] = {}
        self.lock, self.closing = threading.Lock(), threading.Event()
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            raise ValueError(
                f"port {port} cannot be used ({error}): give another one, or 0 for any"
            ) from None
        threading.Thread(target=self._tidy, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/?token={self.token}"

    def visitor(self, name: str, begins: bool) -> Visitor:
        """Return a visitor, who is new if a game begins.

        Raises:
            OSError: if there are too many visitors, or if there is none of this name.
        """
        with self.lock:
            if name not in self.visitors:
                if not begins:
                    raise OSError("this game has ended: begin a new one")
                if len(self.visitors) >= VISITORS:
                    raise OSError(f"{VISITORS} pages play real games already: close one of them")
                self.visitors[name] = Visitor(self.folder)
            return self.visitors[name]

    def leave(self, name: str) -> None:
        """End a visitor's game."""
        with self.lock:
            visitor = self.visitors.pop(name, None)
        if visitor:
            visitor.close()

    def _tidy(self) -> None:
        """End the games of visitors who are gone without a word."""
        while not self.closing.wait(1.0):
            before = time.monotonic() - IDLE
            with self.lock:
                gone = [
                    name
                    for name, visitor in self.visitors.items()
                    if visitor.seen < before and not visitor.lock.locked()  # it waits for no answer
                ]
            for name in gone:
                self.leave(name)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away before it was answered."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        self.closing.set()
        super().server_close()
        for name in list(self.visitors):
            self.leave(name)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"  # a connection for many steps
    server: Server

    def do_GET(self) -> None:
        if self._allowed():
            path = urlsplit(self.path).path
            if path == "/":
                self._answer(200, self.server.page, "text/html; charset=utf-8")
            else:
                self._answer(404, b"there is only one page here, /")

    def do_POST(self) -> None:
        """Begin or play the visitor's game; see `play` for what is asked and answered."""
        length = self.headers.get("Content-Length", "")
        if not self._allowed():
            return
        if not length.isdecimal() or int(length) > LARGEST:
            self.close_connection = True
            self._answer(400, b"give a request of a known and small length")
            return
        try:
            asked = json.loads(self.rfile.read(int(length)))
            name, what = str(asked["visitor"]), checked(asked, len(self.server.game.low))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            self._answer(400, f"the request is not understood: {error}".encode())
            return
        if what is None:
            self.server.leave(name)
            self._answer(200, b"")
            return
        try:
            moment = self.server.visitor(name, begins=isinstance(what, int)).ask(what)
            self._answer(200, moment, "application/octet-stream")
        except OSError as error:
            self.server.leave(name)
            self._answer(503, str(error).encode())

    def _allowed(self) -> bool:
        """Return whether the request comes from our own page; refuse it if it does not."""
        port = self.server.server_port
        here = self.headers.get("Host") in (f"127.0.0.1:{port}", f"localhost:{port}")
        given = parse_qs(urlsplit(self.path).query).get("token", [""])[0]
        if here and hmac.compare_digest(given.encode(), self.server.token.encode()):
            return True
        self.close_connection = True
        self._answer(403, b"open the address that `dreamgym web` has printed, with its token")
        return False

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")  # the address holds the token
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: a game has 50 requests a second."""


def checked(asked: dict[str, Any], size: int) -> int | list[float] | None:
    """Return the seed or the action (A,) that a request holds; None if it says goodbye.

    Raises:
        ValueError: if it holds none of them.
    """
    if asked.get("close"):
        return None
    if "seed" in asked:
        return int(asked["seed"]) % 2**31
    action = [float(number) for number in asked.get("action", ())]
    if len(action) != size or not np.isfinite(action).all():
        raise ValueError(f"action is {action}: give {size} finite numbers")
    return action


def main(task: Name = "", world: str = "", port: Whole = 0, browser: bool = True) -> None:
    """Show the playable dream in a browser, with the real game beside it.

    It is served on this machine alone, until Ctrl-C.

    Args:
        task: The game; if left out, that of the world, or else doom.
        world: A folder, or the name of a shipped world; if left out, the game's shipped world.
        port: On which it is served; 0: any that is free.
        browser: Open a browser.
    """
    task = game_for(task, world)
    with Server(world_for(task, world), port) as server:
        print(
            f"the dream of {server.game.called} is at {server.address}\nCtrl-C ends it", flush=True
        )
        if browser:
            webbrowser.open(server.address)
        server.serve_forever()

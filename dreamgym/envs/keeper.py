"""The keeper: a helper process that cleans up after games whose process was killed.

A game of ViZDoom has an engine (a process), a scratch folder and shared memory. The engine does not
notice when the process that started it, the owner, is killed. So every owner starts one keeper and
tells it, through a pipe, which scratch folders it takes and leaves. When the owner ends, however it
is killed, the pipe ends too. The keeper then kills the engines and removes what the owner left.

This file is also the program of the keeper, so it imports only Python's standard library.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

CONFIG = "vizdoom.ini"
"""The engine's configuration in the scratch folder. An engine's command line names this file, so
the keeper finds the engine of a folder by it."""
COMMAND = "command"
"""A file in the scratch folder with the engine's command line, for when the engine has ended."""
SHARED = Path("/dev/shm")
TAKEN, LEFT = b"+", b"-"
TRIES = 50
"""How often to try to clean a folder, every 20 ms, because a dying engine still holds files."""


class Keeper:
    """The owner's side: starts the keeper's process and writes to its pipe."""

    def __init__(self) -> None:
        # In a session of its own, so that Ctrl-C or a signal to the owner's group does not end it.
        command = [sys.executable, "-I", "-S", __file__]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        self._end = weakref.finalize(self, _end, self.process)

    def tell(self, what: bytes, folder: str) -> None:
        """Tell the keeper that a folder was taken or left: `what` is `TAKEN` or `LEFT`."""
        assert self.process.stdin is not None
        self.process.stdin.write(what + os.fsencode(folder) + b"\n")
        self.process.stdin.flush()

    def forget(self) -> None:
        """Close the pipe in a forked child, whose copy would keep the keeper waiting."""
        assert self.process.stdin is not None
        self._end.detach()
        self.process.stdin.close()
        self.process.returncode = 0  # the keeper is a child of the parent, so do not wait for it


_keeper: Keeper | None = None
_folders: set[str] = set()
_telling = threading.Lock()


def take(folder: str) -> None:
    """Let the keeper clean up a scratch folder and its engine if this process is killed."""
    global _keeper
    with _telling:
        _folders.add(folder)
        if _keeper is None or _keeper.process.poll() is not None:
            _keeper = Keeper()
            for each in _folders:
                _keeper.tell(TAKEN, each)
        else:
            _keeper.tell(TAKEN, folder)


def leave(folder: str) -> None:
    """Tell the keeper that this process has cleaned up a scratch folder itself."""
    with _telling, contextlib.suppress(BrokenPipeError):
        _folders.discard(folder)
        if _keeper is not None:
            _keeper.tell(LEFT, folder)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.wait()


def _forget() -> None:
    global _keeper, _telling
    if _keeper is not None:
        _keeper.forget()
    _keeper, _telling = None, threading.Lock()
    _folders.clear()


os.register_at_fork(after_in_child=_forget)


def watch(pipe: BinaryIO) -> None:
    """Read from the pipe until it ends, then clean the folders that were taken and not left."""
    folders: set[str] = set()
    for line in pipe:
        what, folder = line[:1], os.fsdecode(line[1:].rstrip(b"\n"))
        (folders.add if what == TAKEN else folders.discard)(folder)
    for folder in sorted(folders):
        clean(folder)


def clean(folder: str) -> None:
    """Kill the engine of a scratch folder, and remove its shared memory and the folder."""
    for _ in range(TRIES):
        running = list(engines(folder))
        for number, words in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
            unshare(words)
        with contextlib.suppress(OSError):
            unshare(Path(folder, COMMAND).read_text().split())
        shutil.rmtree(folder, ignore_errors=True)
        if not running and not os.path.exists(folder):
            return
        time.sleep(0.02)


def unshare(words: list[str]) -> None:
    """Remove the shared memory of an engine, given the words of its command line."""
    if "+viz_instance_id" in words[:-1]:
        name = words[words.index("+viz_instance_id") + 1]
        for kind in ("MQCtr", "MQDoom", "SM"):
            (SHARED / f"ViZDoom{kind}{name}").unlink(missing_ok=True)


def engines(folder: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the process id and the command line of each engine of a scratch folder."""
    config = os.path.join(folder, CONFIG)
    for number, line in _commands():
        if config in line:
            yield number, line


def _commands() -> Iterator[tuple[int, list[str]]]:
    """Yield the process id and the words of the command line of every process."""
    if os.path.exists("/proc/self/cmdline"):
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                yield int(each.parent.name), os.fsdecode(each.read_bytes()).split("\0")
        return
    listed = subprocess.run(["ps", "-axww", "-o", "pid=,args="], capture_output=True, text=True)
    for line in listed.stdout.splitlines():
        number, *words = line.split()
        yield int(number), words


if __name__ == "__main__":
    watch(sys.stdin.buffer)

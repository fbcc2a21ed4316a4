"""Cleans up after games whose process was killed: their engines, scratch folders, shared memory.

An engine does not notice that the process which started it is gone. So a process that holds games
has a small one beside it, which is told of each folder and waits on a pipe. When the pipe ends, so
has the process, however it was killed; whatever it has not closed by then is cleaned up.

This file is that small process's program too, so it imports nothing but Python's own.
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
"""An engine is known by this file of its folder, which its command line names."""
COMMAND = "command"
"""Where a folder says how its engine was called, for when that is gone."""
SHARED = Path("/dev/shm")
TAKEN, LEFT = b"+", b"-"
TRIES = 50
"""How often, every 20 ms, to look again for what an engine that dies still holds."""


class Keeper:
    """What a process tells of its games; one for each process."""

    def __init__(self) -> None:
        # Neither Ctrl-C nor a signal to the group of its owner must end it.
        command = [sys.executable, "-I", "-S", __file__]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        self._end = weakref.finalize(self, _end, self.process)

    def tell(self, what: bytes, folder: str) -> None:
        """Say that a folder was taken or left."""
        assert self.process.stdin is not None
        self.process.stdin.write(what + os.fsencode(folder) + b"\n")
        self.process.stdin.flush()

    def forget(self) -> None:
        """Let go of it in a child that was forked, whose pipe's end would keep it waiting."""
        assert self.process.stdin is not None
        self._end.detach()
        self.process.stdin.close()
        self.process.returncode = 0  # it is no child of this process


_keeper: Keeper | None = None
_folders: set[str] = set()
_telling = threading.Lock()


def take(folder: str) -> None:
    """Have a scratch folder, and the engine in it, cleaned up if this process is killed."""
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
    """Say that a scratch folder is cleaned up."""
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
    """Take in what is told until the pipe ends, then clean up what was not left."""
    folders: set[str] = set()
    for line in pipe:
        what, folder = line[:1], os.fsdecode(line[1:].rstrip(b"\n"))
        (folders.add if what == TAKEN else folders.discard)(folder)
    for folder in sorted(folders):
        clean(folder)


def clean(folder: str) -> None:
    """Kill the engine of a scratch folder and remove the folder."""
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
    """Remove the shared memory of the engine that was called with these words."""
    if "+viz_instance_id" in words[:-1]:
        name = words[words.index("+viz_instance_id") + 1]
        for kind in ("MQCtr", "MQDoom", "SM"):
            (SHARED / f"ViZDoom{kind}{name}").unlink(missing_ok=True)


def engines(folder: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the command line of each process that was given the folder's config."""
    config = os.path.join(folder, CONFIG)
    for number, line in _commands():
        if config in line:
            yield number, line


def _commands() -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the command line of every process."""
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

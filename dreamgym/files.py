"""Files that are written completely or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".partial"
"""Suffix of a file that is being written. A killed process leaves such a file behind."""


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a new file, which replaces `path` only when it is complete and on the disk.

    After an exception, a full disk or a killed process, the old file is as it was. The folder is
    made if it does not exist.

    Raises:
        OSError: if the file cannot be written.
    """
    with naming(path):
        path = Path(os.path.realpath(path))  # replace the target of a link, not the link
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(path)
        opened = open(partial, "xb")  # noqa: SIM115
    try:
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Let errors of the system name `path`, and not a temporary file or a folder on the way to it.

    Raises:
        OSError: instead of one without a remedy.
    """
    try:
        yield
    except OSError as error:
        file = next((each for each in Path(path).parents if each.is_file()), None)
        why = f"{file} is a file" if file else error.strerror
        raise OSError(f"{path} cannot be written ({why}): choose another place") from error


def remove_partial(folder: str | Path) -> int:
    """Delete the partial files that killed processes left in `folder`; return their number."""
    left = [path for path in Path(folder).glob(f"*{TEMPORARY}") if _is_left(path)]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _partial(path: Path) -> Path:
    """Return a fresh name in the folder of `path` for a file that this process writes.

    It is not made by `tempfile`, because other users who share a run could not read such a file.
    """
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")


def _is_left(path: Path) -> bool:
    """Tell whether a file was being written by a process that no longer runs."""
    named = re.search(rf"\.(\d+)-[0-9a-f]{{8}}{re.escape(TEMPORARY)}$", path.name)
    if named is None:
        return False
    try:
        os.kill(int(named[1]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def check_writable(path: str | Path) -> Path:
    """Return the path if a file can be written there: a check before long work, not after it.

    Raises:
        ValueError: if the path is a folder, a device or a pipe.
        OSError: if its folder cannot be made or written into, or its name is too long.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the name of a file, such as {path / 'out'}")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is a device or a pipe: give the name of a file")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        trial = _partial(Path(os.path.realpath(path)))
        with open(trial, "xb"):
            trial.unlink()
    return path


def fingerprint(*paths: str | Path) -> str:
    """Return a short hash of the names and the contents of files; their folders do not count."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{Path(path).name} {content}\n".encode())
    return digest.hexdigest()[:16]

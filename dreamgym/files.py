"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".partial"
"""Suffix of a file that is being written; what a killed process leaves behind."""


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` only once it is complete and on the disk.

    An exception, a full disk or a killed process leaves the old file as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp's 0600 would hide a shared run from colleagues
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def remove_partial(folder: str | Path) -> int:
    """Delete what killed writers left in `folder` and return how many files that were."""
    left = list(Path(folder).glob(f"*{TEMPORARY}"))
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def check_writable(path: str | Path) -> Path:
    """Return a path at which a file can be written: asked before the work that ends in it.

    Raises:
        ValueError: if it is a folder.
        OSError: if its folder cannot be made or written into.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the name of a file, such as {path / 'out'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=TEMPORARY)
    os.close(handle)
    os.unlink(name)
    return path


def fingerprint(*paths: str | Path) -> str:
    """Return a short hash of the names and the content of files, wherever they lie."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{Path(path).name} {content}\n".encode())
    return digest.hexdigest()[:16]

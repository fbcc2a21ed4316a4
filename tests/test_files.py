"""A file is whole or not there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dreamgym.files import TEMPORARY, check_writable, remove_partial, replacing


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old")
    return path


def test_a_complete_file_takes_the_old_ones_place(old: Path) -> None:
    with replacing(old) as file:
        file.write(b"new")
    assert old.read_bytes() == b"new"
    assert os.listdir(old.parent) == [old.name]


def test_the_old_file_is_there_until_the_new_one_is_complete(old: Path) -> None:
    with replacing(old) as file:
        file.write(b"new")
        file.flush()
        assert old.read_bytes() == b"old"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_alone(old: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), replacing(old) as file:
        file.write(b"half")
        raise error
    assert old.read_bytes() == b"old"
    assert os.listdir(old.parent) == [old.name]


def test_an_exception_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), replacing(tmp_path / "new.bin"):
        raise OSError("disk full")
    assert os.listdir(tmp_path) == []


def test_a_killed_writer_leaves_the_old_file_and_what_can_be_removed(old: Path) -> None:
    code = f"""
import os
from dreamgym.files import replacing
with replacing({str(old)!r}) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), {int(signal.SIGKILL)})
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert old.read_bytes() == b"old"
    assert remove_partial(old.parent) == 1
    assert os.listdir(old.parent) == [old.name]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with replacing(tmp_path / "run" / "deep" / "file") as file:
        file.write(b"new")
    assert (tmp_path / "run" / "deep" / "file").read_bytes() == b"new"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "file"):
            pass
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_remove_partial_takes_only_what_is_partial(tmp_path: Path) -> None:
    """A stranger's download, and a file that another process is writing now, are left alone."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ours = [f"{name}.npz.{dead.pid}-0123abcd{TEMPORARY}" for name in "ab"]
    others = ["a.npz", f"a.npz.{os.getpid()}-0123abcd{TEMPORARY}", f"film.iso{TEMPORARY}",
              "partial.json"]  # fmt: skip
    for name in ours + others:
        (tmp_path / name).touch()
    assert remove_partial(tmp_path) == 2
    assert sorted(os.listdir(tmp_path)) == sorted(others)
    assert remove_partial(tmp_path) == 0


def test_what_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "file")
    with replacing(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "file").read_bytes() == b"new"


def test_a_place_that_no_file_can_take_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for place, error in {"pipe": ValueError, ".": ValueError, "file/deep": OSError,
                         250 * "x": OSError}.items():  # fmt: skip
        with pytest.raises(error, match=re.escape(str(tmp_path / place))):
            check_writable(tmp_path / place)
    assert check_writable(tmp_path / "new" / "score.json")
    assert sorted(os.listdir(tmp_path)) == ["file", "new", "pipe"]

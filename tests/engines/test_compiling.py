"""Compiled code is kept where a folder can be written, and made anew when any file has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dreamgym import compiling
from dreamgym.engines import kernels, tiles


def run(code: str, **variables: str) -> str:
    """Run Python code in a new process and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["tiles.py", "settle.py", "noise.py"])
def test_a_change_in_any_file_makes_all_code_anew(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """numba itself looks at the file of a function alone, not at those that it calls."""
    before = compiling._stamp()
    assert kernels.sigmoid._cache._cache_file._source_stamp[1] == before
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + b" " * (self.name == name))
    assert compiling._stamp() != before


def test_where_no_folder_can_be_written_code_is_compiled_each_time() -> None:
    shown = run(
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "import torch\n"
        "from dreamgym import noise\n"
        "from dreamgym.engines import canvas, convolutions, kernels, step\n"
        "seeds = torch.arange(3)\n"
        "print(torch.equal(kernels.key(seeds, seeds), noise.key(seeds, seeds)))\n"
    )
    assert shown == "True"


@pytest.mark.skipif(tiles.ARM, reason="every such processor multiplies and adds at once")
def test_the_processor_that_numba_compiles_for_counts() -> None:
    ask = "from dreamgym.engines import tiles; print(tiles.supported())"
    assert run(ask, NUMBA_CPU_NAME="generic") == "False"
    assert run(ask, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="+avx2,+fma") == "True"

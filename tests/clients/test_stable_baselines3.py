"""Stable-Baselines3 learns in the dream, and its own tests pass with one in CartPole's place."""

import os
from pathlib import Path

import pytest

from tests.clients.page import blocks, typed_python
from tests.clients.replaced import passes

pytestmark = pytest.mark.clients
SOURCE = os.environ.get("STABLE_BASELINES3")

TESTS = {"run": 300, "predict": 300, "deterministic": 300, "save_load": 600, "vec_*": 600}
"""Its files of tests and the seconds each may take: many start several processes a test."""


def test_ppo_learns_in_a_batch(tmp_path):
    (code,) = blocks("Stable-Baselines3", "python")
    assert typed_python(code, tmp_path).endswith(" steps\n")


@pytest.mark.skipif(not SOURCE, reason="STABLE_BASELINES3 names no folder of its source archive")
@pytest.mark.parametrize(("tests", "seconds"), TESTS.items(), ids=TESTS)
def test_its_own_tests_pass(tests, seconds, tmp_path):
    assert " passed" in passes(Path(SOURCE), tmp_path, f"tests/test_{tests}.py", seconds)

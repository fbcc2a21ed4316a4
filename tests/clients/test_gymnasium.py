"""Gymnasium's wrappers take a batched dream; its own tests pass with one in CartPole's place."""

import os
from pathlib import Path

import pytest

from tests.clients.page import blocks, typed_python
from tests.clients.replaced import passes

pytestmark = pytest.mark.clients
GYMNASIUM = os.environ.get("GYMNASIUM")

TESTS = {
    "vector": ("tests/vector --ignore tests/vector/test_async_vector_env.py", 300),
    "asynchronous": ("tests/vector/test_async_vector_env.py", 300),
    "rendering": ("tests/envs/test_rendering.py", 120),
    "wrappers": ("tests/wrappers --ignore tests/wrappers/vector", 300),
    "vector wrappers": ("tests/wrappers/vector", 900),
}
"""Gymnasium's tests, and the seconds that each group may take: some record many videos."""


def test_a_wrapper_counts_the_games_of_a_batch(tmp_path):
    (code,) = blocks("Gymnasium", "python")
    assert typed_python(code, tmp_path).endswith(" games\n")


@pytest.mark.skipif(
    not GYMNASIUM, reason="GYMNASIUM names no clone; PyPI's archive lacks the tests"
)
@pytest.mark.parametrize(("tests", "seconds"), TESTS.values(), ids=TESTS)
def test_its_own_tests_pass(tests, seconds, tmp_path):
    assert " passed" in passes(Path(GYMNASIUM), tmp_path, tests, seconds)

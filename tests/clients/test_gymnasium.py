"""Gymnasium's wrappers take a batched dream; its own tests pass with one in CartPole's place."""

import os
from pathlib import Path

import pytest

from tests.clients.page import blocks, typed_python
from tests.clients.replaced import passes

pytestmark = pytest.mark.clients
GYMNASIUM = os.environ.get("GYMNASIUM")

TESTS = {
    "vector": "tests/vector/test_sync_vector_env.py tests/vector/test_vector_env.py"
    " tests/vector/test_vector_wrapper.py",
    "asynchronous": "tests/vector/test_async_vector_env.py",
    "autoreset": "tests/vector/test_autoreset_mode.py tests/wrappers/test_autoreset.py",
    "wrappers": "tests/wrappers --ignore tests/wrappers/vector",
    "vector wrappers": "tests/wrappers/vector",
    "rendering": "tests/wrappers/test_record_video.py tests/wrappers/test_human_rendering.py",
}


def test_a_wrapper_counts_the_games_of_a_batch(tmp_path):
    (code,) = blocks("Gymnasium", "python")
    assert typed_python(code, tmp_path).endswith(" games\n")


@pytest.mark.skipif(
    not GYMNASIUM, reason="GYMNASIUM names no clone; PyPI's archive lacks the tests"
)
@pytest.mark.parametrize("tests", TESTS.values(), ids=TESTS)
def test_its_own_tests_pass(tests, tmp_path):
    assert " passed" in passes(Path(GYMNASIUM), tmp_path, tests)

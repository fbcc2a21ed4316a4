"""tianshou's vector environments, in one process and in several."""

import pytest

from tests.clients.page import blocks, typed_python

pytestmark = pytest.mark.clients


def test_vector_environments_step_dreams(tmp_path):
    pytest.importorskip("tianshou")
    (code,) = blocks("tianshou", "python")
    printed = typed_python(code, tmp_path)
    assert printed.count("(2, 1088) [1. 1.]") == 2  # two dreams: what they show and what they pay

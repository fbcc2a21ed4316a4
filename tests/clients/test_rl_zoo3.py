"""rl-zoo3 trains in the dream and plays what it has learned."""

import pytest

from tests.clients.page import blocks, typed_shell

pytestmark = pytest.mark.clients


def test_it_trains_and_plays(tmp_path):
    pytest.importorskip("rl_zoo3")
    (lines,) = blocks("rl-zoo3", "sh")
    typed_shell(lines, tmp_path)
    assert (tmp_path / "logs/ppo/DreamDoom-v0_1/DreamDoom-v0.zip").exists()

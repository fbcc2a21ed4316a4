"""RLlib's PPO, in one dream and in the lanes of a batch."""

import pytest

from tests.clients.page import blocks, typed_python

pytestmark = pytest.mark.clients


def test_ppo_learns_in_one_dream(tmp_path):
    pytest.importorskip("ray")
    one, _ = blocks("RLlib", "python")
    assert typed_python(one, tmp_path).endswith("200\n")


def test_ppo_learns_in_64_lanes_of_a_batched_dream(tmp_path):
    pytest.importorskip("ray")
    _, lanes = blocks("RLlib", "python")
    printed = typed_python(lanes, tmp_path)
    assert printed.endswith("DreamVectorEnv\n640\n")

"""TorchRL's own check of an environment's specs, for one dream and for a batch."""

import pytest

from tests.clients.page import blocks, typed_python

pytestmark = pytest.mark.clients


def test_one_dream_and_a_batch_keep_their_specs(tmp_path):
    pytest.importorskip("torchrl")
    (code,) = blocks("TorchRL", "python")
    printed = typed_python(code, tmp_path)
    assert "torch.Size([20, 1])" in printed  # steps, reward
    assert "torch.Size([64, 20, 1])" in printed  # lanes, steps, reward

"""JAX's step, with which the dream's is compared, is a step that changes what it should."""

from __future__ import annotations

import pytest

from dreamgym.models.mdn_rnn import MemoryConfig
from dreamgym.training.measure import yardstick


def test_the_step_in_jax_runs_again_and_again() -> None:
    pytest.importorskip("jax")
    work = yardstick.step(MemoryConfig(8, 2, 16), 3)
    work()
    work()


def test_whether_there_is_jax_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yardstick, "find_spec", lambda name: None if name == "jax" else "")
    assert not yardstick.installed()
    monkeypatch.setattr(yardstick, "find_spec", lambda name: name)
    assert yardstick.installed()

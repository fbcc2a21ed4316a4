"""Minari collects dreams as a data set, and makes the same environment from it."""

import pytest

from tests.clients.page import blocks, typed_python

pytestmark = pytest.mark.clients


def test_a_data_set_of_dreams_recovers_its_environment(tmp_path):
    pytest.importorskip("minari")
    (code,) = blocks("Minari", "python")
    printed = typed_python(code, tmp_path, MINARI_DATASETS_PATH=str(tmp_path / "datasets"))
    assert "2 episodes, DreamDoom-v0 at 1.15" in printed


def test_a_data_set_recovers_its_environment_where_dreamgym_was_not_imported(tmp_path):
    pytest.importorskip("minari")
    folder = {"MINARI_DATASETS_PATH": str(tmp_path / "datasets")}
    (code,) = blocks("Minari", "python")
    typed_python(code, tmp_path, **folder)
    printed = typed_python(
        "import minari\n"
        "env = minari.load_dataset('doom/dreamt-v0').recover_environment()\n"
        "print(env.reset(seed=0)[0].shape)",
        tmp_path,
        **folder,
    )
    assert "(1088,)" in printed

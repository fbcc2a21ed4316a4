"""CleanRL's scripts, read from the clone that CLEANRL names."""

import os

import pytest

from tests.clients.page import blocks, typed_shell

pytestmark = pytest.mark.clients
CLEANRL = os.environ.get("CLEANRL")
LINES = blocks("CleanRL", "sh")[0].splitlines()


@pytest.mark.skipif(
    not CLEANRL, reason="CLEANRL names no clone of CleanRL; PyPI has none to install"
)
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split()[1])
def test_a_script_learns_in_the_dream(line, tmp_path):
    (tmp_path / "cleanrl").symlink_to(os.path.join(CLEANRL, "cleanrl"))  # it writes where it runs
    typed_shell(line, tmp_path, PYTHONPATH=CLEANRL)
    assert list(tmp_path.glob("runs/dreamgym:DreamDoom-v0__*/events*"))

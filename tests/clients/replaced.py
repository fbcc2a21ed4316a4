"""A library's own tests, with our id in CartPole's place."""

import shutil
from pathlib import Path

from tests.clients.page import typed_shell

LEFT_OUT = {
    "tests/vector/test_sync_vector_env.py::test_call_sync_vector_env": "reads CartPole's `gravity`",
    "tests/vector/test_async_vector_env.py::test_call_async_vector_env": "reads its `gravity`",
    "tests/vector/test_sync_vector_env.py::test_set_attr_sync_vector_env": "sets its `gravity`",
    "tests/vector/test_async_vector_env.py::test_set_attr_async_vector_env": "sets its `gravity`",
    "tests/vector/test_vector_wrapper.py::test_vector_env_wrapper_attributes": "sets its `gravity`",
}
"""The tests that our id cannot pass because they name what CartPole alone has, and what that is."""


def passes(source: Path, folder: Path, tests: str, seconds: float) -> str:
    """Run tests of `source`, copied to `folder` with our id for CartPole's; return the report."""
    shutil.copytree(source / "tests", folder / "tests")
    shutil.copy(source / "pyproject.toml", folder)
    for file in (folder / "tests").rglob("*.py"):
        code = file.read_text().replace("CartPole-v1", "DreamDoom-v0")
        # Gymnasium's tests of rendering walk its own environments: let them walk ours.
        file.write_text(code.replace('"gymnasium.envs."', '"dreamgym."'))
    pytest = "python -m pytest -p dreamgym -p no:cacheprovider --verbose"  # -p imports: the ids
    pytest += "".join(f" --deselect {test}" for test in LEFT_OUT)
    return typed_shell(
        f"{pytest} {tests}", folder, seconds, OMP_NUM_THREADS="1", SDL_VIDEODRIVER="dummy"
    )

"""A library's own tests, with our id in CartPole's place."""

import shutil
from pathlib import Path

from tests.clients.page import typed_shell

NAME_GRAVITY = (
    "tests/vector/test_sync_vector_env.py::test_call_sync_vector_env",
    "tests/vector/test_async_vector_env.py::test_call_async_vector_env",
    "tests/vector/test_sync_vector_env.py::test_set_attr_sync_vector_env",
    "tests/vector/test_async_vector_env.py::test_set_attr_async_vector_env",
    "tests/vector/test_vector_wrapper.py::test_vector_env_wrapper_attributes",
)
"""Gymnasium's tests that ask CartPole for its `gravity`, or set it."""


def passes(source: Path, folder: Path, tests: str) -> str:
    """Run tests of `source`, copied to `folder` with our id for CartPole's; return the report."""
    shutil.copytree(source / "tests", folder / "tests")
    shutil.copy(source / "pyproject.toml", folder)
    for file in (folder / "tests").rglob("*.py"):
        file.write_text(file.read_text().replace("CartPole-v1", "DreamDoom-v0"))
    pytest = "python -m pytest -p dreamgym -p no:cacheprovider --quiet"  # -p imports: the ids
    pytest += "".join(f" --deselect {name}" for name in NAME_GRAVITY)
    return typed_shell(f"{pytest} {tests}", folder, SDL_VIDEODRIVER="dummy")

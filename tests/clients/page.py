"""The lines of docs/clients.md, run as somebody would type them."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"


def blocks(client: str, language: str) -> list[str]:
    """Return the code blocks in `language` under a client's heading."""
    section = re.search(
        rf"^## {re.escape(client)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S
    )
    assert section, f"{PAGE} has no heading '## {client}'"
    found = re.findall(rf"^```{language}\n(.*?)^```", section[1], re.M | re.S)
    assert found, f"{PAGE} shows no {language} under '## {client}'"
    return found


def typed_python(code: str, folder: Path, **environment: str) -> str:
    """Run code in a process of its own, in `folder`, and return what it printed."""
    return _done([sys.executable, "-c", code], folder, environment)


def typed_shell(code: str, folder: Path, **environment: str) -> str:
    """Run shell lines, the first failure ending them, and return what they printed."""
    return _done(["bash", "-euo", "pipefail", "-c", code], folder, environment)


def _done(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    python = Path(sys.executable).parent  # the shell's `python` is the one that runs the tests
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": f"{python}:{os.environ['PATH']}"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout[-6_000:]}\n{done.stderr[-6_000:]}"
    return done.stdout

"""The lines of docs/clients.md, run as somebody would type them."""

import os
import re
import signal
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


def typed_shell(code: str, folder: Path, seconds: float = 300, **environment: str) -> str:
    """Run shell lines, the first failure ending them, and return what they printed."""
    return _done(["bash", "-euo", "pipefail", "-c", code], folder, environment, seconds)


def _done(
    command: list[str], folder: Path, environment: dict[str, str], seconds: float = 300
) -> str:
    python = Path(sys.executable).parent  # the shell's `python` is the one that runs the tests
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PATH": f"{python}:{os.environ['PATH']}"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its workers can be ended with it
    )
    try:
        printed, complained = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, complained = process.communicate()
        complained += f"\nnot done after {seconds} seconds: killed"
    assert process.returncode == 0, f"{printed[-6_000:]}\n{complained[-6_000:]}"
    return printed

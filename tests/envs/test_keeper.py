"""A game's engine and its folder end with the process that holds it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import dreamgym  # noqa: F401
from dreamgym.envs import keeper
from tests.waiting import PATIENCE, until

HOLD = """
import sys, time, gymnasium as gym, dreamgym
env = gym.make("PixelDoom-v0", resolution="160x120")
env.reset(seed=0)
print(env.unwrapped._scratch, flush=True)
sys.stdout = sys.stderr
{}
"""


def over(scratch: str) -> bool:
    return not os.path.exists(scratch) and not list(keeper.engines(scratch))


def hold(then: str, stdin: int | None = None) -> tuple[subprocess.Popen[str], str]:
    """Start a process that holds a game; return it and the game's folder."""
    command = [sys.executable, "-c", HOLD.format(then)]
    process = subprocess.Popen(
        command, stdin=stdin, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    scratch = process.stdout.readline().strip()
    process.stdout.close()
    assert os.path.isdir(scratch) and len(list(keeper.engines(scratch))) == 1
    return process, scratch


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("group", [False, True])
def test_a_process_that_is_killed_leaves_no_engine_no_folder_and_no_memory(blow, group) -> None:
    process, scratch = hold("time.sleep(600)")
    (_, words), = keeper.engines(scratch)  # fmt: skip
    name = words[words.index("+viz_instance_id") + 1]
    (os.killpg if group else os.kill)(process.pid, blow)
    process.wait()
    assert until(lambda: over(scratch))
    assert not list(Path("/dev/shm").glob(f"*{name}"))


@pytest.mark.parametrize("end", ["env.close()", "pass", "raise SystemExit(0)"])
def test_a_process_that_ends_by_itself_leaves_nothing(end: str) -> None:
    process, scratch = hold(f"input()\n{end}", subprocess.PIPE)  # not before it was seen
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.close()
    assert process.wait(PATIENCE) == 0
    assert over(scratch)


def test_a_child_that_was_forked_does_not_keep_its_parent_s_games() -> None:
    process, scratch = hold(
        "import os\nif os.fork() == 0: time.sleep(20); os._exit(0)\ntime.sleep(600)"
    )
    process.kill()
    process.wait()
    assert until(lambda: over(scratch))


def test_workers_that_are_terminated_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    envs = gym.vector.AsyncVectorEnv(
        [lambda: gym.make("dreamgym:PixelDoom-v0", resolution="160x120")] * 2, context="spawn"
    )
    envs.reset(seed=0)
    folders = [str(folder) for folder in tmp_path.glob("dreamgym-*")]
    assert len(folders) == 2
    envs.close(terminate=True)
    assert until(lambda: all(map(over, folders)))


def test_a_game_whose_engine_died_says_so_and_is_begun_anew() -> None:
    env = gym.make("PixelDoom-v0", resolution="160x120").unwrapped
    first = env.reset(seed=4)[0]
    for _ in range(2):
        env.step(1)
        (number, _), = keeper.engines(env._scratch)  # type: ignore[attr-defined]  # fmt: skip
        os.kill(number, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"engine has ended .*reset\(\) starts anew"):
                env.step(1)
        assert np.array_equal(env.reset(seed=4)[0], first)
    os.kill(next(keeper.engines(env._scratch))[0], signal.SIGKILL)  # type: ignore[attr-defined]
    assert np.array_equal(env.reset(seed=4)[0], first)  # found out by reset itself
    env.close()
    env.close()


def test_a_game_that_is_closed_has_no_engine_and_no_folder() -> None:
    env = gym.make("PixelDoom-v0", resolution="160x120").unwrapped
    env.reset(seed=0)
    scratch = env._scratch  # type: ignore[attr-defined]
    assert len(list(keeper.engines(scratch))) == 1
    env.close()
    assert over(scratch)
    assert env._game is None  # type: ignore[attr-defined]

"""Workers may fail, die and hang; the results are complete all the same."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import gymnasium as gym
import pytest

import dreamgym  # noqa: F401
from dreamgym.envs import keeper
from dreamgym.training.play import executors
from dreamgym.training.play.executors import Executor, InProcess, Local, WorkerError
from dreamgym.training.play.games import Job
from dreamgym.training.play.policies import Reference
from tests.waiting import PATIENCE, until


def lives(process: int) -> bool:
    """Whether a process, no child of ours, still runs."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def square(job: int) -> int:
    return job * job


@pytest.mark.parametrize("executor", [InProcess(), Local(1), Local(2)])
def test_every_job_is_answered_once(executor: Executor) -> None:
    answers = list(executor.map(square, range(20)))
    assert sorted(answers) == [(number, number**2) for number in range(20)]


@pytest.mark.parametrize("executor", [InProcess(), Local()])
def test_no_jobs_need_no_workers(executor: Executor) -> None:
    assert list(executor.map(square, [])) == []
    assert not multiprocessing.active_children()


def process_of(_: int) -> tuple[int, int]:
    return os.getpid(), os.getpgrp()


def test_a_worker_lives_from_job_to_job_in_a_group_of_its_own() -> None:
    ((process, group),) = {answer for _, answer in Local(1).map(process_of, range(5))}
    assert group == process != os.getpid()


def test_in_this_process_jobs_run_in_their_order_when_they_are_asked_for() -> None:
    answers = InProcess().map(square, range(3))
    assert list(answers) == [(0, 0), (1, 1), (2, 4)]
    assert dict(InProcess().map(process_of, [0])) == {0: (os.getpid(), os.getpgrp())}
    with pytest.raises(ValueError, match="a moon is no game"):
        next(InProcess().map(refuse, [("", b"")]))


def first_time(marker: str) -> bool:
    """Whether no other process was here before; leaves its id."""
    try:
        with open(marker, "x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True


def die_once(marker: str) -> str:
    if marker and first_time(marker):
        os.kill(os.getpid(), signal.SIGKILL)
    return f"done {marker}"


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_worker_is_replaced_and_its_job_done_again(tmp_path: Path, processes: int) -> None:
    marker = str(tmp_path / "died")
    answers = list(Local(processes).map(die_once, ["", marker, ""]))
    assert sorted(answers) == [(0, "done "), (1, f"done {marker}"), (2, "done ")]
    assert int(Path(marker).read_text()) != os.getpid()


def test_a_worker_killed_between_jobs_is_replaced() -> None:
    answers = []
    for answer in Local(1).map(square, range(3)):
        answers.append(answer)
        for process in multiprocessing.active_children() if len(answers) == 1 else []:
            process.kill()
            process.join()
    assert answers == [(0, 0), (1, 1), (2, 4)]


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(_: int) -> None:
    sys.exit("there are no games here")


def test_a_job_that_ends_every_process_is_an_error() -> None:
    for function, code in ((die, -signal.SIGKILL), (leave, 1)):
        with pytest.raises(WorkerError) as caught:
            list(Local(1).map(function, [0]))
        words = f"job 1 of 1 failed 3 times, last: its process ended ({code})"
        assert str(caught.value) == words


def hang_once(marker: str) -> str:
    if marker and first_time(marker):
        time.sleep(600)
    return f"done {marker}"


def test_a_hanging_worker_is_replaced_and_its_job_done_again(tmp_path: Path) -> None:
    marker = str(tmp_path / "hung")
    answers = list(Local(1).map(hang_once, ["", marker, ""], timeout=2))
    assert sorted(answers) == [(0, "done "), (1, f"done {marker}"), (2, "done ")]


def test_a_worker_that_never_starts_to_answer_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "START_TIMEOUT", 0.0)
    monkeypatch.setattr(executors, "TRIES", 1)
    with pytest.raises(WorkerError, match="no answer within 0 s"):
        list(Local(1).map(hang_once, [str(tmp_path / "hung")], timeout=0.01))
    assert not multiprocessing.active_children()


def test_the_start_of_a_worker_does_not_count_against_its_job() -> None:
    assert list(Local(1).map(square, [3], timeout=0.05)) == [(0, 9)]


def fail_twice(folder: str) -> int:
    tries = len(list(Path(folder).iterdir()))
    (Path(folder) / str(tries)).touch()
    if tries < 2:
        raise OSError("not yet")
    return tries


def fail(folder: str) -> None:
    (Path(folder) / str(len(list(Path(folder).iterdir())))).touch()
    raise OSError("the monsters won")


def test_a_job_is_tried_three_times(tmp_path: Path) -> None:
    assert list(Local(1).map(fail_twice, [str(tmp_path)])) == [(0, 2)]


def test_a_job_that_always_fails_is_an_error_with_its_message(tmp_path: Path) -> None:
    with pytest.raises(WorkerError) as caught:
        list(Local(1).map(fail, [str(tmp_path)]))
    assert str(caught.value) == "job 1 of 1 failed 3 times, last: OSError: the monsters won"
    assert len(list(tmp_path.iterdir())) == 3


def test_an_error_names_the_games_that_failed() -> None:
    job = Job("doom", "", "", Reference("random"), (20, 21, 29))
    with pytest.raises(WorkerError) as caught:
        list(Local(1).map(leave, [job]))
    words = (
        "ViZDoom's Take Cover with the seeds 20 to 29 failed 3 times, last: its process ended (1)"
    )
    assert str(caught.value) == words


def refuse(job: tuple[str, bytes]) -> None:
    folder, _ = job
    if folder:
        (Path(folder) / str(len(list(Path(folder).iterdir())))).touch()
    raise ValueError("a moon is no game")


def test_an_error_that_would_come_again_is_met_once_and_tells_no_weights(tmp_path: Path) -> None:
    with pytest.raises(WorkerError) as caught:
        list(Local(1).map(refuse, [(str(tmp_path), bytes(10_000))]))
    assert str(caught.value) == "job 1 of 1 failed: a moon is no game"
    assert len(list(tmp_path.iterdir())) == 1
    (trace,) = caught.value.__notes__
    assert "in refuse" in trace and "ValueError: a moon is no game" in trace


class Awkward(Exception):
    """An error that cannot be made again from its words."""

    def __init__(self, one: int, two: int):
        super().__init__(f"{one} and {two}")


def stumble(_: int) -> None:
    raise Awkward(1, 2)


def lock(_: int) -> object:
    return threading.Lock()


def test_what_cannot_be_sent_is_an_error() -> None:
    with pytest.raises(WorkerError, match="failed 3 times, last: Awkward: 1 and 2"):
        list(Local(1).map(stumble, [0]))
    with pytest.raises(WorkerError, match=r"failed: TypeError: cannot pickle '_thread\.lock'"):
        list(Local(1).map(lock, [0]))
    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock'"):
        list(Local(1).map(id, [threading.Lock()]))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("number", [-1, 1.5, True, None, "2", 10**9])
def test_a_number_of_processes_that_is_none_is_named_before_any_work(number: object) -> None:
    with pytest.raises(ValueError, match=f"processes is {number!r}: give 1 or more, up to"):
        Local(number)  # type: ignore[arg-type]


def test_whoever_stops_listening_leaves_no_process_behind() -> None:
    answers = Local(1).map(square, range(1000))
    next(answers)
    assert multiprocessing.active_children()
    answers.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


def big(job: bytes) -> int:
    time.sleep(0.1)
    return len(job)


def test_whoever_stops_listening_need_not_wait_for_jobs_that_fill_the_pipe() -> None:
    answers = Local(2).map(big, [bytes(5_000_000)] * 8)
    assert next(answers)[1] == 5_000_000
    answers.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


def test_a_thread_can_have_workers_too() -> None:
    answers: list[tuple[int, int]] = []
    thread = threading.Thread(target=lambda: answers.extend(Local(1).map(square, range(3))))
    thread.start()
    thread.join(PATIENCE)
    assert answers == [(0, 0), (1, 1), (2, 4)]
    assert not multiprocessing.active_children()


def threads(_: int) -> str:
    return os.environ["OMP_NUM_THREADS"]


@pytest.mark.parametrize("before", [None, "5"])
def test_workers_have_one_thread_and_the_caller_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    if before is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", before)
    for answer in Local(1).map(threads, [0]):
        assert answer == (0, "1")
        assert os.environ.get("OMP_NUM_THREADS") == before
    assert os.environ.get("OMP_NUM_THREADS") == before


def engine(job: tuple[str, bool]) -> None:
    """Start what outlives its process, say which, and die or wait to be ended."""
    marker, dies = job
    if not marker:  # of a worker's first job it is not known how long it may take
        return
    process = subprocess.Popen(["sleep", "600"])
    with open(marker, "a") as file:
        file.write(f"{process.pid}\n")
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


@pytest.mark.parametrize("dies", [True, False])
def test_the_engine_of_a_worker_ends_with_it(
    tmp_path: Path, dies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "engines"
    monkeypatch.setattr(executors, "TRIES", 1)
    with pytest.raises(WorkerError, match="job 2 of 2 failed"):
        list(Local(1).map(engine, [("", dies), (str(marker), dies)], timeout=2))
    engines = [int(line) for line in marker.read_text().split()]
    assert len(engines) == 1
    assert until(lambda: not any(map(lives, engines)))


def hold(job: tuple[str, bool]) -> None:
    """Begin a real game, say where its engine is, and die or wait to be ended."""
    marker, dies = job
    if not marker:
        return
    env = gym.make("PixelDoom-v0", resolution="160x120")
    env.reset(seed=0)
    try:
        Path(marker).write_text(env.unwrapped._scratch)  # type: ignore[attr-defined]
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)
    finally:
        Path(marker).with_name("let go").touch()


@pytest.mark.parametrize("dies", [True, False])
def test_a_game_ends_with_its_worker_and_leaves_no_folder(
    tmp_path: Path, dies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "TRIES", 1)
    with pytest.raises(WorkerError, match="job 2 of 2 failed"):
        list(Local(1).map(hold, [("", dies), (str(tmp_path / "scratch"), dies)], timeout=10))
    scratch = (tmp_path / "scratch").read_text()
    assert until(lambda: not os.path.exists(scratch) and not list(keeper.engines(scratch)))
    assert (tmp_path / "let go").exists() is not dies


INTERRUPTED = """
import sys, time
from dreamgym.training.play.executors import Local
from dreamgym.training.play.games import Job
from dreamgym.training.play.policies import Reference
if __name__ == "__main__":
    for number, _ in Local(2).map(time.sleep, [0, 600, 600]):
        print("begun", flush=True)
"""


@pytest.mark.parametrize("group", [False, True])
def test_ctrl_c_ends_the_parent_and_its_workers(tmp_path: Path, group: bool) -> None:
    (tmp_path / "script.py").write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "script.py"], start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)  # which its workers would hold open
    assert errors.count("Traceback") == 1 and errors.endswith("KeyboardInterrupt\n")
    assert process.returncode == -signal.SIGINT

"""Workers may fail, die and hang; the results are complete all the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from dreamgym.training.play import executors


def square(job: int) -> int:
    return job * job


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


def hang_once(marker: str) -> str:
    if marker and first_time(marker):
        time.sleep(600)
    return f"done {marker}"


def fail_twice(folder: str) -> int:
    tries = len(list(Path(folder).iterdir()))
    (Path(folder) / str(tries)).touch()
    if tries < 2:
        raise OSError("not yet")
    return tries


def fail(folder: str) -> None:
    (Path(folder) / str(len(list(Path(folder).iterdir())))).touch()
    raise OSError("the monsters won")


def threads(_: int) -> str:
    return os.environ["OMP_NUM_THREADS"]


@pytest.mark.parametrize("processes", [1, 2])
def test_every_job_is_answered_once(processes: int) -> None:
    answers = list(executors.run(square, range(20), processes))
    assert sorted(answers) == [(number, number**2) for number in range(20)]


def test_no_jobs_need_no_workers() -> None:
    assert list(executors.run(square, [])) == []


def test_a_killed_worker_is_replaced_and_its_job_done_again(tmp_path: Path) -> None:
    marker = str(tmp_path / "died")
    answers = list(executors.run(die_once, ["", marker, ""], 1))
    assert sorted(answers) == [(0, "done "), (1, f"done {marker}"), (2, "done ")]
    assert int(Path(marker).read_text()) != os.getpid()


def test_a_worker_killed_between_jobs_is_replaced() -> None:
    answers = []
    for answer in executors.run(square, range(3), 1):
        answers.append(answer)
        for process in multiprocessing.active_children() if len(answers) == 1 else []:
            process.kill()
            process.join()
    assert answers == [(0, 0), (1, 1), (2, 4)]


def test_a_hanging_worker_is_replaced_and_its_job_done_again(tmp_path: Path) -> None:
    marker = str(tmp_path / "hung")
    answers = list(executors.run(hang_once, ["", marker, ""], 1, timeout=2))
    assert sorted(answers) == [(0, "done "), (1, f"done {marker}"), (2, "done ")]


def test_a_worker_that_never_starts_to_answer_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "START_TIMEOUT", 0.0)
    monkeypatch.setattr(workers, "TRIES", 1)
    with pytest.raises(workers.WorkerError, match="no answer within 0 s"):
        list(executors.run(hang_once, [str(tmp_path / "hung")], 1, timeout=0.01))


def test_a_job_is_tried_three_times(tmp_path: Path) -> None:
    assert list(executors.run(fail_twice, [str(tmp_path)], 1)) == [(0, 2)]


def test_a_job_that_always_fails_is_an_error_with_its_message(tmp_path: Path) -> None:
    with pytest.raises(workers.WorkerError) as caught:
        list(executors.run(fail, [str(tmp_path)], 1))
    assert str(caught.value) == "job 1 of 1 failed 3 times, last: OSError: the monsters won"
    assert len(list(tmp_path.iterdir())) == 3


def refuse(job: tuple[str, bytes]) -> None:
    folder, _ = job
    (Path(folder) / str(len(list(Path(folder).iterdir())))).touch()
    raise ValueError("a moon is no game")


def test_an_error_that_would_come_again_is_met_once_and_tells_no_weights(tmp_path: Path) -> None:
    with pytest.raises(workers.WorkerError) as caught:
        list(executors.run(refuse, [(str(tmp_path), bytes(10_000))], 1))
    assert str(caught.value) == "job 1 of 1 failed: a moon is no game"
    assert len(list(tmp_path.iterdir())) == 1
    (trace,) = caught.value.__notes__
    assert "in refuse" in trace and "ValueError: a moon is no game" in trace


@pytest.mark.parametrize("number", [-1, 1.5, True, None, "2"])
def test_a_number_of_processes_that_is_none_is_named(number: object) -> None:
    with pytest.raises(ValueError, match=f"processes is {number!r}: give 1 or more, up to"):
        list(executors.run(square, [1], number))  # type: ignore[arg-type]


def test_whoever_stops_listening_leaves_no_process_behind() -> None:
    answers = executors.run(square, range(1000), 1)
    next(answers)
    assert multiprocessing.active_children()
    answers.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("before", [None, "5"])
def test_workers_have_one_thread_and_the_caller_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    if before is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", before)
    assert list(executors.run(threads, [0], 1)) == [(0, "1")]
    assert os.environ.get("OMP_NUM_THREADS") == before

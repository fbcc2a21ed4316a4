"""Run folders: each is used by one process at a time and records what it was made from.

Beside its results a stage keeps a record. The record is a JSON file with the stage's arguments, a
fingerprint of the content of everything it reads (data, world, policy, independent of their paths),
and whether the run is finished. The same command goes on where the last one stopped. A command with
other arguments or inputs is refused. A stage also refuses to read a run that is not finished.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from dreamgym.checkpoint import CheckpointError, read_json, write_json
from dreamgym.files import naming, remove_partial

LOCK = ".lock"
"""Name of the lock file in a folder; the system releases the lock when the process ends."""
OTHER = "choose another --out, or delete the folder"
ANEW = "make it anew, in another folder"


def check_folder(folder: str | Path) -> None:
    """Make a folder if it does not exist; called before the work that writes into it.

    Raises:
        ValueError: if it is a file.
        OSError: if it cannot be made.
    """
    if Path(folder).exists() and not Path(folder).is_dir():
        raise ValueError(f"{folder} is a file: give the name of a folder")
    with naming(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)


@contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Lock a folder for this process, and remove files that a killed process left half written.

    Raises:
        ValueError: if another process holds it.
    """
    check_folder(folder)
    lock = FileLock(Path(folder) / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"{folder} is in use by another process: wait until it ends, or choose another --out"
        ) from None
    try:
        remove_partial(folder)
        yield
    finally:
        lock.release()


class Run:
    """A stage's run in a folder. The folder is locked from `__enter__` to `__exit__`.

    Args:
        folder: the run's folder.
        name: the record is `name`.json.
        args: a dataclass with the arguments on which the results depend.
        inputs: for each input, by its name, a fingerprint of its content. If an argument has the
            same name, it is the path of the input; the path may change between calls.
        grows: name of an argument that a later call may raise, to do more of the same; see
            `at_least`.

    Raises:
        ValueError: when entered, if another process holds the folder, or if the run was begun with
            other arguments or inputs; the message names the first one that differs.
    """

    def __init__(
        self, folder: str | Path, name: str, args: Any, inputs: dict[str, str], grows: str = ""
    ):
        self.path = Path(folder) / f"{name}.json"
        self.args, self.inputs, self.grows = args, inputs, grows
        self.facts: dict[str, Any] = {}
        self.before: dict[str, Any] = {}  # the arguments in the record, of the last call

    def __enter__(self) -> Run:
        with ExitStack() as stack:
            stack.enter_context(held(self.path.parent))
            if self.path.exists():
                self.facts = self._checked(read(self.path))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def write(self, finished: bool = False, **facts: Any) -> None:
        """Rewrite the record, with the stage's own facts in it."""
        self.facts = facts
        record = {"args": asdict(self.args), "inputs": self.inputs, "finished": finished}
        write_json(self.path, record | facts)

    def finish(self) -> None:
        """Mark the record as finished."""
        self.write(True, **self.facts)

    def at_least(self, done: int) -> None:
        """Refuse a call that asks for less than the run has done already.

        Raises:
            ValueError: if the argument that grows is smaller than `done`.
        """
        if (asked := getattr(self.args, self.grows)) < done:
            raise ValueError(
                f"{self.path.parent} holds {done} {self.grows} already, more than {asked}: ask for "
                f"{done} or more, or {OTHER}"
            )

    def _checked(self, record: dict[str, Any]) -> dict[str, Any]:
        """Hold a record against this run's arguments and inputs; return the stage's own facts."""
        begun, was, inputs = f"{self.path.parent} was begun", record["args"], record["inputs"]
        if not was:
            raise CheckpointError(f"{self.path} is damaged (its 'args' are empty): {ANEW}")
        self.before = was
        for field in fields(self.args):
            new, old = getattr(self.args, field.name), was.get(field.name, field.default)
            new = list(new) if isinstance(new, tuple) else new  # as JSON has it
            if field.name not in (self.grows, *self.inputs) and new != old:
                raise ValueError(f"{begun} with {field.name} {old!r}, not {new!r}: {OTHER}")
        for name in sorted(self.inputs.keys() | inputs.keys()):
            if self.inputs.get(name) != inputs.get(name):
                where = f" ({where})" if (where := getattr(self.args, name, "")) else ""
                raise ValueError(
                    f"{begun} with other inputs: the content of its {name}{where} was "
                    f"{inputs.get(name) or 'none'}, is {self.inputs.get(name) or 'none'}: {OTHER}"
                )
        return {key: value for key, value in record.items() if key not in EVERY}


EVERY = {"args": dict, "inputs": dict, "finished": bool}
"""The keys that each record holds, and their types."""


def read(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    record = read_json(path)
    for key, kind in EVERY.items():
        if not isinstance(record.get(key), kind):
            raise CheckpointError(
                f"{path} is damaged, or of an older dreamgym (its {key!r} is {record.get(key)!r}): "
                f"{ANEW}"
            )
    return record


def finished(path: Path, again: str) -> dict[str, Any]:
    """Read the record of a run that is an input, and refuse it if the run is not finished.

    Args:
        again: the command that continues the run, for the message.

    Raises:
        CheckpointError: if it is missing, damaged or unfinished.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: call `dreamgym {again}` first")
    record = read(path)
    if not record["finished"]:
        raise CheckpointError(
            f"{path.parent} is not finished: call `dreamgym {again}` again, with the same "
            "arguments, until it is"
        )
    return record


def check_numbers(
    points: Any, path: Path, required: Sequence[str], optional: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return the points of a record's curve after checking their numbers.

    Args:
        points: should be a list of dicts.
        required: names under which each point must hold a finite number.
        optional: names under which a point may hold one.

    Raises:
        CheckpointError: if a number is missing, or a value is not a finite number.
    """
    good = isinstance(points, list) and all(
        isinstance(point, dict)
        and all(is_number(point.get(name)) for name in required)
        and all(is_number(point.get(name, 0)) for name in optional)
        for point in points
    )
    if not good:
        raise CheckpointError(
            f"{path} is damaged (its points need {', '.join(required)} as numbers): {ANEW}"
        )
    return list(points)


def is_number(value: Any) -> bool:
    """Return whether a value from a JSON file is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_input(policy: str | Path) -> None:
    """Refuse a policy that is still learning, because one policy must play the whole data set.

    Raises:
        CheckpointError: if a record beside the policy says that its run is not finished.
    """
    folder = Path(policy).parent
    for name, command in (("evolution", "evolve"), ("learning", "train")):
        if (folder / f"{name}.json").exists():
            finished(folder / f"{name}.json", f"{command} --out {folder}")

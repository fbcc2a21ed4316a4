"""What a run folder is: one process's at a time, made of known things, finished or not.

Beside its results a stage keeps a record, a JSON file with its arguments, a fingerprint of the
content of all that it reads (data, world, policy: wherever they lie), and whether it is finished.
The same command goes on where the last one stopped; another one, or the same on other things, is
refused. So is an input that is not finished.
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
from dreamgym.files import remove_partial

LOCK = ".lock"
"""The file by which a process holds a folder; the system lets go of it when the process ends."""
OTHER = "choose another --out, or delete the folder"
ANEW = "make it anew, in another folder"


def check_folder(folder: str | Path) -> None:
    """Make a folder if it is not there: asked before the work that ends in it.

    Raises:
        ValueError: if it is a file.
    """
    if Path(folder).exists() and not Path(folder).is_dir():
        raise ValueError(f"{folder} is a file: give the name of a folder")
    Path(folder).mkdir(parents=True, exist_ok=True)


@contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Hold a folder for this process alone, and clear away what a killed one left half written.

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
    """A stage's run in a folder, which this process holds while the run is open.

    Args:
        folder: where it is.
        name: the record is `name`.json.
        args: a dataclass, what the results are a function of.
        inputs: fingerprints of the content of what is read, by name. An argument of the same name
            is where it lies, and may change.
        grows: an argument that may differ the next time, so that more of the same is done; see
            `at_least`.

    Raises:
        ValueError: when opened, if another process holds the folder, or if the run was begun with
            other arguments or inputs; the message names the first.
    """

    def __init__(
        self, folder: str | Path, name: str, args: Any, inputs: dict[str, str], grows: str = ""
    ):
        self.path = Path(folder) / f"{name}.json"
        self.args, self.inputs, self.grows = args, inputs, grows
        self.facts: dict[str, Any] = {}
        self.before: dict[str, Any] = {}  # the arguments of the last call

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
        """Write the record anew, with facts of the stage's own beside it."""
        self.facts = facts
        record = {"args": asdict(self.args), "inputs": self.inputs, "finished": finished}
        write_json(self.path, record | facts)

    def finish(self) -> None:
        """Write down that nothing is left to do."""
        self.write(True, **self.facts)

    def at_least(self, done: int) -> None:
        """Refuse to do less than what is done.

        Raises:
            ValueError: if the argument that grows is smaller.
        """
        if (asked := getattr(self.args, self.grows)) < done:
            raise ValueError(
                f"{self.path.parent} holds {done} {self.grows} already, more than {asked}: ask for "
                f"{done} or more, or {OTHER}"
            )

    def _checked(self, record: dict[str, Any]) -> dict[str, Any]:
        """Hold a record to this run's arguments and inputs, and return the stage's own facts."""
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
                    f"{begun} otherwise: the content of its {name}{where} was "
                    f"{inputs.get(name) or 'none'}, is {self.inputs.get(name) or 'none'}: {OTHER}"
                )
        return {key: value for key, value in record.items() if key not in EVERY}


EVERY = {"args": dict, "inputs": dict, "finished": bool}
"""What every record holds."""


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
    """Return the record of a run that is to be read, which must be finished.

    Args:
        again: the command that goes on with it.

    Raises:
        CheckpointError: if it is missing, damaged or unfinished.
    """
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
    """Return what a record says point by point, each a number under its name.

    Raises:
        CheckpointError: if a number is missing, or is none.
    """
    good = isinstance(points, list) and all(
        isinstance(point, dict)
        and all(is_number(point.get(name)) for name in required)
        and all(is_number(point.get(name, 0)) for name in optional)
        for point in points
    )
    if not good:
        raise CheckpointError(f"{path} is damaged (its points lack {', '.join(required)}): {ANEW}")
    return list(points)


def is_number(value: Any) -> bool:
    """Return whether what JSON held is a number, and a finite one."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_input(policy: str | Path) -> None:
    """Refuse a policy that is still learning: a data set must be one policy's.

    Raises:
        CheckpointError: if a record beside it says that its run is not finished.
    """
    folder = Path(policy).parent
    for name, command in (("evolution", "evolve"), ("learning", "train")):
        if (folder / f"{name}.json").exists():
            finished(folder / f"{name}.json", f"{command} --out {folder}")

"""Faults put into the code one at a time, and the tests that should notice: `make mutants`.

Which tests reach a line is measured by coverage. Then a seeded sample of the lines that compute
something is drawn; each gets one small fault, and tests that reach it run. Whatever comes through
is printed. All this happens in a copy of the tree; what is known is kept in
`.pytest_cache/mutants`, so the same call goes on where it was stopped.

Ours, because mutmut leaves out what is decorated and draws no sample, and cosmic-ray runs all tests
for each mutant and changes the files in place.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from coverage import CoverageData
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".pytest_cache" / "mutants"
HEAVY = (
    "cma", "gymnasium.envs.box2d", "matplotlib.figure", "numba", "sb3_contrib", "torch._dynamo",
    "torch.utils.tensorboard", "vizdoom",
)  # fmt: skip
"""What takes long to import is imported once, before the forks."""
LEFT_OUT = {"bench", "film", "report", "cli", "demo", "make", "__init__", "__main__", "zoo"}
"""Files that measure, draw, talk or list."""
SILENT = {"bar", "tqdm", "log", "print", "warnings", "SummaryWriter", "plot"}
"""Whoever speaks of one of these shows something and computes nothing."""
TESTS = 30
"""Most tests for a line."""
SWAPS = {getattr(ast, one): getattr(ast, other) for one, other in map(str.split, (
    "Add Sub", "Sub Add", "Mult Div", "Div Mult", "FloorDiv Mult", "Mod FloorDiv", "Pow Mult",
    "BitAnd BitOr", "BitOr BitAnd", "LShift RShift", "RShift LShift", "Lt LtE", "LtE Lt", "Gt GtE",
    "GtE Gt", "Eq NotEq", "NotEq Eq", "In NotIn", "NotIn In", "Is IsNot", "IsNot Is", "And Or",
    "Or And",
))}  # fmt: skip
PAIRS = ("min max", "argmin argmax", "any all", "sum mean", "zeros ones", "floor ceil", "amin amax",
         "minimum maximum", "clamp_min clamp_max", "cumsum cumprod", "sin cos",
         "exp log")  # fmt: skip
NAMES = {a: b for pair in map(str.split, PAIRS) for a, b in (pair, reversed(pair))}


def faults(node: Any) -> Iterator[tuple[Any, str]]:
    """Yield (part of the source, what takes its place) for every fault that a node may have."""

    def other(**change: Any) -> str:
        fields = {name: getattr(node, name) for name in node._fields}
        return ast.unparse(type(node)(**fields | change))

    match node:
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in SWAPS:
            yield node, f"({other(op=SWAPS[type(op)]())})"
        case ast.AugAssign(op=op) if type(op) in SWAPS:
            yield node, other(op=SWAPS[type(op)]())
        case ast.Compare(ops=[first, *rest]):
            yield node, f"({other(ops=[SWAPS[type(first)](), *rest])})"
        case ast.UnaryOp(operand=operand) if not isinstance(operand, ast.Constant):
            yield node, f"({ast.unparse(operand)})"
        case ast.Constant(value=bool() as value):
            yield node, str(not value)
        case ast.Constant(value=int() | float() as value):
            yield node, repr(value + 1)
            yield node, f"({value - 1!r})"
        case ast.Name(id=name) if name in NAMES:
            yield node, NAMES[name]
        case ast.Attribute(attr=name) if name in NAMES:
            yield node, other(attr=NAMES[name])
        case ast.Slice(lower=lower, upper=upper):
            for end in filter(None, (lower, upper)):
                yield end, f"{ast.unparse(end)} + 1"
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield test, f"(not ({ast.unparse(test)}))"
        case ast.Expr(value=ast.Call()):
            yield node, "pass"
        case ast.Break():
            yield node, "continue"


def computing(node: Any, inside: bool = False) -> Iterator[Any]:
    """Yield the nodes below one that compute something within a function."""
    if isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)):
        return
    names = {getattr(each, "id", "") for each in ast.walk(node)}
    if isinstance(node, (ast.Expr, ast.Assign, ast.Return, ast.Call)) and names & SILENT:
        return
    if getattr(node, "name", "") in SILENT:
        return
    if inside:
        yield node
    below = list(ast.iter_child_nodes(node))
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        below, inside = node.body, isinstance(node, ast.FunctionDef)
    if isinstance(node, ast.AnnAssign):
        below = [node.value] if node.value else []
    for each in below:
        if getattr(each, "arg", "") != "strict":  # a guard
            yield from computing(each, inside)


def mutants(path: Path) -> Iterator[tuple[int, str, bytes]]:
    """Yield (line, what is put in, the whole file) for every fault that a file may have."""
    whole = path.read_bytes()
    starts = [0]
    for line in whole.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in computing(ast.parse(whole)):
        for part, instead in faults(node):
            first = starts[part.lineno - 1] + part.col_offset
            last = starts[part.end_lineno - 1] + part.end_col_offset
            said = f"{ast.unparse(part)} → {instead}"
            yield part.lineno, said, whole[:first] + instead.encode() + whole[last:]


def forked(work: Callable[[], Any], limit: float) -> int | None:
    """Return the status of work in a child process, None if it takes more than `limit` seconds."""

    def alone() -> None:
        os.setsid()
        output = os.open(KEPT / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.exit(int(work()))

    child = multiprocessing.get_context("fork").Process(target=alone)
    child.start()
    child.join(limit)
    late = child.is_alive()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # type: ignore[arg-type]  # its engines too
    child.join()
    return None if late else child.exitcode


class Seconds(dict[str, float]):
    """A plugin of pytest that writes down how long each test takes; for ever, if it fails."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        took = report.duration if report.passed else float("inf")
        self[report.nodeid] = self.get(report.nodeid, 0) + took


def digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def reach(tree: Path, test: Path, sources: str) -> dict[str, Any]:
    """Return the seconds of a file's tests and which of them reach each line of each source."""
    name = str(test.relative_to(tree))
    kept = KEPT / f"{name.replace('/', '-')}-{digest(test)}-{sources}.json"

    def measure() -> int:
        seconds, lines, data = Seconds(), {}, CoverageData(".coverage")
        flags = ("--cov=dreamgym", "--cov=training", "--cov-context=test", "--cov-report=")
        pytest.main(
            ["-qm", "not slow and not clients", "-p", "no:cacheprovider", *flags, name], [seconds]
        )
        data.read()
        for file in data.measured_files():
            lines[str(Path(file).relative_to(tree))] = {
                line: sorted({each.split("|")[0] for each in tests} - {""})
                for line, tests in data.contexts_by_lineno(file).items()
            }
        data.erase()
        kept.write_text(json.dumps({"seconds": seconds, "lines": lines}))
        return 0

    if not kept.exists():
        forked(measure, 1800)
    return json.loads(kept.read_text()) if kept.exists() else {"seconds": {}, "lines": {}}


def who(name: str, line: int, known: list[dict[str, Any]], limit: float) -> tuple[list[str], float]:
    """Return the tests for a line and their seconds together, at most `limit`.

    Those of the file's namesake come first, then the quickest. Where coverage does not see, in a
    worker or in compiled code, they are the namesake's.
    """
    seconds = {test: took for each in known for test, took in each["seconds"].items()}
    namesake = f"/test_{Path(name).stem}.py::"
    reached = {test for each in known for test in each["lines"].get(name, {}).get(str(line), ())}
    reached = reached or {test for test in seconds if namesake in test}
    chosen, whole = [], 0.0
    for test in sorted(reached, key=lambda test: (namesake not in test, seconds[test])):
        if len(chosen) < TESTS and whole + seconds[test] <= limit:
            chosen.append(test)
            whole += seconds[test]
    return chosen, whole


def attempt(path: Path, text: bytes, tests: list[str], limit: float) -> str:
    """Return what became of a mutant."""
    stat, whole = path.stat(), path.read_bytes()
    path.write_bytes(text)
    status = forked(lambda: pytest.main(["-qx", "-p", "no:cacheprovider", *tests]), limit)
    path.write_bytes(whole)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # numba's cache stays good
    return {0: "survived", None: "late"}.get(status, "killed")


def go(tree: Path, tests: list[str], sample: int, seed: int, limit: float) -> None:
    """Measure, draw, and try each mutant in the tree, an empty folder."""
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT)
    for name in listed.decode().split():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    (tree / "dreamgym" / "training").symlink_to("../training")  # as the wheel has it
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    files = sorted([*tree.glob("dreamgym/**/*.py"), *tree.glob("training/**/*.py")])
    files = [path for path in files if not {*path.parts, path.stem} & LEFT_OUT]
    sources = digest(*files)
    found = {path for name in tests for path in (tree / name, *(tree / name).glob("**/test_*.py"))}
    found = {path for path in found if path.suffix == ".py"}
    known = [reach(tree, test, sources) for test in tqdm(sorted(found), "coverage", unit=" files")]
    drawn = [(str(path.relative_to(tree)), *each) for path in files for each in mutants(path)]
    # By lots, not shuffled: an edit then changes a part of the sample.
    drawn.sort(key=lambda each: hashlib.sha256(f"{seed} {each[:3]}".encode()).digest())
    lines = {(name, line): rest for name, line, *rest in drawn}  # one fault a line
    log = KEPT / "verdicts.json"
    old = json.loads(log.read_text()) if log.exists() else {}
    verdicts: dict[str, str] = {}
    print(f"{len(lines)} lines compute something")
    with tqdm(total=sample, desc="mutants", unit=" mutants") as bar:
        for (name, line), (said, text) in lines.items():
            chosen, seconds = who(name, line, known, limit)
            if not chosen or len(verdicts) == sample:
                continue
            key = f"{name}:{line}: {said}"
            kept = f"{sources} {key}"
            if old.get(kept, "survived") == "survived":
                old[kept] = attempt(tree / name, text, chosen, 60 + 5 * seconds)
                log.write_text(json.dumps(old, indent=0))
            verdicts[key] = old[kept]
            bar.update()
            bar.set_postfix(Counter(verdicts.values()))
    print(*(key for key, verdict in verdicts.items() if verdict == "survived"), sep="\n")
    print(f"{len(verdicts)} mutants: {dict(Counter(verdicts.values()))}")


def main() -> None:
    """Say what to draw."""
    words = argparse.ArgumentParser(description="Put faults into the code; tests should notice.")
    words.add_argument("tests", nargs="*", default=["tests"], help="files or folders")
    words.add_argument("--sample", type=int, default=200, help="lines to draw")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--seconds", type=float, default=40, help="what a line's tests may take")
    asked = words.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    own = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    os.environ |= own | {"NUMBA_CACHE_DIR": str(KEPT / "numba")}
    sys.dont_write_bytecode = True
    for name in HEAVY:
        import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        go(Path(folder).resolve(), asked.tests, asked.sample, asked.seed, asked.seconds)


if __name__ == "__main__":
    main()

"""Faults put into the code one at a time, and the tests that should notice: `make mutants`.

Which tests reach a line is measured once, by coverage. Then a seeded sample of the lines that
compute something is drawn; each gets one small fault, and the tests that reach it run. Who comes
through is printed. Everything happens in a copy of the tree; what is known is kept in
`.pytest_cache/mutants`, so the same call goes on where it was stopped.

Ours, because mutmut skips whatever is decorated and has no sample, and cosmic-ray runs all tests
for each mutant and changes the files in place.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium  # noqa: F401  (what takes long to import is imported once, before the forks)
import numba  # noqa: F401
import pytest
import stable_baselines3  # noqa: F401
import torch  # noqa: F401
import vizdoom  # noqa: F401
from coverage import CoverageData
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".pytest_cache" / "mutants"
LEFT_OUT = ("bench", "film", "report", "cli", "demo", "__init__", "__main__", "zoo")
"""Files that measure, draw, talk or list."""
SILENT = ("bar", "tqdm", "log", "print", "warnings", "SummaryWriter", "progress", "plot")
"""Whoever names one of these in a line shows something and computes nothing."""
TESTS, SECONDS = 30, 20.0
"""Most tests for a line, its namesake's and then the quickest, and what they may take together."""
SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.Lt: ast.LtE,
    ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
PAIRS = ("min max", "argmin argmax", "any all", "sum mean", "zeros ones", "floor ceil", "amin amax",
         "minimum maximum", "clamp_min clamp_max", "cumsum cumprod", "sin cos", "exp log")  # fmt: skip
NAMES = {a: b for pair in map(str.split, PAIRS) for a, b in (pair, reversed(pair))}


def faults(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
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


def computing(node: ast.AST, inside: bool = False) -> Iterator[ast.AST]:
    """Yield the nodes below one that compute something within a function."""
    if isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)):
        return
    words = {getattr(each, "id", getattr(each, "attr", "")) for each in ast.walk(node)}
    if isinstance(node, (ast.Expr, ast.Assign, ast.Return)) and words & set(SILENT):
        return
    if inside:
        yield node
    children: list[Any] = [
        child
        for child in ast.iter_child_nodes(node)
        if getattr(child, "arg", "") != "strict"  # a guard
    ]
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        children, inside = node.body, isinstance(node, ast.FunctionDef)
    if isinstance(node, ast.AnnAssign):
        children = [node.value] if node.value else []
    for child in children:
        yield from computing(child, inside)


def mutants(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (line, what it says, the whole file) for every fault that a file may have."""
    source = path.read_text()
    lines = source.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:number])) for number in range(len(lines))]
    for node in computing(ast.parse(source)):
        for part, instead in faults(node):
            first = starts[part.lineno - 1] + part.col_offset  # type: ignore[attr-defined]
            last = starts[part.end_lineno - 1] + part.end_col_offset  # type: ignore[attr-defined]
            whole = source.encode()
            said = f"{ast.unparse(part)} → {instead}"
            yield part.lineno, said, (whole[:first] + instead.encode() + whole[last:]).decode()  # type: ignore[attr-defined]


def forked(work: Callable[[], int], output: Path, limit: float) -> int | None:
    """Return the status of work in a child process, None if it is not done after `limit` seconds."""
    child = os.fork()
    if not child:
        os.setsid()
        shown = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(shown, 1), os.dup2(shown, 2)
        status = 3
        try:
            status = work()
        finally:
            os._exit(status)
    over, status = time.monotonic() + limit, None
    while status is None and time.monotonic() < over:
        time.sleep(0.05)
        done, code = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if done else None
    try:
        os.killpg(child, signal.SIGKILL)  # engines too
    except ProcessLookupError:
        pass
    if status is None:
        os.waitpid(child, 0)
    return status


class Seconds:
    """A plugin of pytest that writes down how long each test that passed has taken."""

    def __init__(self) -> None:
        self.took: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.took[report.nodeid] = self.took.get(report.nodeid, 0) + report.duration
        if not report.passed:
            self.took[report.nodeid] = float("inf")


def digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def reach(tree: Path, test: Path, sources: str) -> dict[str, Any]:
    """Return the seconds of a file's tests and which of them reach each line of each source."""
    name = str(test.relative_to(tree))
    kept = KEPT / f"{name.replace('/', '-')}-{digest(test)}-{sources}.json"
    if kept.exists():
        return json.loads(kept.read_text())

    def work() -> int:
        seconds = Seconds()
        pytest.main([name, "-q", "-p", "no:cacheprovider", "-m", "not slow", "--cov=dreamgym",
                     "--cov=training", "--cov-context=test", "--cov-report="], [seconds])  # fmt: skip
        data, lines = CoverageData(".coverage"), {}
        data.read()
        for file in data.measured_files():
            lines[str(Path(file).relative_to(tree))] = {
                line: sorted({each.split("|")[0] for each in tests} - {""})
                for line, tests in data.contexts_by_lineno(file).items()
            }
        kept.write_text(json.dumps({"seconds": seconds.took, "lines": lines}))
        return 0

    forked(work, KEPT / "output.txt", 1800)
    Path(tree, ".coverage").unlink(missing_ok=True)
    return json.loads(kept.read_text()) if kept.exists() else {"seconds": {}, "lines": {}}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("tests", nargs="*", default=["tests"], help="files or folders")
    words.add_argument("--sample", type=int, default=200, help="lines to draw")
    words.add_argument("--seed", type=int, default=0)
    args = words.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
                   "NUMBA_CACHE_DIR": str(KEPT / "numba")}  # fmt: skip
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory() as folder:
        go(Path(folder).resolve(), args)


def go(tree: Path, args: argparse.Namespace) -> None:
    """Measure, draw, and try each mutant in the tree, an empty folder."""
    shown = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT)
    for name in shown.decode().split():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    (tree / "dreamgym" / "training").symlink_to("../training")  # as the wheel has it
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    files = [path for top in ("dreamgym", "training") for path in sorted(tree.glob(f"{top}/**/*.py"))
             if not {*path.parts, path.stem} & set(LEFT_OUT)]  # fmt: skip
    sources = digest(*files)
    tests = sorted({each for name in args.tests for each in
                    ([tree / name] if name.endswith(".py") else tree.glob(f"{name}/**/test_*.py"))})  # fmt: skip
    known = [reach(tree, test, sources) for test in tqdm(tests, "coverage", unit=" files")]
    seconds = {test: took for each in known for test, took in each["seconds"].items()}

    def who(path: Path, line: int) -> list[str]:
        """Tests of a line; where coverage does not see (a worker, compiled code), the namesake's."""
        name = str(path.relative_to(tree))
        reached = {t for each in known for t in each["lines"].get(name, {}).get(str(line), ())}
        namesake = f"/test_{path.stem}.py::"
        reached = reached or {test for test in seconds if namesake in test}
        good = [test for test in reached if seconds.get(test, float("inf")) < SECONDS]
        good.sort(key=lambda test: (namesake not in test, seconds[test]))
        took = [sum(seconds[test] for test in good[: n + 1]) for n in range(len(good))]
        return [test for test, t in zip(good, took, strict=True) if t <= SECONDS][:TESTS]

    rng, drawn = random.Random(args.seed), []
    for path in files:
        for line, said, text in mutants(path):
            drawn.append((path, line, said, text))
    rng.shuffle(drawn)
    lines = {(path, line): (said, text) for path, line, said, text in drawn}  # one fault a line
    chosen = [(*where, *what) for where, what in lines.items() if who(*where)]
    print(f"{len(lines)} lines compute something; tests reach {len(chosen)}")
    verdicts = {}
    log = KEPT / "verdicts.json"
    old = json.loads(log.read_text()) if log.exists() else {}
    for path, line, said, text in (bar := tqdm(chosen[: args.sample], "mutants")):
        name, ids = str(path.relative_to(tree)), who(path, line)
        key = f"{sources} {name}:{line} {said}"
        if old.get(key) in ("killed", "late"):
            verdicts[key] = old[key]
            continue
        stat, whole = path.stat(), path.read_text()
        path.write_text(text)
        limit = 60 + 5 * sum(seconds[test] for test in ids)
        status = forked(lambda ids=ids: int(pytest.main(["-qx", "-p", "no:cacheprovider", *ids])),
                        KEPT / "output.txt", limit)  # fmt: skip
        path.write_text(whole)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # numba's cache stays good
        verdicts[key] = old[key] = {0: "survived", None: "late"}.get(status, "killed")
        log.write_text(json.dumps(old, indent=0))
        survived = [key for key, verdict in verdicts.items() if verdict == "survived"]
        bar.set_postfix(survived=len(survived))
        if verdicts[key] == "survived":
            tqdm.write(f"{key}  ({len(ids)} tests)")
    counts = {verdict: list(verdicts.values()).count(verdict) for verdict in set(verdicts.values())}
    print(f"{len(verdicts)} mutants: {counts}")
    print("\n".join(key for key, verdict in verdicts.items() if verdict == "survived"))


if __name__ == "__main__":
    main()

"""How numba compiles our functions, and where it keeps the results."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

FLAGS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "nsz", "arcp"},  # NaN and infinity keep their meaning
}
"""How numba compiles what dreams."""


def compiled(function: Callable[..., Any] | None = None, /, **flags: Any) -> Any:
    """Decorate a function to be compiled at its first call, with `FLAGS` unless others are given.

    The result is kept in a folder of numba's, where one can be written. numba compiles a function
    anew when its own file has changed; ours also depend on functions of other files, so they are
    compiled anew when any of these has changed.
    """
    if function is None:
        return lambda function: compiled(function, **flags)
    dispatcher = njit(**(FLAGS | flags))(function)
    try:
        dispatcher.enable_caching()
    except RuntimeError:  # there is no folder that can be written
        return dispatcher
    kept = dispatcher._cache._cache_file
    kept._source_stamp = (kept._source_stamp, _STAMP)
    return dispatcher


def _stamp() -> str:
    """Return a hash of all files with functions that numba compiles, or with their constants."""
    package = Path(__file__).parent
    files = [
        *sorted(package.glob("engines/*.py")),
        package / "games/settle.py",
        package / "noise.py",
    ]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


_STAMP = _stamp()

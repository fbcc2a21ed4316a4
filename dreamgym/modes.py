"""PyTorch's modes and settings belong to its user: ours while we compute, the user's again after.

What a world dreams must not depend on them, and nothing that we load, dream or train may leave
them changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])
DENORMAL = 5e-310
"""A number too small for a processor that flushes such numbers to zero."""


def plainly(method: F) -> F:
    """Run a method of something on a device as if its caller had set no mode of PyTorch's.

    What it returns carries no gradient and may be written to in any mode: neither under autocast
    nor in inference mode would it be so.
    """

    @wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():  # modes are its caller's, who asks for the whole graph
            return method(self, *args, **kwargs)
        if not _changed(self.device.type):  # the modes below take longer to set than to ask for
            with torch.no_grad():
                return method(self, *args, **kwargs)
        with _usual(self.device.type), torch.no_grad():
            return method(self, *args, **kwargs)

    return run  # type: ignore[return-value]


@contextmanager
def ours(flush: bool = False) -> Iterator[None]:
    """Make and train networks as in a new process, whatever is set, and set it back at the end.

    Its user's default type and device, modes and random numbers are left alone.

    Args:
        flush: whether numbers that are too small count as zero.
    """
    dtype = torch.get_default_dtype()
    with _usual("cpu"), torch.enable_grad(), torch.device("cpu"), torch.random.fork_rng([]):
        torch.set_default_dtype(torch.float32)
        torch.set_flush_denormal(flush)
        try:
            yield
        finally:
            torch.set_flush_denormal(False)
            torch.set_default_dtype(dtype)


def _flushes() -> bool:
    """Return whether this thread's processor takes numbers that are too small for zero."""
    return DENORMAL * 0.5 == 0


def _changed(device: str) -> bool:
    return torch.is_inference_mode_enabled() or torch.is_autocast_enabled(device) or _flushes()


@contextmanager
def _usual(device: str) -> Iterator[None]:
    """Set a thread's modes to what they are when it begins."""
    flushes = _flushes()
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.autocast(device, enabled=False))
        if flushes:
            torch.set_flush_denormal(False)
        try:
            yield
        finally:
            if flushes:
                torch.set_flush_denormal(True)

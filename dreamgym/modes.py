"""PyTorch's modes and settings: our own while we compute, the user's again afterwards.

Dreams must not depend on the user's settings, such as inference mode, autocast or the default type.
Functions that load, dream or train must not leave these settings changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])
DENORMAL = 5e-310
"""A denormal number: a processor that flushes such numbers takes it for zero."""


def plainly(method: F) -> F:
    """Decorate a method so that it computes as if the caller had set none of PyTorch's modes.

    The object of the method has a `device`. The tensors that it returns carry no gradient. They may
    be written to in any mode, which is not so for tensors made in inference mode.
    """

    @wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():  # a change of modes would break the caller's whole graph
            return method(self, *args, **kwargs)
        if not _changed(self.device.type):  # to set the modes takes longer than to ask for them
            with torch.no_grad():
                return method(self, *args, **kwargs)
        with _usual(self.device.type), torch.no_grad():
            return method(self, *args, **kwargs)

    return run  # type: ignore[return-value]


@contextmanager
def ours(flush: bool = False) -> Iterator[None]:
    """Build and train networks with PyTorch's settings of a new process: on the CPU, in float32.

    Afterwards the user's default type and device, modes and random generator are as before.

    Args:
        flush: whether denormal numbers count as zero.
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


def bfloat16(device: str, enabled: bool) -> torch.autocast:
    """Return a context in which products run in bfloat16, if it is enabled.

    It converts the weights in every product. PyTorch would keep converted weights until the caller
    leaves the outermost autocast, such as that of `ours`: V and M would learn in it without ever
    seeing what they have learnt.
    """
    return torch.autocast(device, torch.bfloat16, enabled=enabled, cache_enabled=False)


def flushes() -> bool:
    """Return whether denormal numbers count as zero in this thread."""
    return DENORMAL * 0.5 == 0


def _changed(device: str) -> bool:
    return torch.is_inference_mode_enabled() or torch.is_autocast_enabled(device) or flushes()


@contextmanager
def _usual(device: str) -> Iterator[None]:
    """Set this thread's modes as they are in a new thread, and restore them at the end."""
    flushed = flushes()
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.autocast(device, enabled=False))
        if flushed:
            torch.set_flush_denormal(False)
        try:
            yield
        finally:
            if flushed:
                torch.set_flush_denormal(True)

"""SIGTERM as an exception: raised once, and never during the start or the end of a run."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType


class Terminated(SystemExit):
    """The process was asked to end (SIGTERM); its exit status says so."""


@dataclass
class _Process:
    """What this process was asked: `depth` blocks raise, `held` hold back, and it was `raised` once."""

    depth: int = 0
    held: int = 0
    asked: bool = False
    raised: bool = False


_process = _Process()


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Raise Terminated in the block when the process is asked to end; once, also if blocks are nested.

    Outside of the main thread signals are not ours, and nothing is raised.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _handle) if _process.depth == 0 else None
    _process.depth += 1
    try:
        yield
    finally:
        _process.depth -= 1
        if _process.depth == 0:
            signal.signal(signal.SIGTERM, before)
            _process.asked = _process.raised = False


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Delay Terminated to the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _process.held += 1
    try:
        yield
    finally:
        _process.held -= 1
    _raise_if_asked()


def _handle(number: int, frame: FrameType | None) -> None:
    _process.asked = True
    _raise_if_asked()


def _raise_if_asked() -> None:
    if _process.asked and not _process.held and not _process.raised:
        _process.raised = True
        raise Terminated(128 + signal.SIGTERM)

"""Signals that ask a process to end, raised as exceptions: once, and never in the start or end of a run."""

import contextlib
import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Terminated(SystemExit):
    """The process was asked to end (SIGTERM, SIGHUP); its exit status says so."""


@dataclass
class _Process:
    """What this process was asked: the signal, whether it is held back, and whether it was raised."""

    depth: int = 0
    held: bool = False
    asked: int | None = None
    raised: bool = False


_process = _Process()


def asked() -> bool:
    """Tell whether the process was asked to end."""
    return _process.asked is not None


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Hold back signals that ask the process to end, but for blocks of `let_through`; raise them after it.

    That is once, also if blocks are nested. Ignored ones (nohup) stay ignored. Outside of the main thread
    signals are not ours, and nothing is held back or raised.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _handlers():
        with _switched(held=True):
            yield
        _raise_if_asked()


@contextlib.contextmanager
def let_through() -> Iterator[None]:
    """Raise Terminated, or KeyboardInterrupt for SIGINT, in the block if the process is asked to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _switched(held=False):
        _raise_if_asked()
        yield


class _Stack(ctypes.Structure):
    """The C type stack_t of Linux."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def own_signal_stack() -> Iterator[None]:
    """Keep the stack that this thread handles signals on, whatever a library in the block sets.

    OpenVINO sets one and frees it with its last model: the next signal would be a segmentation fault.
    """
    before, library = _Stack(), ctypes.CDLL(None)
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)


@contextlib.contextmanager
def _handlers() -> Iterator[None]:
    """Handle the signals in the block."""
    before = {}
    if _process.depth == 0:
        own = {number: signal.getsignal(number) for number in SIGNALS}
        before = {number: handler for number, handler in own.items() if handler not in (signal.SIG_IGN, None)}
    _process.depth += 1
    hook = sys.unraisablehook
    try:
        for number in before:
            signal.signal(number, _handle)
        sys.unraisablehook = _raise_again if before else hook
        yield
    finally:
        sys.unraisablehook = hook
        _process.depth -= 1
        if _process.depth == 0:
            _process.asked, _process.raised = None, False
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _switched(*, held: bool) -> Iterator[None]:
    before, _process.held = _process.held, held
    try:
        yield
    finally:
        _process.held = before


def _handle(number: int, frame: FrameType | None) -> None:
    _process.asked = _process.asked or number
    _raise_if_asked()


def _raise_again(ignored: "sys.UnraisableHookArgs") -> None:
    """Let the exception that Python ignores, as it met a finaliser (`__del__`), be raised in a moment."""
    if ignored.exc_type not in (Terminated, KeyboardInterrupt) or _process.asked is None:
        sys.__unraisablehook__(ignored)
        return
    _process.raised = False
    threading.Timer(0.01, _ask_again).start()


def _ask_again() -> None:
    """Send the signal once more, unless the blocks that handle it have ended and raised it themselves."""
    main = threading.main_thread().ident
    if _process.depth and _process.asked is not None and main is not None:
        signal.pthread_kill(main, _process.asked)


def _raise_if_asked() -> None:
    if _process.asked is not None and not _process.held and not _process.raised:
        _process.raised = True
        if _process.asked == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated(128 + _process.asked)

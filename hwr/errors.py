"""Exceptions for bad input: a line with key, file or value, and the remedy. Messages that end nothing."""

import contextlib
import errno
import re
import sys
from collections.abc import Iterator, Sequence

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # a disk, a user's share of it, a limit for files is full
MAKE_ROOM = "make room there"
# What looking at a path may raise that a user gave: the name is too long, the folder is another user's.
_UNUSABLE = {errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR}

_LOGIN = re.compile(r"(?<=://)[^/\s'\"]*@")  # user:password@ of a URI


class InputError(ValueError):
    """Report bad input (a file, a key, an image, weights); entry points print it and exit with status 2.

    Its message is one line: a character of a user's text or file name that is not printable is escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class UnknownKeysError(InputError):
    """Report `keys` (a.b.c) that a configuration has and nothing takes; the message names the first."""

    def __init__(self, message: str, keys: Sequence[str]) -> None:
        super().__init__(message)
        self.keys = tuple(keys)


class NoRoomError(InputError):
    """Report a file that cannot be written, because the disk is full for example."""


def printable(text: str) -> str:
    """Return a text with what is not printable, bytes of a file name that are no UTF-8 say, escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class name if it has none, without passwords."""
    text = str(error).strip()
    return masked(text.splitlines()[0]) if text else type(error).__name__


def masked(text: str) -> str:
    """Return a text without the user names and passwords of its URIs."""
    return _LOGIN.sub("", text)


def tell(message: str) -> None:
    """Print a line on standard error; where that is closed or broken, go on."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(message, file=sys.stderr, flush=True)


@contextlib.contextmanager
def usable_paths() -> Iterator[None]:
    """Turn what looking at an unusable path raises anywhere in the block into an InputError that names it."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNUSABLE or error.filename is None:
            raise
        reason = f"cannot be opened ({error.strerror}); name another file or folder"
        raise InputError(f"{error.filename}: {reason}") from None


@contextlib.contextmanager
def optional(what: str) -> Iterator[None]:
    """Tell of whatever fails in the block, and go on without `what`, on which nothing depends."""
    try:
        yield
    except Exception as error:
        tell(f"{what}: left out ({first_line(error)})")

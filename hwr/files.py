"""Files: locks that fall with the process that holds them (flock(2)), digests."""

import contextlib
import fcntl
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hwr.errors import InputError


@contextlib.contextmanager
def held(lock: Path, *, shared: bool, wait: bool) -> Iterator[bool]:
    """Hold `lock` in the block, alone or `shared` with others that share it, and tell whether it is held.

    Without `wait` it is not held where a process or thread is in the way. Raises InputError where no lock can
    be made.
    """
    with _opened(lock) as file:
        yield _taken(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _opened(lock: Path) -> IO[bytes]:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return lock.open("ab")
    except OSError as error:
        raise InputError(f"{lock}: cannot write there ({error.strerror}); choose another folder") from None


def _taken(file: IO[bytes], how: int, wait: bool) -> bool:
    try:
        fcntl.flock(file, how if wait else how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

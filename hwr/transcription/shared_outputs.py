"""Folders of outputs that several machines share: a record of what hwr wrote there, and locks of pages.

What anybody else wrote or changed is not overwritten, and no page is read twice. A lock is renewed while it
is held. One that was not renewed for a while, or whose process on this machine has ended, is stale, and taken
over.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from hwr.files import as_input_error, held, sha256

RECORD = ".hwr-outputs"  # in the folder; a line of JSON, [name, sha256], for each file written
_RENEWALS = 4  # before a lock expires


class OutputRecord:
    """The record of a folder; several processes and threads may use it at once."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORD
        self._known: defaultdict[str, set[str]] = defaultdict(set)  # digests by name
        self._mutex = threading.Lock()
        self._end = 0  # bytes of the record that are in `_known`

    def holds(self, path: Path) -> bool:
        """Tell whether a file of the folder is as hwr wrote it."""
        with self._mutex:
            self._refresh()
            known = frozenset(self._known.get(path.name, ()))
        return bool(known) and path.is_file() and sha256(path) in known

    def add(self, name: str, fresh: Path) -> None:
        """Record that the file `name` of the folder will be what `fresh` is. Raises OSError."""
        digest = sha256(fresh)
        with self._mutex, held(self._path):
            self._refresh()
            if digest not in self._known[name]:
                with self._path.open("ab") as file:
                    cut = file.tell() > self._end  # a line of a machine that stopped
                    file.write(b"\n" * cut + json.dumps([name, digest]).encode() + b"\n")

    def _refresh(self) -> None:
        """Read what this process and others have added."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._end)
                added, newline, _ = file.read().rpartition(b"\n")  # less a line that is being written
        except OSError:  # there is none
            return
        self._end += len(added) + len(newline)
        for line in added.splitlines():
            try:
                name, digest = json.loads(line)
            except (ValueError, TypeError):  # half a line
                continue
            self._known[str(name)].add(str(digest))


class PageLocks:
    """The locks that this process holds; `expiry_s` has to be the same in all that share a folder."""

    def __init__(self, expiry_s: float) -> None:
        self._expiry_s, self._paths, self._ended = expiry_s, set[Path](), threading.Event()
        self._renewing = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> "PageLocks":
        """Begin to renew what is held."""
        self._renewing.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        self._ended.set()

    @contextlib.contextmanager
    def held(self, folder: Path, name: str) -> Iterator[bool]:
        """Hold the lock of the page `name` of a folder in the block, and tell whether it is held.

        Raise InputError where it cannot be written.
        """
        path = folder / f".hwr-lock-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
        owner = f"{_machine()} {os.getpid()} {uuid.uuid4().hex}"
        with as_input_error(path, "choose another --output"):
            ours = _created(path, owner) or self._taken_over(path, owner)
        if not ours:
            yield False
            return
        self._paths.add(path)
        try:
            yield True
        finally:
            self._paths.discard(path)
            with contextlib.suppress(OSError):
                if path.read_text() == owner:  # else it expired, and is another's
                    path.unlink()

    def _taken_over(self, path: Path, owner: str) -> bool:
        with held(path.with_name(RECORD), limit_s=self._expiry_s):
            if not self._is_stale(path):
                return False
            path.unlink(missing_ok=True)
            return _created(path, owner)

    def _is_stale(self, path: Path) -> bool:
        try:
            owner, renewed = path.read_text(), path.stat().st_mtime
        except FileNotFoundError:
            return True
        with tempfile.TemporaryFile(dir=path.parent) as file:  # the clock of the machine that has the folder
            file.write(b"\0")
            file.flush()
            now = os.fstat(file.fileno()).st_mtime
        return now - renewed > self._expiry_s or _has_ended(owner)

    def _renew(self) -> None:
        while not self._ended.wait(self._expiry_s / _RENEWALS):
            for path in tuple(self._paths):
                with contextlib.suppress(OSError):
                    os.utime(path)


def _created(path: Path, owner: str) -> bool:
    try:
        with path.open("x") as file:
            file.write(owner)
    except FileExistsError:
        return False
    except OSError:
        path.unlink(missing_ok=True)  # of a full disk
        raise
    return True


def _has_ended(owner: str) -> bool:
    """Tell whether a lock is of a process of this machine that is no more."""
    machine, _, rest = owner.partition(" ")
    number = rest.partition(" ")[0]
    if machine != _machine() or machine == "?" or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # of another user
        pass
    return False


def _machine() -> str:
    """Return what is the same for all processes that see each other's numbers, until the next start."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return "?"

"""What reading a file once has told, kept for the next start: unchanged files are not read again.

A file is taken for unchanged while its size, its times of change and its place on the disk are the same, as
git does. What was told lies in `files.sqlite` in the folder of caches, and is read folder by folder; without
it, all is read each time.
"""

import atexit
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_NAME = "files.sqlite"
_TABLES = """
    DROP TABLE IF EXISTS told;  -- of earlier versions
    CREATE TABLE IF NOT EXISTS files (
        folder BLOB, name BLOB, what TEXT, state TEXT, value TEXT, PRIMARY KEY (folder, name, what)
    ) WITHOUT ROWID;
"""
_SETTLED_S = 2.0  # a file changed more recently may change again with the same times
_BATCH = 10_000  # values that are written at once
_WAIT_S = 30.0  # for another process that writes


class _Look:
    """Values by question and path, and states by path, which hold until the look ends."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], Any] = {}
        self.states: dict[str, tuple[str, bool]] = {}


class _Memory:
    """Values with their files' states, by folder, then name and question; `fresh` are not in the database."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked process does: a connection belongs to the process that opened it."""
        self.place: Path | None = None
        self.look: _Look | None = None  # see `one_look`
        self.known: dict[str, dict[tuple[str, str], tuple[str, Any]]] = {}
        self.fresh: list[tuple[bytes, bytes, str, str, str]] = []
        self._database: sqlite3.Connection | None = None

    def move(self, place: Path) -> None:
        """Keep what comes in another database."""
        if place != self.place:
            self.write()
            self.known, self.fresh = {}, []
            self.place, self._database = place, None

    def find(self, what: str, path: str, state: str) -> Any:
        """Return what was told, or None."""
        folder, _, name = path.rpartition("/")
        kept, value = self._of_folder(folder).get((name, what), ("", None))
        return value if kept == state else None

    def keep(self, what: str, path: str, state: str, value: Any) -> None:
        """Keep a value for this process, and in the database soon."""
        folder, _, name = path.rpartition("/")
        self._of_folder(folder)[name, what] = state, value
        self.fresh.append((os.fsencode(folder), os.fsencode(name), what, state, json.dumps(value)))
        if len(self.fresh) % _BATCH == 0:
            self.write()

    def write(self) -> None:
        """Write what is fresh; it waits for a folder of caches, and is lost where that cannot be written."""
        if not self.fresh or self.place is None or not self.place.parent.is_dir():
            return
        fresh, self.fresh = self.fresh, []
        with suppress(sqlite3.Error, OSError), self._opened() as database:
            database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", fresh)

    def _of_folder(self, folder: str) -> dict[tuple[str, str], tuple[str, Any]]:
        if (known := self.known.get(folder)) is None:
            known = self.known[folder] = {}
            with suppress(sqlite3.Error, OSError, ValueError):
                query = "SELECT name, what, state, value FROM files WHERE folder = ?"
                for name, what, state, value in self._opened().execute(query, (os.fsencode(folder),)):
                    known[os.fsdecode(name), sys.intern(what)] = state, json.loads(value)
        return known

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            if self.place is None or not self.place.parent.is_dir():
                raise FileNotFoundError  # no folder is made for what is only asked
            self._database = sqlite3.connect(self.place, timeout=_WAIT_S)
            self._database.executescript(_TABLES)
        return self._database


_MEMORY = _Memory()
atexit.register(_MEMORY.write)
os.register_at_fork(after_in_child=_MEMORY.forget)


def remember_in(folder: Path) -> None:
    """Keep in the folder of caches what is asked of files from now on."""
    _MEMORY.move(folder / _NAME)


def remembered(what: str, path: Path, find: Callable[[Path], Any]) -> Any:
    """Return `find(path)`, a value of JSON, from memory where the file has not changed; raises as `find`."""
    name = str(path)
    look = _MEMORY.look or _Look()
    if (value := look.values.get((what, name))) is not None:
        return value
    try:
        state, settled = _state(name)
    except OSError:
        return find(path)  # which says what is wrong
    value = _MEMORY.find(what, name, state)
    if value is None:
        value = find(path)
        if not settled:
            return value
        _MEMORY.keep(what, name, state, value)
    look.values[what, name] = value
    return value


def length(path: Path) -> int:
    """Return the number of bytes of a file; raises OSError."""
    return int(_state(str(path))[0].partition(" ")[0])


@contextmanager
def one_look() -> Iterator[None]:
    """Look at each file once a question in the block; what changes after that is for the next start.

    What was told is in the database when the outermost block ends: a process that is killed later keeps it.
    """
    outer = _MEMORY.look
    _MEMORY.look = outer or _Look()
    try:
        yield
    finally:
        _MEMORY.look = outer
        if outer is None:
            _MEMORY.write()


def _state(path: str) -> tuple[str, bool]:
    """Return the state of a file, and whether it is sure to be another one after the next change."""
    states = {} if _MEMORY.look is None else _MEMORY.look.states
    if path not in states:
        status = os.stat(path)  # noqa: PTH116 -- half the time of Path.stat, and there are millions of files
        changed = max(status.st_mtime_ns, status.st_ctime_ns)
        state = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_dev} {status.st_ino}"
        states[path] = state, time.time() - changed / 1e9 > _SETTLED_S
    return states[path]

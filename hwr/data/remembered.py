"""What reading a file once has told, kept for the next start: unchanged files are not read again.

A file is taken for unchanged while its size, its times of change and its place on the disk are the same, as
git does. What was told lies in `files.sqlite` in the folder of caches; without it, all is read each time.
"""

import atexit
import json
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_NAME = "files.sqlite"
_TABLE = (
    "CREATE TABLE IF NOT EXISTS told (what TEXT, path TEXT, state TEXT, value TEXT, PRIMARY KEY (what, path))"
)
_SETTLED_S = 2.0  # a file changed more recently may change again with the same times
_BATCH = 1000  # values that are written at once
_WAIT_S = 30.0  # for another process that writes


class _Memory:
    """Values by what was asked of a file, its path and its state; `fresh` are not yet in the database."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked process does: a connection belongs to the process that opened it."""
        self.place: Path | None = None
        self.known: dict[tuple[str, str, str], Any] = {}
        self.fresh: list[tuple[str, str, str, str]] = []
        self._database: sqlite3.Connection | None = None

    def move(self, place: Path) -> None:
        """Keep what comes in another database."""
        if place != self.place:
            self.write()
            self.known, self.fresh = {}, []
            self.place, self._database = place, None

    def find(self, what: str, path: str, state: str) -> Any:
        """Return what was told, or None."""
        if (what, path, state) in self.known:
            return self.known[what, path, state]
        with suppress(sqlite3.Error, OSError, ValueError):
            query = "SELECT value FROM told WHERE what = ? AND path = ? AND state = ?"
            if (row := self._opened().execute(query, (what, path, state)).fetchone()) is not None:
                return json.loads(row[0])
        return None

    def keep(self, what: str, path: str, state: str, value: Any) -> None:
        """Keep a value for this process, and in the database soon."""
        self.known[what, path, state] = value
        self.fresh.append((what, path, state, json.dumps(value)))
        if len(self.fresh) % _BATCH == 0:
            self.write()

    def write(self) -> None:
        """Write what is fresh; it waits for a folder of caches, and is lost where that cannot be written."""
        if not self.fresh or self.place is None or not self.place.parent.is_dir():
            return
        fresh, self.fresh = self.fresh, []
        with suppress(sqlite3.Error, OSError), self._opened() as database:
            database.executemany("INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?)", fresh)

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            if self.place is None or not self.place.parent.is_dir():
                raise FileNotFoundError  # no folder is made for what is only asked
            self._database = sqlite3.connect(self.place, timeout=_WAIT_S)
            self._database.execute(_TABLE)
        return self._database


_MEMORY = _Memory()
atexit.register(_MEMORY.write)
os.register_at_fork(after_in_child=_MEMORY.forget)


def remember_in(folder: Path) -> None:
    """Keep in the folder of caches what is asked of files from now on."""
    _MEMORY.move(folder / _NAME)


def remembered(what: str, path: Path, find: Callable[[Path], Any]) -> Any:
    """Return `find(path)`, a value of JSON, from memory where the file has not changed; raises as `find`."""
    try:
        status = path.stat()
    except OSError:
        return find(path)  # which says what is wrong
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    state = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_dev} {status.st_ino}"
    value = _MEMORY.find(what, str(path), state)
    if value is None:
        value = find(path)
        if time.time() - changed / 1e9 > _SETTLED_S:
            _MEMORY.keep(what, str(path), state, value)
    return value

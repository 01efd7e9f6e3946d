"""Record of the files that hwr wrote into a folder: what anybody else wrote or changed is not overwritten."""

import json
import threading
from collections import defaultdict
from pathlib import Path

from hwr.files import held, sha256

NAME = ".hwr-outputs"  # in the folder; a line of JSON, [name, sha256], for each file written


class OutputRecord:
    """The record of a folder; several processes and threads may use it at once."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
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

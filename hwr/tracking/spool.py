"""Journal of a run's records on disk, until the tracking server has them. Contacts no server.

A spool is a folder: `records.jsonl`, an append-only journal with a numbered record a line; `files/`, the
files that records speak of, until they are delivered; `sent.json`, how far the delivery is; `run.json`, whose
records they are. Several processes may write to it; one at a time writes, and one delivers.
"""

import contextlib
import errno
import json
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwr.errors import InputError, NoRoomError
from hwr.files import as_input_error, held, parse_json, replacing, to_disk

RECORDS, SENT, ABOUT, FILES, REFUSED = "records.jsonl", "sent.json", "run.json", "files", "refused.jsonl"
ALIVE = "alive.lock"  # held by the process of the run
LOCK_S = 20.0  # another process that writes or delivers longer than that hangs
Write = Callable[[Path], object]

# What the content of a record of each kind holds.
_CONTENTS: Mapping[str, Mapping[str, type]] = {
    "metrics": {"step": int, "values": dict},
    "parameters": {"values": dict},
    "tags": {"values": dict},
    "inputs": {"name": str, "fingerprint": str, "context": str, "source": dict, "profile": dict},
    "files": {"into": str, "place": str},
    "status": {"status": str},
}


@dataclass(frozen=True)
class JournalRecord:
    """A line of the journal: number from 1, time in ms, content, and the offset of the next line."""

    seq: int
    time_ms: int
    kind: str
    content: Mapping[str, Any]
    end: int


@dataclass(frozen=True)
class Sent:
    """Progress of the delivery: the last record known to have arrived, and the offset of the next.

    `uncertain` tells that some of the next may have arrived as well; records `left` behind have not.
    """

    seq: int = 0
    offset: int = 0
    uncertain: bool = True
    left: Sequence[int] = ()


class Spool:
    """The spool in `folder`, which is made with the first record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last = JournalRecord(0, 0, "", {}, 0)

    def append(self, kind: str, content: Mapping[str, Any]) -> None:
        """Add a record; it is on the disk when this returns. Raises InputError where it cannot be written."""
        with self._writing():
            self._add(kind, content)

    def append_files(self, into: str, write: Write) -> None:
        """Add the files that `write` puts into a folder, as artifacts below `into` ("" for the top).

        Raises InputError where they cannot be written.
        """
        with self._writing():
            place = _place(self._last.seq + 1)
            shutil.rmtree(self.folder / place, ignore_errors=True)  # of a process that was killed here
            (self.folder / place).mkdir(parents=True)
            write(self.folder / place)
            for path in (self.folder / place).rglob("*"):
                to_disk(path)
            self._add("files", {"into": into, "place": place})

    def records(self, start: int = 0) -> Iterator[JournalRecord]:
        """Yield the records from byte `start` of the journal on; an incomplete last line is ignored.

        Raises InputError for a journal that is damaged.
        """
        try:
            with (self.folder / RECORDS).open("rb") as file:
                file.seek(start)
                for line in file:
                    if line.endswith(b"\n"):
                        record = _read(line, start + len(line))
                        start = record.end
                        yield record
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError):
            path = self.folder / RECORDS
            raise InputError(f"{path}: damaged after byte {start}; move that folder away to go on") from None

    def steps(self, metric: str) -> set[int]:
        """Return the steps with a value of `metric`, delivered or not."""
        metrics = (record.content for record in self.records() if record.kind == "metrics")
        return {content["step"] for content in metrics if metric in content["values"]}

    def is_whole(self) -> bool:
        """Tell whether it holds what the run recorded from its beginning on, not from a resumption on."""
        first = next(self.records(), None)
        return first is not None and first.kind != "status"

    def ended(self) -> bool:
        """Tell whether the run ended, delivered or not, since it was started last."""
        statuses = [record.content["status"] for record in self.records() if record.kind == "status"]
        return bool(statuses) and statuses[-1] != "RUNNING"

    def waiting(self) -> list[JournalRecord]:
        """Return the records that are not known to have arrived."""
        sent = self.sent()
        return [*self.left(sent), *self.records(sent.offset)]

    def left(self, sent: "Sent") -> list[JournalRecord]:
        """Return the records that were left behind."""
        return [record for record in self.records() if record.seq in sent.left] if sent.left else []

    def sent(self) -> Sent:
        """Return the progress of the delivery; if that is lost, everything is uncertain."""
        try:
            return Sent(**parse_json((self.folder / SENT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Sent()

    def mark(self, sent: Sent) -> None:
        """Store the progress of the delivery, atomically."""
        self._keep(SENT, asdict(sent))

    def drop_files(self, record: JournalRecord) -> None:
        """Remove the files of a record that arrived."""
        shutil.rmtree(self.folder / record.content["place"], ignore_errors=True)

    def refuse(self, record: JournalRecord, reason: str) -> None:
        """Note that the server refused a record, and why; it stays in the journal."""
        with (self.folder / REFUSED).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seq": record.seq, "reason": reason}, ensure_ascii=False) + "\n")

    def describe(self, about: Mapping[str, str | None]) -> None:
        """Store run and server of the records, for a later delivery."""
        with self._writing():
            self._keep(ABOUT, {**about, "inode": self.folder.stat().st_ino})

    def alive(self) -> AbstractContextManager[bool]:
        """Tell other processes, while the block lasts, that the run's own is alive."""
        return held(self.folder / ALIVE, limit_s=LOCK_S)

    def was_alive(self) -> bool:
        """Tell whether the process of the run came so far that `end_fallen` knows of it."""
        return (self.folder / ALIVE).exists()

    def end_fallen(self) -> None:
        """Add that the run was killed, where its process is gone without an end of it.

        That cannot be told of a copy of the folder: the run may go on in the original.
        """
        own = self._about().get("inode") == self.folder.stat().st_ino
        if own and self.was_alive() and not self.ended():
            with held(self.folder / ALIVE, wait=False) as gone:
                if gone and not self.ended():
                    self.append("status", {"status": "KILLED"})

    def about(self) -> dict[str, Any]:
        """Return run and server of the records; raise InputError if they are not stored."""
        about = self._about()
        if not {"run", "uri"} <= set(about):
            path = self.folder / ABOUT
            raise InputError(f"{path}: missing or damaged; move that folder away to go on")
        return {"run": about["run"], "uri": about["uri"]}

    def delivering(self) -> AbstractContextManager[bool]:
        """Let one process at a time deliver."""
        return held(self.folder / "delivery.lock", limit_s=LOCK_S)

    def _about(self) -> dict[str, Any]:
        try:
            return dict(parse_json((self.folder / ABOUT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Let one at a time write, of all processes, who then knows the last record."""
        with as_input_error(self.folder, "make room there", NoRoomError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with held(self.folder / "writing.lock", limit_s=LOCK_S):
                self._catch_up()
                yield

    def _catch_up(self) -> None:
        """Learn what others added, and cut off what a process that was killed did not write to its end."""
        path = self.folder / RECORDS
        size = path.stat().st_size if path.exists() else 0
        if size == self._last.end:
            return
        if size < self._last.end:  # someone removed it
            self._last = JournalRecord(0, self._last.time_ms, "", {}, 0)
        for record in self.records(self._last.end):
            self._last = record
        if size > self._last.end:
            os.truncate(path, self._last.end)

    def _add(self, kind: str, content: Mapping[str, Any]) -> None:
        now = max(time.time_ns() // 1_000_000, self._last.time_ms + 1)  # no two share one: it identifies them
        fresh = {"seq": self._last.seq + 1, "time_ms": now, "kind": kind, "content": content}
        line = (json.dumps(fresh, ensure_ascii=False, allow_nan=False) + "\n").encode()
        path = self.folder / RECORDS
        try:
            with path.open("ab", buffering=0) as file:
                if file.write(line) != len(line):  # what is unbuffered may be cut where the disk is full
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(path, self._last.end)
            raise
        self._last = JournalRecord(self._last.seq + 1, now, kind, content, self._last.end + len(line))

    def _keep(self, name: str, value: Mapping[str, Any]) -> None:
        with replacing(self.folder / name, durable=True) as fresh:
            fresh.write_text(json.dumps(value), encoding="utf-8")


def counted(records: Sequence[JournalRecord]) -> Counter[str]:
    """Return how many metric values, parameters, tags, data sets, files and statuses records hold."""
    counts: Counter[str] = Counter()
    for record in records:
        counts[record.kind] += len(record.content["values"]) if "values" in record.content else 1
    return counts


def packed(values: Mapping[str, float]) -> dict[str, float | str]:
    """Return numbers for JSON: non-finite ones as texts that `float` reads."""
    return {key: value if math.isfinite(value) else str(value) for key, value in values.items()}


def _read(line: bytes, end: int) -> JournalRecord:
    """Return a record; raise ValueError, KeyError or TypeError for one that this module did not write."""
    fields = parse_json(line)
    record = JournalRecord(fields["seq"], fields["time_ms"], fields["kind"], dict(fields["content"]), end)
    types: dict[str, type] = {"seq": int, "time_ms": int, **_CONTENTS[record.kind]}
    for name, value in {**fields, **record.content}.items():
        if name in types and type(value) is not types.pop(name):
            raise TypeError(name)
    if types or record.content.get("place", _place(record.seq)) != _place(record.seq):
        raise ValueError("an incomplete record, or files of another folder")
    return record


def _place(seq: int) -> str:
    return f"{FILES}/{seq:06d}"

"""The one thread that reads: lines of all pages that are read at once go through the network together."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hwr.transcription import ReadLine
from hwr.transcription.page_reader import LineOnPage, Steps

T = TypeVar("T")
Read = Callable[[Sequence[LineOnPage]], Sequence[ReadLine]]


@dataclass
class ReadingProgress:
    """How far something is: its lines, and what was read of them so far."""

    lines: Sequence[LineOnPage] = ()
    read: list[ReadLine] = field(default_factory=list)


@dataclass
class _Job:
    steps: Steps[Any]
    future: "Future[Any]"
    progress: ReadingProgress

    def advance(self, answer: Sequence[ReadLine] | None) -> bool:
        """Go on to the next lines that are to be read; tell whether there are any."""
        try:
            lines = next(self.steps) if answer is None else self.steps.send(answer)
        except StopIteration as end:
            self.future.set_result(end.value)
            return False
        except BaseException as error:
            self.future.set_exception(error)
            return False
        self.progress.lines, self.progress.read = lines, []
        return True

    def part(self, count: int) -> Sequence[LineOnPage]:
        return self.progress.lines[len(self.progress.read) :][:count]

    def take(self, read: Sequence[ReadLine]) -> bool:
        """Take what was read of a part; tell whether lines are left."""
        self.progress.read += read
        while len(self.progress.read) == len(self.progress.lines):
            if not self.advance(self.progress.read):
                return False
        return True


class Worker:
    """Runs `Steps` in a thread of its own: at most `at_once` of them, `part` lines of each in one go.

    What fails raises in its own future alone.
    """

    def __init__(self, read: Read, *, at_once: int, part: int) -> None:
        self._read, self._at_once, self._part = read, at_once, part
        self._waiting: deque[_Job] = deque()
        self._changed, self._closing = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name="reading", daemon=True)
        self._thread.start()

    def submit(self, steps: Steps[T], progress: ReadingProgress | None = None) -> "Future[T]":
        """Have something read, after what was submitted before; `progress` then tells how far it is."""
        future: Future[T] = Future()
        with self._changed:
            self._waiting.append(_Job(steps, future, ReadingProgress() if progress is None else progress))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Wait until everything submitted is read."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        active: list[_Job] = []
        while True:
            admitted = self._admitted(self._at_once - len(active), wait=not active)
            if not admitted and not active:
                return
            active += [job for job in admitted if job.advance(None) and job.take([])]
            parts = [job.part(self._part) for job in active]
            active = [
                job for job, part in zip(active, self._read_parts(active, parts), strict=True)
                if part is not None and job.take(part)
            ]  # fmt: skip

    def _admitted(self, room: int, *, wait: bool) -> list[_Job]:
        with self._changed:
            while wait and not self._waiting and not self._closing:
                self._changed.wait()
            jobs = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
        return [job for job in jobs if job.future.set_running_or_notify_cancel()]

    def _read_parts(
        self, jobs: Sequence[_Job], parts: Sequence[Sequence[LineOnPage]]
    ) -> list[Sequence[ReadLine] | None]:
        """Read parts of several jobs together; where that fails each alone, None for one at fault."""
        with suppress(Exception):
            read = iter(self._read([line for part in parts for line in part]))
            return [[next(read) for _ in part] for part in parts]
        return [self._read_alone(job, part) for job, part in zip(jobs, parts, strict=True)]

    def _read_alone(self, job: _Job, part: Sequence[LineOnPage]) -> Sequence[ReadLine] | None:
        try:
            return self._read(part)
        except Exception as error:
            job.steps.close()
            job.future.set_exception(error)
            return None

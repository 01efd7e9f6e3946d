"""What a server is made of, and what it does for a request: uploads, the queue, reading, the folder.

One thread reads: lines of all pages that are read at once go through the network together.
"""

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from starlette.requests import ClientDisconnect, Request

from hwr.config.roots import ServeConfig
from hwr.errors import InputError, optional, tell
from hwr.files import scratch_folder
from hwr.images import page_files
from hwr.images.boxes import WHOLE, Box
from hwr.layout.cut import LineCut
from hwr.layout.ink import without_squares
from hwr.layout.orientation import turned_image
from hwr.serving.adaptation import Adaptation
from hwr.serving.answers import CLOSE, Metrics, Refused
from hwr.serving.page_folder import PageFolder, safe_name
from hwr.transcription import ReadLine
from hwr.transcription.files import PageOfFile, ReadFile, doubts, page_reader, page_steps
from hwr.transcription.page_reader import LineOnPage, PageReader, Steps

T = TypeVar("T")
Read = Callable[[Sequence[LineOnPage]], Sequence[ReadLine]]
_GREEDY = {"_target_": "hwr.decoding.greedy.GreedyDecoder"}
_RETRY_S = 60  # at most that long a client is told to wait


@dataclass
class ReadingProgress:
    """How far something is: its lines, and what was read of them so far."""

    lines: Sequence[LineOnPage] = ()
    read: list[ReadLine] = field(default_factory=list)


@dataclass
class Service:
    """A reader, the thread it reads in, and the folder; one for each server."""

    config: ServeConfig
    reader: PageReader
    folder: PageFolder
    metrics: Metrics = field(default_factory=Metrics)
    taken: int = 0  # of the queue
    failed: dict[str, str] = field(default_factory=dict)  # pages of the folder, and why they cannot be read
    reading: dict[str, ReadingProgress] = field(default_factory=dict)  # pages of the folder being read

    def __post_init__(self) -> None:
        self.worker = Worker(self._read_lines, at_once=self.config.at_once, part=self.config.part)
        self.adaptation = Adaptation(self.config)
        self._fresh, self._closing = asyncio.Event(), False

    def _read_lines(self, lines: Sequence[LineOnPage]) -> list[ReadLine]:
        read = self.reader.read_lines(lines)
        self.metrics.count("hwr_lines_total", len(lines))
        return read

    # Uploads

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place in the queue for the block; Refused where it is full."""
        if self.taken >= self.config.queue:
            mean = self.metrics.mean("hwr_reading_seconds")
            wait = min(_RETRY_S, max(1, math.ceil(mean)))
            headers = {"Retry-After": str(wait)} | CLOSE
            raise Refused(429, f"{self.taken} requests wait already; try again in {wait} s", headers)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    @contextlib.asynccontextmanager
    async def upload(self, request: Request, name: str) -> AsyncIterator[Path]:
        """Hold a place in the queue for the block, and give the file that is sent as the body of a request.

        Refused where the queue is full, or where the body is too large, too slow, empty or no single file.
        """
        with self.place(), scratch_folder() as scratch, _without_path(scratch):
            file = scratch / (safe_name(name) or "page")
            await self._receive(request, file)
            yield file

    async def _receive(self, request: Request, file: Path) -> None:
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise Refused(415, "a form; send the file itself as the body: curl --data-binary @FILE", CLOSE)
        try:
            size = await asyncio.wait_for(_stored(request, file), self.config.upload_s)
        except asyncio.TimeoutError:
            message = f"not sent within upload_s={self.config.upload_s:g}; send it faster, or raise upload_s"
            raise Refused(408, message, CLOSE) from None
        except ClientDisconnect:
            raise Refused(400, "cut off while it was sent; send it again", CLOSE) from None
        if not size:
            raise Refused(400, "an empty body; send an image or a PDF: curl --data-binary @FILE", CLOSE)

    # Reading

    async def read_file(self, file: Path, number: int | None) -> AsyncIterator[ReadFile]:
        """Read the pages of a file, or one of them, from 1, one after the other."""
        begun = time.monotonic()
        count = await asyncio.to_thread(page_files.count_pages, file)
        wanted = range(1, count + 1) if number is None else range(number, number + 1)
        if len(wanted) > self.config.max_pages:
            limit = f"more than max_pages={self.config.max_pages}"
            raise InputError(f"{file.name}: holds {count} pages, {limit}; ask for one at a time with page=N")
        for one in wanted:
            yield await self.run(page_steps(self.reader, self.config, PageOfFile(file, one, count)))
            self.metrics.count("hwr_pages_total")
        self._timed(begun)

    def doubts(self, file: Path, name: str, number: int | None = None) -> list[str]:
        """Return what a user should look at in a file, or on one of its pages, that was sent under a name."""
        count = page_files.count_pages(file)
        wanted = range(1, count + 1) if number is None else range(number, number + 1)
        return [line for one in wanted for line in doubts(PageOfFile(file, one, count), name)]

    async def read_boxes(self, file: Path, boxes: Sequence[Box], turn: int = 0) -> list[ReadLine]:
        """Read lines of an image that is turned clockwise; without boxes the whole image is one."""
        begun = time.monotonic()
        lines = await self.run(self._box_steps(file, boxes, turn))
        self._timed(begun)
        return lines

    def _box_steps(self, file: Path, boxes: Sequence[Box], turn: int) -> Steps[list[ReadLine]]:
        if (count := page_files.count_pages(file)) > 1:
            raise InputError(f"{file.name}: holds {count} pages; send each as an image of its own")
        page = without_squares(turned_image(page_files.load_page(file, self.config.loading), turn))
        cut = self.reader.cut(page, np.array(boxes)) if boxes else [LineCut(WHOLE, (), ())]
        read = yield [LineOnPage(page, line) for line in cut]
        return list(read)

    async def run(self, steps: Steps[T], progress: ReadingProgress | None = None) -> T:
        """Run steps in the thread that reads."""
        return await asyncio.wrap_future(self.worker.submit(steps, progress))

    def _timed(self, begun: float) -> None:
        self.metrics.count("hwr_reading_seconds_sum", time.monotonic() - begun)
        self.metrics.count("hwr_reading_seconds_count")

    # The folder

    def unread(self) -> list[str]:
        """Return the pages of the folder that are to be read, in their order."""
        found = []
        for name, image in self.folder.pages().items():
            if not image.name.isprintable():
                self.failed[name] = f"{name}: a name that is no plain text; rename the file"
            try:
                if name not in self.failed and self.folder.alto(name, image) is None:
                    found.append(name)
            except (InputError, OSError) as error:
                self.failed[name] = self.folder.without_root(error)
        return found

    def look(self) -> None:
        """Have what is new in the folder read; call it in the thread of the event loop."""
        self._fresh.set()

    async def read_folder(self) -> None:
        """Read what the folder holds without ALTO, one page after the other, until `close`."""
        while not self._closing:
            self._fresh.clear()
            with optional(f"{self.folder.root}"):  # a folder that is gone may come back
                for name in await asyncio.to_thread(self.unread):
                    await self._read_kept(name)
            await self._fresh.wait()

    async def _read_kept(self, name: str) -> None:
        if self._closing:
            return
        progress = self.reading[name] = ReadingProgress()
        try:
            image = self.folder.image(name)
            if (
                count := await asyncio.to_thread(page_files.count_pages, image)
            ) > 1 or image.suffix.lower() == ".pdf":
                raise InputError(
                    f"{name}: a file of {count} page(s); drop it on the page, which keeps each as PNG"
                )
            page = PageOfFile(image, 1, 1)
            read = await self.run(page_steps(self.reader, self.config, page), progress)
            await asyncio.to_thread(self.folder.save, name, read.stored)
            self.metrics.count("hwr_pages_total")
        except Exception as error:
            reason = (
                str(error) if isinstance(error, InputError) else f"{name}: {type(error).__name__}: {error}"
            )
            self.failed[name] = reason.replace(f"{self.folder.root}/", "")
            tell(f"error: {reason}")
        finally:
            del self.reading[name]

    def adopt(self) -> str:
        """Read with the weights that the adaptation made, from the next line on; Refused for none.

        They may write characters that the decoder does not know. Then they are read greedily; return why, ""
        otherwise.
        """
        config, why = self.adaptation.weights(), ""
        try:
            reader = page_reader(config)
        except InputError as error:
            config, why = replace(config, decoder=_GREEDY), str(error).partition(";")[0]
            reader = page_reader(config)
        self.reader = reader
        self.config = self.adaptation.config = config
        return why

    def stop(self) -> None:
        """Begin no further page of the folder, and end the adaptation."""
        self._closing = True
        self.adaptation.end()
        self._fresh.set()


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
        with contextlib.suppress(Exception):
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


async def _stored(request: Request, file: Path) -> int:
    with file.open("wb") as target:
        async for block in request.stream():
            target.write(block)
        return target.tell()


@contextlib.contextmanager
def _without_path(folder: Path) -> Iterator[None]:
    """Leave a temporary folder out of the messages of errors."""
    try:
        yield
    except Refused:
        raise
    except InputError as error:
        raise InputError(str(error).replace(f"{folder}/", "")) from None

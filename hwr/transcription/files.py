"""Transcribe page files: find them, name their outputs, read their pages, here or in several processes."""

import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from glob import glob, has_magic
from pathlib import Path
from typing import IO, Any

from pydantic import TypeAdapter
from tqdm import tqdm

from hwr.config.compose import Composed
from hwr.config.roots import ReadingConfig, TranscribeConfig
from hwr.errors import InputError, tell
from hwr.files import as_input_error, make_folder, replacing
from hwr.images import page_files
from hwr.images.load import IMAGE_SUFFIXES, GreyImage
from hwr.layout.orientation import turned_image
from hwr.pictures import png
from hwr.runtime import termination
from hwr.stages.build import find_weights
from hwr.transcription import ReadPage, export
from hwr.transcription.export import OVERLAY, draw_overlay
from hwr.transcription.page_reader import STEPS, PageReader, Steps, build_page_reader, finished, upright_steps
from hwr.transcription.shared_outputs import OutputRecord, PageLocks
from hwr.transcription.workers import WorkerEndedError, Workers

SUFFIXES = (*IMAGE_SUFFIXES, ".pdf")  # taken from a folder

Records = Callable[[Path], OutputRecord]  # by folder

_WORKER = "hwr.transcription.files:answer_pages"  # what reads in another process
_CONFIG = TypeAdapter(TranscribeConfig)


@dataclass(frozen=True)
class Job:
    """What is asked for: files, formats (names of `export.FORMATS`), and where outputs go.

    `output` None puts them beside the pages; `force` reads pages again whose outputs are there.
    """

    files: Sequence[Path]
    formats: Sequence[str]
    overlay: bool
    output: Path | None
    force: bool

    def targets(self, page: "PageOfFile") -> dict[str, Path]:
        """Return the output of each format of a page."""
        folder = self.output or page.file.parent
        kinds = [*self.formats, *["overlay"] * self.overlay]
        return {kind: folder / f"{page.name}{export.SUFFIXES[kind]}" for kind in kinds}


@dataclass(frozen=True)
class PageOfFile:
    """Page `number`, from 1, of the `count` pages of a file."""

    file: Path
    number: int
    count: int

    @property
    def name(self) -> str:
        """What its outputs are called: as its file, with its number where that holds several."""
        digits = max(3, len(str(self.count)))
        return f"{self.file.stem}-{self.number:0{digits}d}" if self.count > 1 else self.file.stem


@dataclass(frozen=True)
class Task:
    """A page, and which of its outputs are to be written, by kind."""

    page: PageOfFile
    todo: Mapping[str, Path]

    @property
    def folder(self) -> Path:
        """The folder of the outputs."""
        return next(iter(self.todo.values())).parent

    def to_json(self) -> dict[str, object]:
        """Return plain values for `from_json`."""
        todo = {kind: str(path) for kind, path in self.todo.items()}
        return {"page": asdict(self.page) | {"file": str(self.page.file)}, "todo": todo}

    @classmethod
    def from_json(cls, page: dict[str, Any], todo: dict[str, str]) -> "Task":
        """Return the task that `to_json` gave."""
        place = PageOfFile(**page | {"file": Path(page["file"])})
        return cls(place, {kind: Path(path) for kind, path in todo.items()})


@dataclass(frozen=True)
class Outcome:
    """What became of a page: it was read, failed, or was skipped by reason, and the lines that tell of it."""

    read: int = 0
    failed: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    lines: Sequence[str] = ()

    @classmethod
    def failure(cls, error: object, lines: Sequence[str] = ()) -> "Outcome":
        """Return that of a page that fails."""
        return cls(failed=1, lines=(*lines, f"error: {error}"))


@dataclass(frozen=True)
class ReadFile:
    """What was read on a page of a file: `upright` on `image` as it was read, and as stored in the file."""

    image: GreyImage
    upright: ReadPage
    stored: ReadPage

    def output(self, kind: str, *, overlay_width: int) -> bytes:
        """Return the output of a kind: a name of `export.FORMATS`, or `overlay`."""
        if kind == "overlay":
            return png(draw_overlay(self.image, self.upright, overlay_width))
        return export.FORMATS[kind](self.stored).encode()


def page_reader(config: ReadingConfig) -> PageReader:
    """Return the pipeline of a configuration; InputError for weights that are missing or do not fit."""
    return build_page_reader(
        {step: find_weights(getattr(config.weights, step), step, config) for step in STEPS}, config
    )


def page_steps(reader: PageReader, config: ReadingConfig, page: PageOfFile) -> Steps[ReadFile]:
    """Load and read a page of a file; InputError where it cannot be read."""
    image = page_files.load_page(page.file, config.loading, page.number)
    turn, found = yield from upright_steps(reader, image, config.orientation)
    # Sizes are those of the file, not as reduced.
    size = page_files.upright_size(page.file, page.number, pdf_dpi=config.pdf_dpi)
    upright = found.page(page.name, page.file.name, page.number, size[::-1] if turn % 180 else size)
    return ReadFile(turned_image(image, turn), upright, upright.as_stored(turn))


@dataclass
class Tally:
    """What became of the pages: how many were read, skipped, by reason, and failed; if all were tried."""

    read: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    whole: bool = True

    def add(self, outcome: Outcome) -> None:
        """Count what became of a page, and tell of it on standard error."""
        self.read += outcome.read
        self.failed += outcome.failed
        self.skipped.update(outcome.skipped)
        for line in outcome.lines:
            _tell(line)

    @contextmanager
    def told_at_end(self) -> Iterator[None]:
        """Print the closing line after the block, also where SIGINT, SIGTERM or SIGHUP ends it."""
        with termination.held_back():
            try:
                with termination.let_through():
                    yield
            except (KeyboardInterrupt, termination.Terminated):
                self.whole = False
                raise
            finally:
                tell(str(self))

    def __str__(self) -> str:
        """Return the closing line."""
        parts = [f"{self.read} page{'s' * (self.read != 1)} read"]
        if self.skipped:
            parts.append(f"{self.skipped.total()} skipped ({_counted(self.skipped)})")
        parts += [f"{self.failed} failed"] if self.failed else []
        return ", ".join(parts) + "; interrupted: the same command reads the others" * (not self.whole)


def transcribe_files(
    composed: Composed,
    *,
    files: Sequence[str],
    format: Sequence[str],
    output: str | None,
    overlay: bool,
    force: bool,
) -> int:
    """Read pages, write what is on them, and return the exit status: 1 where a page failed, else 0."""
    paths, passed = expand(files)
    folder = None if output is None else Path(output)
    return transcribe_pages(Job(paths, asked_formats(format), overlay, folder, force), composed.root, passed)


def asked_formats(given: Sequence[str]) -> list[str]:
    """Return the formats that --format names, `txt` where it names none."""
    names = [name for text in given for name in text.split(",")]
    if "" in names:
        raise InputError(f"--format {','.join(given)}: one of the names is empty; leave it out")
    return list(dict.fromkeys(names)) or ["txt"]


def expand(arguments: Sequence[str]) -> tuple[list[Path], Counter[str]]:
    """Return the files that arguments name, and how many others folders hold, by kind.

    They name files, folders (their images and PDFs) and patterns; a file named twice is returned once. Raise
    InputError where one names nothing.
    """
    files: list[Path] = []
    passed: Counter[str] = Counter()
    records = cache(OutputRecord)
    for argument in arguments:
        path, others = Path(argument), Counter[str]()
        if "://" in argument and not os.path.lexists(argument):
            raise InputError(f"{argument}: a URL; download it, or read it with hwr bulk")
        if os.path.isdir(argument):  # noqa: PTH112  # False for a name that is too long, too
            own, others = _in_folder(path, records)
        elif has_magic(argument) and not os.path.lexists(path):
            found = sorted(map(Path, glob(argument, recursive=True)))  # noqa: PTH207
            own = [file for file in found if not file.is_dir() and not _written(file, records)]
        elif _written(path, records):  # a shell's pattern names these too
            continue
        else:
            own = [path]
        if not own:
            held = f" ({_counted(others)})" if others else ""
            raise InputError(f"{argument}: no image or PDF there{held}; give files, folders or patterns")
        files += own
        passed += others
    folder_of, once = cache(os.path.realpath), dict[tuple[str, str], Path]()
    for file in files:
        once.setdefault((folder_of(file.parent), file.name), file)
    return list(once.values()), passed


def transcribe_pages(job: Job, config: TranscribeConfig, passed: Counter[str] | None = None) -> int:
    """Read the pages, write their outputs, and return the exit status: 1 where a page failed, else 0.

    A page that fails is named on standard error, and the rest goes on; a last line there counts what became
    of them, and what was `passed` over. Raise InputError for what no page could be read with: an unknown
    format, a folder that cannot be written, missing weights. What was read is kept when a signal ends it.
    """
    check_formats(job.formats, export.FORMATS)
    records = cache(_record)
    if job.output is not None:
        records(job.output)
    tally = Tally(skipped=Counter(passed))
    with (
        tally.told_at_end(),
        PageLocks(config.lock_s) as locks,
        closing(_tasks(job, tally, records)) as tasks,
    ):
        shared = _Shared(job, locks, records)
        (_read_here if config.jobs == 1 else _read_in_processes)(tasks, shared, config, tally)
    return 1 if tally.failed else 0


@dataclass(frozen=True)
class _Shared:
    """What is looked at before a page is read: others may read it too."""

    job: Job
    locks: PageLocks
    records: Records

    def attempt(
        self, task: Task | Outcome, read: Callable[[Task], object], done: Callable[[Outcome], object]
    ) -> None:
        """Let `read` read a page that nobody else reads or has read; of others tell what became of them."""
        if isinstance(task, Outcome):
            done(task)
            return
        try:
            with self.locks.held(task.folder, task.page.name) as ours:
                if not ours:
                    done(Outcome(skipped={"page(s) that another process reads": 1}))
                    return
                record = self.records(task.folder)
                todo, skipped = _to_write(self.job.targets(task.page), record, force=self.job.force)
                if todo:
                    read(Task(task.page, todo))
                else:  # another process was faster
                    done(Outcome(skipped=skipped))
        except InputError as error:
            done(Outcome.failure(error))


def _read_here(
    tasks: Iterable[Task | Outcome], shared: _Shared, config: TranscribeConfig, tally: Tally
) -> None:
    reader: PageReader | None = None
    for task in tasks:
        if isinstance(task, Task):
            reader = reader or page_reader(config)  # its own failure is not a page's

        def read(task: Task, reader: PageReader | None = reader) -> None:
            assert reader is not None
            _read_page(reader, config, task, shared.records(task.folder), tally.add)

        shared.attempt(task, read, tally.add)


def _read_in_processes(
    tasks: Iterable[Task | Outcome], shared: _Shared, config: TranscribeConfig, tally: Tally
) -> None:
    setting = _CONFIG.dump_python(config, mode="json")
    workers = Workers(_WORKER, setting, jobs=config.jobs, limit_s=config.page_s)

    def answered(task: Task | Outcome) -> list[Outcome]:
        outcomes: list[Outcome] = []

        def read(task: Task) -> None:
            try:
                answer = workers.ask(task.to_json())
                outcomes.append(Outcome(**answer))
            except WorkerEndedError as error:
                page = f"{task.page.file}, page {task.page.number}"
                outcomes.append(Outcome.failure(f"{page}: the process that read it {error}"))

        if isinstance(task, Task):
            workers.ready()  # its own failure is not a page's
        shared.attempt(task, read, outcomes.append)
        return outcomes

    def counted(outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            tally.add(outcome)

    workers.in_order(tasks, answered, counted)


def answer_pages() -> None:
    """Read the pages that lines of standard input name, and answer each with what became of it.

    A line before them is the configuration. SIGTERM ends it, after what is being written.
    """
    with (
        os.fdopen(os.dup(1), "w", encoding="utf-8") as answers,
        suppress(termination.Terminated, BrokenPipeError),
        termination.held_back(),
        termination.let_through(),
    ):
        os.dup2(2, 1)  # what libraries print is no answer
        _answer(sys.stdin, answers)


def _answer(questions: IO[str], answers: IO[str]) -> None:
    def send(value: object) -> None:
        print(json.dumps(value), file=answers, flush=True)

    records = cache(_record)
    try:
        config = _CONFIG.validate_json(questions.readline())
        reader = page_reader(config)
    except InputError as error:
        send({"refused": str(error)})
        return
    send({})
    for line in questions:
        task = Task.from_json(**json.loads(line))
        try:
            record = records(task.folder)
        except InputError as error:
            send(asdict(Outcome.failure(error)))
            continue
        _read_page(reader, config, task, record, lambda outcome: send(asdict(outcome)))


def write_outputs(contents: dict[Path, bytes], record: OutputRecord) -> None:
    """Write all outputs of a page beside their places, then move them there: all of them whole, or none."""
    with ExitStack() as moves:
        for path, content in contents.items():
            moves.enter_context(as_input_error(path, "choose another --output"))
            fresh = moves.enter_context(replacing(path))
            fresh.write_bytes(content)
            record.add(path.name, fresh)


def check_formats(formats: Iterable[str], known: Collection[str]) -> None:
    """Raise InputError for formats that are unknown."""
    for kind in formats:
        if kind not in known:
            raise InputError(f"--format {kind}: unknown; use one of {', '.join(known)}")


def _in_folder(folder: Path, records: Records) -> tuple[list[Path], Counter[str]]:
    """Return the images and PDFs of a folder, and how many other entries it has, by kind."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); allow it or name its files") from None
    kinds = {path: _other_kind(path) for path in entries if not _written(path, records)}
    return [path for path in kinds if kinds[path] is None], Counter(kind for kind in kinds.values() if kind)


def _other_kind(path: Path) -> str | None:
    """Return what an entry of a folder is; None for an image or PDF, "" for what nobody asks about."""
    suffix = path.suffix.lower()
    if path.is_dir():
        return "folder(s)"
    if path.name.startswith("."):
        return "hidden image(s)" if suffix in SUFFIXES else ""
    if suffix in SUFFIXES:
        return None
    return suffix if suffix and suffix.isprintable() else "file(s) without suffix"


def _written(path: Path, records: Records) -> bool:
    """Tell whether a file is an output of an earlier run."""
    return path.name.endswith(OVERLAY) or records(path.parent).holds(path)


def _tasks(job: Job, tally: Tally, records: Records) -> Generator[Task | Outcome, None, None]:
    """Yield the pages that are to be read, and what became of those that fail before; count others."""
    taken = dict[Path, Path]()
    for page in _pages(job.files):
        if isinstance(page, Outcome):
            yield page
            continue
        try:
            targets = job.targets(page)
            _take(taken, page, targets)
            todo, skipped = _to_write(targets, records(job.output or page.file.parent), force=job.force)
        except InputError as error:
            yield Outcome.failure(error)
            continue
        tally.skipped += skipped
        if todo:
            yield Task(page, todo)


def _pages(files: Sequence[Path]) -> Iterator[PageOfFile | Outcome]:
    """Yield every page of every file, and the failure of those whose pages cannot be counted."""
    with tqdm(total=len(files), desc="pages", unit="file", disable=None) as bar:
        for file in files:
            bar.set_postfix_str(file.name, refresh=False)
            try:
                count = page_files.count_pages(file)
            except InputError as error:
                yield Outcome.failure(error)
            else:
                yield from (PageOfFile(file, number, count) for number in range(1, count + 1))
            bar.update()


def _record(folder: Path) -> OutputRecord:
    make_folder(folder)
    return OutputRecord(folder)


def _take(taken: dict[Path, Path], page: PageOfFile, targets: dict[str, Path]) -> None:
    """Note the outputs of a page in `taken`; raise InputError where another page has one of them."""
    for path in targets.values():  # page 1 of a.tif, and a-001.png
        if (other := taken.setdefault(path, page.file)) != page.file:
            raise InputError(f"{page.file}: would be written over {path}, the output of {other}; rename it")


def _to_write(
    targets: dict[str, Path], record: OutputRecord, *, force: bool
) -> tuple[dict[str, Path], Counter[str]]:
    """Return which outputs of a page are to be written, and what is skipped, by reason.

    A file that hwr did not write, or that was changed since, is never overwritten: InputError by force.
    """
    there = {kind: path for kind, path in targets.items() if _exists(path)}
    others = [path for path in there.values() if not record.holds(path)]
    if force and others:
        raise InputError(
            f"{others[0]}: not written by hwr, or changed since; move it away or choose another --output"
        )
    if not force and len(there) == len(targets):
        reason = "with files that hwr did not write or that were changed" if others else "whose outputs exist"
        return {}, Counter({f"page(s) {reason}": 1})
    kept = {kind: path for kind, path in targets.items() if path not in others}
    return kept, +Counter({"output(s) that hwr did not write": len(others)})


def _exists(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); rename the page's file") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: a folder has the name of an output; rename it or choose another --output")
    return True


def page_place(file: str, number: int, count: int) -> str:
    """Return how a user is told of page `number` of the `count` pages of a file."""
    return f"{file}, page {number}" if count > 1 else file


def nothing_read(place: str, lines: Sequence[object]) -> Iterator[str]:
    """Yield what a user should look at where a page has no lines with text: it may not be blank."""
    if not lines:
        yield f"{place}: no text found; look whether the page is blank"


def doubts(page: PageOfFile, name: str) -> Iterator[str]:
    """Yield what a user should look at: EXIF that may turn the page wrongly, pictures that are not read."""
    if doubt := page_files.orientation_doubt(page.file, page.number):
        yield f"{name}: {doubt}, often wrongly; look whether it was read upright"
    if others := page_files.unread_pictures(page.file):
        remedy = "save the others as files of their own, or as a TIFF"
        yield f"{name}: one of {others + 1} pictures is read; {remedy}"


def _read_page(
    reader: PageReader, config: TranscribeConfig, task: Task, record: OutputRecord,
    done: Callable[[Outcome], object],
) -> None:  # fmt: skip
    """Read a page and write its outputs, and hand what became of it to `done` before a signal may end it."""
    page, lines = task.page, list[str]()
    try:
        lines += doubts(page, str(page.file))
        read = finished(page_steps(reader, config, page), reader.read_lines)
        lines += nothing_read(page_place(str(page.file), page.number, page.count), read.stored.lines)
        contents = {
            path: read.output(kind, overlay_width=config.overlay_width) for kind, path in task.todo.items()
        }
        with termination.held_back():
            write_outputs(contents, record)
            done(Outcome(read=1, lines=lines))
    except InputError as error:
        done(Outcome.failure(error, lines))


def _tell(message: str) -> None:
    """Print a line on standard error above the progress bar."""
    with tqdm.external_write_mode(file=sys.stderr):
        tell(message)


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())

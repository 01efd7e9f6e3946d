"""Transcribe page files: find them, name their outputs, read one page after the other."""

import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from glob import glob, has_magic
from pathlib import Path

from tqdm import tqdm

from hwr.config.compose import Composed
from hwr.config.roots import TranscribeConfig
from hwr.errors import InputError, tell
from hwr.files import as_input_error, make_folder, replacing
from hwr.images import page_files
from hwr.images.load import IMAGE_SUFFIXES, GreyImage
from hwr.layout.orientation import turned_image
from hwr.pictures.cards import png
from hwr.runtime import termination
from hwr.stages.build import find_weights
from hwr.transcription import export
from hwr.transcription.output_record import OutputRecord
from hwr.transcription.overlay import draw_overlay
from hwr.transcription.page_reader import STEPS, PageReader, Steps, build_page_reader, finished, upright_steps
from hwr.transcription.transcript import ReadPage

SUFFIXES = (*IMAGE_SUFFIXES, ".pdf")  # taken from a folder
OVERLAY = ".overlay.png"

Records = Callable[[Path], OutputRecord]  # by folder


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
        suffixes = {kind: export.SUFFIXES[kind] for kind in self.formats}
        suffixes |= {"overlay": OVERLAY} if self.overlay else {}
        return {kind: folder / f"{page.name}{suffix}" for kind, suffix in suffixes.items()}


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


def page_reader(config: TranscribeConfig) -> PageReader:
    """Return the pipeline of a configuration; InputError for weights that are missing or do not fit."""
    return build_page_reader(
        {step: find_weights(getattr(config.weights, step), step, config) for step in STEPS}, config
    )


def page_steps(reader: PageReader, config: TranscribeConfig, page: PageOfFile) -> Steps[ReadFile]:
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

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Name on standard error what fails in the block, and go on after it."""
        try:
            yield
        except InputError as error:
            self.failed += 1
            _tell(f"error: {error}")

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
    formats = [name for names in format for name in names.split(",")] or ["txt"]
    paths, passed = expand(files)
    folder = None if output is None else Path(output)
    job = Job(paths, list(dict.fromkeys(formats)), overlay, folder, force)
    return transcribe_pages(job, composed.root, passed)


def expand(arguments: Sequence[str]) -> tuple[list[Path], Counter[str]]:
    """Return the files that arguments name, and how many others folders hold, by kind.

    They name files, folders (their images and PDFs) and patterns. Raise InputError where one names nothing.
    """
    files: list[Path] = []
    passed: Counter[str] = Counter()
    records = cache(OutputRecord)
    for argument in arguments:
        path, others = Path(argument), Counter[str]()
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
    return list(dict.fromkeys(files)), passed


def transcribe_pages(job: Job, config: TranscribeConfig, passed: Counter[str] | None = None) -> int:
    """Read the pages, write their outputs, and return the exit status: 1 where a page failed, else 0.

    A page that fails is named on standard error, and the rest goes on; a last line there counts what became
    of them, and what was `passed` over. Raise InputError for what no page could be read with: an unknown
    format, a folder that cannot be written, missing weights. What was read is kept when a signal ends it.
    """
    check(job)
    records = cache(_record)
    if job.output is not None:
        records(job.output)
    tally, taken = Tally(skipped=Counter(passed)), dict[Path, Path]()
    reader: PageReader | None = None
    with tally.told_at_end(), closing(_pages(job.files, tally)) as pages:
        for page in pages:
            targets, folder = job.targets(page), job.output or page.file.parent
            todo: dict[str, Path] = {}
            with tally.counting():
                _take(taken, page, targets)
                todo, skipped = _to_write(targets, records(folder), force=job.force)
                tally.skipped += skipped
            if todo:
                reader = reader or page_reader(config)  # its own failure is not a page's
                with tally.counting():
                    contents = dict(zip(todo.values(), _contents(reader, config, page, todo), strict=True))
                    with termination.held_back():
                        _write(contents, records(folder))
                        tally.read += 1
    return 1 if tally.failed else 0


def check(job: Job) -> None:
    """Raise InputError for formats that are unknown."""
    for kind in job.formats:
        if kind not in export.FORMATS:
            raise InputError(f"--format {kind}: unknown; use one of {', '.join(export.FORMATS)}")


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


def _pages(files: Sequence[Path], tally: Tally) -> Generator[PageOfFile, None, None]:
    """Yield every page of every file."""
    with tqdm(total=len(files), desc="pages", unit="file", disable=None) as bar:
        for file in files:
            bar.set_postfix_str(file.name, refresh=False)
            count = 0
            with tally.counting():
                count = page_files.count_pages(file)
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


def _contents(
    reader: PageReader, config: TranscribeConfig, page: PageOfFile, kinds: Iterable[str]
) -> Iterator[bytes]:
    """Read a page and yield its output of each kind."""
    if doubt := page_files.orientation_doubt(page.file, page.number):
        _tell(f"{page.file}: {doubt}, often wrongly; look whether it was read upright")
    read = finished(page_steps(reader, config, page), reader.read_lines)
    yield from (read.output(kind, overlay_width=config.overlay_width) for kind in kinds)


def _write(contents: dict[Path, bytes], record: OutputRecord) -> None:
    """Write all outputs of a page beside their places, then move them there: all of them whole, or none."""
    with ExitStack() as moves:
        for path, content in contents.items():
            moves.enter_context(as_input_error(path, "choose another --output"))
            fresh = moves.enter_context(replacing(path))
            fresh.write_bytes(content)
            record.add(path.name, fresh)


def _tell(message: str) -> None:
    """Print a line on standard error above the progress bar."""
    with tqdm.external_write_mode(file=sys.stderr):
        tell(message)


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())

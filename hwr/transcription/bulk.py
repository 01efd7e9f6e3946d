"""Pages in bulk: rows of a table to rows of text; hwr bulk writes them, in this process, on Ray or on Spark.

What goes to another process is text: settings, a job, a part of its sources, the answer to it.
"""

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter
from tqdm import tqdm

from hwr.config.compose import Composed, composed
from hwr.config.roots import BulkConfig
from hwr.errors import InputError, first_line, masked
from hwr.files import make_folder, scratch_folder
from hwr.images import page_files
from hwr.transcription import engines, export, files, storage
from hwr.transcription.files import Outcome, PageOfFile, ReadFile, Tally
from hwr.transcription.page_reader import finished
from hwr.transcription.shared_outputs import OutputRecord
from hwr.transcription.storage import Source, find_sources, opened_table, plain_path, source_rows

Row = dict[str, Any]
ReadRow = tuple[Row, tuple[PageOfFile, ReadFile] | None]  # of a page, and what was read

# What a page becomes. Boxes are those of export.to_json, confidence is the mean of the lines.
ROWS = pa.schema(
    [
        ("path", pa.string()),
        ("page", pa.int32()),  # its number in the file, from 1; null where the file cannot be read
        ("text", pa.string()),
        ("alto", pa.string()),
        (
            "lines",
            pa.list_(
                pa.struct(
                    [("box", pa.list_(pa.float64())), ("text", pa.string()), ("confidence", pa.float64())]
                )
            ),
        ),
        ("confidence", pa.float64()),
        ("model", pa.string()),
        ("seconds", pa.float64()),
        ("error", pa.string()),  # one line, of a page that was not read
    ]
)
PARQUET = "parquet"  # the format of part files

_CONFIG = TypeAdapter(BulkConfig)
_PART, _FAILED = "part", "failed"  # what files of rows are called
_THERE = "page(s) whose outputs exist"
_SEVERAL = (".pdf", ".tif", ".tiff")  # may hold several pages
_NUMBERED = re.compile(r"(.+)-\d{3,}")  # what a page of several is called


def reading_settings(*overrides: str, model: str | None = "latin") -> str:
    """Return how pages are read, as text: a model by name, and KEY=VALUE as `hwr transcribe` takes them."""
    keys = [*([] if model is None else [f"+model={model}"]), *overrides]
    return _settings(composed("bulk", keys, BulkConfig))


class RowReader:
    """Reads rows with `path`, a file or URL, or with `bytes`, a file's content, and `path` as its name."""

    def __init__(self, settings: str) -> None:
        values = json.loads(settings)
        self._model, self.config = values["model"], _CONFIG.validate_json(values["config"])
        self._reader = files.page_reader(self.config)

    def __call__(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
        """Yield a row of ROWS for each page; what cannot be read is a row with `error`."""
        for row in rows:
            for read, _ in self.pages(row):
                yield read

    def pages(
        self, row: Mapping[str, Any], wanted: Callable[[PageOfFile], bool] = lambda page: True
    ) -> Iterator[ReadRow]:
        """Yield the row of each page of a file that is `wanted`, and what was read there."""
        path = str(row.get("path") or "")
        file = Path(path)
        try:
            with _on_disk(path, row.get("bytes")) as file:
                count = page_files.count_pages(file)
                for page in (PageOfFile(file, number, count) for number in range(1, count + 1)):
                    if wanted(page):
                        yield self._page(path, page)
        except Exception as error:  # whatever a file does to a library: it costs its own row
            yield self._row(path, None, error=_named(error, str(file), path)), None

    def _page(self, path: str, page: PageOfFile) -> ReadRow:
        begun = time.monotonic()
        try:
            read = finished(files.page_steps(self._reader, self.config, page), self._reader.read_lines)
        except Exception as error:
            return self._row(path, page.number, error=_named(error, str(page.file), path)), None
        lines = [export.line_values(line) for line in read.stored.lines]
        kept = [{key: line[key] for key in ("box", "text", "confidence")} for line in lines]
        sure = [line["confidence"] for line in kept]
        row = self._row(
            path, page.number, text=export.to_txt(read.stored), alto=export.to_alto(read.stored), lines=kept,
            confidence=sum(sure) / len(sure) if sure else None, seconds=round(time.monotonic() - begun, 3),
        )  # fmt: skip
        return row, (page, read)

    def _row(self, path: str, number: int | None, **values: object) -> Row:
        row: Row = dict.fromkeys(ROWS.names)
        return row | {"path": _shown(path), "page": number, "model": self._model} | values


@cache
def row_reader(settings: str) -> RowReader:
    """Return the reader of this process: it is loaded once."""
    return RowReader(settings)


@dataclass(frozen=True)
class BulkJob:
    """What is done with every part: how it is read, where its outputs go, and in which formats."""

    settings: str
    output: str
    formats: Sequence[str]

    def targets(self, name: str) -> dict[str, str]:
        """Return what the output of each format is called, for a page or a file of one page."""
        return {kind: f"{name}{export.SUFFIXES[kind]}" for kind in self.formats}


class OutputFolder:
    """A folder for outputs, at a path or URL; raise InputError where it cannot be used."""

    def __init__(self, place: str) -> None:
        self._place, self._record = place, None
        if not storage.is_url(place):
            make_folder(Path(place))
            self._record = OutputRecord(Path(place))

    def names(self) -> set[str]:
        """Return the names of its files."""
        return set(os.listdir(self._place)) if self._record else storage.names(self._place)  # noqa: PTH208

    def missing(self, names: Sequence[str]) -> list[str]:
        """Return those names of which it has no file."""
        if self._record is None:
            return storage.missing(self._place, names)
        return [name for name in names if not Path(self._place, name).exists()]

    def rows(self, name: str, columns: Sequence[str] | None = None) -> list[Row]:
        """Return the rows of a Parquet file."""
        place = storage.joined(self._place, name) if self._record is None else str(Path(self._place, name))
        with opened_table(place) as table:
            rows: list[Row] = table.read(columns=columns).to_pylist()
        return rows

    def pages(self, names: Iterable[str]) -> Counter[str]:
        """Return how many pages of each path its part files hold."""
        parts = [name for name in names if name.startswith(f"{_PART}-") and name.endswith(f".{PARQUET}")]
        return Counter(row["path"] for name in parts for row in self.rows(name, ["path"]))

    def remove(self, name: str) -> None:
        """Remove a file."""
        if self._record is None:
            storage.remove(storage.joined(self._place, name))
        else:
            Path(self._place, name).unlink(missing_ok=True)

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write files, each of them whole; at a path all of them or none."""
        if self._record is not None:
            files.write_outputs({Path(self._place, name): contents[name] for name in contents}, self._record)
            return
        for name, content in contents.items():
            storage.write_bytes(self._place, name, content)


class PartReader:
    """Reads parts of a job and writes their outputs; what is there already is neither read nor written."""

    def __init__(self, job: BulkJob) -> None:
        self._job, self._output, self._reader = job, OutputFolder(job.output), row_reader(job.settings)

    def __call__(self, sources: Sequence[Source]) -> list[Outcome]:
        """Return what became of the pages of some sources."""
        try:
            if PARQUET in self._job.formats:
                rows = [*self._rows(sources)]
                counts = Counter(row["path"] for row in rows)
                return [_of_row(row, counts[row["path"]]) for row in rows]
            return [outcome for row in source_rows(sources) for outcome in self._files(row)]
        except InputError as error:  # a table that cannot be read, a folder that cannot be written
            return [Outcome.failure(str(error)) for _ in sources]

    def _rows(self, sources: Sequence[Source]) -> Iterator[Row]:
        """Yield the rows of the pages of sources; read and write those that no killed process had written.

        Files of which a page fails have a file of rows each: the next start reads them again.
        """
        name, failing = _part_name(sources), [_part_name([source], _FAILED) for source in sources]
        if not self._output.missing([name]):
            absent = self._output.missing(failing)
            for there in (name, *(one for one in failing if one not in absent)):
                yield from self._output.rows(there)
            return
        whole: list[Row] = []
        for failed, row in zip(failing, source_rows(sources), strict=True):
            rows = [read for read, _ in self._reader.pages(row)]
            if any(read["error"] for read in rows):
                self._output.write({failed: _parquet(rows)})
            else:
                whole += rows
            yield from rows
        if whole:
            self._output.write({name: _parquet(whole)})

    def _files(self, row: Mapping[str, Any]) -> Iterator[Outcome]:
        """Read a file and write the outputs of its pages."""
        todo: dict[str, list[str]] = {}
        there = Counter[str]()

        def wanted(page: PageOfFile) -> bool:
            todo[page.name] = self._output.missing([*self._job.targets(page.name).values()])
            there[_THERE] += not todo[page.name]
            return bool(todo[page.name])

        for read, page in self._reader.pages(row, wanted):
            if page is None:
                yield Outcome.failure(read["error"])
                continue
            try:
                self._output.write(self._contents(*page, todo[page[0].name]))
            except InputError as error:
                yield Outcome.failure(str(error))
            else:
                name = _shown(str(row["path"]))
                (file, found), lines = page, [*files.doubts(page[0], name)]
                lines += files.nothing_read(
                    files.page_place(name, file.number, file.count), found.stored.lines
                )
                yield Outcome(read=1, lines=lines)
        yield Outcome(skipped=dict(+there))

    def _contents(self, page: PageOfFile, read: ReadFile, names: Sequence[str]) -> dict[str, bytes]:
        width, targets = self._reader.config.overlay_width, self._job.targets(page.name).items()
        return {name: read.output(kind, overlay_width=width) for kind, name in targets if name in names}


def answer_part(job: str, part: str) -> str:
    """Return what became of a part, as text, or why nothing can be read with these settings."""
    values = json.loads(part)
    try:
        reader = _part_reader(job)
    except InputError as error:
        return json.dumps({"refused": str(error)})
    outcomes = reader([Source(**source) for source in values["sources"]])
    return json.dumps({"number": values["number"], "outcomes": [asdict(outcome) for outcome in outcomes]})


@cache
def _part_reader(job: str) -> PartReader:
    return PartReader(BulkJob(**json.loads(job)))


def transcribe_bulk(
    composed: Composed, *, inputs: Sequence[str], format: Sequence[str], output: str, overlay: bool
) -> int:
    """Read pages and write what is on them, and return the exit status: 1 where a page failed, else 0.

    The closing line is that of `hwr transcribe`. Raise InputError for what no page could be read with.
    """
    config: BulkConfig = composed.root
    place = output if storage.is_url(output) else os.path.abspath(output)  # noqa: PTH100
    job = BulkJob(_settings(composed), place, _formats(format, overlay=overlay))
    sources, passed = find_sources(inputs)
    tally = Tally(skipped=passed)
    answers, described = engines.ENGINES[config.runner], json.dumps(asdict(job))
    with tally.told_at_end():
        for size in (config.part_files, 1):  # what a part has that ends its process: each file by itself
            left = list(_left(sources, job, tally))
            parts = [left[start : start + size] for start in range(0, len(left), size)]
            sources = _lost(parts, lambda texts: answers(texts, described, config), tally)
            if not sources:
                break
        for source in sources:
            reason = f"the process that read it ended, {config.attempts} time(s); look at that page"
            tally.add(Outcome.failure(f"{masked(source.path)}: {reason}"))
    return 1 if tally.failed else 0


def _lost(
    parts: Sequence[Sequence[Source]], answers: Callable[[Sequence[str]], Iterator[str]], tally: Tally
) -> list[Source]:
    """Count what becomes of the parts, and return the sources of those without an answer."""
    left = dict(enumerate(parts))
    texts = [
        json.dumps({"number": number, "sources": [asdict(source) for source in part]})
        for number, part in left.items()
    ]
    with tqdm(total=len(texts), desc="parts", unit="part", disable=None) as bar:
        for text in answers(texts) if texts else ():
            answer = json.loads(text)
            if "refused" in answer:
                raise InputError(answer["refused"])
            if left.pop(answer["number"], None) is not None:
                for outcome in answer["outcomes"]:
                    tally.add(Outcome(**outcome))
            bar.update()
    return [source for part in left.values() for source in part]


def _settings(composed: Composed) -> str:
    config = _CONFIG.dump_json(composed.root).decode()
    return json.dumps({"model": composed.choices.get("model", composed.root.weights.line), "config": config})


def _formats(given: Sequence[str], *, overlay: bool) -> list[str]:
    formats = files.asked_formats(given)
    files.check_formats(formats, (*export.FORMATS, PARQUET))
    formats += ["overlay"] * overlay
    if PARQUET in formats and len(formats) > 1:
        raise InputError(f"--format {PARQUET}: holds text and ALTO; give it alone")
    return formats


def _left(sources: Iterable[Source], job: BulkJob, tally: Tally) -> Iterator[Source]:
    """Yield the sources of which outputs are missing; count the others, and those named as another is."""
    output = OutputFolder(job.output)
    names, parts = output.names(), PARQUET in job.formats
    rows = output.pages(names) if parts else Counter[str]()
    taken: dict[str, str] = {}
    for source in sources:
        name = plain_path(source.path).stem
        if parts:
            tally.skipped += Counter({_THERE: rows[_shown(source.path)]})
            if (failed := _part_name([source], _FAILED)) in names:
                output.remove(failed)  # it is read again, or was
        elif (other := _namesake(taken, name, source.path)) is not None:
            where = f"would be written over the outputs of {masked(other)}; rename it"
            tally.add(Outcome.failure(f"{masked(source.path)}: {where}"))
            continue
        elif there := names.issuperset(job.targets(name).values()):
            tally.skipped[_THERE] += there
            continue
        if _shown(source.path) not in rows:
            yield source


def _namesake(taken: dict[str, str], name: str, path: str) -> str | None:
    """Return the source that has outputs of this name, or may have them as one of its pages; else note it."""
    numbered = _NUMBERED.fullmatch(name)
    several = taken.get(numbered[1], "") if numbered else ""
    if name in taken or several.lower().endswith(_SEVERAL):
        return taken.get(name, several)
    taken[name] = path
    return None


def _part_name(sources: Sequence[Source], kind: str = _PART) -> str:
    """Return the name of a file of rows: sources that are read again have the same."""
    digest = hashlib.sha256(json.dumps([asdict(source) for source in sources]).encode()).hexdigest()
    return f"{kind}-{digest[:16]}.{PARQUET}"


def _parquet(rows: list[Row]) -> bytes:
    sink = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=ROWS), sink, compression="zstd")
    return sink.getvalue()


def _of_row(row: Row, count: int) -> Outcome:
    """Return what became of the page of a row, whose file has `count` pages."""
    if row["error"] is not None:
        return Outcome.failure(row["error"])
    place = files.page_place(row["path"], row["page"], count)
    return Outcome(read=1, lines=tuple(files.nothing_read(place, row["lines"])))


@contextmanager
def _on_disk(path: str, content: bytes | None) -> Iterator[Path]:
    """Give a file by its own name: the one at a path, or a copy of what a URL or a row holds."""
    if content is None and not storage.is_url(path):
        yield Path(path)
        return
    with scratch_folder() as folder:
        file = folder / (plain_path(path).name or "page")
        file.write_bytes(storage.read_bytes(path) if content is None else content)
        yield file


def _shown(path: str) -> str:
    """Return a path as rows hold it: without passwords, and what UTF-8 cannot hold replaced."""
    return export.clean_text(masked(path))


def _named(error: Exception, file: str, path: str) -> str:
    """Return an error as one line that names the path that was given."""
    line = first_line(error).replace(file, masked(path))
    return line if masked(path) in line else f"{masked(path)}: {line}"

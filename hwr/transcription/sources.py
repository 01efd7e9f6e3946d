"""Sources of bulk reading: what folders, patterns, lists and Parquet tables at paths and URLs name."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hwr.errors import InputError, first_line, masked
from hwr.files import read_text
from hwr.transcription import files, storage

LISTS = (".txt", ".lst")  # suffixes of lists of paths


@dataclass(frozen=True)
class Source:
    """A file at `path`, a path or URL; or the `bytes` of a row in a row group of a table, called `path`."""

    path: str
    table: str | None = None
    group: int = 0
    row: int = 0


def find_sources(inputs: Sequence[str]) -> tuple[list[Source], Counter[str]]:
    """Return what files, folders, patterns, tables and lists name, and what folders hold besides, by kind."""
    sources: list[Source] = []
    passed: Counter[str] = Counter()
    for given in inputs:
        if storage.is_url(given):
            places = storage.found(given, files.SUFFIXES)
            if not places:
                raise InputError(f"{masked(given)}: no image or PDF there; give files, folders or patterns")
        else:
            own, others = files.expand([given])
            places = [os.path.abspath(path) for path in own]  # noqa: PTH100
            passed += others
        sources += [source for place in places for source in _named_by(place)]
    return list(dict.fromkeys(sources)), passed


def source_rows(sources: Sequence[Source]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of sources; of a row group all bytes are in memory."""
    for (place, group), members in groupby(sources, lambda source: (source.table, source.group)):
        if place is None:
            yield from ({"path": source.path} for source in members)
            continue
        with opened_table(place) as table:
            values = table.read_row_group(group, columns=["bytes"]).column("bytes")
        yield from ({"path": own.path, "bytes": values[own.row].as_py() or b""} for own in members)


@contextmanager
def opened_table(place: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; InputError where it is none."""
    system, path = storage.located(place) if storage.is_url(place) else (None, place)
    try:
        with pq.ParquetFile(path, filesystem=system) as table:
            yield table
    except (OSError, pa.ArrowException) as error:
        reason = f"cannot be read as Parquet ({first_line(error)}); name another table"
        raise InputError(f"{masked(place)}: {reason}") from None


def plain_path(place: str) -> PurePosixPath:
    """Return a path, or that of a URL, as the file is called there."""
    return PurePosixPath(storage.path_of(place) if storage.is_url(place) else place)


def _named_by(place: str) -> Iterator[Source]:
    """Yield what a file names: the rows of a table, the lines of a list, else itself."""
    suffix = plain_path(place).suffix.lower()
    if suffix == ".parquet":
        yield from _of_table(place)
    elif suffix in LISTS:
        url = storage.is_url(place)
        text = storage.read_bytes(place).decode(errors="replace") if url else read_text(Path(place))
        yield from (Source(_absolute(line.strip())) for line in text.splitlines() if line.strip())
    else:
        yield Source(place)


def _of_table(place: str) -> Iterator[Source]:
    with opened_table(place) as table:
        columns = set(table.schema_arrow.names)
        if not columns & {"path", "bytes"}:
            raise InputError(f"{masked(place)}: no column path or bytes; name one of them so")
        for group in range(table.num_row_groups):
            rows = range(table.metadata.row_group(group).num_rows)
            named = table.read_row_group(group, columns=["path"]) if "path" in columns else None
            paths = named.column("path").to_pylist() if named else [None] * len(rows)
            for row, path in zip(rows, paths, strict=True):
                if "bytes" in columns:
                    own = f"{plain_path(place).stem}-{group}-{row}"
                    yield Source(str(path or own), place, group, row)
                else:
                    yield Source(_absolute(str(path)))


def _absolute(path: str) -> str:
    return path if storage.is_url(path) else os.path.abspath(path)  # noqa: PTH100

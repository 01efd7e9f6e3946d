"""Files at paths and URLs: what bulk reading is given, and how URLs are read and written.

Sources are named by folders, patterns, lists and Parquet tables. URLs go through Arrow's file systems: s3,
gs, abfs, hdfs; others through fsspec.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from glob import has_magic
from itertools import groupby, takewhile
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pyarrow.parquet as pq
from pyarrow import ArrowException
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, FSSpecHandler, PyFileSystem

from hwr.errors import InputError, first_line, masked
from hwr.files import read_text
from hwr.transcription import files

LISTS = (".txt", ".lst")  # suffixes of lists of paths
_AT_ONCE = ("s3", "gcs", "abfs")  # file systems where a file is there when it is whole


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
        if is_url(given):
            places = found(given, files.SUFFIXES)
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
    system, path = located(place) if is_url(place) else (None, place)
    try:
        with pq.ParquetFile(path, filesystem=system) as table:
            yield table
    except (OSError, ArrowException) as error:
        reason = f"cannot be read as Parquet ({first_line(error)}); name another table"
        raise InputError(f"{masked(place)}: {reason}") from None


def plain_path(place: str) -> PurePosixPath:
    """Return a path, or that of a URL, as the file is called there."""
    return PurePosixPath(path_of(place) if is_url(place) else place)


def is_url(place: str) -> bool:
    """Tell whether a place is a URL, not a path."""
    return "://" in place


def path_of(url: str) -> str:
    """Return the path of a URL, less its bucket, with no character escaped."""
    return unquote(urlsplit(url, allow_fragments=False).path)


def located(url: str) -> tuple[FileSystem, str]:
    """Return the file system of a URL and the path there; InputError where there is none."""
    parts = urlsplit(url, allow_fragments=False)
    root, query = f"{parts.scheme}://{parts.netloc}/", f"?{parts.query}" * bool(parts.query)
    system, base = _root(root + query)
    return system, base.rstrip("/") + path_of(url)


def found(url: str, suffixes: Sequence[str]) -> list[str]:
    """Return what a URL stands for: the files of a folder with `suffixes`, those of a pattern, or itself.

    In a pattern with `/` after its first `*` or `[`, `*` stands for folders too.
    """
    system, path = located(url)
    with _told(url, "read"):
        if has_magic(path):
            folder = PurePosixPath(*takewhile(lambda part: not has_magic(part), PurePosixPath(path).parts))
            below = "/" in path.removeprefix(f"{folder}/")
            infos = [info for info in _files(system, str(folder), below) if fnmatchcase(info.path, path)]
        elif path.endswith("/") or system.get_file_info(path).type == FileType.Directory:
            infos = [info for info in _files(system, path) if _is_page(info.base_name, suffixes)]
        else:
            return [url]
    start = len(path) - len(path_of(url))  # of the path in the file system: a bucket, say
    return sorted(_with_path(url, info.path[start:]) for info in infos)


def names(folder: str) -> set[str]:
    """Return the names of the files in a folder, none where there is none."""
    system, path = located(folder)
    with _told(folder, "read"):
        return {info.base_name for info in _files(system, path)}


def missing(folder: str, wanted: Sequence[str]) -> list[str]:
    """Return those names of which a folder has no file."""
    system, path = located(folder)
    with _told(folder, "read"):
        infos = system.get_file_info([f"{path.rstrip('/')}/{name}" for name in wanted])
    return [name for name, info in zip(wanted, infos, strict=True) if info.type == FileType.NotFound]


def joined(folder: str, name: str) -> str:
    """Return the URL of a file of a folder."""
    return _with_path(folder, f"{path_of(folder).rstrip('/')}/{name}")


def read_bytes(url: str) -> bytes:
    """Return a file; InputError where it cannot be read."""
    system, path = located(url)
    with _told(url, "read"), system.open_input_file(path) as file:
        content: bytes = file.read()
        return content


def write_bytes(folder: str, name: str, content: bytes) -> None:
    """Write a file that is there when it is whole; InputError where it cannot be written."""
    url = joined(folder, name)
    system, whole = located(url)
    fresh = whole if system.type_name in _AT_ONCE else f"{whole.rpartition('/')[0]}/.{name}"
    with _told(url, "written"):
        if fresh != whole:
            system.create_dir(whole.rpartition("/")[0], recursive=True)
        with system.open_output_stream(fresh) as file:
            file.write(content)
        if fresh != whole:
            system.move(fresh, whole)


def remove(url: str) -> None:
    """Remove a file; InputError where that is not possible."""
    system, path = located(url)
    with _told(url, "removed"):
        system.delete_file(path)


def _named_by(place: str) -> Iterator[Source]:
    """Yield what a file names: the rows of a table, the lines of a list, else itself."""
    suffix = plain_path(place).suffix.lower()
    if suffix == ".parquet":
        yield from _of_table(place)
    elif suffix in LISTS:
        url = is_url(place)
        text = read_bytes(place).decode(errors="replace") if url else read_text(Path(place))
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
    return path if is_url(path) else os.path.abspath(path)  # noqa: PTH100


@cache
def _root(url: str) -> tuple[FileSystem, str]:
    try:
        system, path = FileSystem.from_uri(url)
    except ArrowException:  # another scheme
        return _of_fsspec(url)
    except OSError as error:
        raise InputError(f"{masked(url)}: cannot be reached ({first_line(error)}); look at the URL") from None
    return system, path


def _of_fsspec(url: str) -> tuple[FileSystem, str]:
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        remedy = "use s3://, gs://, abfs:// or hdfs://, or install fsspec and what it needs for that URL"
        raise InputError(f"{masked(url)}: unknown ({first_line(error)}); {remedy}") from None
    return PyFileSystem(FSSpecHandler(system)), path


@contextmanager
def _told(url: str, done: str) -> Iterator[None]:
    """Turn what file systems raise into one line."""
    try:
        yield
    except (OSError, ArrowException) as error:
        reason = f"cannot be {done} ({first_line(error)}); look at the URL and at your access to it"
        raise InputError(f"{masked(url)}: {reason}") from None


def _with_path(url: str, path: str) -> str:
    parts = urlsplit(url, allow_fragments=False)
    return f"{parts.scheme}://{parts.netloc}{quote(path)}" + f"?{parts.query}" * bool(parts.query)


def _files(system: FileSystem, folder: str, below: bool = False) -> list[FileInfo]:
    selector = FileSelector(folder, allow_not_found=True, recursive=below)
    return [info for info in system.get_file_info(selector) if info.type == FileType.File]


def _is_page(name: str, suffixes: Sequence[str]) -> bool:
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in suffixes

"""Files at URLs, read and written through Arrow's file systems: s3, gs, abfs, hdfs; others through fsspec."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache
from glob import has_magic
from itertools import takewhile
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from pyarrow import ArrowException
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, FSSpecHandler, PyFileSystem

from hwr.errors import InputError, first_line, masked

_AT_ONCE = ("s3", "gcs", "abfs")  # file systems where a file is there when it is whole


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

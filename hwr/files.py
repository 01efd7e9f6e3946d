"""Files: locks, atomic replacement of files and folders, digests, UTF-8 text.

Locks (flock(2)) end with the process that holds them. A replaced file or folder is either old or new, at
whatever moment the process is killed.
"""

import codecs
import contextlib
import ctypes
import errno
import fcntl
import hashlib
import io
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, TypeVar

from hwr.errors import MAKE_ROOM, NO_ROOM, InputError, NoRoomError, tell

LONGEST_WAIT_S = 24 * 3600.0  # for a lock: what others build or train under one may take hours
NOTICED_S = 60.0  # who waits longer is told for what
_LONG = 200  # bytes of a name to which a process id may be added: file systems take 255

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_TOLD: set[int] = set()  # devices without locks, of which a line told
_BUILDING, _REPLACED = ".building", ".replaced"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of renameat2(2)


@contextlib.contextmanager
def as_input_error(path: Path | str, remedy: str, kind: type[InputError] = InputError) -> Iterator[None]:
    """Turn an OSError of the block into one line that says that `path` cannot be written, and the remedy.

    It is of `kind`; where there is no room it is a NoRoomError and says to make some. A reader of the output
    that left is no error.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno in NO_ROOM:
            kind = NoRoomError
            remedy = remedy if remedy.startswith(MAKE_ROOM) else f"{MAKE_ROOM}, or {remedy}"
        raise kind(f"{path}: cannot be written ({error.strerror or error}); {remedy}") from None


@contextlib.contextmanager
def held(
    lock: Path, *, shared: bool = False, wait: bool = True, limit_s: float = LONGEST_WAIT_S
) -> Iterator[bool]:
    """Hold `lock` in the block, alone or `shared` with others that share it, and tell whether it is held.

    Without `wait` it is not held where a process or thread is in the way. Raises InputError where no lock can
    be made, and where another one holds it longer than `limit_s`.
    """
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with _lockable(lock, how) as file:
        begun, told = time.monotonic(), False
        while not (ours := _locked(file.fileno(), how)) and wait:
            waited_s = time.monotonic() - begun
            if waited_s > limit_s:
                held_s = f"held by another process for {waited_s:.0f} s"
                raise InputError(f"{lock}: {held_s}; end that one, and try again")
            if waited_s > NOTICED_S and not told:
                tell(f"{lock}: held by another process; waiting for it")
                told = True
            time.sleep(min(0.1, 0.002 + waited_s / 10))
        yield ours


@contextlib.contextmanager
def _lockable(lock: Path, how: int) -> Iterator[IO[bytes]]:
    """Open a file for a lock: `lock`, or where its file system has no locks, one for this machine alone."""
    with _opened(lock) as file:
        reason, device = _refusal(file, how), os.fstat(file.fileno()).st_dev
        if reason is None:
            yield file
            return
    folder = Path(_temporary()) / f"hwr-locks-{os.getuid()}"
    if device not in _TOLD:
        _TOLD.add(device)
        tell(f"{lock.parent}: no file locks there ({reason}); they hold on this machine alone, in {folder}")
    with _opened(folder / hashlib.sha256(os.fsencode(lock.resolve())).hexdigest()) as file:
        if (reason := _refusal(file, how)) is not None:
            remedy = "set TMPDIR to a folder of a local disk"
            raise InputError(f"{folder}: no file locks there ({reason}); {remedy}")
        yield file


def _refusal(file: IO[bytes], how: int) -> str | None:
    """Return why a file cannot be locked, though nobody else may have locked it; None where it can."""
    try:
        _locked(file.fileno(), how)
    except OSError as error:
        return str(error.strerror)
    return None


@contextlib.contextmanager
def _opened(lock: Path) -> Iterator[IO[bytes]]:
    with as_input_error(lock, "choose another folder"):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("ab")
    with file:
        yield file


def _locked(descriptor: int, how: int) -> bool:
    """Lock a file at once, and tell whether that was possible."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give an empty folder for the block; raise InputError where there is none, or it has no room."""
    _temporary()
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield Path(folder)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            reason = f"cannot be written ({error.strerror}); {MAKE_ROOM}, or set TMPDIR to another folder"
            raise NoRoomError(f"{folder}: {reason}") from None


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except OSError as error:
        raise InputError(f"TMPDIR: {error.strerror}; set it to a folder that can be written") from None


def make_folder(folder: Path) -> None:
    """Create a folder for output and check that it takes files; raise InputError where it does not."""
    with as_input_error(folder, "choose another folder"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def check_output_file(path: Path, said: str) -> None:
    """Create the folder of a file that is written in the end; InputError, with what was `said`, for none."""
    folder = path.parent
    if not path_exists(folder):
        with as_input_error(said, "choose another"):
            folder.mkdir(parents=True, exist_ok=True)
    if not path.name or path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{said}: no file can be written there; choose another")


def path_exists(path: Path | str) -> bool:
    """Tell whether there is something at a path; at a text that is too long for one there is nothing."""
    return os.path.exists(path)  # noqa: PTH110  # Path's raises for a name that is too long


def read_text(path: Path, *, key: str = "") -> str:
    """Return a UTF-8 text file, or a UTF-16 one with byte order mark, without that mark.

    Raise InputError, which begins with `key`, the setting that names the file, where it cannot be read.
    """
    named = f"{key}: {path}" if key else path
    try:
        data = path.read_bytes()
        encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        text = io.TextIOWrapper(io.BytesIO(data), encoding=encoding).read()
    except UnicodeError:
        raise InputError(f"{named}: not UTF-8; save it as UTF-8, or name another file") from None
    except OSError as error:
        raise InputError(f"{named}: cannot be read ({error.strerror}); name another file") from None
    if "\0" in text:
        raise InputError(f"{named}: no text, or UTF-16 or UTF-32 without its mark; save it as UTF-8")
    return text


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; raise ValueError where it is damaged or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def package_folder(package: str, remedy: str) -> Path:
    """Return the folder of a package, which is not imported; raise InputError with the remedy for none."""
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise InputError(remedy)
    return Path(spec.origin).parent


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; raise InputError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name another file") from None
    return digest.hexdigest()


def to_disk(path: Path) -> None:
    """Wait until a file, or the list of a folder's files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield the path of a file that replaces `path` when the block ends; `durable` waits for the disk.

    The folder is made where missing. Where the block raises, `path` stays what it was. Raises OSError.
    """
    encoded = os.fsencode(path.name)
    name = path.name if len(encoded) <= _LONG else hashlib.sha256(encoded).hexdigest()
    fresh = path.with_name(f".{name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield fresh
        if durable:
            to_disk(fresh)
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()  # half a file takes room that others need
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file in one move; raise InputError where it cannot be written."""
    with as_input_error(path, "name another file"), replacing(path) as fresh:
        fresh.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: object) -> None:
    """Write JSON for people and programs in one move; raise InputError where it cannot be written."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `folder` as a whole when the block ends.

    Whoever reads it asks for `recovered(folder)`. Where the block raises, `folder` stays what it was. Raises
    OSError.
    """
    recovered(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        fresh = Path(beside) / folder.name
        fresh.mkdir()
        yield fresh
        _move(fresh, folder)


@contextlib.contextmanager
def replacing_contents(folder: Path) -> Iterator[Path]:
    """Give an empty folder whose content then takes its place in `folder`, beside what else is there.

    Raises InputError where something of it cannot be written.
    """
    failing = as_input_error(folder, "choose another folder")
    with failing, tempfile.TemporaryDirectory(prefix=".", dir=folder) as fresh:
        try:
            yield Path(fresh)
        except InputError as error:  # named by where it would lie
            raise type(error)(str(error).replace(fresh, str(folder))) from None
        for path in Path(fresh).iterdir():
            if path.is_dir():
                _move(path, folder / path.name)
            else:
                path.replace(folder / path.name)


def copy_files(source: Path, folder: Path) -> None:
    """Copy the files of a folder, and of those in it, to another. Raises OSError for the first that fails."""
    for path in filter(Path.is_file, source.rglob("*")):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def recovered(folder: Path) -> Path:
    """Return `folder`, brought back where a process was killed while it replaced it in two moves."""
    if not folder.exists():
        with contextlib.suppress(OSError):  # none was replaced, or another process was faster
            _replaced(folder).rename(folder)
    return folder


def built_once(folder: Path, build: Callable[[Path], object]) -> None:
    """Let `build` fill `folder` where there is none: it is whole or absent, and other processes wait.

    What killed builders left beside it is removed. Raises OSError, and InputError where no lock can be made.
    """
    if folder.is_dir():
        return
    with held(_lock(folder)):
        for left in folder.parent.glob(f"*{_BUILDING}"):
            of = left.with_name(left.name.removesuffix(_BUILDING))
            with held(_lock(of), wait=False) as abandoned:
                if abandoned or of == folder:  # that one we hold
                    shutil.rmtree(left)
        if not folder.is_dir():  # another process may have built it while this one waited
            building = folder.with_name(folder.name + _BUILDING)
            building.mkdir()
            try:
                build(building)
                building.rename(folder)
            finally:
                shutil.rmtree(building, ignore_errors=True)


def built(folder: Path, build: Callable[[Path], object], read: Callable[[Path], T]) -> T:
    """Return what `read` makes of `folder`, which `build` fills where it is not there, or damaged.

    `read` raises InputError for damage. Raises as `built_once` and `read` do.
    """
    built_once(folder, build)
    try:
        return read(folder)
    except InputError as error:
        _LOG.warning("%s; built again", error)
        with held(_lock(folder)):
            shutil.rmtree(folder, ignore_errors=True)
    built_once(folder, build)
    return read(folder)


def _lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _replaced(folder: Path) -> Path:
    return folder.with_name(folder.name + _REPLACED)


def _move(fresh: Path, folder: Path) -> None:
    """Move a folder to its place; what was there is gone, or where `fresh` was."""
    if not folder.exists():
        fresh.rename(folder)
    elif not _exchange(fresh, folder):
        _move_twice(fresh, folder)
    shutil.rmtree(_replaced(folder), ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one move; tell whether the system can."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):  # file systems over a network, say
        return False
    raise OSError(number, os.strerror(number), str(other))


def _move_twice(fresh: Path, folder: Path) -> None:
    """Move a folder away and another to its place; between the two, `recovered` finds the first."""
    replaced = _replaced(folder)
    while True:
        shutil.rmtree(replaced, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(replaced)
        try:
            fresh.rename(folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # a reader brought back the first
                raise

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwr import files
from hwr.errors import InputError, NoRoomError
from hwr.files import built_once, held, recovered, replacing, replacing_contents, replacing_folder, write_text


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "one.lock"


def test_lock_is_held_when_nobody_else_holds_it(lock: Path) -> None:
    for _ in range(2):
        with held(lock, wait=False) as ours:
            assert ours


def test_lock_is_not_held_while_another_holds_it(lock: Path) -> None:
    with held(lock), held(lock, wait=False) as ours:
        assert not ours


def test_lock_is_not_waited_for_for_ever(lock: Path) -> None:
    refused = pytest.raises(InputError, match=f"{lock}: held by another process .*end that one")
    with held(lock), refused, held(lock, limit_s=0.1):
        pass


@pytest.mark.parametrize(("shared", "expected"), [(True, True), (False, False)])
def test_shared_lock_is_held_with_others_that_share_it(lock: Path, shared: bool, expected: bool) -> None:
    with held(lock, shared=True), held(lock, shared=shared, wait=False) as ours:
        assert ours is expected


def test_lock_falls_with_the_process_that_holds_it(lock: Path) -> None:
    process = started(f"with files.held(Path({str(lock)!r})): print(flush=True); time.sleep(60)")
    with held(lock, wait=False) as during:
        pass
    process.kill()
    process.wait()
    with held(lock, wait=False) as after:
        pass
    assert (during, after) == (False, True)


def test_lock_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = pytest.raises(
        InputError, match=r"file/lock: .* \((File exists|Not a directory)\); choose another"
    )
    with refused, held(tmp_path / "file" / "lock"):
        pass


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"caf\xe9", "not UTF-8; save it as UTF-8"),
        ("word".encode("utf-16-le"), "no text, or UTF-16 or UTF-32 without its mark; save it as UTF-8"),
        ("word".encode("utf-32"), "no text, or UTF-16 or UTF-32 without its mark; save it as UTF-8"),
        (None, r"cannot be read \(No such file"),
    ],
)
def test_text_that_cannot_be_read_is_refused(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"^data.text: {path}: {said}"):
        files.read_text(path, key="data.text")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_without_its_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "words.txt").write_text("été", encoding=encoding)
    assert files.read_text(tmp_path / "words.txt") == "été"


def test_file_that_cannot_be_digested_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none: cannot be read \(No such file"):
        files.sha256(tmp_path / "none")


# Files that take their place only when they are whole


def test_file_takes_its_place_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.arpa"
    with replacing(path, durable=True) as fresh:
        fresh.write_text("été\n", encoding="utf-8")
        assert not path.exists()
    assert path.read_bytes() == "été\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_file_stays_what_it_was_when_writing_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "model.arpa"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(InputError, match=r"^stopped$"), replacing(path) as fresh:
        fresh.write_text("new", encoding="utf-8")
        raise InputError("stopped")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["file/model.arpa", "folder"])
def test_file_is_refused_when_it_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=rf"{name}: cannot be written \(.*\); name another file"):
        write_text(tmp_path / name, "new")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("remedy", ["choose another folder", "make room there, then resume the run"])
def test_where_there_is_no_room_the_remedy_is_to_make_some(number: int, remedy: str) -> None:
    said = rf"^out/a: cannot be written \(.*\); make room there, (or|then) {remedy.split(', then ')[-1]}$"
    with pytest.raises(NoRoomError, match=said), files.as_input_error(Path("out/a"), remedy):
        raise OSError(number, os.strerror(number))


def test_full_disk_is_an_error_of_its_own(tmp_path: Path) -> None:
    fresh = tmp_path / f".model.arpa.{os.getpid()}"
    fresh.symlink_to("/dev/full")  # what is written there finds no room
    with pytest.raises(NoRoomError, match=r"model.arpa: cannot be written \(No space left"):
        write_text(tmp_path / "model.arpa", "new")
    assert list(tmp_path.iterdir()) == []


# Folders that take their place as a whole


@pytest.fixture(params=["one move", "two moves"])
def moves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the file system exchanges folders, and where it cannot."""
    if request.param == "two moves":
        monkeypatch.setattr(files, "_exchange", cannot)
    return str(request.param)


def cannot(one: Path, other: Path) -> bool:
    return False


def fill(folder: Path, content: str) -> None:
    for name in ("a", "b"):
        (folder / name).write_text(content, encoding="utf-8")


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_folder_is_replaced_as_a_whole(tmp_path: Path, moves: str) -> None:
    folder = tmp_path / "new" / "weights"
    for text in ("old", "new"):
        with replacing_folder(folder) as fresh:
            fill(fresh, text)
        (folder / f"stray of {text}").touch()
    assert content(folder) == {"a": "new", "b": "new", "stray of new": ""}
    assert list(folder.parent.iterdir()) == [folder]


def test_folder_stays_what_it_was_when_writing_ends_early(tmp_path: Path, moves: str) -> None:
    folder = tmp_path / "weights"
    with replacing_folder(folder) as fresh:
        fill(fresh, "old")
    with pytest.raises(OSError, match="full"), replacing_folder(folder) as fresh:
        fill(fresh, "new")
        raise OSError("full")
    assert content(folder) == {"a": "old", "b": "old"}
    assert list(tmp_path.iterdir()) == [folder]


REPLACE = "with files.replacing_folder(folder) as fresh:\n    fill(fresh, 'new')"
KILL = "def kill(*_): os.kill(os.getpid(), 9)"
# A kill before and after each step by which the new folder takes its place.
STEPS = {
    "before the exchange": "files._exchange = kill",
    "after the exchange": "real = files._exchange\nfiles._exchange = lambda *two: (real(*two), kill())",
    "before the first of two moves": "files._exchange, Path.rename = cannot, kill",
    "between two moves": (
        "files._exchange, real = cannot, Path.rename\nPath.rename = lambda *two: (real(*two), kill())"
    ),
    "after two moves": (
        "files._exchange, real = cannot, Path.rename\n"
        "Path.rename = lambda one, other: (real(one, other), other == folder and kill())"
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_folder_is_the_old_or_the_new_one_when_its_writer_is_killed(tmp_path: Path, step: str) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    fill(folder, "old")
    process = started(f"folder = Path({str(folder)!r})\n{KILL}\n{STEPS[step]}\nprint(flush=True)\n{REPLACE}")
    assert process.wait(20) == -signal.SIGKILL
    text = "new" if step.startswith("after") else "old"
    assert content(recovered(folder)) == {"a": text, "b": text}
    with replacing_folder(folder) as fresh:
        fill(fresh, "newer")
    assert content(folder) == {"a": "newer", "b": "newer"}
    assert not folder.with_name("weights.replaced").exists()


def test_folder_that_is_replaced_again_and_again_is_always_there(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "a").touch()
    process = started(
        f"folder = Path({str(folder)!r})\nprint(flush=True)\n"
        "while True:\n    with files.replacing_folder(folder) as fresh: (fresh / 'a').touch()"
    )
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        assert (folder / "a").exists()
    process.kill()
    process.wait()
    assert (folder / "a").exists()


def test_reader_that_recovers_a_folder_does_not_stop_its_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, move, recoveries = tmp_path / "weights", Path.rename, iter([True])
    folder.mkdir()
    fill(folder, "old")

    def rename(path: Path, target: Path) -> Path:
        if target == folder and path.parent != tmp_path and next(recoveries, False):
            recovered(folder)  # a reader comes between the two moves
        return move(path, target)

    monkeypatch.setattr(files, "_exchange", cannot)
    monkeypatch.setattr(Path, "rename", rename)
    with replacing_folder(folder) as fresh:
        fill(fresh, "new")
    assert content(folder) == {"a": "new", "b": "new"}
    assert list(tmp_path.iterdir()) == [folder]


def test_file_that_cannot_be_written_is_named_by_where_it_would_lie(tmp_path: Path) -> None:
    with pytest.raises(NoRoomError) as refused, replacing_contents(tmp_path) as fresh:
        (fresh / f".scores.json.{os.getpid()}").symlink_to("/dev/full")
        write_text(fresh / "scores.json", "new")
    assert str(refused.value).startswith(f"{tmp_path}/scores.json: cannot be written (No space left")
    assert list(tmp_path.iterdir()) == []


def test_files_are_copied_with_their_folders_until_one_finds_no_room(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("c", encoding="utf-8")
    files.copy_files(tmp_path / "a", tmp_path / "copy")
    assert content(tmp_path / "copy" / "b") == {"c": "c"}
    (tmp_path / "full" / "b").mkdir(parents=True)
    (tmp_path / "full" / "b" / "c").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as failed:
        files.copy_files(tmp_path / "a", tmp_path / "full")
    assert failed.value.errno == errno.ENOSPC


def test_contents_take_their_places_beside_others(tmp_path: Path, moves: str) -> None:
    for folder in (tmp_path / "reports", tmp_path / "kept"):
        folder.mkdir()
        fill(folder, "old")
    (tmp_path / "scores.json").write_text("old", encoding="utf-8")
    with replacing_contents(tmp_path) as fresh:
        (fresh / "reports").mkdir()
        (fresh / "reports" / "c").write_text("new", encoding="utf-8")
        (fresh / "scores.json").write_text("new", encoding="utf-8")
    assert content(tmp_path / "reports") == {"c": "new"}
    assert content(tmp_path / "kept") == {"a": "old", "b": "old"}
    assert (tmp_path / "scores.json").read_text(encoding="utf-8") == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "reports", "scores.json"]


def test_folder_is_built_once(tmp_path: Path) -> None:
    folders: list[Path] = []
    for _ in range(2):
        built_once(tmp_path / "cache" / "key", folders.append)
    assert folders == [tmp_path / "cache" / "key.building"]
    assert (tmp_path / "cache" / "key").is_dir()


def test_folder_is_absent_when_its_builder_fails(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        built_once(tmp_path / "key", build)
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    for process in _processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    _processes.clear()


_processes: list["subprocess.Popen[bytes]"] = []


def started(script: str) -> "subprocess.Popen[bytes]":
    """Run a script with what this module defines, in a process of its own; return when it printed a line."""
    known = (
        "import os, time; from pathlib import Path; from hwr import files; from tests.test_files import *\n"
    )
    process = subprocess.Popen([sys.executable, "-c", known + script], stdout=subprocess.PIPE)
    _processes.append(process)
    assert process.stdout is not None
    process.stdout.readline()
    return process


# file systems without locks, machines without a temporary folder


def without_locks(monkeypatch: pytest.MonkeyPatch, below: Path, number: int) -> None:
    """Let files below a folder have no locks, as on some file systems over a network."""
    flock = fcntl.flock

    def refuse(descriptor: int, how: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(below):
            raise OSError(number, os.strerror(number))
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(files, "_TOLD", set())


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS])
def test_locks_hold_on_this_machine_where_a_file_system_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    (tmp_path / "local").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "local"))
    without_locks(monkeypatch, tmp_path / "net", number)
    one, other = tmp_path / "net" / "a" / "lock", tmp_path / "net" / "b" / "lock"
    with held(one) as ours, held(one, wait=False) as again, held(other, wait=False) as of_other:
        assert (ours, again, of_other) == (True, False, True)
    with held(one, wait=False) as free:
        assert free
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"{one.parent}: no file locks there ({os.strerror(number)}); ")
    assert str(tmp_path / "local") in said


def test_lock_is_refused_where_no_file_system_has_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "local"))
    without_locks(monkeypatch, tmp_path, errno.ENOLCK)
    with pytest.raises(InputError, match=r"no file locks there .*; set TMPDIR to"), held(tmp_path / "lock"):
        pass


def test_scratch_folder_is_refused_where_none_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with (
        pytest.raises(InputError, match=r"^TMPDIR: No usable .*; set it to a folder that"),
        files.scratch_folder(),
    ):
        pass


def test_scratch_folder_without_room_is_named_with_what_sets_it() -> None:
    said = r"cannot be written \(.*\); make .* or set TMPDIR to another"
    with pytest.raises(NoRoomError, match=said), files.scratch_folder() as folder:
        (folder / "report").symlink_to("/dev/full")
        (folder / "report").write_text("full", encoding="utf-8")
    assert not folder.exists()


def test_scratch_folder_is_gone_behind_its_block() -> None:
    with files.scratch_folder() as folder:
        assert folder.is_dir()
    assert not folder.exists()

"""What files have told is asked again only when they have changed."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwr.data import remembered as module
from hwr.data.remembered import one_look, remember_in, remembered
from hwr.errors import InputError
from hwr.files import sha256

OLD_NS = 10**18


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "cache").mkdir()
    remember_in(tmp_path / "cache")
    yield tmp_path / "cache"
    remember_in(tmp_path / "elsewhere")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file that has not changed for long, as far as anyone can tell."""
    monkeypatch.setattr(module, "_SETTLED_S", -1.0)
    path = tmp_path / "page.png"
    path.write_bytes(b"first")
    return path


def never(path: Path) -> str:
    raise AssertionError(f"{path} is read again")


def start_again(cache: Path) -> None:
    """Forget what this process knows, as the next one does."""
    remember_in(cache.parent / "elsewhere")
    remember_in(cache)


def test_unchanged_file_is_read_once_by_all_starts(cache: Path, file: Path) -> None:
    digest = remembered("sha256", file, sha256)
    for _ in range(2):
        assert remembered("sha256", file, never) == digest
        start_again(cache)


@pytest.mark.parametrize("change", ["longer", "same length and times", "another file"])
def test_changed_file_is_read_again(cache: Path, file: Path, change: str) -> None:
    os.utime(file, ns=(OLD_NS, OLD_NS))
    first = remembered("sha256", file, sha256)
    if change == "another file":
        file.rename(file.with_suffix(".old"))
    file.write_bytes(b"longer" if change == "longer" else b"other")
    os.utime(file, ns=(OLD_NS, OLD_NS))
    assert remembered("sha256", file, sha256) == sha256(file) != first


def test_file_that_may_still_change_is_not_remembered(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "fresh"
    path.write_bytes(b"one")
    assert [remembered("x", path, lambda path, n=n: n) for n in (1, 2)] == [1, 2]


@pytest.mark.parametrize("damage", ["no database", "no folder", "other table"])
def test_memory_that_cannot_be_kept_costs_nothing_but_time(tmp_path: Path, file: Path, damage: str) -> None:
    home = tmp_path / "home"
    if damage == "no folder":
        home.write_text("a file")
    else:
        home.mkdir()
        if damage == "no database":
            (home / "files.sqlite").write_text("no database at all, but long enough to be looked at" * 20)
        else:
            with sqlite3.connect(home / "files.sqlite") as other:
                other.execute("CREATE TABLE files (other TEXT)")
    remember_in(home)
    assert remembered("sha256", file, sha256) == sha256(file)
    remember_in(tmp_path / "elsewhere")
    assert remembered("sha256", file, sha256) == sha256(file)


def test_folder_of_caches_is_not_made_but_awaited(tmp_path: Path, file: Path) -> None:
    later = tmp_path / "later"
    remember_in(later)
    remembered("sha256", file, sha256)
    assert not later.exists()
    later.mkdir()
    start_again(later)
    assert remembered("sha256", file, never) == sha256(file)


def test_names_that_are_no_utf8_are_remembered_as_others_are(cache: Path, file: Path) -> None:
    odd = file.rename(file.with_name(os.fsdecode(b"caf\xe9.png")))
    digest = remembered("sha256", odd, sha256)
    start_again(cache)
    assert remembered("sha256", odd, never) == digest


def test_file_that_changes_in_one_look_is_read_again_after_it(cache: Path, file: Path) -> None:
    with one_look():
        first = remembered("sha256", file, sha256)
        file.write_bytes(b"longer")
        with one_look():
            assert remembered("sha256", file, never) == first
    assert remembered("sha256", file, sha256) == sha256(file) != first


def test_process_that_is_killed_after_one_look_leaves_what_was_told(
    cache: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.rmdir()  # of a first start: it is made when lines are cut
    with one_look():
        digest = remembered("sha256", file, sha256)
        cache.mkdir()
    monkeypatch.setattr(module._MEMORY, "write", lambda: None)  # as a killed process, which writes no more
    start_again(cache)
    assert remembered("sha256", file, never) == digest


def test_file_that_may_change_unseen_after_one_look_is_not_remembered(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "fresh"
    path.write_bytes(b"one")
    with one_look():
        assert [remembered("x", path, lambda path, n=n: n) for n in (1, 2)] == [1, 2]


def test_values_of_one_folder_are_read_at_once(cache: Path, file: Path) -> None:
    others = [file.with_name(f"{number}.png") for number in range(3)]
    for path in others:
        path.write_bytes(b"another")
        remembered("sha256", path, sha256)
    start_again(cache)
    remembered("sha256", others[0], never)
    (cache / "files.sqlite").unlink()
    module._MEMORY._database = None
    for path in others:
        remembered("sha256", path, never)


def test_missing_file_is_refused_as_without_memory(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        remembered("sha256", tmp_path / "missing", sha256)

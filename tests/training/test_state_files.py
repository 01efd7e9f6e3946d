"""What is written is there whole or not at all, and two generations of it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwr.errors import InputError
from hwr.training import checkpoint
from hwr.training.checkpoint import newest_state, write_state, write_whole


def written(folder: Path, *values: float) -> int:
    """Write a generation for each value, and return the number of the last."""
    number = 0
    for value in values:
        number = write_state(folder, {"epoch": value}, {"a/b": np.full(3, value)}, before=number)
    return number


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_newest_is_what_was_written_last(tmp_path: Path) -> None:
    about = {"epoch": 3, "rates": {"1": float("nan"), "2": 0.1}, "best": float("inf")}
    arrays = {"x/1": np.array([1.5, np.nan]), "losses": np.zeros(0), "count": np.array(7)}
    write_state(tmp_path / "new", about, arrays, before=0)
    found = newest_state(tmp_path / "new")
    assert found is not None
    assert (found.number, json.dumps(found.about), found.damaged) == (1, json.dumps(about), ())
    assert {name: (value.dtype, value.tobytes()) for name, value in found.arrays.items()} == {
        name: (value.dtype, value.tobytes()) for name, value in arrays.items()
    }


def test_none_is_newest_when_none_was_written(tmp_path: Path) -> None:
    assert newest_state(tmp_path) is None
    assert newest_state(tmp_path / "none") is None


def test_two_generations_are_kept_when_more_were_written(tmp_path: Path) -> None:
    written(tmp_path, 1, 2, 3)
    ends = [f"state-{number:06d}.{end}" for number in (2, 3) for end in ("json", "npz")]
    assert names(tmp_path) == ends


def test_leavings_of_a_killed_process_go_with_the_next_generation(tmp_path: Path) -> None:
    written(tmp_path, 1)
    for name in ("state-000002.npz", ".state-000002.npz.123", ".state-000003.json.123"):
        (tmp_path / name).write_bytes(b"PK")
    write_state(tmp_path, {"epoch": 2}, {}, before=1)
    assert names(tmp_path) == [f"state-{number:06d}.{end}" for number in (1, 2) for end in ("json", "npz")]


@pytest.mark.parametrize("call", range(1, 7))
def test_a_generation_loads_when_killed_at(
    call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls of a write: two of fsync, each with the replace behind it, then the unlinks of the oldest."""
    written(tmp_path, 1, 2)
    calls = 0

    def or_killed(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call:
                raise KeyboardInterrupt
            return function(*args)

        return counted

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", or_killed(os.fsync))
        patched.setattr(checkpoint.Path, "replace", or_killed(Path.replace))
        patched.setattr(checkpoint.Path, "unlink", or_killed(Path.unlink))
        with pytest.raises(KeyboardInterrupt):
            write_state(tmp_path, {"epoch": 3}, {"a/b": np.full(3, 3.0)}, before=2)
    found = newest_state(tmp_path)
    assert found is not None
    assert found.about["epoch"] == found.arrays["a/b"][0] == (2 if call <= 4 else 3)
    assert found.damaged == ()


def truncated(folder: Path) -> None:
    path = folder / "state-000002.npz"
    path.write_bytes(path.read_bytes()[:100])


def without_arrays(folder: Path) -> None:
    (folder / "state-000002.npz").unlink()


def no_json(folder: Path) -> None:
    (folder / "state-000002.json").write_text("{", encoding="utf-8")


def other_json(folder: Path) -> None:
    (folder / "state-000002.json").write_text("[1]", encoding="utf-8")


def other_number(folder: Path) -> None:
    path = folder / "state-000002.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"epoch": 2', '"epoch": 3'), encoding="utf-8")


def one_bit(folder: Path) -> None:
    path = folder / "state-000002.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGES = [truncated, without_arrays, no_json, other_json, other_number, one_bit]


@pytest.mark.parametrize("damage", DAMAGES)
def test_generation_before_is_taken_when_the_newest_is_damaged(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    written(tmp_path, 1, 2)
    damage(tmp_path)
    found = newest_state(tmp_path)
    assert found is not None
    assert (found.number, found.about["epoch"], found.damaged) == (1, 1, (2,))


@pytest.mark.parametrize("damage", DAMAGES)
def test_both_damaged_are_refused_in_one_line(damage: Callable[[Path], None], tmp_path: Path) -> None:
    written(tmp_path, 1, 2)
    damage(tmp_path)
    (tmp_path / "state-000001.npz").write_bytes(b"")
    with pytest.raises(InputError) as refused:
        newest_state(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}: the state of this training is damaged; it cannot be resumed, start anew"
    )


def test_whole_generation_is_kept_when_a_newer_one_was_damaged(tmp_path: Path) -> None:
    written(tmp_path, 1, 2)
    truncated(tmp_path)
    write_state(tmp_path, {"epoch": 2}, {}, before=1)
    assert names(tmp_path) == [f"state-{number:06d}.{end}" for number in (1, 3) for end in ("json", "npz")]


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    write_state(tmp_path, {}, {"a": np.array([{"a": 1}], dtype=object)}, before=0)
    with pytest.raises(InputError, match="damaged"):
        newest_state(tmp_path)


@pytest.mark.parametrize("name", ["state-000003.npz", "state-000003.json"])
def test_full_disk_is_told_and_leaves_what_is_there(name: str, tmp_path: Path) -> None:
    written(tmp_path, 1, 2)
    before = names(tmp_path)
    (tmp_path / f".{name}.{os.getpid()}").symlink_to("/dev/full")  # what is written there finds no room
    with pytest.raises(InputError) as refused:
        write_state(tmp_path, {"epoch": 3}, {"a": np.zeros(9999)}, before=2)
    reason = "cannot be written (No space left on device); make room there, then resume the run"
    assert str(refused.value) == f"{tmp_path / name}: {reason}"
    assert names(tmp_path) == before


def test_file_is_as_it_was_when_there_is_no_room_for_another(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    write_whole(path, b"before")
    (tmp_path / f".config.yaml.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"config.yaml: cannot be written \(No space left on device\)"):
        write_whole(path, b"after" * 9999)
    assert path.read_bytes() == b"before"
    write_whole(path, b"after")
    assert path.read_bytes() == b"after"

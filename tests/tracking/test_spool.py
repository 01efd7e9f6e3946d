"""The spool keeps what it was given, whole and in order, whatever kills the process."""

import json
import math
import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.errors import InputError, NoRoomError
from hwr.tracking.spool import RECORDS, Sent, Spool, counted, packed


def spool_with(folder: Path, *losses: float) -> Spool:
    """Return a spool with a record for each loss, at steps from 1."""
    spool = Spool(folder / "spool")
    for step, loss in enumerate(losses, 1):
        spool.append("metrics", {"step": step, "values": {"loss": loss}})
    return spool


def losses(spool: Spool) -> list[float]:
    return [record.content["values"]["loss"] for record in spool.records()]


def test_records_are_numbered_lines_of_plain_json(tmp_path: Path) -> None:
    spool_with(tmp_path, 2.0, 1.0)
    lines = (tmp_path / "spool" / "records.jsonl").read_text(encoding="utf-8").splitlines()
    first, second = (json.loads(line) for line in lines)
    assert (first["seq"], first["kind"]) == (1, "metrics")
    assert first["content"] == {"step": 1, "values": {"loss": 2.0}}
    assert second["seq"] == 2


def test_no_two_records_share_a_time(tmp_path: Path) -> None:
    times = [record.time_ms for record in spool_with(tmp_path, *range(20)).records()]
    assert times == sorted(set(times))


def test_records_go_on_when_the_spool_is_opened_again(tmp_path: Path) -> None:
    spool_with(tmp_path, 2.0)
    again = spool_with(tmp_path, 1.0)
    assert [record.seq for record in again.records()] == [1, 2]
    assert losses(again) == [2.0, 1.0]


@pytest.mark.parametrize("left", [1, 20, -1])
def test_record_that_was_not_wholly_written_is_none_and_makes_room(tmp_path: Path, left: int) -> None:
    journal = tmp_path / "spool" / "records.jsonl"
    spool_with(tmp_path, 2.0)
    whole = journal.stat().st_size
    spool_with(tmp_path, 1.0)
    os.truncate(journal, whole + left if left > 0 else journal.stat().st_size - 1)  # killed while it wrote
    assert losses(Spool(journal.parent)) == [2.0]
    again = spool_with(tmp_path, 0.5)
    assert losses(again) == [2.0, 0.5]
    assert [record.seq for record in again.records()] == [1, 2]


def test_records_go_on_when_someone_removed_the_journal(tmp_path: Path) -> None:
    spool = spool_with(tmp_path, 2.0, 1.0)
    (spool.folder / "records.jsonl").unlink()
    spool.append("metrics", {"step": 3, "values": {"loss": 0.5}})
    assert losses(Spool(spool.folder)) == [0.5]


def test_journal_that_is_damaged_within_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "spool" / "records.jsonl"
    spool_with(tmp_path, 2.0, 1.0)
    journal.write_bytes(b"?" + journal.read_bytes()[1:])
    with pytest.raises(InputError, match=r"records.jsonl: damaged after byte 0; move that folder away"):
        list(Spool(journal.parent).records())


def test_all_waits_until_it_is_marked_as_sent(tmp_path: Path) -> None:
    spool = spool_with(tmp_path, 2.0, 1.0, 0.5)
    first, *others = spool.waiting()
    spool.mark(Sent(first.seq, first.end, uncertain=False))
    assert Spool(spool.folder).waiting() == others


@pytest.mark.parametrize("content", ["", "[]", '{"seq": 1}', '{"other": 1}'])
def test_all_waits_and_is_uncertain_when_the_mark_is_lost(tmp_path: Path, content: str) -> None:
    spool = spool_with(tmp_path, 2.0)
    (record,) = spool.waiting()
    spool.mark(Sent(record.seq, record.end, uncertain=False))
    (spool.folder / "sent.json").write_text(content, encoding="utf-8")
    assert spool.waiting() == [record]
    assert spool.sent().uncertain


def test_files_wait_beside_the_journal_and_are_dropped(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.append_files("pictures", lambda place: (place / "a.txt").write_text("tea"))
    (record,) = spool.waiting()
    place = spool.folder / record.content["place"]
    assert (record.kind, record.content["into"]) == ("files", "pictures")
    assert (place / "a.txt").read_text() == "tea"
    spool.drop_files(record)
    assert not place.exists()


def test_files_of_a_process_that_was_killed_before_it_recorded_them_do_not_stay(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")

    def killed(place: Path) -> None:
        (place / "half.txt").write_text("te")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spool.append_files("", killed)
    assert spool.waiting() == []
    spool.append_files("", lambda place: (place / "whole.txt").write_text("tea"))
    (record,) = spool.waiting()
    assert [path.name for path in (spool.folder / record.content["place"]).iterdir()] == ["whole.txt"]


def test_steps_are_those_of_the_metric(tmp_path: Path) -> None:
    spool = spool_with(tmp_path, 2.0, 1.0)
    spool.append("metrics", {"step": 3, "values": {"cer": 0.5}})
    spool.append("tags", {"values": {"loss": "low"}})
    assert spool.steps("loss") == {1, 2}
    assert spool.steps("cer") == {3}


def test_full_disk_is_told_and_leaves_what_was_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_with(tmp_path, 2.0)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"spool: cannot be written \(No space left on device\)"):
            spool.append("metrics", {"step": 2, "values": {"loss": 1.0}})
        assert losses(spool) == [2.0]
    spool.append("metrics", {"step": 2, "values": {"loss": 0.5}})
    assert losses(spool) == [2.0, 0.5]
    assert [record.seq for record in spool.records()] == [1, 2]


def test_spool_tells_whose_it_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.describe({"run": "r1", "uri": None})
    assert spool.about() == {"run": "r1", "uri": None}
    (spool.folder / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"run.json: missing or damaged"):
        spool.about()


def test_lock_is_held_by_one_thread_at_a_time(tmp_path: Path) -> None:
    spool = spool_with(tmp_path)
    spool.describe({"run": "r1", "uri": None})
    entered = threading.Event()

    def enter() -> None:
        with spool.delivering():
            entered.set()

    thread = threading.Thread(target=enter)
    with spool.delivering():
        thread.start()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()


def test_counts_are_of_values_where_a_record_holds_several(tmp_path: Path) -> None:
    spool = spool_with(tmp_path, 2.0)
    spool.append("metrics", {"step": 2, "values": {"loss": 1.0, "cer": 0.5}})
    spool.append("status", {"status": "FINISHED"})
    assert counted(spool.waiting()) == {"metrics": 3, "status": 1}


@given(st.floats())
def test_any_number_survives_json(value: float) -> None:
    (found,) = json.loads(json.dumps(packed({"x": value}), allow_nan=False)).values()
    assert math.isnan(float(found)) if math.isnan(value) else float(found) == value


def _write(folder: Path, number: int) -> None:
    for loss in range(40):
        Spool(folder / "spool").append("metrics", {"step": loss, "values": {f"loss{number}": loss}})


def test_processes_that_write_together_lose_nothing(tmp_path: Path) -> None:
    # A fork would copy the threads of other tests.
    processes = [
        multiprocessing.get_context("spawn").Process(target=_write, args=(tmp_path, n)) for n in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    records = list(Spool(tmp_path / "spool").records())
    assert [record.seq for record in records] == list(range(1, 81))
    assert len({record.time_ms for record in records}) == 80
    for number in range(2):
        assert Spool(tmp_path / "spool").steps(f"loss{number}") == set(range(40))


def test_disk_that_takes_a_part_of_a_record_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool")
    spool.append("tags", {"values": {"a": "1"}})
    before = (spool.folder / RECORDS).read_bytes()
    fill = Path.open

    def cut(self: Path, *how: Any, **more: Any) -> Any:
        file = fill(self, *how, **more)
        return Cut(file) if "ab" in how else file

    monkeypatch.setattr(Path, "open", cut)
    with pytest.raises(NoRoomError, match="No space left on device"):
        spool.append("status", {"status": "FINISHED"})
    assert (spool.folder / RECORDS).read_bytes() == before
    assert not spool.ended()


class Cut:
    """A file of which each write takes five bytes and says so, as an unbuffered one does on a full disk."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> "Cut":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def fileno(self) -> int:
        return int(self.file.fileno())

    def write(self, line: bytes) -> int:
        return int(self.file.write(line[:5]))


def test_run_has_ended_when_its_last_status_says_so(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    assert not spool.ended()
    spool.append("status", {"status": "KILLED"})
    assert spool.ended()
    spool.append("status", {"status": "RUNNING"})
    spool.append("tags", {"values": {}})
    assert not spool.ended()

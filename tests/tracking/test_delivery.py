"""Deliveries: in order, nothing lost and nothing twice, whatever a server loses and whoever is killed."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from hwr.tracking.delivery import DeletedError, Delivery, FilesLeftError
from hwr.tracking.spool import Spool
from tests.tracking.fake_server import ANSWER_LOST, ARRIVES, LOST, FakeServer


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def deliver(server: FakeServer, spool: Spool) -> None:
    """Deliver what waits, as a process of its own does."""
    Delivery(cast(MlflowClient, server), "r1", Spool(spool.folder))()


def loss(spool: Spool, step: int, **values: float) -> None:
    spool.append("metrics", {"step": step, "values": values or {"loss": 1.0}})


def steps(server: FakeServer) -> list[int]:
    return [metric.step for metric in server.metrics]


def test_metrics_arrive_together_in_order_and_once(spool: Spool) -> None:
    server = FakeServer()
    deliver(server, spool)
    for step in (1, 2, 3):
        loss(spool, step)
    deliver(server, spool)
    deliver(server, spool)
    assert steps(server) == [1, 2, 3]


def test_next_metrics_take_one_request_when_all_before_arrived(spool: Spool) -> None:
    server = FakeServer()
    loss(spool, 1)
    deliver(server, spool)
    before = server.requests
    for step in range(2, 100):
        loss(spool, step)
    deliver(server, spool)
    assert server.requests - before == 1


@pytest.mark.parametrize("fate", [LOST, ANSWER_LOST])
def test_metrics_arrive_once_when_the_server_was_away(spool: Spool, fate: str) -> None:
    server = FakeServer()
    loss(spool, 1)
    deliver(server, spool)
    loss(spool, 2)
    server.fate = [fate]
    with pytest.raises(MlflowException):
        deliver(server, spool)
    loss(spool, 3)
    server.fate = [ARRIVES]
    deliver(server, spool)
    assert steps(server) == [1, 2, 3]


def test_metrics_arrive_once_when_the_mark_is_lost(spool: Spool) -> None:
    server = FakeServer()
    loss(spool, 1)
    deliver(server, spool)
    (spool.folder / "sent.json").unlink()
    loss(spool, 2)
    deliver(server, spool)
    assert steps(server) == [1, 2]


def test_equal_values_of_one_step_are_two(spool: Spool) -> None:
    server = FakeServer()
    loss(spool, 1)
    loss(spool, 1)
    deliver(server, spool)
    assert steps(server) == [1, 1]


def test_many_values_take_several_requests(spool: Spool) -> None:
    server = FakeServer()
    loss(spool, 1, **{f"m{number}": 0.0 for number in range(1200)})
    loss(spool, 2)
    deliver(server, spool)
    assert [len(steps(server)), steps(server)[-1]] == [1201, 2]


def test_record_of_another_kind_arrives_after_metrics_without_values(spool: Spool) -> None:
    server = FakeServer()
    spool.append("metrics", {"step": 1, "values": {}})
    spool.append("status", {"status": "KILLED"})
    deliver(server, spool)
    assert [status for status, _ in server.statuses] == ["KILLED"]


def test_parameters_that_the_server_has_stay(spool: Spool) -> None:
    server = FakeServer()
    server.parameters = {"lr": "1"}
    spool.append("parameters", {"values": {"lr": "2", "seed": "0"}})
    deliver(server, spool)
    assert server.parameters == {"lr": "1", "seed": "0"}


def test_records_of_all_kinds_arrive_in_order(spool: Spool) -> None:
    server = FakeServer()
    spool.append("status", {"status": "RUNNING"})
    spool.append("tags", {"values": {"init": "runs"}})
    loss(spool, 1)
    spool.append("inputs", {"name": "alto/a", "fingerprint": "f0" * 32, "context": "test",
                            "source": {"uri": "file:///a"}, "profile": {"num_rows": 2}})  # fmt: skip
    spool.append_files("a", lambda place: (place / "b.txt").write_text("tea"))
    spool.append("status", {"status": "KILLED"})
    deliver(server, spool)
    ended = list(spool.records())[-1].time_ms
    assert server.statuses == [("RUNNING", None), ("KILLED", ended)]
    assert (server.tags, server.files, steps(server)) == ({"init": "runs"}, {"a/b.txt": "tea"}, [1])
    assert [one.dataset.digest for one in server.inputs] == ["f0" * 18]


def test_data_set_arrives_at_once_when_another_run_stores_the_same_one_meanwhile(spool: Spool) -> None:
    server = FakeServer()
    server.raced = 1
    spool.append("inputs", {"name": "alto/a", "fingerprint": "f0" * 32, "context": "test",
                            "source": {"uri": "file:///a"}, "profile": {"num_rows": 2}})  # fmt: skip
    deliver(server, spool)
    assert [one.dataset.name for one in server.inputs] == ["alto/a"]


def test_data_set_waits_when_it_is_refused_again(spool: Spool) -> None:
    server = FakeServer()
    server.raced = 2
    spool.append("inputs", {"name": "alto/a", "fingerprint": "f0" * 32, "context": "test",
                            "source": {"uri": "file:///a"}, "profile": {"num_rows": 2}})  # fmt: skip
    with pytest.raises(MlflowException):
        deliver(server, spool)
    assert [record.kind for record in spool.waiting()] == ["inputs"]


def test_files_stay_until_they_arrived(spool: Spool) -> None:
    server = FakeServer()
    spool.append_files("a", lambda place: (place / "b.txt").write_text("tea"))
    (record,) = spool.waiting()
    server.fate = [LOST]
    with pytest.raises(MlflowException):
        deliver(server, spool)
    assert (spool.folder / record.content["place"]).exists()
    server.fate = [ARRIVES]
    deliver(server, spool)
    assert server.files == {"a/b.txt": "tea"}
    assert not (spool.folder / record.content["place"]).exists()


def test_what_arrived_before_a_failure_is_not_sent_again(spool: Spool) -> None:
    server = FakeServer()
    loss(spool, 1)
    deliver(server, spool)
    loss(spool, 2)
    spool.append("tags", {"values": {"init": "runs"}})
    server.fate = [ARRIVES, LOST]
    with pytest.raises(MlflowException):
        deliver(server, spool)
    assert [record.kind for record in spool.waiting()] == ["tags"]


def test_value_that_the_server_does_not_take_is_noted_and_the_others_arrive(
    spool: Spool, capsys: pytest.CaptureFixture[str]
) -> None:
    server = FakeServer()
    server.refuses = {"bad"}
    loss(spool, 1)
    loss(spool, 2, bad=0.5)
    loss(spool, 3)
    deliver(server, spool)
    assert steps(server) == [1, 3]
    assert capsys.readouterr().err == (
        f"tracking: metrics of run r1 refused (not taken); kept in {spool.folder}\n"
    )
    assert (spool.folder / "refused.jsonl").read_text() == '{"seq": 2, "reason": "not taken"}\n'
    assert spool.waiting() == []


def test_all_waits_while_the_run_is_in_the_trash(spool: Spool) -> None:
    server = FakeServer()
    server.deleted = True
    loss(spool, 1)
    with pytest.raises(DeletedError, match=r"was deleted; restore it .*mlflow runs restore --run-id r1"):
        deliver(server, spool)
    server.deleted = False
    deliver(server, spool)
    assert steps(server) == [1]


FATES = st.lists(st.sampled_from([ARRIVES, LOST, ANSWER_LOST]), min_size=1, max_size=6)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(1, 3)),
        st.tuples(st.just("deliver"), FATES),
        st.tuples(st.just("kill"), st.sampled_from(["after sending", "while recording"])),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(ACTIONS)
def test_every_value_arrives_exactly_once_whatever_happens(actions: list[tuple[str, Any]]) -> None:
    server, taken = FakeServer(), 0
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "spool")
        for action, how in actions:
            if action == "record":
                for _ in range(how):
                    taken += 1
                    loss(spool, taken)
            elif action == "deliver":
                server.fate = [*how, LOST]
                with contextlib.suppress(MlflowException):
                    deliver(server, spool)
            else:
                _kill(server, spool, how)
        server.fate = [ARRIVES]
        deliver(server, spool)
    assert steps(server) == list(range(1, taken + 1))


def _kill(server: FakeServer, spool: Spool, when: str) -> None:
    """Do what a process leaves behind that is killed then."""
    if when == "while recording":
        spool.folder.mkdir(exist_ok=True)
        with (spool.folder / "records.jsonl").open("ab") as file:
            file.write(b'{"seq": 9, "time_ms": 1, "kind": "met')
        return

    class Killed(Spool):
        def mark(self, sent: Any) -> None:
            if not sent.uncertain:
                raise KeyboardInterrupt
            super().mark(sent)

    server.fate = [ARRIVES]
    with contextlib.suppress(KeyboardInterrupt):
        Delivery(cast(MlflowClient, server), "r1", Killed(spool.folder))()


def test_files_that_find_no_place_hold_up_nothing_else(spool: Spool) -> None:
    server = FakeServer()
    server.keeps_files = False
    spool.append_files("", lambda place: (place / "note.txt").write_text("tea"))
    loss(spool, 1)
    spool.append("status", {"status": "FINISHED"})
    for _ in range(2):
        with pytest.raises(FilesLeftError, match="Permission denied"):
            deliver(server, spool)
    assert (steps(server), len(server.statuses)) == ([1], 1)
    assert [record.kind for record in spool.waiting()] == ["files"]
    server.keeps_files = True
    deliver(server, spool)
    assert (server.files, spool.waiting()) == ({"/note.txt": "tea"}, [])


def test_files_that_are_refused_stay(spool: Spool, capsys: pytest.CaptureFixture[str]) -> None:
    server = FakeServer()
    server.takes_files = False
    spool.append_files("", lambda place: (place / "note.txt").write_text("tea"))
    deliver(server, spool)
    assert [path.name for path in spool.folder.glob("files/*/*")] == ["note.txt"]
    assert "kept in" in capsys.readouterr().err

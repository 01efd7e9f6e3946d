"""Signals end a run once, and never in the middle of its start or its end."""

import shutil
import signal
import time
from pathlib import Path

import pytest

from hwr import tracking
from hwr.errors import NoRoomError
from hwr.runtime import termination
from hwr.runtime.termination import Terminated
from hwr.tracking import Run, Store, open_store, runs
from hwr.tracking.spool import Spool


@pytest.fixture
def store(database: Path, tmp_path: Path) -> Store:
    shutil.copy(database, tmp_path / "mlflow.db")
    return open_store(None, tmp_path, "tests")


def ask(number: signal.Signals = signal.SIGTERM) -> None:
    signal.raise_signal(number)
    time.sleep(0.01)


def statuses(store: Store) -> list[str]:
    return [run.info.status for run in store.client.search_runs([store.experiment])]


def test_nested_blocks_raise_once() -> None:
    before, ends = signal.getsignal(signal.SIGTERM), 0
    with pytest.raises(Terminated) as ended, termination.held_back(), termination.let_through():
        try:
            with termination.held_back(), termination.let_through():
                ask()
                raise AssertionError("not reached")
        finally:
            ask()  # while the first one is on its way
            ends += 1
    assert (ended.value.code, ends) == (128 + signal.SIGTERM, 1)
    assert signal.getsignal(signal.SIGTERM) is before
    with (
        pytest.raises(Terminated),
        termination.held_back(),
        termination.let_through(),
    ):  # a later block is asked anew
        ask()


def test_what_is_held_back_comes_to_its_end() -> None:
    done = []
    with pytest.raises(Terminated), termination.held_back(), termination.let_through():
        with termination.held_back():
            assert not termination.asked()
            ask()
            done.append("first")
        done.append("second")
    assert done == ["first"]


@pytest.mark.parametrize(
    ("number", "raised", "code"),
    [
        (signal.SIGTERM, Terminated, 143),
        (signal.SIGHUP, Terminated, 129),
        (signal.SIGINT, KeyboardInterrupt, None),
    ],
)
def test_run_is_killed_by_each_signal_that_asks_it_to_end(
    store: Store, number: signal.Signals, raised: type[BaseException], code: int | None
) -> None:
    before = signal.signal(number, signal.default_int_handler)  # who tests in the background ignores some
    try:
        with pytest.raises(raised) as ended, tracking.start_run(store, "test", tags={}):
            ask(number)
    finally:
        signal.signal(number, before)
    assert (getattr(ended.value, "code", None), statuses(store)) == (code, ["KILLED"])


class _Asked:
    """Is asked to end while it is dropped, where Python ignores exceptions."""

    def __del__(self) -> None:
        ask()


def test_signal_is_not_lost_where_exceptions_are_ignored(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Terminated), tracking.start_run(store, "test", tags={}):
        dropped = _Asked()
        del dropped
        time.sleep(1)
    assert (statuses(store), capsys.readouterr().err) == (["KILLED"], "")


def test_ignored_hangup_ends_no_run(store: Store) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with tracking.start_run(store, "test", tags={}):
            ask(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert statuses(store) == ["FINISHED"]


def test_run_that_is_asked_to_end_while_it_starts_ends_as_killed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe = Spool.describe

    def asked(self: Spool, about: dict[str, str | None]) -> None:
        ask()
        describe(self, about)

    monkeypatch.setattr(Spool, "describe", asked)
    with pytest.raises(Terminated), tracking.start_run(store, "test", tags={}):
        pass
    assert statuses(store) == ["KILLED"]


def test_run_that_is_asked_to_end_while_it_ends_ends_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = Run.flush
    monkeypatch.setattr(Run, "flush", lambda self: (ask(), flush(self)))
    with pytest.raises(Terminated), tracking.start_run(store, "test", tags={}):
        pass
    assert statuses(store) == ["FINISHED"]


def test_run_whose_records_have_no_place_does_not_stay_running(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Spool, about: dict[str, str | None]) -> None:
        raise NoRoomError("disk full")

    monkeypatch.setattr(runs.Spool, "describe", full)
    with pytest.raises(NoRoomError), tracking.start_run(store, "test", tags={}):
        pass
    assert statuses(store) == ["FAILED"]

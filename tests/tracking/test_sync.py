"""What runs left is delivered later, where it belongs."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from hwr import tracking
from hwr.errors import InputError
from hwr.tracking import Store, open_store
from hwr.tracking.runs import spool_of
from hwr.tracking.spool import Spool
from hwr.tracking.sync import Synced, sync_folder
from tests.tracking.seen import history, status


@pytest.fixture
def store(database: Path, tmp_path: Path) -> Store:
    shutil.copy(database, tmp_path / "mlflow.db")
    return open_store(None, tmp_path, "tests")


def left(store: Store, *losses: float) -> str:
    """Return a run that ended while the server was away: its losses and its end wait."""
    with tracking.start_run(store, "test", tags={}) as run:
        pass
    store.client.update_run(run.id, status="RUNNING")
    for step, loss in enumerate(losses):
        run.spool.append("metrics", {"step": step, "values": {"loss": loss}})
    run.spool.append("status", {"status": "KILLED"})
    return run.id


def test_what_waits_is_delivered_with_the_status_and_nothing_is_left(store: Store, tmp_path: Path) -> None:
    run = left(store, 2.0, 1.0)
    assert list(sync_folder(tmp_path, None)) == [Synced(run, Counter(metrics=2, status=1), Counter(), None)]
    assert history(store, run, "loss") == [(0, 2.0), (1, 1.0)]
    assert status(store, run) == "KILLED"
    assert list(sync_folder(tmp_path, None)) == []


def test_runs_end_when_they_ended_not_when_they_are_delivered(store: Store, tmp_path: Path) -> None:
    run = left(store)
    *_, last = Spool(spool_of(tmp_path, run)).records()
    list(sync_folder(tmp_path, None))
    assert store.client.get_run(run).info.end_time == last.time_ms


def test_what_waits_moves_with_its_folder(store: Store, tmp_path: Path) -> None:
    run = left(store, 2.0)
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    tmp_path.rename(moved)
    list(sync_folder(moved, None))
    assert status(Store(f"sqlite:///{moved}/mlflow.db", "1"), run) == "KILLED"


def test_run_that_the_server_does_not_know_still_waits(store: Store, tmp_path: Path) -> None:
    spool = Spool(spool_of(tmp_path, "0123"))
    spool.describe({"run": "0123", "uri": None})
    spool.append("status", {"status": "FINISHED"})
    (synced,) = sync_folder(tmp_path, None)
    assert (synced.delivered, synced.waiting) == (Counter(), Counter(status=1))
    assert "0123" in (synced.reason or "")


def test_server_that_does_not_answer_is_refused_after_the_others_got_theirs(
    store: Store, tmp_path: Path
) -> None:
    spool = Spool(spool_of(tmp_path, "0"))  # the first
    spool.describe({"run": "0", "uri": "http://127.0.0.1:1"})
    spool.append("status", {"status": "FINISHED"})
    run = left(store, 1.0)
    with pytest.raises(InputError, match=r"tracking.uri=http://127.0.0.1:1: no tracking server answers"):
        list(sync_folder(tmp_path, None))
    assert status(store, run) == "KILLED"
    assert spool.waiting()


def test_given_server_takes_the_place_of_the_recorded_one(store: Store, tmp_path: Path) -> None:
    run = left(store, 1.0)
    Spool(spool_of(tmp_path, run)).describe({"run": run, "uri": "http://127.0.0.1:1"})
    list(sync_folder(tmp_path, store.uri))
    assert status(store, run) == "KILLED"


def test_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    spool = Spool(spool_of(tmp_path, "r1"))
    spool.describe({"run": "r1", "uri": None})
    spool.append("status", {"status": "FINISHED"})
    with pytest.raises(InputError, match=r"mlflow.db: no such database; give tracking.uri="):
        list(sync_folder(tmp_path, None))
    assert not (tmp_path / "mlflow.db").exists()


# A process of its own forks, for a fork of this one would copy the threads of other tests.
FALLS = """
import os, sys
from pathlib import Path
from hwr import tracking
from hwr.tracking.spool import Spool

for folder in map(Path, sys.argv[1:]):
    if os.fork() == 0:
        if hasattr(Spool, folder.name):
            setattr(Spool, folder.name, lambda *_: os._exit(1))
        with tracking.start_run(tracking.open_store(None, folder, "tests"), "test", tags={}):
            os._exit(1 if folder.name == "running" else 2)
    assert os.wait()[1] == 256, folder
"""
STARTING = "describe", "_keep", "alive"


@pytest.fixture(scope="module")
def fallen(database: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return folders with a run whose process was killed while it was running, or at a step of its start."""
    folders = [tmp_path_factory.mktemp("fallen") / name for name in ("running", *STARTING)]
    for folder in folders:
        folder.mkdir()
        shutil.copy(database, folder / "mlflow.db")
    subprocess.run([sys.executable, "-c", FALLS, *folders], check=True, timeout=120)
    return {folder.name: folder for folder in folders}


def only_run(store: Store) -> str:
    (run,) = store.client.search_runs([store.experiment])
    return str(run.info.run_id)


def test_run_whose_process_is_gone_ends_as_killed(fallen: dict[str, Path]) -> None:
    folder = fallen["running"]
    store = open_store(None, folder, "tests")
    run = only_run(store)
    assert status(store, run) == "RUNNING"
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    assert list(sync_folder(copy, None)) == []  # it may go on in the original
    assert list(sync_folder(folder, None)) == [Synced(run, Counter(status=1), Counter(), None)]
    assert status(store, run) == "KILLED"
    assert list(sync_folder(folder, None)) == []


def test_run_that_goes_on_is_not_ended(store: Store, tmp_path: Path) -> None:
    with tracking.start_run(store, "test", tags={}) as run:
        assert list(sync_folder(tmp_path, None)) == []
        assert status(store, run.id) == "RUNNING"


@pytest.mark.parametrize("at", STARTING)
def test_run_whose_process_was_killed_while_it_started_it_ends_as_killed(
    fallen: dict[str, Path], at: str
) -> None:
    store = open_store(None, fallen[at], "tests")
    run = only_run(store)
    assert list(sync_folder(fallen[at], None)) == [Synced(run, Counter(status=1), Counter(), None)]
    assert status(store, run) == "KILLED"
    assert not list(fallen[at].glob(".starting/*"))

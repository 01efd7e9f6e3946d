"""A run as trainings and evaluations use it, on an embedded store that answers."""

import json
import math
import os
import shlex
import shutil
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow.data
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from hwr import runtime, tracking
from hwr.config import ROOT
from hwr.errors import InputError
from hwr.tracking import Run, Store, SystemMetrics, Terminated, delivery
from tests.tracking.seen import artifact, history, status, stored


def test_parameters_are_flat(run: Run) -> None:
    run.parameters(
        {"lr": 1e-3, "data": {"root": "DIR", "shares": [0.8, 0.1], "seed": None, "folds": {}}, "mask": True}
    )
    assert stored(run).data.params == {
        "lr": "0.001",
        "data.root": "DIR",
        "data.shares": "[0.8, 0.1]",
        "data.seed": "null",
        "data.folds": "{}",
        "mask": "true",
    }


def test_parameters_stay_when_they_are_logged_again(run: Run) -> None:
    run.parameters({"lr": 1, "seed": 0})
    run.parameters({"lr": 2, "batch_size": 16})
    assert stored(run).data.params == {"lr": "1", "seed": "0", "batch_size": "16"}


def test_parameters_are_all_kept_when_there_are_more_than_a_batch_takes(run: Run) -> None:
    run.parameters({f"key{number}": number for number in range(205)})
    assert len(stored(run).data.params) == 205


def test_table_is_read_back_by_mlflow(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"id": "a/1", "reference": "né", "hypothesis": ""},
        {"id": "2", "reference": "x", "hypothesis": "y"},
    ]
    run.table("evaluation/test/lines.json", rows)
    run.flush()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", run.store.uri)
    name = "evaluation/test/lines.json"
    found = run.store.client.load_table(run.store.experiment, name, run_ids=[run.id])
    assert found.to_dict("records") == rows


def test_load_of_the_machine_is_logged_every_so_often_and_counted_on(run: Run) -> None:
    now = iter([0.0, 4.0, 10.0, 15.0, 20.0, 20.0, 29.0, 30.0])
    load = SystemMetrics(run, 10, clock=lambda: next(now))
    for _ in range(4):
        load()
    again = SystemMetrics(run, 10, clock=lambda: next(now))
    again()
    again()
    assert not list(now)
    assert sorted(run.recorded("system/cpu_utilization_percentage")) == [0, 1, 2]
    run.flush()
    names = stored(run).data.metrics
    assert {"system/system_memory_usage_megabytes", "system/disk_usage_percentage",
            "system/network_receive_megabytes"} <= set(names)  # fmt: skip


def test_long_value_is_cut_visibly(run: Run) -> None:
    run.parameters({"families": "x" * 7000, "note": "y" * 6000})
    params = stored(run).data.params
    assert params["families"] == "x" * 5999 + "…"
    assert params["note"] == "y" * 6000


def test_names_are_made_such_that_mlflow_takes_them(run: Run) -> None:
    run.parameters({"a[0]": 1, "b%c": {"d=e": 2}, "é": 3})
    run.metrics({"test/held[out]/cer": 0.5}, 0)
    run.flush()
    assert set(stored(run).data.params) == {"a_0_", "b_c.d_e", "é"}
    assert stored(run).data.metrics == {"test/held_out_/cer": 0.5}


def test_metrics_wait_for_company(run: Run) -> None:
    run.metrics({"train/loss": 2.0, "valid/cer": 0.5}, 1)
    assert stored(run).data.metrics == {}
    run.metrics({"train/loss": 1.0, "valid/cer": 0.25}, 2)
    run.flush()
    assert history(run.store, run.id, "train/loss") == [(1, 2.0), (2, 1.0)]
    assert stored(run).data.metrics == {"train/loss": 1.0, "valid/cer": 0.25}


def test_metrics_are_sent_when_they_waited_long_enough(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "COMPANY_S", 0.1)
    run.metrics({"valid/cer": 0.5}, 1)
    deadline = time.monotonic() + 10
    while not stored(run).data.metrics and time.monotonic() < deadline:
        time.sleep(0.05)
    assert stored(run).data.metrics == {"valid/cer": 0.5}


def test_metrics_are_all_kept_when_there_are_more_than_a_request_takes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "VALUES", 10)
    run.metrics({f"metric{number}": number for number in range(25)}, 1)
    run.flush()
    assert len(stored(run).data.metrics) == 25


def test_tags_are_kept_and_long_ones_cut(run: Run) -> None:
    run.tags({"init": "z" * 9000})
    assert stored(run).data.tags["stage"] == "line"
    assert stored(run).data.tags["init"] == "z" * 4999 + "…"


def test_texts_are_such_that_every_database_takes_them(store: Store) -> None:
    with tracking.start_run(store, "n" * 300, tags={"stage": "a\0"}) as run:
        run.tags({"error": "b\0"})
        run.parameters({"text": "c\0"})
    kept = stored(run)
    assert kept.info.run_name == "n" * 249 + "…"
    assert (kept.data.tags["stage"], kept.data.tags["error"], kept.data.params["text"]) == ("a�", "b�", "c�")


@pytest.mark.parametrize("name", ["picture.png", "pictures/inner/picture.png"])
def test_picture_comes_back(name: str, run: Run, tmp_path: Path) -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    run.picture(name, picture)
    assert np.array_equal(np.array(Image.open(artifact(run, name, tmp_path))), picture)


@pytest.mark.parametrize("root", [Path("/data/letters"), None])
def test_data_set_is_an_input_once_however_often_it_is_sent(
    store: Store, root: Path | None, tmp_path: Path
) -> None:
    fingerprint = sha256(str(root).encode()).hexdigest()
    with tracking.start_run(store, "reads data", tags={}) as run:
        for _ in range(2):
            run.inputs("alto/letters", fingerprint, context="training", root=root, profile={"num_rows": 3})
        (run.spool.folder / "sent.json").unlink()  # then all is sent again
    found = store.client.search_runs([store.experiment], f"dataset.digest = '{fingerprint[:36]}'")
    assert [one.info.run_id for one in found] == [run.id]
    (own,) = found[0].inputs.dataset_inputs
    assert (own.dataset.name, [tag.value for tag in own.tags]) == ("alto/letters", ["training"])
    assert json.loads(own.dataset.profile) == {"num_rows": 3, "fingerprint": fingerprint}
    source = mlflow.data.get_source(own.dataset)
    assert source.to_dict() == ({"tags": {}} if root is None else {"uri": root.as_uri()})


def test_files_come_back(run: Run, tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "config.yaml").write_text("a: é\n", encoding="utf-8")
    run.text("overrides.txt", "lr=1\n")
    run.json("data/inspection.json", {"unseen": "é", "path": Path("a")})
    run.folder("weights", tmp_path)
    out = tmp_path / "out"
    assert artifact(run, "overrides.txt", out).read_text(encoding="utf-8") == "lr=1\n"
    assert json.loads(artifact(run, "data/inspection.json", out).read_text("utf-8")) == {
        "unseen": "é",
        "path": "a",
    }
    fetched = tracking.download(f"runs:/{run.id}/weights/best", run.store, out)
    assert (fetched / "config.yaml").read_text(encoding="utf-8") == "a: é\n"


class BoomError(Exception):
    """What a training may raise."""


@pytest.mark.parametrize(
    ("raised", "ended"),
    [(None, "FINISHED"), (BoomError, "FAILED"), (InputError, "FAILED"), (KeyboardInterrupt, "KILLED")],
)
def test_run_ends_as_its_block_did(raised: type[BaseException] | None, ended: str, store: Store) -> None:
    started = None
    try:
        with tracking.start_run(store, "test", tags={}) as started:
            assert status(store, started.id) == "RUNNING"
            started.metrics({"valid/cer": 0.5}, 1)
            if raised:
                raise raised("boom")
    except (BoomError, InputError, KeyboardInterrupt):
        pass
    assert started is not None
    assert status(store, started.id) == ended
    assert stored(started).data.metrics == {"valid/cer": 0.5}  # what waited was sent


def test_run_is_killed_by_sigterm(store: Store) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, tracking.start_run(store, "test", tags={}) as started:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(1)  # never slept through
    assert (type(ended.value), ended.value.code) == (Terminated, 128 + signal.SIGTERM)
    assert status(store, started.id) == "KILLED"
    assert signal.getsignal(signal.SIGTERM) is before


def test_second_sigterm_does_not_cut_the_end_short(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = Run.flush

    def slow(self: Run) -> None:
        signal.raise_signal(signal.SIGTERM)
        flush(self)

    monkeypatch.setattr(Run, "flush", slow)
    with pytest.raises(Terminated), tracking.start_run(store, "test", tags={}) as started:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(1)
    assert status(store, started.id) == "KILLED"


def test_run_works_outside_of_the_main_thread(store: Store) -> None:
    ids: list[str] = []

    def work() -> None:
        with tracking.start_run(store, "test", tags={}) as started:
            ids.append(started.id)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert status(store, ids[0]) == "FINISHED"


def test_resumed_run_goes_on_where_it_was(store: Store) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        tracking.start_run(store, "test", tags={"stage": "line"}) as first,
    ):
        first.parameters({"lr": 1})
        first.metrics({"valid/cer": 0.5}, 1)
        raise KeyboardInterrupt
    with tracking.start_run(store, "test", run_id=first.id, tags={"stage": "other"}) as again:
        assert again.id == first.id
        assert status(store, first.id) == "RUNNING"
        again.parameters({"lr": 2, "seed": 0})
        again.metrics({"valid/cer": 0.25}, 2)
    assert status(store, first.id) == "FINISHED"
    assert history(store, first.id, "valid/cer") == [(1, 0.5), (2, 0.25)]
    assert stored(first).data.params == {"lr": "1", "seed": "0"}
    assert stored(first).data.tags["stage"] == "line"


def test_resuming_a_run_that_is_not_there_is_refused(store: Store) -> None:
    with (
        pytest.raises(InputError, match=r"mlflow.db: .*0123") as refused,
        tracking.start_run(store, "", run_id="0123", tags={}),
    ):
        pass
    assert "\n" not in str(refused.value)


def test_ended_run_takes_more_when_attached(store: Store) -> None:
    with tracking.start_run(store, "test", tags={}) as started:
        pass
    again = tracking.attach(store, started.id)
    assert again is not None
    again.metrics({"test/cer": 0.1}, 0)
    again.flush()
    assert stored(started).data.metrics == {"test/cer": 0.1}
    assert status(store, started.id) == "FINISHED"


def test_run_says_who_started_it_with_what(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["hwr train", "lr=1"])
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    with tracking.start_run(store, "test", tags={"stage": "line"}) as run:
        pass
    tags = stored(run).data.tags
    assert {name: tags[f"mlflow.{name}"] for name in ("user", "source.name", "source.type")} == {
        "user": "ada",
        "source.name": "hwr train",
        "source.type": "LOCAL",
    }
    revision = runtime.Revision.of(ROOT)
    assert revision is None or tags["mlflow.source.git.commit"] == revision.commit


def test_deleted_run_is_refused_with_the_command_that_restores_it(store: Store) -> None:
    with tracking.start_run(store, "test", tags={}) as run:
        pass
    tracking.forget(store, run.id)
    assert tracking.attach(store, run.id) is None
    assert not tracking.is_stored(store, run.id)
    with (
        pytest.raises(InputError, match=f"was deleted; restore it .*mlflow runs restore --run-id {run.id}"),
        tracking.start_run(store, "test", run_id=run.id, tags={}),
    ):
        pass


def test_attaching_to_an_unknown_run_gives_nothing(store: Store) -> None:
    assert tracking.attach(store, "0123") is None


def test_url_is_a_command_that_serves_an_embedded_store(run: Run) -> None:
    program, *words = shlex.split(run.url, comments=True)
    assert Path(program).name == "mlflow"
    assert words == ["server", "--backend-store-uri", run.store.uri]
    page = f"http://127.0.0.1:5000/#/experiments/{run.store.experiment}/runs/{run.id}"
    assert run.url.endswith(f"{page}?workflowType=machine_learning")


def test_parent_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tracking.PARENT_VARIABLE, raising=False)
    assert tracking.parent_run() is None
    monkeypatch.setenv(tracking.PARENT_VARIABLE, "r1")
    assert tracking.parent_run() == "r1"


def test_steps_are_recorded_before_they_are_delivered(run: Run) -> None:
    run.metrics({"valid/cer": 0.5, "train/loss": 2.0}, 1)
    run.metrics({"valid/cer": 0.25}, 2)
    assert stored(run).data.metrics == {}
    assert run.recorded("valid/cer") == {1, 2}
    assert run.recorded("train/loss") == {1}
    assert run.recorded("valid/wer") == set()


def test_steps_of_before_are_recorded_when_the_run_is_resumed(store: Store) -> None:
    with tracking.start_run(store, "test", tags={}) as first:
        first.metrics({"test/held[out]": 0.5}, 3)
    with tracking.start_run(store, "test", run_id=first.id, tags={}) as again:
        again.metrics({"test/held[out]": 0.25}, 4)
        assert again.recorded("test/held[out]") == {3, 4}


def test_steps_are_known_from_the_server_when_the_spool_is_gone(store: Store) -> None:
    with tracking.start_run(store, "test", tags={}) as first:
        first.metrics({"valid/cer": 0.5}, 3)
    shutil.rmtree(first.spool.folder)
    with tracking.start_run(store, "test", run_id=first.id, tags={}) as again:
        assert again.recorded("valid/cer") == {3}


def test_server_is_not_asked_for_steps_that_the_spool_has(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracking.start_run(store, "test", tags={}) as first:
        first.metrics({"valid/cer": 0.5}, 3)
    with tracking.start_run(store, "test", run_id=first.id, tags={}) as again:
        monkeypatch.setattr(again, "_client", None)
        assert again.recorded("valid/cer") == {3}


def test_server_that_does_not_answer_is_asked_for_steps_once(store: Store) -> None:
    asked = []

    def lost(run_id: str, name: str) -> None:
        asked.append(name)
        raise MlflowException("timed out")

    with tracking.start_run(store, "test", tags={}) as first:
        pass
    shutil.rmtree(first.spool.folder)
    with tracking.start_run(store, "test", run_id=first.id, tags={}) as again:
        again._client = SimpleNamespace(get_metric_history=lost)  # type: ignore[assignment]
        assert [again.recorded(name) for name in ("valid/cer", "valid/wer")] == [set(), set()]
    assert asked == ["valid/cer"]


def test_values_that_are_not_finite_are_kept(run: Run) -> None:
    run.metrics({"loss": math.nan}, 1)
    run.metrics({"loss": math.inf}, 2)
    run.flush()
    (_, first), (_, second) = history(run.store, run.id, "loss")
    assert math.isnan(first)
    assert second == sys.float_info.max  # what MLflow makes of infinity


def test_run_is_shown_at_its_address_when_the_store_is_a_server(tmp_path: Path) -> None:
    run = Run(Store("http://127.0.0.1:1/", "7", tmp_path), "r1", "7")
    assert run.url == "http://127.0.0.1:1/#/experiments/7/runs/r1?workflowType=machine_learning"


def test_what_a_killed_process_left_is_delivered_when_its_run_is_resumed(
    store: Store, tmp_path: Path
) -> None:
    with tracking.start_run(store, "test", tags={}) as first:
        pass
    killed = Run(store, first.id, store.experiment)
    killed.spool.append("metrics", {"step": 1, "values": {"valid/cer": 0.5}})  # and nobody delivered it
    with tracking.start_run(store, "test", run_id=first.id, tags={}) as again:
        assert again.recorded("valid/cer") == {1}
        again.metrics({"valid/cer": 0.25}, 2)
    assert history(store, first.id, "valid/cer") == [(1, 0.5), (2, 0.25)]
    assert status(store, first.id) == "FINISHED"


def test_resumed_run_is_running_though_the_end_of_before_had_to_wait(store: Store) -> None:
    with tracking.start_run(store, "test", tags={}) as first:
        pass
    first.spool.append("status", {"status": "KILLED"})
    with tracking.start_run(store, "test", run_id=first.id, tags={}):
        assert status(store, first.id) == "RUNNING"


# an embedded database that does not take what it is given


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let sqlite wait a tenth of a second for a lock, not twenty, and the courier try again soon."""

    def shorter(connection: Any, cursor: Any, statement: str, *others: Any) -> tuple[str, Any]:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 100"), others[0]

    for name, value in (("COMPANY_S", 0.1), ("PAUSES_S", (0.2,)), ("FAREWELL_S", 0.5)):
        monkeypatch.setattr(delivery, name, value)
    event.listen(Engine, "before_cursor_execute", shorter, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", shorter)


@pytest.mark.usefixtures("impatient")
def test_metrics_wait_while_the_database_is_locked(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    other = sqlite3.connect(store.uri.removeprefix("sqlite:///"), isolation_level=None)
    with tracking.start_run(store, "test", tags={}) as run:
        other.execute("BEGIN EXCLUSIVE")
        for step in range(5):
            run.metrics({"loss": step}, step)
            run.text("note.txt", str(step))
            time.sleep(0.1)
        other.execute("ROLLBACK")
    other.close()
    assert history(store, run.id, "loss") == [(step, float(step)) for step in range(5)]
    assert status(store, run.id) == "FINISHED"
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2, said
    waits = f"what is recorded waits in {run.spool.folder}"
    assert said[0] == f"tracking: {store.uri} is not reached (database is locked); {waits}"
    assert said[1] == f"tracking: {store.uri} is reached again"


@pytest.mark.usefixtures("impatient")
def test_metrics_wait_when_the_disk_of_the_database_is_full(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(connection: Any, cursor: Any, statement: str, *others: Any) -> None:
        if statement.startswith(("INSERT", "UPDATE")):
            raise OperationalError(statement, None, sqlite3.OperationalError("database or disk is full"))

    with tracking.start_run(store, "test", tags={}) as run:
        event.listen(Engine, "before_cursor_execute", full)
        run.metrics({"loss": 1.0}, 1)
        run.end("FINISHED")
        event.remove(Engine, "before_cursor_execute", full)
        assert status(store, run.id) == "RUNNING"
        assert capfd.readouterr().err.endswith(
            f"waits in {run.spool.folder}: python -m hwr sync {shlex.quote(str(store.folder))}\n"
        )
    assert history(store, run.id, "loss") == [(1, 1.0)]
    assert status(store, run.id) == "FINISHED"


def test_run_ends_though_its_own_disk_is_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with (
        pytest.raises(InputError, match=r"spool: cannot be written \(No space left on device\)"),
        tracking.start_run(store, "test", tags={}) as run,
    ):
        monkeypatch.setattr(os, "fsync", full)
        run.metrics({"loss": 1.0}, 1)
    assert status(store, run.id) == "FAILED"

import http.server
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.artifacts import download_artifacts
from PIL import Image

from hwr import tracking
from hwr.errors import InputError
from hwr.tracking import Run, Store, Terminated, flatten, open_store


@pytest.fixture(scope="module")
def store(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("outputs with space")
    shutil.copy(database, folder / "mlflow.db")
    return open_store(None, folder, "tests")


@pytest.fixture
def run(store: Store) -> Iterator[Run]:
    with tracking.run(store, "test", run_id=None, tags={"stage": "line"}) as started:
        yield started


def stored(run: Run) -> Any:
    return run.store.client.get_run(run.id)


def status(store: Store, run_id: str) -> str:
    return str(store.client.get_run(run_id).info.status)


def artifact(run: Run, name: str, folder: Path) -> Path:
    return Path(
        download_artifacts(
            run_id=run.id, artifact_path=name, dst_path=str(folder), tracking_uri=run.store.uri
        )
    )


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
    history = run.store.client.get_metric_history(run.id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 2.0), (2, 1.0)]
    assert stored(run).data.metrics == {"train/loss": 1.0, "valid/cer": 0.25}


def test_metrics_are_sent_when_they_waited_long_enough(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "FLUSH_S", 0.0)
    run.metrics({"valid/cer": 0.5}, 1)
    assert stored(run).data.metrics == {"valid/cer": 0.5}


def test_metrics_are_all_kept_when_there_are_more_than_a_batch_takes(run: Run) -> None:
    run.metrics({f"metric{number}": number for number in range(1005)}, 1)
    run.flush()
    assert len(stored(run).data.metrics) == 1005


def test_tags_are_kept_and_long_ones_cut(run: Run) -> None:
    run.tags({"init": "z" * 9000})
    assert stored(run).data.tags["stage"] == "line"
    assert stored(run).data.tags["init"] == "z" * 4999 + "…"


@pytest.mark.parametrize("name", ["picture.png", "pictures/inner/picture.png"])
def test_picture_comes_back(name: str, run: Run, tmp_path: Path) -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    run.picture(name, picture)
    assert np.array_equal(np.array(Image.open(artifact(run, name, tmp_path))), picture)


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


def test_downloads_of_two_runs_do_not_mix(store: Store, tmp_path: Path) -> None:
    fetched = []
    for text in ("one", "two"):
        with tracking.run(store, text, run_id=None, tags={}) as one:
            one.text("weights/best/config.yaml", text)
            fetched.append(tracking.download(f"runs:/{one.id}/weights/best", store, tmp_path))
    assert [(folder / "config.yaml").read_text(encoding="utf-8") for folder in fetched] == ["one", "two"]


@pytest.mark.parametrize("uri", ["runs:/0000/weights/best", "models:/none@best", "models:/none"])
def test_download_of_what_is_not_there_is_refused(uri: str, store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{uri}: cannot be fetched") as refused:
        tracking.download(uri, store, tmp_path)
    assert "\n" not in str(refused.value)


class BoomError(Exception):
    """What a training may raise."""


@pytest.mark.parametrize(
    ("raised", "ended"),
    [(None, "FINISHED"), (BoomError, "FAILED"), (InputError, "FAILED"), (KeyboardInterrupt, "KILLED")],
)
def test_run_ends_as_its_block_did(raised: type[BaseException] | None, ended: str, store: Store) -> None:
    started = None
    try:
        with tracking.run(store, "test", run_id=None, tags={}) as started:
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
    with pytest.raises(SystemExit) as ended, tracking.run(store, "test", run_id=None, tags={}) as started:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)  # never slept through
    assert (type(ended.value), ended.value.code) == (Terminated, 128 + signal.SIGTERM)
    assert status(store, started.id) == "KILLED"
    assert signal.getsignal(signal.SIGTERM) is before


def test_second_sigterm_does_not_cut_the_end_short(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = Run.flush

    def slow(self: Run) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        flush(self)

    monkeypatch.setattr(Run, "flush", slow)
    with pytest.raises(Terminated), tracking.run(store, "test", run_id=None, tags={}) as started:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert status(store, started.id) == "KILLED"


def test_run_ends_when_its_last_metrics_cannot_be_sent(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Run) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Run, "flush", fail)
    with (
        pytest.raises(OSError, match="disk full"),
        tracking.run(store, "test", run_id=None, tags={}) as started,
    ):
        pass
    assert status(store, started.id) == "FINISHED"


def test_run_works_outside_of_the_main_thread(store: Store) -> None:
    ids: list[str] = []

    def work() -> None:
        with tracking.run(store, "test", run_id=None, tags={}) as started:
            ids.append(started.id)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert status(store, ids[0]) == "FINISHED"


def test_resumed_run_goes_on_where_it_was(store: Store) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        tracking.run(store, "test", run_id=None, tags={"stage": "line"}) as first,
    ):
        first.parameters({"lr": 1})
        first.metrics({"valid/cer": 0.5}, 1)
        raise KeyboardInterrupt
    with tracking.run(store, "test", run_id=first.id, tags={"stage": "other"}) as again:
        assert again.id == first.id
        assert status(store, first.id) == "RUNNING"
        again.parameters({"lr": 2, "seed": 0})
        again.metrics({"valid/cer": 0.25}, 2)
    assert status(store, first.id) == "FINISHED"
    assert [point.step for point in store.client.get_metric_history(first.id, "valid/cer")] == [1, 2]
    assert stored(first).data.params == {"lr": "1", "seed": "0"}
    assert stored(first).data.tags["stage"] == "line"


def test_resuming_a_run_that_is_not_there_is_refused(store: Store) -> None:
    with (
        pytest.raises(InputError, match=r"mlflow.db: .*0123") as refused,
        tracking.run(store, "", run_id="0123", tags={}),
    ):
        pass
    assert "\n" not in str(refused.value)


def test_ended_run_takes_more_when_attached(store: Store) -> None:
    with tracking.run(store, "test", run_id=None, tags={}) as started:
        pass
    again = tracking.attach(store, started.id)
    assert again is not None
    again.metrics({"test/cer": 0.1}, 0)
    again.flush()
    assert stored(started).data.metrics == {"test/cer": 0.1}
    assert status(store, started.id) == "FINISHED"


def test_attaching_to_an_unknown_run_gives_nothing(store: Store) -> None:
    assert tracking.attach(store, "0123") is None


def test_children_are_found_with_what_they_reached(store: Store) -> None:
    with tracking.run(store, "sweep", run_id=None, tags={}) as parent:
        with tracking.run(store, "job", run_id=None, tags={tracking.PARENT: parent.id}) as child:
            child.metrics({"best/valid/cer": 0.5}, 1)
            child.parameters({"lr": 1})
        with tracking.run(store, "other", run_id=None, tags={}):
            pass
        found = tracking.children(parent)
    assert found == [tracking.Outcome(child.id, "FINISHED", {"best/valid/cer": 0.5}, {"lr": "1"})]


def test_url_is_a_command_that_serves_an_embedded_store(run: Run) -> None:
    assert run.url == f"mlflow server --backend-store-uri {run.store.uri}   (run {run.id})"


def test_embedded_store_lies_in_the_folder(store: Store) -> None:
    path = Path(store.uri.removeprefix("sqlite:///"))
    assert path.is_absolute()
    location = store.client.get_experiment(store.experiment).artifact_location
    assert location == (path.parent / "artifacts").as_uri()


def test_relative_database_is_made_absolute(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(database, tmp_path / "runs.db")
    monkeypatch.chdir(tmp_path)
    assert open_store("sqlite:///runs.db", Path("unused"), "x").uri == f"sqlite:///{tmp_path}/runs.db"
    assert not Path("unused").exists()


def test_experiment_is_found_when_the_store_is_opened_again(store: Store) -> None:
    assert open_store(store.uri, Path(), "tests") == store
    assert open_store(store.uri, Path(), "others").experiment != store.experiment


def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=rf"{tmp_path}/file/outputs: cannot write there \(Not a directory\)"):
        open_store(None, tmp_path / "file" / "outputs", "x")


def test_database_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database, whatever its name is")
    with pytest.raises(InputError, match=r"tracking.uri=sqlite:///.*mlflow.db: ") as refused:
        open_store(None, tmp_path, "x")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("uri", ["outputs/mlruns", "localhost:5000"])
def test_uri_of_no_server_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"tracking.uri={uri}: not a tracking server"):
        open_store(uri, tmp_path, "x")


def test_uri_that_mlflow_does_not_know_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tracking.uri=gopher://a: ") as refused:
        open_store("gopher://a", tmp_path, "x")
    assert "\n" not in str(refused.value)


def closed_port() -> int:
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        return int(once.getsockname()[1])


def test_server_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    uri = f"http://127.0.0.1:{closed_port()}"
    start = time.monotonic()
    with pytest.raises(
        InputError, match=f"tracking.uri={uri}: no tracking server answers there .*; start it or use null"
    ):
        open_store(uri, tmp_path, "x")
    assert time.monotonic() - start < 5


def test_server_that_does_not_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "ANSWER_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        uri = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(InputError, match=r"no tracking server answers there .*timed out"):
            open_store(uri, tmp_path, "x")


def answering(code: int) -> Any:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    return Answer


@pytest.mark.parametrize(
    ("code", "said"), [(503, "no tracking server answers there .status 503"), (404, "tracking.uri=")]
)
def test_other_servers_are_refused_in_one_line(code: int, said: str, tmp_path: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), answering(code)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(InputError, match=said) as refused:
                open_store(f"http://127.0.0.1:{server.server_port}", tmp_path, "x")
        finally:
            server.shutdown()
    assert "\n" not in str(refused.value)


def test_flatten_joins_names_with_dots() -> None:
    assert flatten({"a": {"b": {"c": 1}}, "d": "é"}) == {"a.b.c": "1", "d": "é"}


def test_parent_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tracking.PARENT_VARIABLE, raising=False)
    assert tracking.parent_run() is None
    monkeypatch.setenv(tracking.PARENT_VARIABLE, "r1")
    assert tracking.parent_run() == "r1"


def test_mlflow_tells_nothing_of_its_tables() -> None:
    assert not logging.getLogger("mlflow.store.db.utils").isEnabledFor(logging.INFO)
    assert not logging.getLogger("alembic").isEnabledFor(logging.INFO)


@pytest.mark.slow
def test_fresh_store_is_made_once_when_processes_start_together(tmp_path: Path) -> None:
    code = (
        "import sys, hwr; from pathlib import Path; from hwr import tracking\n"
        "store = tracking.open_store(None, Path(sys.argv[1]), 'x')\n"
        "with tracking.run(store, 'job', run_id=None, tags={}): print(store.experiment)"
    )
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    ended = [(*job.communicate(timeout=300), job.returncode) for job in jobs]
    assert [(out, err, code) for out, err, code in ended] == [("1\n", "", 0)] * 3

"""A real tracking server dies while a run goes on: afterwards nothing is missing, and nothing is there twice.

`make endurance` lets it stay away for 30 s.
"""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hwr import tracking
from hwr.config import ROOT
from hwr.tracking import Run, Store, delivery, open_store
from hwr.tracking.spool import Spool
from tests.endurance.server import Server
from tests.smoke import PINNED, script
from tests.tracking.seen import artifact, history, status, stored

pytestmark = pytest.mark.slow

OUTAGE_S = float(os.environ.get("HWR_OUTAGE_S", "2"))
EPOCH_S = 0.05
EPOCHS = 8  # of the real training


@pytest.fixture
def store(server: Server, tmp_path: Path) -> Store:
    return open_store(server.uri, tmp_path / "outputs", "tests")


class Training:
    """Tells a run metrics of short epochs, and keeps how long the slowest call took."""

    def __init__(self, run: Run) -> None:
        self.run, self.epoch, self.slowest_s = run, 0, 0.0

    def go_on(self, seconds: float) -> None:
        """Train for some seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(EPOCH_S)
            self.epoch += 1
            start = time.monotonic()
            self.run.metrics({"train/loss": 1 / self.epoch, "valid/cer": 0.5}, self.epoch)
            self.slowest_s = max(self.slowest_s, time.monotonic() - start)

    def go_on_while(self, thread: threading.Thread) -> None:
        """Train until a thread has ended."""
        while thread.is_alive():
            self.go_on(0.5)


def starting(server: Server) -> threading.Thread:
    """Start the server without waiting for it."""
    thread = threading.Thread(target=server.start)
    thread.start()
    return thread


def losses(epochs: int) -> list[tuple[int, float]]:
    return [(epoch, 1 / epoch) for epoch in range(1, epochs + 1)]


def test_nothing_is_missing_or_twice_when_the_server_dies_and_comes_back(
    server: Server, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "COMPANY_S", 0.02)  # so that it dies within a request
    with tracking.start_run(store, "test", tags={}) as run:
        training = Training(run)
        training.go_on(2)
        server.kill()
        training.go_on(OUTAGE_S / 2)
        start = time.monotonic()
        run.tags({"init": "runs"})
        run.parameters({"lr": 1})
        run.text("note.txt", "tea")
        run.picture("pictures/dot.png", np.zeros((2, 3), np.uint8))
        took_s = time.monotonic() - start
        training.go_on(OUTAGE_S / 2)
        training.go_on_while(starting(server))
        training.go_on(1)
    assert history(store, run.id, "train/loss") == losses(training.epoch)
    assert history(store, run.id, "valid/cer") == [(epoch, 0.5) for epoch, _ in losses(training.epoch)]
    assert (stored(run).data.tags["init"], stored(run).data.params) == ("runs", {"lr": "1"})
    assert artifact(run, "note.txt", tmp_path).read_text() == "tea"
    assert artifact(run, "pictures/dot.png", tmp_path).stat().st_size > 0
    assert status(store, run.id) == "FINISHED"
    assert run.spool.waiting() == []
    assert training.slowest_s < 2  # milliseconds on an idle machine
    assert took_s < 4


@pytest.mark.endurance
def test_nothing_is_missing_or_twice_when_the_server_stops_answering_for_a_while(
    server: Server, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "COMPANY_S", 0.02)
    monkeypatch.setattr(delivery, "PAUSES_S", (0.2,))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with tracking.start_run(store, "test", tags={}) as run:
        training = Training(run)
        training.go_on(1)
        server.signal(signal.SIGSTOP)
        training.go_on(4)  # what is sent now arrives when it goes on, though the sender gave up
        server.signal(signal.SIGCONT)
        training.go_on(2)
    assert history(store, run.id, "train/loss") == losses(training.epoch)
    assert status(store, run.id) == "FINISHED"
    assert training.slowest_s < 2


def sync(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hwr", "sync", str(folder)], capture_output=True, text=True, timeout=120
    )


@pytest.mark.endurance
def test_sync_delivers_when_the_server_comes_back_after_the_end_of_the_training(
    server: Server, store: Store, trained: "subprocess.Popen[str]"
) -> None:
    spool = when_trained(store.folder, epochs=2)
    server.kill()
    _, said = trained.communicate(timeout=300)
    assert trained.returncode == 0, said
    assert f"tracking: {server.uri} is not reached (" in said
    assert said.endswith(f"waits in {spool.folder}: python -m hwr sync {store.folder}\n"), said

    refused = sync(store.folder)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"error: tracking.uri={server.uri}: no tracking server answers there")
    assert refused.stderr.count("\n") == 1

    server.start()
    run = spool.folder.parent.name
    assert status(store, run) == "RUNNING"
    delivered = sync(store.folder)
    assert (delivered.returncode, delivered.stderr) == (0, "")
    assert delivered.stdout.startswith(f"run {run}: ")
    assert delivered.stdout.endswith("1 status delivered\n")
    epochs = sorted(spool.steps("train/loss"))
    assert epochs == list(range(1, EPOCHS + 1))
    for metric in ("train/loss", "train/lr", "valid/cer", "best/valid/cer"):
        assert [step for step, _ in history(store, run, metric)] == epochs
    assert status(store, run) == "FINISHED"
    listed = {one.path for one in store.client.list_artifacts(run, "weights/best")}
    assert "weights/best/network.params" in listed
    assert sync(store.folder).stdout == f"nothing waits in {store.folder}\n"


@pytest.fixture
def trained(server: Server, store: Store) -> Iterator["subprocess.Popen[str]"]:
    """Return a training of the smoke experiment as a user starts it."""
    keys = [f"phases.{phase}.epochs={EPOCHS // 2}" for phase in ("ctc", "plain")]
    keys += ["experiments=line/smoke", f"folder={store.folder}", f"tracking.uri={server.uri}"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *keys],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def when_trained(folder: Path, *, epochs: int) -> Spool:
    """Wait until the only training in a folder has so many epochs behind it; return its spool."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        spools = [Spool(place) for place in folder.glob("runs/*/spool")]
        if spools and len(spools[0].steps("train/loss")) >= epochs:
            return spools[0]
        time.sleep(0.05)
    raise AssertionError(f"no training with {epochs} epochs in {folder}")


@pytest.mark.parametrize("given", ["argument", pytest.param("environment", marks=pytest.mark.endurance)])
def test_password_of_a_server_is_written_nowhere(server: Server, tmp_path: Path, given: str) -> None:
    password = secrets.token_hex(8)
    uri = server.uri.replace("http://", f"http://me:{password}@")
    words = [
        "experiments=line/smoke",
        "max_epochs=1",
        f"folder={tmp_path / 'outputs'}",
        "tracking.experiment=secret",
    ]
    environment = dict(PINNED)
    if given == "argument":
        words = ["-m", *words, "lr=1e-3", f"tracking.uri={uri}"]  # Hydra stores the command line of a sweep
    else:
        environment["MLFLOW_TRACKING_URI"] = uri
    done = script("train.py", *words, environment=environment)
    assert (done.returncode, password in done.stdout + done.stderr) == (0, False), done.stderr
    store = open_store(server.uri, tmp_path, "secret")
    assert store.client.search_runs([store.experiment])
    files = [path for top in (tmp_path, server.folder) for path in top.rglob("*") if path.is_file()]
    assert any(path.name == "config.yaml" for path in files)
    assert [path for path in files if password.encode() in path.read_bytes()] == []

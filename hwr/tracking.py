"""The only importer of MLflow: runs, parameters, buffered metrics, pictures, files; it knows no stage."""

import contextlib
import fcntl
import http.client
import json
import logging
import os
import re
import signal
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy.exc import SQLAlchemyError

from hwr.errors import InputError

FLUSH_S = 5.0  # metrics wait this long for company: one call for many is a hundred times faster on sqlite
ANSWER_S = 5.0  # a tracking server that takes longer to say that it is there is not there
LONGEST_VALUE = 6000  # MLflow cuts longer parameter values without a word
LONGEST_TAG = 5000
PARENT = "mlflow.parentRunId"
PARENT_VARIABLE = "HWR_PARENT_RUN"
SQLITE = "sqlite:///"

logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it tells of every table it creates


class Terminated(SystemExit):
    """The process was asked to end (SIGTERM); its exit status says so."""


@dataclass(frozen=True)
class Store:
    """Where runs go: a tracking `uri`, and the id of the `experiment` there."""

    uri: str
    experiment: str

    @property
    def client(self) -> MlflowClient:
        """A client of the store."""
        return MlflowClient(tracking_uri=self.uri)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: FINISHED, FAILED or KILLED, its last metrics and its parameters."""

    id: str
    status: str
    metrics: Mapping[str, float]
    parameters: Mapping[str, str]


def open_store(uri: str | None, folder: Path, experiment: str) -> Store:
    """Return a store that answers: `uri`, or an embedded sqlite database in `folder` where it is None.

    Raises InputError when the server does not answer, or the folder cannot be written.
    """
    uri = uri or f"{SQLITE}{folder.resolve()}/mlflow.db"
    if uri.startswith(SQLITE):
        database = Path(uri.removeprefix(SQLITE)).resolve()
        make_folder(database.parent)
        uri, artifacts = f"{SQLITE}{database}", (database.parent / "artifacts").as_uri()
        with _alone(database.with_name(database.name + ".lock")):  # two would create the same tables
            return Store(uri, _experiment(uri, experiment, artifacts))
    if uri.startswith(("http://", "https://")):
        _check_server(uri)
    elif "://" not in uri:
        raise InputError(f"tracking.uri={uri}: not a tracking server; use http://…, sqlite:////path or null")
    return Store(uri, _experiment(uri, experiment, None))


def make_folder(folder: Path) -> None:
    """Create a folder for output and check that it takes files; raise InputError where it does not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder}: cannot write there ({error.strerror}); choose another folder") from None


class Run:
    """One MLflow run: its id, and everything that is logged to it."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.store, self.id, self._client = store, run_id, store.client
        self._metrics: list[Metric] = []
        self._flushed = time.monotonic()

    @property
    def url(self) -> str:
        """The address that shows the run, or the command that serves it."""
        if self.store.uri.startswith("http"):
            experiment = self._client.get_run(self.id).info.experiment_id
            return f"{self.store.uri.rstrip('/')}/#/experiments/{experiment}/runs/{self.id}"
        return f"mlflow server --backend-store-uri {self.store.uri}   (run {self.id})"

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log nested settings as flat parameters; those already logged stay, as MLflow's are immutable."""
        known = self._client.get_run(self.id).data.params
        fresh = [Param(key, value) for key, value in flatten(values).items() if key not in known]
        for start in range(0, len(fresh), 100):
            self._client.log_batch(self.id, params=fresh[start : start + 100])

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        tags = [RunTag(key, _cut(value, LONGEST_TAG)) for key, value in values.items()]
        self._client.log_batch(self.id, tags=tags)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Take metrics; they are sent together every few seconds."""
        now = int(time.time() * 1000)
        self._metrics += [Metric(_safe(key), float(value), now, step) for key, value in values.items()]
        if time.monotonic() - self._flushed >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Send the metrics that wait."""
        for start in range(0, len(self._metrics), 1000):
            self._client.log_batch(self.id, metrics=self._metrics[start : start + 1000])
        self._metrics, self._flushed = [], time.monotonic()

    def text(self, name: str, text: str) -> None:
        """Log a text file."""
        self._client.log_text(self.id, text, name)

    def json(self, name: str, value: Any) -> None:
        """Log a JSON file."""
        self.text(name, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")

    def picture(self, name: str, picture: NDArray[np.uint8]) -> None:
        """Log a picture (H, W) or (H, W, 3) uint8 as PNG."""
        folder, _, file = name.rpartition("/")
        with tempfile.TemporaryDirectory() as place:
            Image.fromarray(picture).save(Path(place) / file)
            self._client.log_artifact(self.id, str(Path(place) / file), folder or None)

    def folder(self, name: str, folder: Path) -> None:
        """Log all files of a folder under `name`."""
        self._client.log_artifacts(self.id, str(folder), name)

    def end(self, status: str) -> None:
        """Send what waits and end the run as FINISHED, FAILED or KILLED."""
        try:
            self.flush()
        finally:
            self._client.set_terminated(self.id, status)


@contextlib.contextmanager
def run(store: Store, name: str, *, run_id: str | None, tags: Mapping[str, str]) -> Iterator[Run]:
    """Start a run, or go on with `run_id`, and end it as FINISHED, FAILED or KILLED, as it did.

    SIGTERM raises Terminated inside the block, so that the run does not stay RUNNING.
    """
    status = "FAILED"
    with _sigterm_raises():
        started = _start(store, name, run_id, tags)
        try:
            yield started
            status = "FINISHED"
        except (KeyboardInterrupt, Terminated):
            status = "KILLED"
            raise
        finally:
            started.end(status)


def attach(store: Store, run_id: str) -> Run | None:
    """Return the ended run `run_id`, to log more to it; None where the store does not know it."""
    try:
        store.client.get_run(run_id)
    except MlflowException:
        return None
    return Run(store, run_id)


def parent_run() -> str | None:
    """Return the id of the sweep's run when this process runs a job of one."""
    return os.environ.get(PARENT_VARIABLE)


def children(run: Run) -> list[Outcome]:
    """Return how the runs ended that name `run` as their parent, the latest first."""
    chosen = f"tags.`{PARENT}` = '{run.id}'"
    found = run.store.client.search_runs([run.store.experiment], chosen, max_results=1000)
    return [Outcome(one.info.run_id, one.info.status, one.data.metrics, one.data.params) for one in found]


def download(uri: str, store: Store, folder: Path) -> Path:
    """Fetch the artifacts at `runs:/ID/path` or `models:/NAME@ALIAS` to a place of their own in `folder`.

    Raises InputError where there are none.
    """
    place = folder / re.sub(r"[^\w.-]+", "_", uri)
    try:
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(place), tracking_uri=store.uri))
    except (MlflowException, OSError) as error:
        raise InputError(f"{uri}: cannot be fetched from {store.uri} ({_first_line(error)})") from None


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as `a.b.c` names with texts: lists as JSON, too long ones cut visibly."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = prefix + _safe(str(key))
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, name + ".")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[name] = _cut(text, LONGEST_VALUE)
    return flat


def _start(store: Store, name: str, run_id: str | None, tags: Mapping[str, str]) -> Run:
    try:
        if run_id is None:
            cut = {key: _cut(value, LONGEST_TAG) for key, value in tags.items()}
            run_id = store.client.create_run(store.experiment, tags=cut, run_name=name).info.run_id
        else:
            store.client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        raise InputError(f"tracking.uri={store.uri}: {_first_line(error)}") from None
    return Run(store, run_id)


def _experiment(uri: str, name: str, artifacts: str | None) -> str:
    """Return the id of an experiment, created where there is none, with its files in `artifacts`."""
    try:
        client = MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(name)
        return str(
            known.experiment_id if known else client.create_experiment(name, artifact_location=artifacts)
        )
    except (MlflowException, SQLAlchemyError) as error:
        raise InputError(f"tracking.uri={uri}: {_first_line(error)}") from None


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process at a time through; the lock falls with the process that holds it."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would cut short what the first one began
        raise Terminated(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, handle)
    except ValueError:  # not the main thread: signals are not ours
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_server(uri: str) -> None:
    try:
        with urllib.request.urlopen(uri.rstrip("/") + "/health", timeout=ANSWER_S) as answer:
            answer.read(16)
    except urllib.error.HTTPError as error:
        if error.code < 500:  # it answers; managed servers have no /health
            return
        reason: object = f"status {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
    else:
        return
    raise InputError(f"tracking.uri={uri}: no tracking server answers there ({reason}); start it or use null")


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

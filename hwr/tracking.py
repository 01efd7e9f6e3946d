"""The only importer of MLflow: runs, parameters, buffered metrics, pictures and files; it knows no stage and no data."""

import contextlib
import json
import os
import signal
import tempfile
import time
import urllib.error
import urllib.parse
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

from hwr.errors import InputError

FLUSH_S = 5.0  # metrics wait this long for company: one call for many is a hundred times faster on sqlite
LONGEST_VALUE = 6000  # MLflow cuts longer parameter values without a word
PARENT = "mlflow.parentRunId"
PARENT_VARIABLE = "HWR_PARENT_RUN"


class Terminated(BaseException):
    """The process was asked to end (SIGTERM)."""


@dataclass(frozen=True)
class Store:
    """Where runs go: a tracking `uri` and the name of the experiment; `artifacts` is set for the embedded store only."""

    uri: str
    experiment: str
    artifacts: str | None

    @property
    def client(self) -> MlflowClient:
        """A client of the store."""
        return MlflowClient(tracking_uri=self.uri)


def open_store(uri: str | None, folder: Path, experiment: str) -> Store:
    """Return a store that answers: `uri`, or an embedded sqlite database in `folder` where it is None.

    Raises InputError when the server does not answer or the folder cannot be written.
    """
    artifacts = None
    if uri is None:
        make_folder(folder)
        uri, artifacts = f"sqlite:///{folder.resolve()}/mlflow.db", (folder.resolve() / "artifacts").as_uri()
    if uri.startswith(("http://", "https://")):
        _check_server(uri)
    elif not uri.startswith("sqlite:") and "://" not in uri:
        raise InputError(f"tracking.uri={uri}: not a tracking server; use http(s)://…, sqlite:////path/mlflow.db or null")
    return Store(uri, experiment, artifacts)


def make_folder(folder: Path) -> None:
    """Create a folder for output and check that it takes files; raise InputError naming it where it does not."""
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
        """The command or address that shows the run."""
        if self.store.uri.startswith("http"):
            experiment = self._client.get_run(self.id).info.experiment_id
            return f"{self.store.uri.rstrip('/')}/#/experiments/{experiment}/runs/{self.id}"
        return f"mlflow server --backend-store-uri {self.store.uri}   (run {self.id})"

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log nested settings as flat parameters; those already logged stay as they are (MLflow's are immutable)."""
        known = self._client.get_run(self.id).data.params
        fresh = [Param(k, v) for k, v in flatten(values).items() if k not in known]
        for start in range(0, len(fresh), 100):
            self._client.log_batch(self.id, params=fresh[start : start + 100])

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self._client.log_batch(self.id, tags=[RunTag(k, str(v)[:5000]) for k, v in values.items()])

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Take metrics; they are sent together every few seconds."""
        now = int(time.time() * 1000)
        self._metrics += [Metric(k, float(v), now, step) for k, v in values.items()]
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
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            Image.fromarray(picture).save(path)
            self._client.log_artifact(self.id, str(path), str(Path(name).parent))

    def folder(self, name: str, folder: Path) -> None:
        """Log all files of a folder under `name`."""
        self._client.log_artifacts(self.id, str(folder), name)


@contextlib.contextmanager
def run(store: Store, name: str, *, run_id: str | None, tags: Mapping[str, str]) -> Iterator[Run]:
    """Start a run, or go on with `run_id`, and end it as FINISHED, FAILED or KILLED, as it did.

    SIGTERM raises Terminated inside the block, so that the run does not stay RUNNING.
    """
    try:
        started = _start(store, name, run_id, tags)
    except MlflowException as error:
        raise InputError(f"tracking.uri={store.uri}: {_first_line(error)}") from None
    status = "FAILED"
    try:
        with _sigterm_raises():
            yield started
            status = "FINISHED"
    except (KeyboardInterrupt, Terminated, GeneratorExit):
        status = "KILLED"
        raise
    finally:
        started.flush()
        store.client.set_terminated(started.id, status)


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


def download(uri: str, store: Store, folder: Path) -> Path:
    """Fetch the artifacts at `runs:/ID/path` or `models:/NAME@ALIAS` into `folder`; raise InputError where there are none."""
    try:
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=store.uri))
    except (MlflowException, OSError) as error:
        raise InputError(f"{uri}: cannot be fetched from {store.uri} ({_first_line(error)})") from None


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as `a.b.c` names with values MLflow takes; lists become JSON, long values are cut visibly."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = prefix + _safe(str(key))
        if isinstance(value, Mapping):
            flat.update(flatten(value, name + "."))
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[name] = text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
    return flat


def _start(store: Store, name: str, run_id: str | None, tags: Mapping[str, str]) -> Run:
    client = store.client
    if run_id is not None:
        client.update_run(run_id, status="RUNNING")
        return Run(store, run_id)
    experiment = client.get_experiment_by_name(store.experiment)
    number = (
        experiment.experiment_id
        if experiment is not None
        else client.create_experiment(store.experiment, artifact_location=store.artifacts)
    )
    return Run(store, client.create_run(number, tags=dict(tags), run_name=name).info.run_id)


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        raise Terminated

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
    address = uri.rstrip("/") + "/health"
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310  the scheme was checked
            answer.read(16)
    except urllib.error.HTTPError:
        return  # it answers; managed servers have no /health
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"tracking.uri={uri}: no tracking server answers there ({reason}); start it or use null") from None


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

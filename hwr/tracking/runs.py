"""Runs: records go to a run's spool at once, and from there to the tracking server.

`SystemMetrics` records the load of the machine meanwhile.
"""

import contextlib
import getpass
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psutil
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS
from numpy.typing import NDArray
from PIL import Image

from hwr import runtime
from hwr.config import ROOT
from hwr.errors import InputError, NoRoomError, tell
from hwr.files import as_input_error, copy_files, held
from hwr.runtime import termination
from hwr.runtime.termination import Terminated
from hwr.tracking.delivery import Courier, DeletedError, Delivery, FilesLeftError
from hwr.tracking.spool import Spool, Write, packed
from hwr.tracking.store import LONGEST_RUN_NAME, Store, deleted, embedded, reason, refusing, storable

PARENT = "mlflow.parentRunId"
WEIGHTS_RUN = "weights_run"  # tag of an evaluation: the ids of the runs that made the weights
PARENT_VARIABLE = "HWR_PARENT_RUN"
START, STARTS = "hwr.start", ".starting"  # tag of a run with the name of its start, and the folder of notes
LONGEST_VALUE = 6000  # MLflow cuts longer parameter values without a word
LONGEST_TAG = 5000
LONGEST_NAME = 500  # of a data set
_SERVED = "http://127.0.0.1:5000"  # where `mlflow server` shows its page by default
_VIEW = "workflowType=machine_learning"  # else MLflow's page shows traces of language models beside the run
SYSTEM = "system/"  # MLflow shows what begins so in a tab of its own


class Run:
    """One MLflow run: its id, and methods to log to it.

    What is logged is on the disk when a call returns, in the run's `spool`, and reaches the server from
    there: metrics within seconds, all else at once. A server that does not answer holds up no caller for
    long; what it missed it gets when it answers again, or from `sync`. InputError tells of a full disk.
    """

    def __init__(self, store: Store, run_id: str, experiment: str) -> None:
        self.store, self.id = store, run_id
        self.spool = Spool(spool_of(store.folder, run_id))
        self._experiment, self._client = experiment, store.client
        self._asks = not self.spool.is_whole()
        deliver = Delivery(self._client, run_id, self.spool)
        self._courier = Courier(deliver, self._tell, termination.asked)
        self.spool.describe({"run": run_id, "uri": _portable(store)})

    @property
    def url(self) -> str:
        """The address that shows the run; of an embedded store after the command that serves it."""
        page = f"/#/experiments/{self._experiment}/runs/{self.id}?{_VIEW}"
        if self.store.uri.startswith("http"):
            return self.store.uri.rstrip("/") + page
        program = "mlflow" if shutil.which("mlflow") else str(Path(sys.executable).with_name("mlflow"))
        serve = shlex.join([program, "server", "--backend-store-uri", self.store.uri])
        return f"{serve}   # shows it at {_SERVED}{page}"

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log nested settings as flat parameters; those already logged stay, as MLflow's are immutable."""
        self._record("parameters", {"values": flatten(values)})

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self._record("tags", {"values": {k: storable(v, LONGEST_TAG) for k, v in values.items()}})

    def inputs(
        self, name: str, fingerprint: str, *, context: str, root: Path | None, profile: Mapping[str, Any]
    ) -> None:
        """Log a data set that the run reads: its digest is the first 36 characters of the fingerprint.

        `context` says what it is read for (training, test); None is the `root` of pages that are drawn.
        """
        source: dict[str, Any] = {"tags": {}} if root is None else {"uri": root.absolute().as_uri()}
        about = {"name": storable(name, LONGEST_NAME), "fingerprint": fingerprint, "context": context}
        profile = {**profile, "fingerprint": fingerprint}
        self._record("inputs", {**about, "source": source, "profile": profile})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Take metrics; they are sent together every few seconds."""
        named = {safe(key): float(value) for key, value in values.items()}
        self.spool.append("metrics", {"step": step, "values": packed(named)})
        self._courier.post()

    def recorded(self, metric: str) -> set[int]:
        """Return the steps for which a value of `metric` was taken, by any process that logged to this run.

        Whether they have been delivered does not matter: a resumed training must not give them again. They
        are read from the spool; where that was lost in between, from the server, until it fails to answer.
        """
        name, known = safe(metric), set[int]()
        if self._asks and not self._courier.failing:
            try:
                known = {point.step for point in self._client.get_metric_history(self.id, name)}
            except MlflowException:
                self._asks = False
        return known | self.spool.steps(name)

    def text(self, name: str, text: str) -> None:
        """Log a text file."""
        into, _, file = name.rpartition("/")
        self._files(into, lambda place: (place / file).write_text(text, encoding="utf-8"))

    def json(self, name: str, value: Any) -> None:
        """Log a JSON file."""
        self.text(name, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")

    def table(self, name: str, rows: Sequence[Mapping[str, str]]) -> None:
        """Log rows of the same columns, at least one, as `mlflow.log_table` does, so that runs are compared.

        It is the only table of the run.
        """
        self.json(name, {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]})
        self.tags({MLFLOW_LOGGED_ARTIFACTS: json.dumps([{"path": name, "type": "table"}])})

    def picture(self, name: str, picture: NDArray[np.uint8]) -> None:
        """Log a picture (H, W) or (H, W, 3) uint8 as PNG."""
        into, _, file = name.rpartition("/")
        self._files(into, lambda place: Image.fromarray(picture).save(place / file))

    def folder(self, name: str, folder: Path) -> None:
        """Log all files of a folder under `name`."""
        self._files(name, lambda place: copy_files(folder, place))

    def flush(self) -> None:
        """Deliver what waits; if that fails for some seconds, print where it is kept."""
        if not self._courier.close():
            folder = [] if self.store.folder == Path("outputs") else [str(self.store.folder)]
            command = shlex.join(["python", "-m", "hwr", "sync", *folder])
            tell(f"tracking: what {self.store.uri} did not get waits in {self.spool.folder}: {command}")

    def end(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED, and deliver what waits."""
        try:
            self.spool.append("status", {"status": status})
        except InputError:  # the disk is full; what matters most needs none
            with contextlib.suppress(MlflowException):
                self._client.set_terminated(self.id, status)
            raise
        finally:
            self.flush()

    def end_fallen(self) -> None:
        """End a run whose process is gone: with its own status if that still waits, else as KILLED."""
        if self.spool.ended():
            self.flush()
        else:
            self.end("KILLED")

    def _record(self, kind: str, content: Mapping[str, Any]) -> None:
        self.spool.append(kind, content)
        self._courier.flush()

    def _files(self, into: str, write: Write) -> None:
        self.spool.append_files(into, write)
        self._courier.flush()

    def _tell(self, failure: BaseException | None) -> None:
        if failure is None:
            news = "is reached again"
        elif isinstance(failure, FilesLeftError):
            news = f"keeps no files ({failure}); they wait in {self.spool.folder}"
        elif isinstance(failure, DeletedError):
            news = f"takes nothing: run {self.id} {failure}; what is recorded waits in {self.spool.folder}"
        else:
            news = f"is not reached ({reason(failure)}); what is recorded waits in {self.spool.folder}"
        tell(f"tracking: {self.store.uri} {news}")


class SystemMetrics:
    """Logs processor, memory, disk and network of the machine every `seconds`, when it is called after that.

    A continued run counts its steps on. What the system does not tell is left out.
    """

    def __init__(self, run: Run, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._seconds, self._clock = run, seconds, clock
        monitors = (CPUMonitor, DiskMonitor, NetworkMonitor)
        self._monitors: list[Any] = [monitor() for monitor in monitors]  # MLflow gives them no types
        self._step = max(run.recorded(f"{SYSTEM}cpu_utilization_percentage"), default=-1) + 1
        self._due = clock() + seconds

    def __call__(self) -> None:
        """Log the load since the last time, if it is time."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + self._seconds
        values: dict[str, float] = {}
        for monitor in self._monitors:
            with contextlib.suppress(OSError, psutil.Error):
                monitor.collect_metrics()
                values |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        self._run.metrics({SYSTEM + name: value for name, value in values.items()}, self._step)
        self._step += 1


@contextlib.contextmanager
def start_run(
    store: Store, name: str, *, tags: Mapping[str, str], run_id: str | None = None
) -> Iterator[Run]:
    """Start a run, or continue `run_id`, and end it as FINISHED, FAILED or KILLED when the block ends.

    SIGTERM and SIGHUP raise Terminated inside the block, so that the run does not stay RUNNING.
    """
    with termination.held_back(), contextlib.ExitStack() as alive:
        status, started = "FAILED", _start(store, name, run_id, tags, alive)
        try:
            with termination.let_through():
                yield started
            status = "FINISHED"
        except (KeyboardInterrupt, Terminated):
            status = "KILLED"
            raise
        finally:
            started.end(status)


@contextlib.contextmanager
def starting(folder: Path, uri: str | None, experiment: str) -> Iterator[dict[str, str]]:
    """Note in the block that a run is being started; yield the tag that tells it from others.

    The note stays where the block fails: a server may have started the run, though its answer was lost.
    """
    name = uuid4().hex
    note = folder / STARTS / name
    with held(note):
        with as_input_error(note, "make room there", NoRoomError):
            note.write_text(json.dumps({"uri": uri, "experiment": experiment}), encoding="utf-8")
        yield {START: name}
        note.unlink()


def attach(store: Store, run_id: str) -> Run | None:
    """Return the ended run `run_id`, to log more to it; None where the store has none, or deleted it."""
    info = _info(store, run_id)
    return None if info is None else Run(store, run_id, info.experiment_id)


def is_stored(store: Store, run_id: str) -> bool:
    """Tell whether the store has a run, and it was not deleted."""
    return bool(run_id) and _info(store, run_id) is not None


def parent_run() -> str | None:
    """Return the id of the sweep's run when this process runs a job of one."""
    return os.environ.get(PARENT_VARIABLE)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as names `a.b.c` with texts: lists as JSON, long ones cut with an ellipsis."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = prefix + safe(str(key))
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, name + ".")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[name] = storable(text, LONGEST_VALUE)
    return flat


def safe(name: str) -> str:
    """Return a name with `_` for characters that MLflow refuses."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)


def spool_of(folder: Path, run_id: str) -> Path:
    """Return the spool folder of a run, below the `folder` of all outputs."""
    return folder / "runs" / run_id / "spool"


def _start(
    store: Store, name: str, run_id: str | None, tags: Mapping[str, str], alive: contextlib.ExitStack
) -> Run:
    """Start or continue a run, which other processes take for alive until `alive` is closed.

    Whenever the process is killed, `sync` finds the run: by the note of its start, or by its spool.
    """
    with refusing(store.uri):
        if run_id is None:
            shown = {key: storable(value, LONGEST_TAG) for key, value in {**_source(), **tags}.items()}
            name = storable(name, LONGEST_RUN_NAME)
            with starting(store.folder, _portable(store), store.experiment) as own:
                fresh = store.client.create_run(store.experiment, tags=shown | own, run_name=name)
                begun = _begun(store, fresh.info.run_id)
                alive.enter_context(begun.spool.alive())
                return begun
        info = store.client.get_run(run_id).info
    if info.lifecycle_stage != "active":
        raise InputError(f"run {run_id}: {deleted(store.uri, 'runs', run_id)}, or start another run")
    resumed = Run(store, run_id, info.experiment_id)
    resumed._record("status", {"status": "RUNNING"})  # after a status of before that may still wait
    alive.enter_context(resumed.spool.alive())
    return resumed


def _source() -> dict[str, str]:
    """Return the tags by which MLflow shows who ran what: user, command, commit."""
    revision, user = runtime.Revision.of(ROOT), os.environ.get("MLFLOW_TRACKING_USERNAME")
    with contextlib.suppress(OSError, KeyError, ImportError):  # a container may know no name for its user
        user = user or getpass.getuser()
    script = Path(sys.argv[0]).name or "python"
    tags = {"user": user or "unknown", "source.name": script, "source.type": "LOCAL"}
    tags |= {} if revision is None else {"source.git.commit": revision.commit}
    return {f"mlflow.{key}": value for key, value in tags.items()}


def _info(store: Store, run_id: str) -> Any:
    """Return what MLflow has on a run; None where it has none, or deleted it."""
    with contextlib.suppress(MlflowException):
        info = store.client.get_run(run_id).info
        return info if info.lifecycle_stage == "active" else None
    return None


def _portable(store: Store) -> str | None:
    """Return the store's uri for a later delivery; None for the folder's own database, as both move."""
    return None if store.uri == embedded(store.folder) else store.uri


def _begun(store: Store, run_id: str) -> Run:
    """Return a run that was just started; where its records have no place it ends as failed."""
    try:
        return Run(store, run_id, store.experiment)
    except InputError:
        with contextlib.suppress(MlflowException):
            store.client.set_terminated(run_id, "FAILED")
        raise

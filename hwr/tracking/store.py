"""The tracking store, an embedded sqlite database or a server: checks, queries, models, a moved folder."""

import contextlib
import json
import logging
import os
import re
import sqlite3
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from mlflow import MlflowClient, pyfunc
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array, Object, Property
from sqlalchemy.exc import SQLAlchemyError

from hwr.errors import MAKE_ROOM, NO_ROOM, InputError, first_line, masked, tell
from hwr.files import held, make_folder, replacing_folder
from hwr.runtime import TRACKING_URI, without_login
from hwr.text import shortened

RUNS_A_REQUEST = 100  # with a hundred parameters each; of a thousand a server needs longer than the timeout
PAUSE_S = 5.0  # between two questions whether it is there again
REGISTRY_URI = "MLFLOW_REGISTRY_URI"
_REFUSED = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED")  # MLflow's names of 401 and 403
LOGIN = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
CERTIFICATE = "set MLFLOW_TRACKING_SERVER_CERT_PATH to a file with its certificate or CA"
LONGEST_RUN_NAME = 250  # characters; PostgreSQL refuses longer ones, sqlite does not
TABLES_S = 120.0  # the tables of a fresh database take seconds
SQLITE = "sqlite:///"
DATABASE, ARTIFACTS = "mlflow.db", "artifacts"  # and the folder of the files beside it
# Where MLflow keeps whole paths.
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
# Read by MLflow at every request; a variable that is already in the environment wins.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # s; 120 would hold up the end of a run
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # what did not arrive waits here; none is sent twice
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # one a file, of files that take no time
}

# Of a registered model.
_LINE = Object([
    Property("text", DataType.string),
    Property("confidence", DataType.double),
    Property("box", Array(DataType.double)),
])  # fmt: skip
_INPUTS = Schema([ColSpec(DataType.string, "image")])
_OUTPUTS = Schema([
    ColSpec(DataType.string, "text"), ColSpec(Array(_LINE), "lines"), ColSpec(DataType.string, "error"),
])  # fmt: skip

for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tables created, databases locked
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Store:
    """Where runs are recorded: a tracking `uri`, the id of the `experiment`, the `folder` of their files."""

    uri: str
    experiment: str
    folder: Path = field(default=Path(), compare=False)

    @property
    def client(self) -> MlflowClient:
        """A client of the store."""
        return client_of(self.uri)


@dataclass(frozen=True)
class StoredRun:
    """How a run ended: FINISHED, FAILED or KILLED, its last metrics, its parameters and tags.

    `data` names the data sets that it reads, by digest.
    """

    id: str
    status: str
    metrics: Mapping[str, float]
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    data: Mapping[str, str] = field(default_factory=dict)


def open_store(uri: str | None, folder: Path, experiment: str) -> Store:
    """Return a store that answers: `uri`, or an embedded sqlite database in `folder` if it is None.

    Raises InputError when the server does not answer, or the folder cannot be written.
    """
    uri = without_login(uri or embedded(folder))
    if uri.startswith(SQLITE):
        database = Path(uri.removeprefix(SQLITE)).resolve()
        make_folder(database.parent)
        uri, artifacts = f"{SQLITE}{database}", (database.parent / ARTIFACTS).as_uri()
        with held(database.with_name(database.name + ".lock"), limit_s=TABLES_S):  # two would make the tables
            with refusing(uri):
                if database.is_file():
                    follow(database)
                else:
                    _make_database(database)
            return Store(uri, _experiment(uri, experiment, artifacts), folder)
    if not uri.startswith(("http://", "https://")) and "://" not in uri:
        raise InputError(f"tracking.uri={uri}: not a tracking server; use http://…, sqlite:////path or null")
    return Store(uri, _experiment(uri, experiment, None), folder)


def _make_database(path: Path) -> None:
    """Make a database with MLflow's tables; a process that is killed meanwhile leaves none behind."""
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as beside:
        fresh = Path(beside) / path.name
        MlflowClient(f"{SQLITE}{fresh}").search_experiments(max_results=1)
        fresh.replace(path)


def follow(database: Path) -> None:
    """Let artifact locations in a folder that this one was moved or copied from lead here; others stay.

    Raises sqlite3.Error.
    """
    if not database.is_file():
        return
    here = database.parent / ARTIFACTS
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if "experiments" not in tables:
            return
        locations = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        for (location,) in locations:
            old = Path(unquote(urlparse(location or "").path))
            if old.name != ARTIFACTS or old == here:
                continue
            if not here.is_dir() and old.is_dir() and not (old.parent / database.name).is_file():
                continue  # its files lie there for another reason
            for table, column in _COLUMNS:
                if table in tables:
                    rest, begins = f"substr({column}, ?)", f"substr({column}, 1, ?) = ?"
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || {rest} WHERE {begins}",
                        (here.as_uri(), len(location) + 1, len(location), location),
                    )
            _artifact_repos_cache.clear()  # of MLflow, by the id of the run alone


def embedded(folder: Path) -> str:
    """Return the uri of the database that is embedded in `folder`."""
    return f"{SQLITE}{folder.resolve()}/{DATABASE}"


def client_of(uri: str) -> MlflowClient:
    """Return a client of the store `uri`, with the login of MLFLOW_TRACKING_URI for that server.

    Models are registered there as well, unless MLFLOW_REGISTRY_URI says otherwise.
    """
    uri = _with_login(uri)
    return MlflowClient(uri, os.environ.get(REGISTRY_URI) or uri)


def answering(uri: str) -> MlflowClient:
    """Return a client of the store `uri`; raise InputError unless it answers, or its database exists."""
    uri = without_login(uri)
    if uri.startswith(SQLITE):
        database = Path(uri.removeprefix(SQLITE))
        if not database.is_file():
            raise InputError(f"tracking.uri={uri}: no such database; give tracking.uri=… of where it is")
        with refusing(uri):
            follow(database.resolve())
    client = client_of(uri)
    with refusing(uri):
        client.search_experiments(max_results=1)
    return client


def await_answer(uri: str | None, patience_s: float) -> None:
    """Wait until the tracking server `uri` answers, at most so long; an embedded store always does."""
    if uri is None or not uri.startswith(("http://", "https://")):
        return
    deadline, announced = time.monotonic() + patience_s, False
    while True:
        try:
            answering(uri)
            return
        except InputError as error:
            if time.monotonic() >= deadline:
                raise
            if not announced:
                tell(f"tracking: {error}; waiting for it up to {patience_s / 60:.0f} min")
                announced = True
        time.sleep(min(PAUSE_S, max(0.0, deadline - time.monotonic())))


def download(uri: str, store: Store, folder: Path) -> Path:
    """Fetch the artifacts at `runs:/ID/path` or `models:/NAME@ALIAS` to a place of their own in `folder`.

    They take the place of what was fetched before in one move: other processes may read that. Raises
    InputError where there are none.
    """
    target = folder.resolve() / re.sub(r"[^\w.-]+", "_", uri)
    own = _with_login(store.uri)
    try:
        with _default(own), replacing_folder(target) as fresh:
            fetched = Path(download_artifacts(artifact_uri=uri, dst_path=str(fresh), tracking_uri=own))
        return target / fetched.relative_to(fresh)
    except (MlflowException, OSError) as error:
        raise InputError(f"{uri}: cannot be fetched from {store.uri} ({reason(error)})") from None


def register(store: Store, name: str, folder: Path, alias: str) -> None:
    """Register a folder as the next version of a model, which `alias` then names; InputError if refused."""
    with refusing(store.uri):
        client = store.client
        run = client.create_run(store.experiment, run_name=storable(f"model {name}", LONGEST_RUN_NAME)).info
        client.log_artifacts(run.run_id, str(folder), "model")
        client.set_terminated(run.run_id)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        version = client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id)
        client.set_registered_model_alias(name, alias, version.version)


def describe_pages(folder: Path, loader: str, example: str) -> None:
    """Write MLmodel and an input example into a folder.

    `loader` is the module whose `_load_pyfunc` loads it, `example` an image in base64.
    """
    table = {"columns": ["image"], "data": [[example]]}
    about = {"artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split"}
    for name, content in (("input_example", table), ("serving_input_example", {"dataframe_split": table})):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    about["serving_input_path"] = "serving_input_example.json"
    model = Model(signature=ModelSignature(_INPUTS, _OUTPUTS), saved_input_example_info=about)
    pyfunc.add_to_model(model, loader_module=loader)
    model.save(str(folder / "MLmodel"))


def tagged(store: Store, tag: str, value: str, *others: str) -> list[StoredRun]:
    """Return the runs of the store's experiment that have this tag, and meet other conditions of a query.

    See `search_runs`.
    """
    return search_runs(store, " and ".join([f"tags.`{tag}` = '{value}'", *others]))


def search_runs(store: Store, query: str) -> list[StoredRun]:
    """Return the runs of the store's experiment that a query of MLflow finds, the latest first.

    Raises InputError where the store does not tell.
    """
    with refusing(store.uri):
        runs = list(each_run(store, query))
    return [
        StoredRun(
            run.info.run_id,
            run.info.status,
            run.data.metrics,
            run.data.params,
            run.data.tags,
            {own.dataset.digest: own.dataset.name for own in run.inputs.dataset_inputs},
        )
        for run in runs
    ]


def each_run(store: Store, query: str = "") -> Iterator[Any]:
    """Yield the runs of the store's experiment that a query finds, as MLflow has them, the latest first."""
    token: str | None = None
    while token != "":
        page = store.client.search_runs(
            [store.experiment], query, max_results=RUNS_A_REQUEST, page_token=token
        )
        yield from page
        token = page.token or ""


def experiment_of(store: Store, run_id: str) -> str:
    """Return the name of the experiment that holds a run, "" where the store knows no run of this id."""
    try:
        return str(store.client.get_experiment(store.client.get_run(run_id).info.experiment_id).name)
    except MlflowException:
        return ""


def storable(text: str, longest: int) -> str:
    """Return at most so many characters of a text, with `�` for NUL, which PostgreSQL refuses."""
    return shortened(text.replace("\0", "�"), longest)


def status(store: Store, run_id: str) -> str | None:
    """Return how a run ended, or RUNNING; None where the store does not tell."""
    try:
        return str(store.client.get_run(run_id).info.status)
    except MlflowException:
        return None


def forget(store: Store, run_id: str) -> None:
    """Delete a run; the store can restore it. Raise InputError if that fails."""
    with refusing(store.uri):
        store.client.delete_run(run_id)


def reason(error: BaseException) -> str:
    """Return the root cause of an error that MLflow or a library below it wrapped, with its remedy."""
    said = re.search(r"(?i)unauthori[sz]ed|forbidden", str(error))
    if said or getattr(error, "error_code", "") in _REFUSED:
        return f"it refuses the login; {LOGIN}"
    *_, error = _causes(error)
    text = masked((error.strerror if isinstance(error, OSError) else None) or first_line(error))
    if getattr(error, "errno", None) in NO_ROOM or "disk is full" in text:  # SQLite says so
        return f"{text}; {MAKE_ROOM}"
    return f"{text}; {CERTIFICATE}" if isinstance(error, ssl.SSLError) else text


@contextlib.contextmanager
def refusing(uri: str) -> Iterator[None]:
    """Turn what a store answers, or that it does not, into one line with the remedy."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error) as error:
        why = reason(error)
        if not why.endswith((CERTIFICATE, MAKE_ROOM)) and any(
            isinstance(cause, OSError) for cause in _causes(error)
        ):
            why = f"no tracking server answers there ({why}); start it or use null"
        raise InputError(f"tracking.uri={uri}: {why}") from None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what it wraps, what that wraps, and so on."""
    yield error
    if (inner := error.__cause__ or error.__context__) is not None:
        yield from _causes(inner)


def deleted(uri: str, what: str, identity: str) -> str:
    """Return that one of `what` (runs, experiments) was deleted, and the command that restores it."""
    option = {"runs": "--run-id", "experiments": "--experiment-id"}[what]
    return f"was deleted; restore it (MLFLOW_TRACKING_URI={uri} mlflow {what} restore {option} {identity})"


@contextlib.contextmanager
def _default(uri: str) -> Iterator[None]:
    """Let a store be MLflow's default in the block: for models it asks its default registry, no client."""
    before = {name: os.environ.get(name) for name in (TRACKING_URI, REGISTRY_URI)}
    os.environ |= {TRACKING_URI: uri, REGISTRY_URI: before[REGISTRY_URI] or uri}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ |= {} if value is None else {name: value}


def _with_login(uri: str) -> str:
    own = os.environ.get(TRACKING_URI, "")
    return own if masked(own).rstrip("/") == uri.rstrip("/") else uri


def _experiment(uri: str, name: str, artifacts: str | None) -> str:
    """Return the id of an experiment, created where there is none, with its files in `artifacts`."""
    with refusing(uri):
        client = client_of(uri)
        known = client.get_experiment_by_name(name)
        if known is None:
            try:
                return str(client.create_experiment(name, artifact_location=artifacts))
            except MlflowException:
                known = client.get_experiment_by_name(name)  # another process created it meanwhile
                if known is None:
                    raise
    if known.lifecycle_stage != "active":
        again = deleted(uri, "experiments", known.experiment_id)
        raise InputError(f"tracking.experiment={name}: {again}, or give another name")
    return str(known.experiment_id)

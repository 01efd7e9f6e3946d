"""The tracking store (an embedded sqlite database or a server): checks, queries, and valid names."""

import http.client
import json
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from hwr.errors import InputError, first_line, masked, tell
from hwr.files import held, make_folder

PAUSE_S = 5.0  # between two questions whether it is there again
ANSWER_S = 5.0  # a tracking server that takes longer to say that it is there is not there
TABLES_S = 120.0  # the tables of a fresh database take seconds
SQLITE = "sqlite:///"
DATABASE = "mlflow.db"
LONGEST_VALUE = 6000  # MLflow cuts longer parameter values without a word
LONGEST_TAG = 5000
# Read by MLflow at every request; a variable that is already in the environment wins.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # s; 120 would hold up the end of a run
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # what did not arrive waits here; none is sent twice
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # one a file, of files that take no time
}

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
        return MlflowClient(tracking_uri=self.uri)


@dataclass(frozen=True)
class StoredRun:
    """How a run ended: FINISHED, FAILED or KILLED, its last metrics, its parameters and tags."""

    id: str
    status: str
    metrics: Mapping[str, float]
    parameters: Mapping[str, str]
    tags: Mapping[str, str]


def open_store(uri: str | None, folder: Path, experiment: str) -> Store:
    """Return a store that answers: `uri`, or an embedded sqlite database in `folder` if it is None.

    Raises InputError when the server does not answer, or the folder cannot be written.
    """
    uri = uri or f"{SQLITE}{folder.resolve()}/{DATABASE}"
    if uri.startswith(SQLITE):
        database = Path(uri.removeprefix(SQLITE)).resolve()
        make_folder(database.parent)
        uri, artifacts = f"{SQLITE}{database}", (database.parent / "artifacts").as_uri()
        with held(
            database.with_name(database.name + ".lock"), limit_s=TABLES_S
        ):  # two would create the same tables
            return Store(uri, _experiment(uri, experiment, artifacts), folder)
    if not uri.startswith(("http://", "https://")) and "://" not in uri:
        raise InputError(f"tracking.uri={uri}: not a tracking server; use http://…, sqlite:////path or null")
    check_answers(uri)
    return Store(uri, _experiment(uri, experiment, None), folder)


def check_answers(uri: str) -> None:
    """Raise InputError unless a tracking server answers, or a database exists, at `uri`."""
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise InputError(f"tracking.uri={uri}: no such database; give tracking.uri=… of where it is")
    if not uri.startswith(("http://", "https://")):
        return
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


def await_answer(uri: str | None, patience_s: float) -> None:
    """Wait until the tracking server `uri` answers, at most so long; an embedded store always does."""
    if uri is None or not uri.startswith(("http://", "https://")):
        return
    deadline, announced = time.monotonic() + patience_s, False
    while True:
        try:
            return check_answers(uri)
        except InputError as error:
            if time.monotonic() >= deadline:
                raise
            if not announced:
                tell(f"tracking: {error}; waiting for it up to {patience_s / 60:.0f} min")
                announced = True
        time.sleep(min(PAUSE_S, max(0.0, deadline - time.monotonic())))


def download(uri: str, store: Store, folder: Path) -> Path:
    """Fetch the artifacts at `runs:/ID/path` or `models:/NAME@ALIAS` to a place of their own in `folder`.

    Raises InputError where there are none.
    """
    target = folder / re.sub(r"[^\w.-]+", "_", uri)
    try:
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(target), tracking_uri=store.uri))
    except (MlflowException, OSError) as error:
        raise InputError(f"{uri}: cannot be fetched from {store.uri} ({first_line(error)})") from None


def tagged(store: Store, tag: str, value: str) -> list[StoredRun]:
    """Return the ended runs of the store's experiment that have this tag, the latest first.

    Raises InputError where the store does not tell.
    """
    runs: list[Any] = []
    token: str | None = None
    try:
        while token != "":
            page = store.client.search_runs(
                [store.experiment], f"tags.`{tag}` = '{value}'", max_results=1000, page_token=token
            )
            runs, token = [*runs, *page], page.token or ""
    except MlflowException as error:
        raise InputError(f"tracking.uri={store.uri}: {first_line(error)}") from None
    return [
        StoredRun(run.info.run_id, run.info.status, run.data.metrics, run.data.params, run.data.tags)
        for run in runs
    ]


def status(store: Store, run_id: str) -> str | None:
    """Return how a run ended, or RUNNING; None where the store does not tell."""
    try:
        return str(store.client.get_run(run_id).info.status)
    except MlflowException:
        return None


def forget(store: Store, run_id: str) -> None:
    """Delete a run; the store can restore it. Raise InputError if that fails."""
    try:
        store.client.delete_run(run_id)
    except MlflowException as error:
        raise InputError(f"tracking.uri={store.uri}: {first_line(error)}") from None


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as names `a.b.c` with texts: lists as JSON, long ones cut with an ellipsis."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = prefix + safe(str(key))
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, name + ".")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[name] = cut(text, LONGEST_VALUE)
    return flat


def safe(name: str) -> str:
    """Return a name with `_` for characters that MLflow refuses."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)


def cut(text: str, longest: int) -> str:
    """Return a text of at most so many characters, cut with an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def reason(error: BaseException) -> str:
    """Return the root cause of an error that MLflow or a library below it wrapped."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return masked((error.strerror if isinstance(error, OSError) else None) or first_line(error))


def _experiment(uri: str, name: str, artifacts: str | None) -> str:
    """Return the id of an experiment, created where there is none, with its files in `artifacts`."""
    try:
        client = MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(name)
        if known is None:
            try:
                return str(client.create_experiment(name, artifact_location=artifacts))
            except MlflowException:
                known = client.get_experiment_by_name(name)  # another process created it meanwhile
                if known is None:
                    raise
        return str(known.experiment_id)
    except (MlflowException, SQLAlchemyError) as error:
        raise InputError(f"tracking.uri={uri}: {first_line(error)}") from None

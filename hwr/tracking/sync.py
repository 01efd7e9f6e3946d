"""Deliver what a tracking server missed during runs, and end those whose processes are gone: hwr sync."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from hwr.config.compose import Composed
from hwr.config.roots import SyncConfig
from hwr.errors import InputError
from hwr.files import held, parse_json
from hwr.runtime import without_login
from hwr.tracking.delivery import DeletedError, Delivery, FilesLeftError
from hwr.tracking.runs import START, STARTS, spool_of
from hwr.tracking.spool import Spool, counted
from hwr.tracking.store import answering, embedded, reason

# Kind of record -> one of it, several.
WORDS = {
    "metrics": ("metric value", "metric values"),
    "parameters": ("parameter", "parameters"),
    "tags": ("tag", "tags"),
    "inputs": ("data set", "data sets"),
    "files": ("artifact", "artifacts"),
    "status": ("status", "statuses"),
}


def sync_runs(composed: Composed) -> int:
    """Deliver what waits in the runs of a folder, print it by run, and return 1 where something is left."""
    config: SyncConfig = composed.root
    folder = Path(config.folder)
    if not folder.is_dir():
        raise InputError(f"sync: no folder {folder}; give the one that trainings write to (their key folder)")
    left = runs = 0
    for synced in sync_folder(folder, config.tracking.uri):
        runs += 1
        print(f"run {synced.run}: {_in_words(synced.delivered) or 'nothing'} delivered")
        if synced.reason is not None:
            left += 1
            print(f"run {synced.run}: {_in_words(synced.waiting)} still waiting: {synced.reason}")
    if not runs:
        print(f"nothing waits in {folder}")
    return 1 if left else 0


@dataclass(frozen=True)
class Synced:
    """The result of `sync_folder` for a run: how much was delivered, what still waits, and why."""

    run: str
    delivered: Counter[str]
    waiting: Counter[str]
    reason: str | None


def sync_folder(folder: Path, uri: str | None) -> Iterator[Synced]:
    """Deliver the spools of all runs in `folder`, to `uri` or to their own servers; yield a result for each.

    Runs whose processes are gone without an end of them end as killed. Raises InputError at the end where a
    server did not answer, and for a spool that is damaged.
    """
    clients: dict[str, MlflowClient | None] = {}
    refusals: dict[str, InputError] = {}

    def client(recorded: str | None) -> MlflowClient | None:
        there = without_login(uri or recorded or embedded(folder))
        if there not in clients:
            try:
                clients[there] = answering(there)
            except InputError as error:
                clients[there], refusals[there] = None, error
        return clients[there]

    for run_id in end_abandoned(folder, client):
        yield Synced(run_id, Counter(status=1), Counter(), None)
    for path in sorted(folder.glob("runs/*/spool")):
        spool = Spool(path)
        spool.end_fallen()
        if spool.waiting() and (server := client(spool.about()["uri"])) is not None:
            yield _sync(spool, server)
    for refusal in refusals.values():
        raise refusal


def end_abandoned(folder: Path, client: Callable[[str | None], MlflowClient | None]) -> Iterator[str]:
    """End the runs as killed whose processes were killed while they started them; yield their ids.

    `client` makes a client of the server that a note names, or gives None where it does not answer.
    """
    for note in sorted(folder.glob(f"{STARTS}/*")):
        with held(note, wait=False) as gone, contextlib.suppress(MlflowException):
            if gone and (text := note.read_text(encoding="utf-8")):  # else nothing was asked for yet
                about = parse_json(text)
                if (server := client(about["uri"])) is None:
                    continue
                for run in server.search_runs([about["experiment"]], f"tags.`{START}` = '{note.name}'"):
                    known = Spool(spool_of(folder, run.info.run_id)).was_alive()  # which tells more
                    if run.info.status == "RUNNING" and not known:
                        server.set_terminated(run.info.run_id, "KILLED")
                        yield run.info.run_id
            if gone:
                note.unlink()


def _sync(spool: Spool, client: MlflowClient) -> Synced:
    run_id, before, failure = spool.about()["run"], counted(spool.waiting()), None
    try:
        Delivery(client, run_id, spool)()
    except (MlflowException, OSError, FilesLeftError, DeletedError) as error:
        failure = reason(error)
    left = counted(spool.waiting())
    return Synced(run_id, before - left, left, failure)


def _in_words(counts: Counter[str]) -> str:
    return ", ".join(
        f"{counts[kind]} {one if counts[kind] == 1 else several}"
        for kind, (one, several) in WORDS.items()
        if counts[kind]
    )

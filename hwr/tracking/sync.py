"""Delivers what runs that ended left in their spools, when the tracking server is back."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from hwr.errors import InputError
from hwr.tracking.delivery import Delivery, FilesLeftError
from hwr.tracking.spool import Spool, counted
from hwr.tracking.store import DATABASE, SQLITE, check_answers, reason


@dataclass(frozen=True)
class Synced:
    """What became of a run's spool: how much was delivered, what still waits, and why."""

    run: str
    delivered: Counter[str]
    waiting: Counter[str]
    reason: str | None


def sync(folder: Path, uri: str | None) -> Iterator[Synced]:
    """Deliver what waits in the spools of all runs in `folder`, to `uri` or where each belongs; yield those.

    Raises InputError at the end where a server did not answer, and for a spool that is damaged.
    """
    refusals: dict[str, InputError | None] = {}
    for place in sorted(folder.glob("runs/*/spool")):
        spool = Spool(place)
        if not spool.waiting():
            continue
        there = uri or spool.about()["uri"] or f"{SQLITE}{folder.resolve()}/{DATABASE}"
        if there not in refusals:
            refusals[there] = _refusal(there)
        if refusals[there] is None:
            yield _sync(spool, there)
    for refusal in filter(None, refusals.values()):
        raise refusal


def _refusal(uri: str) -> InputError | None:
    try:
        check_answers(uri)
    except InputError as error:
        return error
    return None


def _sync(spool: Spool, uri: str) -> Synced:
    run_id, before, failure = spool.about()["run"], counted(spool.waiting()), None
    try:
        Delivery(MlflowClient(tracking_uri=uri), run_id, spool)()
    except (MlflowException, OSError, FilesLeftError) as error:
        failure = reason(error)
    left = counted(spool.waiting())
    return Synced(run_id, before - left, left, failure)

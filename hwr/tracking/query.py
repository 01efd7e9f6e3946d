"""Runs as the store has them, found by their tags."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException

from hwr.errors import InputError
from hwr.tracking.store import Store, first_line


@dataclass(frozen=True)
class Outcome:
    """How a run ended: FINISHED, FAILED or KILLED, its last metrics, its parameters and tags."""

    id: str
    status: str
    metrics: Mapping[str, float]
    parameters: Mapping[str, str]
    tags: Mapping[str, str]


def tagged(store: Store, tag: str, value: str) -> list[Outcome]:
    """Return how the runs of the store's experiment ended that have a tag of this value, the latest first.

    Raises InputError where the store does not tell.
    """
    found: list[Any] = []
    token: str | None = None
    try:
        while token != "":
            page = store.client.search_runs(
                [store.experiment], f"tags.`{tag}` = '{value}'", max_results=1000, page_token=token
            )
            found, token = [*found, *page], page.token or ""
    except MlflowException as error:
        raise InputError(f"tracking.uri={store.uri}: {first_line(error)}") from None
    return [
        Outcome(one.info.run_id, one.info.status, one.data.metrics, one.data.params, one.data.tags)
        for one in found
    ]


def forget(store: Store, run_id: str) -> None:
    """Delete a run, of which the store keeps what can be restored; raise InputError where it does not."""
    try:
        store.client.delete_run(run_id)
    except MlflowException as error:
        raise InputError(f"tracking.uri={store.uri}: {first_line(error)}") from None

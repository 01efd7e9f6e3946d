import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hwr import sweep, tracking
from hwr.errors import InputError
from hwr.tracking import Store


@pytest.fixture
def store(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.delenv(tracking.PARENT_VARIABLE, raising=False)
    shutil.copy(database, tmp_path / "mlflow.db")
    yield tracking.open_store(None, tmp_path, "hwr")


def settings(folder: Path) -> dict[str, Any]:
    return {
        "name": "line",
        "monitor": "valid/cer",
        "folder": str(folder),
        "tracking": {"uri": None, "experiment": "hwr"},
    }


def job(store: Store, error: float | None, lr: str) -> str:
    """Run a training as a job of the sweep does, and return its id."""
    parent = tracking.parent_run()
    assert parent is not None
    with tracking.run(store, "line", run_id=None, tags={tracking.PARENT: parent}) as run:
        run.parameters({"lr": lr})
        if error is not None:
            run.metrics({"best/valid/cer": error, "valid/cer": 1.0}, 3)
    return run.id


def only_parent(store: Store) -> Any:
    runs = store.client.search_runs([store.experiment])
    (parent,) = (run for run in runs if tracking.PARENT not in run.data.tags)
    return parent


def test_parent_holds_what_the_best_child_reached(store: Store, tmp_path: Path) -> None:
    with sweep.parent(settings(tmp_path), ["lr=1,2,3"]):
        job(store, 0.5, "1")
        best = job(store, 0.25, "2")
        job(store, None, "3")
    parent = only_parent(store)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics == {"best/valid/cer": 0.25, "jobs": 2}
    assert parent.data.params == {"lr": "2"}
    assert parent.data.tags["best_run"] == best
    assert parent.data.tags["overrides"] == "lr=1,2,3"
    assert parent.info.run_name == "line sweep"


def test_parent_fails_when_a_job_fails_and_still_holds_the_best(store: Store, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), sweep.parent(settings(tmp_path), []):
        job(store, 0.5, "1")
        raise RuntimeError
    assert only_parent(store).info.status == "FAILED"
    assert only_parent(store).data.metrics["best/valid/cer"] == 0.5


def test_parent_ends_when_no_child_was_scored(store: Store, tmp_path: Path) -> None:
    with sweep.parent(settings(tmp_path), []):
        pass
    assert only_parent(store).data.metrics == {"jobs": 0}


@pytest.mark.parametrize("raised", [None, RuntimeError])
def test_later_processes_do_not_see_the_parent(
    raised: type[Exception] | None, store: Store, tmp_path: Path
) -> None:
    try:
        with sweep.parent(settings(tmp_path), []):
            assert os.environ[tracking.PARENT_VARIABLE] == only_parent(store).info.run_id
            if raised:
                raise raised
    except RuntimeError:
        pass
    assert tracking.PARENT_VARIABLE not in os.environ


def test_store_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write there"), sweep.parent(settings(tmp_path / "file"), []):
        pass
    assert tracking.PARENT_VARIABLE not in os.environ

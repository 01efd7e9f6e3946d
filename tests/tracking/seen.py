"""What a store holds of a run, as its tests look at it."""

from pathlib import Path
from typing import Any

from mlflow.artifacts import download_artifacts

from hwr.tracking import Run, Store


def stored(run: Run) -> Any:
    return run.store.client.get_run(run.id)


def status(store: Store, run_id: str) -> str:
    return str(store.client.get_run(run_id).info.status)


def history(store: Store, run_id: str, name: str) -> list[tuple[int, float]]:
    """Return steps and values of a metric as they were taken."""
    found = store.client.get_metric_history(run_id, name)
    return [(one.step, one.value) for one in sorted(found, key=lambda one: one.timestamp)]


def artifact(run: Run, name: str, folder: Path) -> Path:
    return Path(
        download_artifacts(
            run_id=run.id, artifact_path=name, dst_path=str(folder), tracking_uri=run.store.uri
        )
    )

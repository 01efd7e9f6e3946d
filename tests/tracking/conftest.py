"""A store and a run of it, for the tests of tracking."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwr import tracking
from hwr.tracking import Run, Store, open_store


@pytest.fixture(scope="session")
def store(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("outputs with space")
    shutil.copy(database, folder / "mlflow.db")
    return open_store(None, folder, "tests")


@pytest.fixture
def run(store: Store) -> Iterator[Run]:
    with tracking.start_run(store, "test", tags={"stage": "line"}) as started:
        yield started

"""A tracking store for the tests of a module."""

import shutil
from pathlib import Path

import pytest

from hwr import tracking
from hwr.tracking import Store


@pytest.fixture(scope="module")
def store(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("outputs")
    shutil.copy(database, folder / "mlflow.db")
    return tracking.open_store(None, folder, "hwr")

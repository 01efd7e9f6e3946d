"""Prepares the tests' process before anything heavy is imported, and hands out the shared data."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

os.environ |= {
    "CUDA_VISIBLE_DEVICES": "",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MPLBACKEND": "Agg",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}
for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI"):
    os.environ.pop(name, None)  # a test's runs never land in the caller's store

import hwr  # noqa: E402, F401  (sets engine, allocator and threads, which MXNet reads once)

settings.register_profile(
    "hwr", deadline=None
)  # how long an example takes says more of the machine than of the code
settings.load_profile("hwr")

if TYPE_CHECKING:
    from tests.smoke import Smoke


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder `shared` beside the checkout: real handwriting and the IAM's split lists."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("no folder 'shared' beside the checkout: nothing here is tested on real handwriting")
    return folder


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> "Smoke":
    """Return the smoke experiment, trained once for all tests in a process of its own."""
    from tests.smoke import train  # imports MLflow, which takes seconds

    return train(tmp_path_factory.mktemp("smoke") / "outputs")


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an embedded tracking database, made once: its tables take seconds, a copy of it takes none."""
    from hwr.tracking import open_store

    folder = tmp_path_factory.mktemp("database")
    open_store(None, folder, "empty")
    return folder / "mlflow.db"

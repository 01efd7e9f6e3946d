"""Prepares the tests' process before anything heavy is imported, and hands out the shared data."""

import functools
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

os.environ |= {
    "CUDA_VISIBLE_DEVICES": "",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MPLBACKEND": "Agg",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "OMP_WAIT_POLICY": "passive",  # a thread that waits leaves its core to another process
}
for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI"):
    os.environ.pop(name, None)  # a test's runs never land in the caller's store

if "PYTEST_XDIST_WORKER" in os.environ:  # a thread for each of the processes that share the tests
    os.environ["OMP_NUM_THREADS"] = "1"

import hwr  # noqa: E402, F401  (sets engine, allocator and threads, which MXNet reads once)
from hwr import runtime  # noqa: E402
from hwr.runtime import termination  # noqa: E402

runtime.compute()  # with the same instructions in every test of a process

settings.register_profile(
    "hwr", deadline=None
)  # how long an example takes says more of the machine than of the code
settings.load_profile("hwr")

if TYPE_CHECKING:
    from tests.smoke import Smoke


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Fail a test that leaves signals handled, or for ever unhandled: a later one would die of its own."""
    before = [signal.getsignal(number) for number in termination.SIGNALS]
    yield
    assert termination._process.depth == 0
    assert [signal.getsignal(number) for number in termination.SIGNALS] == before


SHARED = Path(__file__).resolve().parents[2] / "shared"
# Tests that share a process: files that use the run of line/smoke, and each other smoke experiment.
SMOKE_FILES = ("tests/test_train.py", "tests/test_evaluate.py")
# What takes longest begins first.
FIRST = ("test_reproduce.py", "line/smoke", "test_notebooks.py", "test_endings.py", "test_kills.py",
         "test_sweeps.py", "test_outage.py", "test_one_store.py", "test_fuzz.py", "denoiser/smoke",
         "segmentation/smoke", "paragraph/smoke")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first."""
    items.sort(key=lambda item: _rank(_group(item.nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return what gives each group of tests to one of the processes, in the order of the tests."""
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # xdist's own groups need an older pytest than 9.2
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return Scheduling(config, log)


def _group(nodeid: str) -> str:
    """Return what a test shares its process with: its file, or the run of a smoke experiment."""
    if smoke := re.search(r"\[(\w+/smoke)\]", nodeid):
        return smoke[1]
    file = nodeid.partition("::")[0]
    return "line/smoke" if file in SMOKE_FILES else file


def _rank(group: str) -> int:
    return next((rank for rank, name in enumerate(FIRST) if group.endswith(name)), len(FIRST))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder `shared` beside the checkout: real handwriting and the IAM's split lists."""
    if not SHARED.is_dir():
        pytest.skip("no folder 'shared' beside the checkout: nothing here is tested on real handwriting")
    return SHARED


@pytest.fixture(scope="session")
def smokes(tmp_path_factory: pytest.TempPathFactory) -> "Callable[[str], Smoke]":
    """Return a function from a smoke experiment's name to its run, trained once in a process of its own."""
    from tests.smoke import train  # imports MLflow, which takes seconds

    @functools.cache
    def trained(name: str) -> "Smoke":
        return train(name, tmp_path_factory.mktemp("smoke") / "outputs")

    return trained


@pytest.fixture(scope="session")
def smoke(smokes: "Callable[[str], Smoke]") -> "Smoke":
    """Return the smoke experiment of stage line."""
    return smokes("line/smoke")


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an embedded tracking database, made once: its tables take seconds, a copy of it takes none."""
    from hwr.tracking import open_store

    folder = tmp_path_factory.mktemp("database")
    open_store(None, folder, "empty")
    return folder / "mlflow.db"

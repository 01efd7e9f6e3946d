"""The run around a sweep, by the callback that Hydra calls."""

import atexit
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from hwr import tracking
from hwr.config import SweepRun
from hwr.tracking import Store, open_store
from tests.smoke import script


@pytest.fixture
def at_exit(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Return what would be called at the end of the process."""
    called: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", called.append)
    monkeypatch.delenv(tracking.PARENT_VARIABLE, raising=False)
    return called


@pytest.fixture
def store(database: Path, tmp_path: Path) -> Store:
    shutil.copy(database, tmp_path / "mlflow.db")
    return open_store(None, tmp_path, "hwr")


def swept(folder: Path) -> DictConfig:
    return OmegaConf.create(
        {
            "name": "line",
            "monitor": "valid/cer",
            "folder": str(folder),
            "tracking": {"uri": "${oc.env:NO_SUCH_VARIABLE,null}", "experiment": "hwr"},
            "data": {"root": "???"},  # the sweep gives it
            "hydra": {"overrides": {"task": ["data.root=A,B"]}},
        }
    )


def statuses(store: Store) -> list[str]:
    return [run.info.status for run in store.client.search_runs([store.experiment])]


def test_parent_is_finished_when_the_sweep_ends(
    at_exit: list[Callable[[], None]], store: Store, tmp_path: Path
) -> None:
    callback = SweepRun()
    callback.on_multirun_start(swept(tmp_path))
    assert (tracking.parent_run() is not None, statuses(store)) == (True, ["RUNNING"])
    callback.on_multirun_end(swept(tmp_path))
    at_exit[0]()  # nothing is left to end
    assert (tracking.parent_run(), statuses(store)) == (None, ["FINISHED"])


def test_parent_has_failed_when_the_process_ends_before_the_sweep(
    at_exit: list[Callable[[], None]], store: Store, tmp_path: Path
) -> None:
    SweepRun().on_multirun_start(swept(tmp_path))
    at_exit[0]()
    assert (tracking.parent_run(), statuses(store)) == (None, ["FAILED"])


def test_sweep_ends_in_one_line_when_its_folder_cannot_be_written(
    at_exit: list[Callable[[], None]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        SweepRun().on_multirun_start(swept(tmp_path / "file" / "outputs"))
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/file/outputs: cannot write there (Not a directory); choose another folder\n"
    )
    assert at_exit == []


@pytest.mark.slow
def test_jobs_of_a_sweep_are_children_of_one_run_though_the_last_fails(store: Store, tmp_path: Path) -> None:
    keys = ("-m", "experiments=line/smoke", "max_epochs=1", f"folder={tmp_path}", "lr=1e-3,-1")
    done = script("train.py", *keys)
    assert (done.returncode, "lr=-1.0 is not possible" in done.stderr) == (2, True)
    child, parent = (dict(run.data.tags, status=run.info.status, id=run.info.run_id) for run in runs(store))
    assert (child["status"], parent["status"]) == ("FINISHED", "FAILED")
    assert child[tracking.PARENT] == parent["id"]
    assert parent["best_run"] == child["id"]


def runs(store: Store) -> list[Any]:
    return list(store.client.search_runs([store.experiment]))

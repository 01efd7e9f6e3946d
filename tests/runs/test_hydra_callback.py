"""Sweeps as a user starts them, and what Hydra calls around one."""

import json
import math
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from hwr import runtime, tracking
from hwr.config import CONF
from hwr.errors import InputError
from hwr.runs import hydra_callback, sweep
from hwr.runs.hydra_callback import JobsCheck, SweepRun, sweep_ended
from hwr.tracking import Store, open_store
from tests.refusal import refused, tells

SMOKE = ("-m", "experiments=line/smoke", "max_epochs=1")


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    for variable in (tracking.PARENT_VARIABLE, sweep.SWEPT_VARIABLE):
        os.environ.pop(variable, None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def store(database: Path, tmp_path: Path) -> Store:
    shutil.copy(database, tmp_path / "mlflow.db")
    return open_store(None, tmp_path, "hwr")


def swept(folder: Path, *overrides: str, **launcher: Any) -> DictConfig:
    return OmegaConf.create(
        {
            "name": "line",
            "monitor": "valid/cer",
            "folder": str(folder),
            "tracking": {"uri": "${oc.env:NO_SUCH_VARIABLE,null}", "experiment": "hwr"},
            "data": {"root": "???"},  # the sweep gives it
            "hydra": {
                "runtime": {"config_sources": [{"path": str(CONF), "schema": "file", "provider": "main"}]},
                "overrides": {"task": list(overrides or ["data.root=A,B"])},
                "sweeper": {"params": None},
                "launcher": {"_target_": "x.BasicLauncher", **launcher},
            },
        }
    )


def runs(store: Store) -> list[Any]:
    return list(store.client.search_runs([store.experiment]))


def statuses(store: Store) -> list[str]:
    return [run.info.status for run in runs(store)]


# the callback


def test_parent_is_finished_when_the_sweep_ends(store: Store, tmp_path: Path) -> None:
    callback = SweepRun()
    with sweep_ended():
        callback.on_multirun_start(swept(tmp_path))
        assert (tracking.parent_run() is not None, statuses(store)) == (True, ["RUNNING"])
        callback.on_multirun_end(swept(tmp_path))
    assert (tracking.parent_run(), statuses(store)) == (None, ["FINISHED"])


@pytest.mark.parametrize(("raised", "status"), [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_parent_ends_as_the_process_does_when_the_sweep_has_no_end(
    store: Store, tmp_path: Path, raised: type[BaseException], status: str
) -> None:
    with pytest.raises(raised), sweep_ended():
        SweepRun().on_multirun_start(swept(tmp_path))
        raise raised
    assert (tracking.parent_run(), statuses(store)) == (None, [status])


def test_parent_tells_what_is_swept(store: Store, tmp_path: Path) -> None:
    with sweep_ended():
        config = swept(
            tmp_path, "data.root=A,B", "lr=1", "+seed=range(0,3)", n_jobs=2, _target_="x.JoblibLauncher"
        )
        SweepRun().on_multirun_start(config)
    (run,) = runs(store)
    assert json.loads(run.data.tags["swept"]) == ["data.root", "seed"]
    assert run.data.tags["overrides"] == "data.root=A,B lr=1 +seed=range(0,3)"
    assert run.data.tags["launcher"] == "JoblibLauncher"


def hash_of(folder: Path, *overrides: str, **changes: Any) -> str:
    config = swept(folder, *overrides)
    for key, value in changes.items():
        OmegaConf.update(config, key, value, force_add=True)
    return hydra_callback._described(config)[0].hash


def test_sweep_is_the_same_when_only_its_place_differs(tmp_path: Path) -> None:
    one = hash_of(tmp_path, "lr=1,2", "seed=3")
    assert hash_of(tmp_path / "other", "seed=3", "folder=x", "lr=1,2", "tracking.uri=y") == one


def test_sweep_is_another_when_values_or_configuration_differ(tmp_path: Path) -> None:
    found = [
        hash_of(tmp_path, "lr=1,2"),
        hash_of(tmp_path, "lr=1,3"),
        hash_of(tmp_path, "lr=1,2", "seed=3"),
        hash_of(tmp_path, "lr=1,2", max_epochs=3),
    ]
    assert len(set(found)) == 4


def test_jobs_are_counted_before_they_are_made(tmp_path: Path) -> None:
    config = swept(tmp_path, "lr=1,2", "seed=range(0,3)", "name=x")
    config.hydra.sweeper.params = {"clip": "1,2,3,4"}
    found, count = hydra_callback._described(config)
    assert (set(found.keys), count) == ({"lr", "seed", "clip"}, 24)


def test_configurations_of_further_folders_are_counted(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "crnn_mine.yaml").touch()
    config = swept(tmp_path, "network=glob(crnn*)")
    config.hydra.runtime.config_sources.append({"path": str(tmp_path), "schema": "file", "provider": "mine"})
    assert hydra_callback._described(config)[1] == 4


@pytest.mark.parametrize("callback", [SweepRun, JobsCheck])
@pytest.mark.parametrize(
    "override", ["network=glob(zzz*)", "seed=range(3,3)", "network=glob(crnn*,exclude=c*)"]
)
def test_sweep_without_a_job_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], callback: type[SweepRun | JobsCheck], override: str
) -> None:
    config = swept(tmp_path, "lr=1,2", override)
    said = refused(capsys, lambda: callback().on_multirun_start(config))
    tells(said, f"{override}: no value", "there is no job", "name some")
    assert not list(tmp_path.iterdir())


def test_configurations_that_a_pattern_names_are_counted(tmp_path: Path) -> None:
    assert hydra_callback._described(swept(tmp_path, "network=glob(crnn*)", "lr=1,2"))[1] == 6


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "resume=last",
            "resume=last: a sweep that was killed goes on with its own command; leave resume out",
        ),
        ("save_every=1,2", "save_every=1,2: changes nothing of what is learnt, and cannot be swept; leave "),
    ],
)
def test_keys_that_make_no_other_training_are_not_swept(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        hydra_callback._described(swept(tmp_path, "lr=1,2", override))
    assert str(refused.value).startswith(said)


def test_sweep_whose_end_cannot_be_recorded_says_so(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*given: Any) -> None:
        raise InputError("no tracking server answers there")

    callback = SweepRun()
    with pytest.raises(SystemExit) as ended, sweep_ended():
        callback.on_multirun_start(swept(tmp_path))
        monkeypatch.setattr(tracking, "tagged", away)
        callback.on_multirun_end(swept(tmp_path))
    assert (ended.value.code, statuses(store)) == (2, ["FAILED"])
    assert capsys.readouterr().err == "error: no tracking server answers there\n"


def test_job_whose_failure_cannot_be_recorded_does_not_stop_the_others(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    callback, returned = SweepRun(), JobReturn(status=JobStatus.FAILED)
    returned.return_value = InputError("lr=-1 is not possible")
    with sweep_ended():
        callback.on_multirun_start(swept(tmp_path, "lr=-1,1"))
        callback.on_job_start(swept(tmp_path, "lr=-1"))
        with monkeypatch.context() as away:
            away.setattr(tracking, "open_store", lambda *given: refuse())
            callback.on_job_end(swept(tmp_path), returned)
    assert (returned.status, returned.return_value) == (JobStatus.COMPLETED, math.inf)
    assert "error: job lr=-1: not recorded: no tracking server" in capsys.readouterr().err


def refuse() -> None:
    raise InputError("no tracking server answers there")


def test_sweep_ends_in_one_line_when_its_folder_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SystemExit) as ended, sweep_ended():
        SweepRun().on_multirun_start(swept(tmp_path / "file" / "outputs"))
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/file/outputs: cannot be written (Not a directory); choose another folder\n"
    )


def test_single_training_is_no_job(tmp_path: Path) -> None:
    callback = SweepRun()
    callback.on_job_start(swept(tmp_path, "lr=1"))
    assert sweep.SWEPT_VARIABLE not in os.environ
    returned = JobReturn(status=JobStatus.FAILED)
    callback.on_job_end(swept(tmp_path), returned)
    assert returned.status == JobStatus.FAILED


def test_job_learns_what_of_it_is_swept(store: Store, tmp_path: Path) -> None:
    callback = SweepRun()
    with sweep_ended():
        callback.on_multirun_start(swept(tmp_path, "lr=1e-3,2e-3", "+text=a,b", "seed=3"))
        callback.on_job_start(swept(tmp_path, "lr=1e-3", "+text=a", "seed=3"))
        assert (sweep.swept(), sweep.job_name()) == ({"lr": 0.001, "text": "a"}, "lr=0.001 text=a")


def test_failed_job_is_told_and_recorded_and_the_others_go_on(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callback, returned = SweepRun(), JobReturn(status=JobStatus.FAILED)
    returned.return_value = InputError("lr=-1 is not possible")
    with pytest.raises(SystemExit) as ended, sweep_ended():
        callback.on_multirun_start(swept(tmp_path, "lr=-1,1"))
        callback.on_job_start(swept(tmp_path, "lr=-1"))
        callback.on_job_end(swept(tmp_path), returned)
        assert (returned.status, returned.return_value) == (JobStatus.COMPLETED, math.inf)
        callback.on_multirun_end(swept(tmp_path))
    assert (ended.value.code, statuses(store)) == (1, ["FAILED", "FAILED"])
    assert capsys.readouterr().err == "error: job lr=-1: lr=-1 is not possible\n"


@pytest.mark.parametrize(
    ("given", "launcher", "expected"),
    [
        (False, {"_target_": "x.JoblibLauncher", "n_jobs": 2}, "4"),
        (False, {"_target_": "x.SlurmLauncher"}, "8"),
        (True, {"_target_": "x.JoblibLauncher", "n_jobs": 2}, "3"),  # the user's own
    ],
)
def test_process_of_a_job_knows_its_sweep_and_its_threads(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: bool,
    launcher: dict[str, Any],
    expected: str,
) -> None:
    monkeypatch.setattr(runtime, "THREADS_GIVEN", given)
    monkeypatch.setattr(runtime, "available_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    callback = SweepRun()
    with sweep_ended():
        callback.on_multirun_start(swept(tmp_path, **launcher))
        parent, sent = tracking.parent_run(), pickle.dumps(callback)
    os.environ.pop(tracking.PARENT_VARIABLE, None)
    pickle.loads(sent)  # as the launcher does in the other process
    assert os.environ[tracking.PARENT_VARIABLE] == parent
    assert os.environ["OMP_NUM_THREADS"] == expected

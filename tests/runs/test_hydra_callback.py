"""Sweeps as a user starts them, and what Hydra calls around one."""

import json
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from hwr import runtime, tracking
from hwr.config.locations import ROOT
from hwr.errors import InputError
from hwr.runs import hydra_callback, sweep
from hwr.runs.hydra_callback import SweepRun, sweep_ended
from hwr.tracking import Store, open_store
from tests.smoke import PINNED, script

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
        monkeypatch.setattr(sweep, "jobs", away)
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


# whole sweeps


@pytest.mark.slow
def test_jobs_of_a_sweep_are_children_of_one_run_though_one_fails(store: Store, tmp_path: Path) -> None:
    done = script("train.py", *SMOKE, f"folder={tmp_path}", "lr=-1,1e-3")
    assert (done.returncode, "error: job lr=-1: lr=-1.0 is not possible" in done.stderr) == (1, True)
    found = {run.info.run_name: run for run in runs(store)}
    parent = found.pop("line-smoke sweep")
    assert {name: run.info.status for name, run in found.items()} == {
        "lr=0.001": "FINISHED",
        "lr=-1": "FAILED",
    }
    assert {run.data.tags[tracking.PARENT] for run in found.values()} == {parent.info.run_id}
    assert (parent.info.status, parent.data.tags["best_run"]) == ("FAILED", found["lr=0.001"].info.run_id)


@pytest.mark.slow
def test_sweep_that_was_killed_half_way_goes_on_without_repeats(tmp_path: Path) -> None:
    command = [
        sys.executable, str(ROOT / "train.py"), *SMOKE, f"folder={tmp_path}", "lr=1e-3,3e-3", "seed=0,1,2",
        "hydra/launcher=joblib", "hydra.launcher.n_jobs=2",
    ]  # fmt: skip
    environment = {**os.environ, **PINNED, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    store, done = _finished(tmp_path, first, wanted=2)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    (parent,) = (run for run in runs(store) if tracking.PARENT not in run.data.tags)
    assert parent.info.status == "RUNNING"

    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    children = [run for run in runs(store) if tracking.PARENT in run.data.tags]
    assert len(runs(store)) == 7
    assert {run.data.tags[tracking.PARENT] for run in children} == {parent.info.run_id}
    assert {run.info.run_name for run in children} == {
        f"lr={lr} seed={seed}" for lr in ("0.001", "0.003") for seed in (0, 1, 2)
    }
    assert {run.info.status for run in runs(store)} == {"FINISHED"}
    assert done <= {run.info.run_id for run in children}
    assert again.stdout.count("trained already") == len(done)


def _finished(folder: Path, process: "subprocess.Popen[bytes]", *, wanted: int) -> tuple[Store, set[str]]:
    """Wait until so many jobs of a fresh store have finished; return the store and these jobs."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
        if list(folder.glob("runs/*/weights/best")):
            store = open_store(None, folder, "hwr")
            children = [run for run in runs(store) if tracking.PARENT in run.data.tags]
            finished = {run.info.run_id for run in children if run.info.status == "FINISHED"}
            if len(finished) >= wanted:
                return store, finished
    raise AssertionError("the sweep did not come that far")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "sent", "status"), [("basic", signal.SIGINT, 130), ("joblib", signal.SIGTERM, 143)]
)
def test_sweep_that_is_asked_to_end_leaves_no_run_behind_that_runs(
    tmp_path: Path, launcher: str, sent: signal.Signals, status: int
) -> None:
    command = [
        sys.executable, str(ROOT / "train.py"), "-m", "experiments=line/smoke", f"folder={tmp_path}",
        "lr=1e-3,3e-3", f"hydra/launcher={launcher}",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env={**os.environ, **PINNED, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL,
        # Who runs the tests in the background lets them ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("runs/*/state")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(sent)
    assert process.wait(60) == status
    found = runs(open_store(None, tmp_path, "hwr"))
    assert len(found) >= 2
    assert {run.info.status for run in found} == {"KILLED"}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [["hydra/launcher=joblib"], ["hydra/launcher=submitit_local"]])
def test_launcher_brings_jobs_their_sweep_and_their_threads(tmp_path: Path, launcher: list[str]) -> None:
    environment = {name: value for name, value in PINNED.items() if name != "OMP_NUM_THREADS"}
    done = _unpinned(
        "train.py", *SMOKE, f"folder={tmp_path}", "lr=1e-3,3e-3", *launcher, environment=environment
    )
    assert done.returncode == 0, done.stderr
    found = runs(open_store(None, tmp_path, "hwr"))
    children = [run for run in found if tracking.PARENT in run.data.tags]
    (parent,) = (run.info.run_id for run in found if tracking.PARENT not in run.data.tags)
    assert [run.data.tags[tracking.PARENT] for run in children] == [parent, parent]
    share = str(max(1, runtime.available_cores() // 2))
    artifacts = (tmp_path / "artifacts" / run.info.run_id / "artifacts" for run in children)
    environments = [
        json.loads((place / "environment.json").read_text(encoding="utf-8")) for place in artifacts
    ]
    assert [one["threads"] for one in environments] == [share, share]


def _unpinned(name: str, *arguments: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a script where the user has not chosen how many threads there are."""
    own = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    return subprocess.run(
        [sys.executable, str(ROOT / name), *arguments],
        env={**own, **environment}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

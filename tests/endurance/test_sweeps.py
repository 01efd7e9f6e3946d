"""Sweeps and searches as a user starts them, in processes; `make endurance` kills them, too."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hwr import runtime, tracking
from hwr.config import ROOT
from hwr.tracking import Store, open_store
from tests.smoke import PINNED, script

SMOKE = ("-m", "experiments=line/smoke", "max_epochs=1")


@pytest.fixture
def store(database: Path, tmp_path: Path) -> Store:
    shutil.copy(database, tmp_path / "mlflow.db")
    return open_store(None, tmp_path, "hwr")


def runs(store: Store) -> list[Any]:
    return list(store.client.search_runs([store.experiment]))


@pytest.mark.slow
def test_jobs_of_a_sweep_are_children_of_one_run_though_one_fails(store: Store, tmp_path: Path) -> None:
    done = script("train.py", *SMOKE, f"folder={tmp_path}", "lr=-1,1e-3")
    assert (done.returncode, "error: job lr=-1: lr=-1 is not possible" in done.stderr) == (1, True)
    found = {run.info.run_name: run for run in runs(store)}
    parent = found.pop("line-smoke sweep")
    assert {name: run.info.status for name, run in found.items()} == {
        "lr=0.001": "FINISHED",
        "lr=-1": "FAILED",
    }
    assert {run.data.tags[tracking.PARENT] for run in found.values()} == {parent.info.run_id}
    assert (parent.info.status, parent.data.tags["best_run"]) == ("FAILED", found["lr=0.001"].info.run_id)


@pytest.mark.slow
@pytest.mark.endurance
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
@pytest.mark.endurance
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
@pytest.mark.parametrize("launcher", ["joblib", pytest.param("submitit_local", marks=pytest.mark.endurance)])
def test_launcher_brings_jobs_their_sweep_and_their_threads(tmp_path: Path, launcher: str) -> None:
    environment = {name: value for name, value in PINNED.items() if name != "OMP_NUM_THREADS"}
    done = _unpinned(
        "train.py",
        *SMOKE,
        f"folder={tmp_path}",
        "lr=1e-3,3e-3",
        f"hydra/launcher={launcher}",
        environment=environment,
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


SEARCH = (
    "experiments=line/smoke", "phases.ctc.epochs=3", "~phases.plain", "~search.space",
    "+search.space={lr: {low: 1e-3, high: 1e-2, log: true}}", "search.pruner.startup=1",
    "search.pruner.warmup=1",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.endurance
def test_search_that_was_killed_goes_on_with_two_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hwr", "search", *SEARCH, f"folder={tmp_path}", "--trials", "4"]
    environment = {**os.environ, **PINNED, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True)
    deadline = time.monotonic() + 200
    while len(list(tmp_path.glob("runs/*/state"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)  # until the second trial has kept an epoch
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = subprocess.run(
        [*command, "--jobs", "2"], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = runs(open_store(None, tmp_path, "hwr"))
    (parent,) = (run for run in found if tracking.PARENT not in run.data.tags)
    trials = [run for run in found if tracking.PARENT in run.data.tags]
    assert [parent.info.status, *(trial.info.status for trial in trials)] == ["FINISHED"] * 5
    assert len({trial.info.run_name for trial in trials}) == 4

"""Of a training in several processes one is killed: all end with one line, nothing is left, and it goes on.

`make endurance` kills scheduler, server and workers ten times each; `make test` kills a server once.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from hwr.config import ROOT
from hwr.files import parse_json
from hwr.runs.launch import RANK_VARIABLE
from hwr.training.checkpoint import newest_state
from tests.smoke import PINNED

KILLS = int(os.environ.get("HWR_KILLS", "1"))
LIMIT_S = 30.0
JOB = ["experiments=denoiser/smoke", "phases.text.epochs=4", "save_every=1e-4"]
LINE = ["experiments=line/smoke", "phases.ctc.epochs=12", "~phases.plain", "network.dropout=0"]  # 204 steps


@dataclass(frozen=True)
class Ended:
    """How a launched training ended: with which last `line` of how many, and which processes are `left`."""

    status: int
    line: str
    lines: int
    seconds: float
    left: list[psutil.Process]


@pytest.mark.slow
@pytest.mark.parametrize(
    "victim",
    [
        "server 0",
        *(pytest.param(name, marks=pytest.mark.endurance) for name in ("worker 0", "worker 1", "scheduler")),
    ],
)
def test_all_end_and_the_run_goes_on_when_a_process_is_killed(victim: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    assert _ended(_started(tmp_path / "whole", *JOB), tmp_path / "whole", None, 0).status == 0
    seconds, whole = time.monotonic() - begun, _outcome(tmp_path / "whole")
    generator = np.random.default_rng()  # any moment: what fails once is a defect
    slowest = kills = resumed = trial = 0
    while kills < KILLS:
        trial += 1
        folder, keys = tmp_path / f"cut{trial}", JOB
        while True:
            limit = float(generator.uniform(0, seconds)) if kills < KILLS else np.inf
            ended = _ended(_started(folder, *keys), folder, victim, limit)
            if ended.status == 0:
                break
            kills += 1
            assert (ended.lines, ended.left) == (1, []), ended
            assert ended.line.startswith(f"launch: {victim} (process "), ended
            assert ended.seconds < LIMIT_S
            slowest = max(slowest, ended.seconds)
            if run := re.search(r"go on with (resume=\w+)$", ended.line):
                keys, resumed = [run[1]], resumed + 1
        assert _outcome(folder) == whole
    print(f"{victim}: {kills} kills of {trial} trainings, {resumed} resumed, ended within {slowest:.1f} s")


@pytest.mark.slow
@pytest.mark.endurance
@pytest.mark.parametrize("workers", [1, 3])
def test_training_of_two_workers_goes_on_with_others(workers: int, tmp_path: Path) -> None:
    job = [*JOB, "network.dropout=0"]
    assert _ended(_started(tmp_path / "whole", *job), tmp_path / "whole", None, 0).status == 0
    cut = tmp_path / "cut"
    assert _ended(_started(cut, *job, "max_epochs=2"), cut, None, 0).status == 0
    words = ["resume=last", "max_epochs=null"]
    assert _ended(_started(cut, *words, workers=workers), cut, None, 0).status == 0
    expected, found = (_losses(folder) for folder in (tmp_path / "whole", cut))
    assert found[:2] == expected[:2]
    np.testing.assert_allclose(found[2:], expected[2:], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.endurance
def test_two_workers_learn_the_line_recogniser_that_two_devices_learn(tmp_path: Path) -> None:
    for name, keys in (("one", []), ("devices", ["device=cpu:0,1"])):
        subprocess.run(
            [sys.executable, "-m", "hwr", "train", *LINE, *keys, f"folder={tmp_path / name}"],
            env={**os.environ, **PINNED, "OMP_NUM_THREADS": "1"}, cwd=ROOT, check=True,
        )  # fmt: skip
    assert _ended(_started(tmp_path / "workers", *LINE), tmp_path / "workers", None, 0).status == 0
    found = {name: _outcome(tmp_path / name) for name in ("one", "devices", "workers")}
    last = {name: (own["12"]["train/loss"], own["12"]["valid/cer"]) for name, own in found.items()}
    print(last)
    assert found["workers"] == found["devices"]  # to the bit: weights, losses and CER of each epoch
    assert found["one"] != found["devices"]  # which normalises over the parts of a batch
    assert max(cer for _, cer in last.values()) < 0.5  # all have learnt to read


@pytest.mark.slow
@pytest.mark.endurance
def test_all_end_when_the_launcher_is_killed(tmp_path: Path) -> None:
    process = _started(tmp_path, *JOB, "phases.text.epochs=400")
    everyone = _children(process)
    _await_state(tmp_path)
    process.kill()
    process.wait()
    assert psutil.wait_procs(everyone.values(), timeout=LIMIT_S)[1] == []


def _started(folder: Path, *keys: str, workers: int = 2) -> "subprocess.Popen[bytes]":
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "hwr", "launch", "--workers", str(workers), "--", *keys]
    with (folder / "stderr").open("wb") as errors:
        return subprocess.Popen(
            [*command, f"folder={folder}"], env={**os.environ, **PINNED, "OMP_NUM_THREADS": "1"}, cwd=ROOT,
            stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip


def _ended(process: "subprocess.Popen[bytes]", folder: Path, victim: str | None, limit: float) -> Ended:
    """Kill a process of a training after `limit` seconds, and wait for its end."""
    everyone = _children(process, *([victim] if victim else []))
    begun = time.monotonic()
    if victim is not None:
        while process.poll() is None and time.monotonic() - begun < limit:
            time.sleep(0.02)
        begun = time.monotonic()
        with contextlib.suppress(psutil.NoSuchProcess):  # it had finished
            everyone[victim].kill()
    status = process.wait(timeout=200)
    seconds = time.monotonic() - begun
    left = psutil.wait_procs(everyone.values(), timeout=2)[1]
    said = (folder / "stderr").read_text(encoding="utf-8")
    lines = [line for line in re.split(r"[\r\n]+", said) if line and not re.match(r"text: +\d+%", line)]
    return Ended(status, lines[-1] if lines else "", len(lines), seconds, left)


def _children(process: "subprocess.Popen[bytes]", *names: str) -> dict[str, psutil.Process]:
    """Return the processes of a training by their names, once these and the first worker are there."""
    launcher, found = psutil.Process(process.pid), dict[str, psutil.Process]()
    while process.poll() is None and not {"worker 0", *names} <= found.keys():
        for child in launcher.children():
            found |= _named(child)
        time.sleep(0.02)
    return found


def _named(child: psutil.Process) -> dict[str, psutil.Process]:
    words = child.cmdline()
    if "--role" not in words:  # not yet what it will be
        return {}
    role = words[words.index("--role") + 1]
    number = {"scheduler": "", "server": " 0"}.get(role, f" {child.environ().get(RANK_VARIABLE)}")
    return {f"{role}{number}": child}


def _await_state(folder: Path) -> None:
    until = time.monotonic() + 100
    while not list(folder.glob("runs/*/state/*.json")):
        assert time.monotonic() < until
        time.sleep(0.05)


def _outcome(folder: Path) -> dict[str, Any]:
    """Return the digests of a run's weights, and the metrics of its epochs but times."""
    (run,) = (path.parent for path in folder.glob("runs/*/weights"))
    found: dict[str, Any] = {
        path.parent.name: parse_json(path.read_text(encoding="utf-8"))["sha256"]["network.params"]
        for path in run.glob("weights/*/manifest.json")
    }
    state = newest_state(run / "state")
    assert state is not None
    for epoch, values in state.about["history"].items():
        found[epoch] = {name: value for name, value in values.items() if not name.startswith("time/")}
    return found


def _losses(folder: Path) -> list[float]:
    return [values["train/loss"] for name, values in _outcome(folder).items() if name.isdigit()]

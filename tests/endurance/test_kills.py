"""Trainings that are killed at any moment and resumed end with the bits and the metrics of one that was not.

`make endurance` kills each stage 20 times, by itself and through train.py; `make test` kills one once.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwr.config import ROOT
from tests.endurance import killing
from tests.smoke import PINNED, Smoke, script

KILLS = int(os.environ.get("HWR_KILLS", "1"))
THROUGH_SCRIPT = {
    "line": ["phases.ctc.epochs=2", "phases.plain.epochs=1"],
    "paragraph": ["phases.mse.epochs=3", "phases.iou.epochs=2"],
    "segmentation": ["phases.multibox.epochs=4"],
    "denoiser": ["phases.text.epochs=4"],
}


def _one_of(stages: Iterable[str]) -> list[Any]:
    """Return the stages as cases; all but the line's are left to `make endurance`."""
    return [pytest.param(stage, marks=[] if stage == "line" else pytest.mark.endurance) for stage in stages]


@pytest.mark.parametrize("stage", killing.STAGES)
def test_small_training_of_every_stage_is_made(
    stage: str,
) -> None:  # most of them train in `make endurance` alone
    assert killing.made_for(stage).network


@pytest.mark.slow
@pytest.mark.parametrize("stage", _one_of(killing.STAGES))
def test_killed_training_ends_with_the_same_bits_and_metrics_when_resumed(stage: str, tmp_path: Path) -> None:
    seconds = killing.finished(stage, tmp_path / "whole")
    whole = killing.ended(tmp_path / "whole")
    assert [step for step, _ in whole.metrics] == list(range(1, len(whole.metrics) + 1))
    generator = np.random.default_rng()  # any moment: what fails once is a defect
    kills = trial = writing = 0
    while kills < KILLS:
        trial += 1
        folder = tmp_path / f"killed{trial}"
        while killing.killed(killing.start(stage, folder), float(generator.uniform(0, seconds))):
            kills += 1
            writing += bool(list((folder / killing.STATE).glob(".*")))
        assert killing.ended(folder) == whole
    print(f"{stage}: {kills} kills of {trial} trainings, {writing} while a state was written")


@pytest.mark.slow
@pytest.mark.parametrize("stage", _one_of(THROUGH_SCRIPT))
def test_killed_script_ends_with_the_same_bits_and_metrics_when_the_last_run_is_resumed(
    stage: str, tmp_path: Path
) -> None:
    command = [f"experiments={stage}/smoke", *THROUGH_SCRIPT[stage]]
    begun = time.monotonic()
    assert script("train.py", *command, f"folder={tmp_path / 'whole'}").returncode == 0
    seconds, whole = time.monotonic() - begun, _ended(tmp_path / "whole")
    generator = np.random.default_rng()
    kills = trial = 0
    while kills < KILLS:
        trial += 1
        cut = tmp_path / f"cut{trial}"
        _kill_within_an_epoch(_started(cut, *command, "save_every=1e-4"), cut)
        kills += 1
        while kills < KILLS and killing.killed(
            _started(cut, "resume=last"), float(generator.uniform(0, seconds))
        ):
            kills += 1
        done = script("train.py", "resume=last", f"folder={cut}")
        assert done.returncode == 0, done.stderr
        assert "resume: on from epoch " in done.stdout or "nothing is left to train" in done.stdout
        assert _ended(cut) == whole
    print(f"{stage}: {kills} kills of {trial} runs of train.py")


def _started(folder: Path, *command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *command, f"folder={folder}"],
        env={**os.environ, **PINNED},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _kill_within_an_epoch(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Kill a training once a state within its second epoch or a later one is kept."""
    deadline = time.monotonic() + 100
    while not any(_is_within_an_epoch(path) for path in folder.glob("runs/*/state/*.json")):
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()


def _is_within_an_epoch(state: Path) -> bool:
    try:
        text = state.read_text(encoding="utf-8")
    except FileNotFoundError:  # dropped meanwhile
        return False
    return '"epoch": 0' not in text and '"step": 0' not in text


def _ended(folder: Path) -> dict[str, object]:
    """Return the digests of a run's weights, and (epoch, value) of its metrics but times, as recorded."""
    (place,) = (folder / "runs").iterdir()
    manifests = {path.parent.name: path.read_text("utf-8") for path in place.glob("weights/*/manifest.json")}
    found: dict[str, object] = {
        name: json.loads(text)["sha256"]["network.params"] for name, text in manifests.items()
    }
    client = Smoke(folder, place.name).store.client
    for metric in client.get_run(place.name).data.metrics:
        if not metric.startswith("time/"):
            history = client.get_metric_history(place.name, metric)
            found[metric] = sorted((one.step, one.value) for one in history)
    return found

"""The smoke experiment as a user runs it, and the comparison with the numbers recorded beside it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hwr import runtime
from hwr.config import ROOT
from hwr.tracking import Store

RESULT = ROOT / "experiments" / "line" / "smoke" / "result.json"
# Bits depend on these: fixed, so that more machines share them.
PINNED = {"OMP_NUM_THREADS": "2", "DNNL_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}
PACKAGES = ("mxnet", "numpy", "opencv-python-headless", "pillow", "albumentations")
# Where anything of that differs, rounding does, and a training amplifies it.
LOSS_TOLERANCE = 0.05  # of the first epoch's loss, relative
CER_TOLERANCE = 0.15  # of the best and the test error rate, absolute


@dataclass(frozen=True)
class Smoke:
    """A finished run of the experiment: its output folder, its id, and what it printed."""

    folder: Path
    run: str
    said: str

    @property
    def place(self) -> Path:
        """The run's own folder."""
        return self.folder / "runs" / self.run

    @property
    def weights(self) -> Path:
        """The best weights."""
        return self.place / "weights" / "best"

    @property
    def data(self) -> list[str]:
        """The data of the run as overrides, for evaluations and inspections of the same pages."""
        node = OmegaConf.load(self.place / "config.yaml").data
        flat = [
            f"data.{key}={_written(value)}" for key, value in node.items() if key not in ("source", "exclude")
        ]
        return [f"data={node.source}", *flat]

    def history(self, metric: str) -> list[float]:
        """Return a metric's values, one an epoch, to the bit."""
        found = self.store.client.get_metric_history(self.run, metric)
        return [one.value for one in sorted(found, key=lambda one: one.step)]

    @property
    def store(self) -> Store:
        """The store that holds the run."""
        return Store(f"sqlite:///{self.folder}/mlflow.db", "0")


def script(
    name: str, *arguments: str, environment: Mapping[str, str] = PINNED
) -> subprocess.CompletedProcess[str]:
    """Run one of the scripts in a process of its own, as a user does."""
    return subprocess.run(
        [sys.executable, str(ROOT / name), *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def train(folder: Path, *overrides: str) -> Smoke:
    """Train the experiment into `folder`."""
    done = script("train.py", "experiments=line/smoke", f"folder={folder}", *overrides)
    assert done.returncode == 0, done.stderr
    (run,) = (place.name for place in (folder / "runs").iterdir())
    return Smoke(folder, run, done.stdout)


def evaluate(smoke: Smoke, output: Path) -> str:
    """Score the best weights on the test split, into `output`; return what was printed."""
    places = [f"weights.line={smoke.weights}", f"output={output}", f"folder={smoke.folder}"]
    done = script("evaluate.py", *places, *smoke.data)
    assert done.returncode == 0, done.stderr
    return done.stdout


def result(smoke: Smoke, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is recorded of a run and of the scores of its weights."""
    manifest = json.loads((smoke.weights / "manifest.json").read_text(encoding="utf-8"))
    return {
        "command": "python train.py experiments=line/smoke",
        "environment": _environment(),
        "data_fingerprint": manifest["about"]["data_fingerprint"],
        "weights_sha256": manifest["sha256"]["network.params"],
        "train/loss": smoke.history("train/loss"),
        "valid/cer": smoke.history("valid/cer"),
        "test": {key: scores[key] for key in ("lines", "cer", "wer", "characters", "words")},
    }


def differences(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return what differs: any bit in the recorded environment, elsewhere what is beyond the tolerances."""
    if recorded["environment"] == found["environment"]:
        return [
            f"{key}: {found[key]}, recorded {recorded[key]}"
            for key in recorded
            if found[key] != recorded[key]
        ]
    first, before = found["train/loss"][0], recorded["train/loss"][0]
    wrong = [f"first loss {first}, recorded {before}"] * (abs(first - before) > LOSS_TOLERANCE * before)
    for name in ("valid/cer", "test"):
        rate, before = (
            min(one[name]) if name == "valid/cer" else one[name]["cer"] for one in (found, recorded)
        )
        wrong += [f"{name} {rate}, recorded {before}"] * (abs(rate - before) > CER_TOLERANCE)
    return wrong


def _environment() -> dict[str, str]:
    """Return what the bits depend on besides the code."""
    described = runtime.describe()
    own = {key: described[key] for key in ("processor", "instruction_set")}
    return {**own, **PINNED, **{name: metadata.version(name) for name in PACKAGES}}


def _written(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value}'"
    plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return json.dumps(plain).replace('"', "")

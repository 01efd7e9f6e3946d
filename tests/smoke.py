"""The smoke experiment of stage line as a user runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hwr.config.locations import ROOT
from hwr.runtime import PINNED
from hwr.tracking import Store


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
    return _run([str(ROOT / name), *arguments], environment, timeout_s=300)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run python -m hwr in a process of its own."""
    return _run(["-m", "hwr", *arguments], {}, timeout_s=1800)


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


def _run(
    arguments: list[str], environment: Mapping[str, str], *, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def _written(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value}'"
    plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return json.dumps(plain).replace('"', "")

"""The smoke experiments, each trained once for all tests, and the scripts as a user runs them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hwr.config import ROOT
from hwr.runtime import PINNED
from hwr.tracking import Store


@dataclass(frozen=True)
class Smoke:
    """A run of an experiment: its output folder, its id, and how holding it to its record ended."""

    folder: Path
    run: str
    held: "subprocess.CompletedProcess[str] | None" = None

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
    return module("hwr", *arguments)


def module(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module in a process of its own, with what results depend on pinned."""
    return _run(["-m", name, *arguments], PINNED, timeout_s=1800)


def train(name: str, folder: Path) -> Smoke:
    """Train an experiment into `folder`, and hold it to its recorded curve; HWR_RECORD=1 records it anew.

    What differs from the record is told by `held`, and fails nothing here.
    """
    record = ["--record", f"experiments/{name}/result.json"] if os.environ.get("HWR_RECORD") else ["--train"]
    held = command("reproduce", name, *record, f"folder={folder}")
    trained = list(folder.glob("runs/*/config.yaml"))
    assert len(trained) == 1, held.stdout + held.stderr
    return Smoke(folder, trained[0].parent.name, held)


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

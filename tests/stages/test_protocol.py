"""Mypy refuses a stage that lacks what the trainer asks of it, before anything is trained."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hwr.config import ROOT

WHOLE = """
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hwr.training.loop import Stage
from hwr.training.loop import Phase


@dataclass(frozen=True)
class Samples:
    ids: Sequence[str]


class Whole:
    network: Any = None
    metrics: Sequence[str] = ("valid/error",)

    def steps(self) -> int:
        return 1

    def batches(self, phase: Phase, epoch: int, *, start: int) -> Iterator[Samples]:
        yield Samples(["one"])

    def loss(self, phase: Phase, batch: Samples) -> Any:
        return None

    def validate(self) -> dict[str, float]:
        return {"valid/error": 0.0}


stage: Stage[Samples] = Whole()
"""
VALIDATE = """
    def validate(self) -> dict[str, float]:
        return {"valid/error": 0.0}
"""


@pytest.mark.slow
def test_stage_without_a_method_of_the_trainer_is_refused_by_mypy(tmp_path: Path) -> None:
    assert VALIDATE in WHOLE
    (tmp_path / "whole.py").write_text(WHOLE, encoding="utf-8")
    (tmp_path / "lacking.py").write_text(WHOLE.replace(VALIDATE, ""), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [*command, "--cache-dir", str(tmp_path / "cache"), "whole.py", "lacking.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert done.returncode == 1, done.stdout + done.stderr
    assert [line.partition(":")[0] for line in errors] == ["lacking.py"]
    assert "validate" in done.stdout

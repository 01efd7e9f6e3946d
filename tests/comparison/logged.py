"""Runs as trainings and evaluations log them, made of texts alone."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hwr import pictures, tracking
from hwr.comparison.compared import ComparedRun
from hwr.config.compose import composed
from hwr.config.roots import CompareConfig, Resampling, Scorer
from hwr.scoring import report
from hwr.scoring.report import Texts, score_texts
from hwr.tracking import Store

HOW = Resampling(resamples=400, seed=0)
IN_PROCESS = Scorer(name="edit_distance", command=None, timeout_s=60)
TRUTH = {f"p{n // 2}/l{n % 2}": f"line number {n} of all" for n in range(16)}
WRITERS = {line: line.partition("/")[0] for line in TRUTH}  # eight, of two lines each


@dataclass(frozen=True)
class Logged:
    """A run: what it read, and what it was made with."""

    name: str
    read: Mapping[str, str]
    truth: Mapping[str, str] = field(default_factory=lambda: TRUTH)
    writers: Mapping[str, str] = field(default_factory=lambda: WRITERS)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    pictures: bool = True
    evaluated: bool = True
    of: str = ""  # the training whose weights were evaluated, where the evaluation is a run of its own


def misread(count: int, truth: Mapping[str, str] = TRUTH) -> dict[str, str]:
    """Return the true texts, of which so many lines, the first ones, have a wrong first letter."""
    return {line: ("X" + text[1:] if n < count else text) for n, (line, text) in enumerate(truth.items())}


def log(store: Store, run: Logged) -> str:
    """Log a run as a training does, and its evaluation, or one of these; return its id."""
    tags = {"stage": "line", "data_fingerprint": "d0" * 32}
    if run.of:
        tags = {tracking.WEIGHTS_RUN: run.of, tracking.PARENT: run.of}
    with (
        tracking.start_run(store, run.name, tags=tags) as current,
        tempfile.TemporaryDirectory() as place,
    ):
        if run.of:
            evaluated(run, Path(place))
            current.folder("evaluation/test", Path(place))
            return current.id
        current.parameters({"lr": 0.001, "data": {"source": "alto", "root": "DATA"}, **run.parameters})
        current.metrics({"valid/cer": 0.5, "best/valid/cer": 0.25, "test/cer": 0.125}, 3)
        current.json("environment.json", {"threads": "2", **run.environment})
        current.json("data/inspection.json", {"splits": {"train": {"lines": 9}}})
        if run.evaluated:
            evaluated(run, Path(place))
            current.folder("evaluation/test", Path(place))
    return current.id


def evaluated(run: Logged, output: Path) -> None:
    """Write what evaluate.py does."""
    origin = {"data_fingerprint": "f0" * 32, "weights_sha256": "a1" * 32}
    about = {"target": "line", "split": "test", **origin, **run.about}
    score_texts(Texts(run.truth, run.read, run.writers, {}), IN_PROCESS, HOW, output=output, about=about)
    if run.about:  # what a scorer says itself
        scores = json.loads((output / "scores.json").read_text(encoding="utf-8"))
        (output / "scores.json").write_text(json.dumps({**scores, **run.about}), encoding="utf-8")
    if run.pictures:
        images = (np.full((24, 100), 10 * n, np.uint8) for n in range(len(run.read)))
        pictures.save_lines(output / pictures.LINE_ARCHIVE, images, height=24)


def recorded(run: Logged, label: str, folder: Path) -> ComparedRun:
    """Return a run as if it had been fetched to `folder`."""
    evaluated(run, folder)
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    lines = {line.id: line for line in report.read_lines(folder / report.LINES)}
    return ComparedRun(
        label=label, id=label.lower() * 32, name=run.name, started="2024-01-01 00:00 UTC",
        parameters=tracking.flatten(run.parameters), metrics={"test/cer": scores["cer"]},
        tags={"data_fingerprint": "d0" * 32}, environment=tracking.flatten(run.environment), data={},
        scores=scores, lines=lines, line_pictures=folder / pictures.LINE_ARCHIVE if run.pictures else None,
    )  # fmt: skip


def configuration(*overrides: str) -> CompareConfig:
    """Return conf/compare.yaml with little resampling, counted in process."""
    settings = ["scorer=edit_distance", "resampling.resamples=400", *overrides]
    made: CompareConfig = composed("compare", settings, CompareConfig).root
    return made

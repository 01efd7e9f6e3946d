"""Processes that each log a run to the same store, at once: forks of one that has imported MLflow.

python -m tests.endurance.writing URI FOLDER WRITERS STEPS
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from hwr import runtime

METRICS = ("train/loss", "train/lr", "valid/cer", "valid/wer")
PARAMETERS, STEP_S, WEIGHTS, LINES = 100, 0.1, 1_000_000, 200


@dataclass
class Written:
    """What a writer logged, and the longest that a call of each kind took: `slowest_s`."""

    run: str = ""
    seconds: float = 0.0
    waiting: int = 0
    slowest_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Time a call."""
        begun = time.monotonic()
        yield
        self.slowest_s[kind] = max(self.slowest_s.get(kind, 0.0), time.monotonic() - begun)


def value(writer: int, metric: str, step: int) -> float:
    """Return a value that no other writer, metric and step has."""
    return writer + METRICS.index(metric) / 8 + step / 8192


def parameters(writer: int) -> dict[str, str]:
    """Return what a writer logs as parameters."""
    return {f"group.key{number}": f"{writer}/{number}" for number in range(PARAMETERS)}


def weights(writer: int) -> bytes:
    """Return what a writer logs as weights."""
    return np.random.default_rng(writer).bytes(WEIGHTS)


def lines(writer: int) -> list[dict[str, str]]:
    """Return what a writer logs as a table."""
    return [{"id": f"{writer}-{line}", "text": f"line {line}"} for line in range(LINES)]


def _write(uri: str, folder: Path, writer: int, steps: int) -> Written:
    from hwr import tracking

    begun, written = time.monotonic(), Written()
    place = folder / f"weights{writer}"
    place.mkdir()
    (place / "network.params").write_bytes(weights(writer))
    with written.timed("start"):
        store = tracking.open_store(uri, folder, folder.name)
    with tracking.start_run(store, f"writer {writer}", tags={"writer": str(writer)}) as run:
        written.run = run.id
        with written.timed("settings"):
            run.parameters(parameters(writer))
            run.tags({"stage": "line", "state": "trains"})
        with written.timed("data"):  # the same data set for all
            run.inputs("drawn", "0" * 64, context="training", root=None, profile={"pages": 1})
        for step in range(1, steps + 1):
            time.sleep(STEP_S)
            with written.timed("metrics"):
                run.metrics({name: value(writer, name, step) for name in METRICS}, step)
            if step == steps // 2:
                with written.timed("files"):
                    run.table("lines.json", lines(writer))
                    run.picture("pictures/dot.png", np.zeros((2, 3), np.uint8))
        with written.timed("files"):
            run.folder("weights", place)
        ending = time.monotonic()
    written.slowest_s["end"] = time.monotonic() - ending
    written.seconds, written.waiting = time.monotonic() - begun, len(run.spool.waiting())
    return written


def _main(uri: str, folder: Path, writers: int, steps: int) -> None:
    runtime.start()
    import hwr.tracking  # noqa: F401

    children = []
    for writer in range(writers):
        child = os.fork()
        if child == 0:
            try:
                text = json.dumps(asdict(_write(uri, folder, writer, steps)))
                (folder / f"writer{writer}.json").write_text(text, encoding="utf-8")
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    failures = sum(os.waitpid(child, 0)[1] != 0 for child in children)
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

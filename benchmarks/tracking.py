"""What tracking costs a training: `python benchmarks/tracking.py [tracking.uri=URI]`.

Trains experiments/line/smoke and prints, for each epoch, how long the training waits in calls of tracking,
and how long the thread that delivers works on a processor meanwhile, beside the time that the epoch takes.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from hwr.config.compose import composed
from hwr.config.roots import TrainConfig
from hwr.runs import train
from hwr.tracking import Run
from hwr.tracking.delivery import Delivery


class Clock:
    """Adds up how long calls take, by `now`."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.seconds, self.calls = now, 0.0, 0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return `call` with this clock around it."""

        def timed(*arguments: Any) -> Any:
            start = self.now()
            try:
                return call(*arguments)
            finally:
                self.seconds += self.now() - start
                self.calls += 1

        return timed


def main(overrides: list[str]) -> None:
    """Train, and print a line for each share."""
    waits, works, ends = Clock(time.monotonic), Clock(time.thread_time), Clock(time.monotonic)
    epochs: list[float] = []
    Run.metrics = _noting(epochs, waits.around(Run.metrics))  # type: ignore[method-assign]
    Delivery.__call__ = works.around(Delivery.__call__)  # type: ignore[method-assign]
    Run.end = ends.around(Run.end)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        train.train_stage(
            composed("train", ["experiments=line/smoke", f"folder={folder}", *overrides], TrainConfig)
        )
    epoch_s = epochs[-1] / len(epochs)
    print(f"\n{len(epochs)} epochs of {1000 * epoch_s:.0f} ms")
    for name, clock in (("the training waits", waits), ("the delivering thread works", works)):
        share = clock.seconds / len(epochs)
        print(f"{name}: {1000 * share:.2f} ms an epoch, {100 * share / epoch_s:.2f} % ({clock.calls} calls)")
    print(f"the end of the run: {ends.seconds:.2f} s")


def _noting(epochs: list[float], metrics: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the seconds that the training says it took."""

    def noted(run: Run, values: dict[str, float], step: int) -> None:
        if "time/minutes" in values:
            epochs.append(60 * values["time/minutes"])
        metrics(run, values, step)

    return noted


if __name__ == "__main__":
    main(sys.argv[1:])

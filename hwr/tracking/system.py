"""The load of the machine during a training, as MLflow's system metrics."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import psutil
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from hwr.tracking.runs import Run

PREFIX = "system/"  # MLflow shows what begins so in a tab of its own


class SystemMetrics:
    """Logs processor, memory, disk and network of the machine every `seconds`, when it is called after that.

    A continued run counts its steps on. What the system does not tell is left out.
    """

    def __init__(self, run: Run, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._seconds, self._clock = run, seconds, clock
        monitors = (CPUMonitor, DiskMonitor, NetworkMonitor)
        self._monitors: list[Any] = [monitor() for monitor in monitors]  # MLflow gives them no types
        self._step = max(run.recorded(f"{PREFIX}cpu_utilization_percentage"), default=-1) + 1
        self._due = clock() + seconds

    def __call__(self) -> None:
        """Log the load since the last time, if it is time."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + self._seconds
        values: dict[str, float] = {}
        for monitor in self._monitors:
            with contextlib.suppress(OSError, psutil.Error):
                monitor.collect_metrics()
                values |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        self._run.metrics({PREFIX + name: value for name, value in values.items()}, self._step)
        self._step += 1

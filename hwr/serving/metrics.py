"""Counts of what a server did, as Prometheus reads them."""

import threading
from collections import Counter
from collections.abc import Mapping

import psutil

# What each is, and how it counts. Text format: https://prometheus.io/docs/instrumenting/exposition_formats/
_KNOWN = {
    "hwr_requests_total": ("counter", "Requests answered, by route and status."),
    "hwr_pages_total": ("counter", "Pages read."),
    "hwr_lines_total": ("counter", "Lines read."),
    "hwr_reading_seconds_sum": (
        "counter",
        "Seconds from the end of an upload to what was read on it, in all.",
    ),
    "hwr_reading_seconds_count": ("counter", "Uploads of which something was read."),
    "hwr_queue": ("gauge", "Requests that wait or are being read."),
    "hwr_queue_limit": ("gauge", "Requests from which on one more is answered 429."),
    "hwr_pages_unread": ("gauge", "Pages of the folder that are not read yet."),
    "process_resident_memory_bytes": ("gauge", "Memory of the server."),
}


class Metrics:
    """Counters that any thread may raise."""

    def __init__(self) -> None:
        self._lock, self._counts = threading.Lock(), Counter[str]()

    def count(self, name: str, by: float = 1, **labels: object) -> None:
        """Raise a counter."""
        values = ",".join(f'{key}="{value}"' for key, value in labels.items())
        with self._lock:
            self._counts[f"{name}{{{values}}}" if values else name] += by  # type: ignore[assignment]

    def mean(self, name: str) -> float:
        """Return NAME_sum / NAME_count, 0 without any."""
        return self._counts[f"{name}_sum"] / max(1, self._counts[f"{name}_count"])

    def text(self, gauges: Mapping[str, float]) -> str:
        """Return all counters and `gauges`, and the memory of this process."""
        with self._lock:
            values: dict[str, float] = {**self._counts, **gauges}
        values["process_resident_memory_bytes"] = psutil.Process().memory_info().rss
        lines = []
        for name, (kind, meaning) in _KNOWN.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
            own = sorted(key for key in values if key.partition("{")[0] == name)
            lines += [f"{key} {values[key]:g}" if kind == "gauge" and "bytes" not in key else
                      f"{key} {values[key]:.10g}" for key in own]  # fmt: skip
        return "\n".join(lines) + "\n"

"""Rank the jobs of a sweep or a search: the best job, and a table of all. Imports no tracking."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwr.scoring.significance import mean_interval
from hwr.tables import csv_table, markdown_table
from hwr.text import shortened

FINISHED = "FINISHED"
PRUNED, DIVERGED = "pruned", "diverged"  # states of jobs that gave an answer, though not the usual one
LONGEST_NAME = 200


@dataclass(frozen=True)
class SweepJob:
    """A training of a sweep: run, `swept` keys with values, lowest `monitor`, and how it ended.

    `value` is None before the first epoch ends, `state` more about an end (pruned, diverged) or empty.
    """

    id: str
    status: str
    swept: Mapping[str, Any]
    monitor: str
    value: float | None
    state: str = ""
    error: str = ""

    @property
    def complete(self) -> bool:
        """Tell whether the training went to its end."""
        return self.status == FINISHED and not self.state and self.value is not None


@dataclass(frozen=True)
class Repeated:
    """Trainings that differ in their seed alone: what else they sweep, and their `values` of `monitor`."""

    swept: Mapping[str, Any]
    monitor: str
    values: Sequence[float]

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return statistics.fmean(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the mean."""
        return mean_interval(self.values)


def repeated(jobs: Sequence[SweepJob]) -> list[Repeated]:
    """Return the groups of complete jobs that differ in their seed alone, of two or more, by rising mean.

    Groups with another monitor come behind.
    """
    values: dict[tuple[str, str], list[SweepJob]] = {}
    for job in jobs:
        if job.complete and "seed" in job.swept:
            values.setdefault((job.monitor, named(without_seed(job.swept))), []).append(job)
    groups = [
        Repeated(without_seed(own[0].swept), monitor, [job.value or 0.0 for job in own])
        for (monitor, _), own in values.items()
        if len(own) > 1
    ]
    monitors = _monitors(jobs)
    return sorted(groups, key=lambda group: (monitors.index(group.monitor), group.mean))


def repeated_markdown(groups: Sequence[Repeated], keys: Sequence[str]) -> str:
    """Return groups as a Markdown table, with a column for each of the swept `keys` but the seed."""
    others = [key for key in keys if key != "seed"]
    rows = [
        [*(_text(group.swept.get(key, "")) for key in others), group.monitor, str(len(group.values)),
         f"{group.mean:.4f}", " to ".join(f"{end:.4f}" for end in group.interval)]
        for group in groups
    ]  # fmt: skip
    return markdown_table([*others, "error", "seeds", "mean", "95 % interval"], rows) + "\n" if rows else ""


def without_seed(swept: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is swept besides the seed."""
    return {key: value for key, value in swept.items() if key != "seed"}


def ranked(jobs: Sequence[SweepJob]) -> list[SweepJob]:
    """Return the complete jobs by rising value, then the others alike; ties keep their order.

    Jobs with another monitor are ranked by themselves, behind.
    """

    def rank(job: SweepJob) -> tuple[int, bool, float]:
        return _group(job, jobs), not job.complete, math.inf if job.value is None else job.value

    return sorted(jobs, key=rank)


def bests(jobs: Sequence[SweepJob]) -> dict[str, SweepJob]:
    """Return the complete job of the lowest value for each monitor that has one."""
    found: dict[str, SweepJob] = {}
    for job in ranked(jobs):
        if job.complete:
            found.setdefault(job.monitor, job)
    return found


def named(swept: Mapping[str, Any]) -> str:
    """Return a short name of what was swept: `lr=0.0003 augmentation.shift_x=0.1`."""
    return shortened(" ".join(f"{key}={_short(value)}" for key, value in swept.items()), LONGEST_NAME)


def jobs_csv(jobs: Sequence[SweepJob], keys: Sequence[str]) -> str:
    """Return the jobs as CSV in the order of `ranked`, with a column for each of the swept `keys`."""
    return csv_table(*_table(jobs, keys))


def jobs_markdown(jobs: Sequence[SweepJob], keys: Sequence[str]) -> str:
    """Return the same as a Markdown table; errors are left out where there are none."""
    head, rows = _table(jobs, keys)
    width = len(head) if any(row[-1] for row in rows) else len(head) - 1
    return markdown_table(head[:width], [row[:width] for row in rows]) + "\n"


def _table(jobs: Sequence[SweepJob], keys: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    monitors = _monitors(jobs)
    several = len(monitors) > 1
    ranks: Counter[int] = Counter()
    rows = []
    for job in ranked(jobs):
        ranks[_group(job, jobs)] += 1
        swept = [_text(job.swept[key]) if key in job.swept else "" for key in keys]
        value = "" if job.value is None else repr(job.value)
        own = [*swept, *([job.monitor] if several else []), value, job.state or job.status, job.id, job.error]
        rows.append([str(ranks[_group(job, jobs)]), *own])
    values = ["monitor", "best"] if several else [f"best/{monitors[0]}" if monitors else "best"]
    return ["rank", *keys, *values, "status", "run", "error"], rows


def _monitors(jobs: Sequence[SweepJob]) -> list[str]:
    return list(dict.fromkeys(job.monitor for job in jobs if job.monitor))


def _group(job: SweepJob, jobs: Sequence[SweepJob]) -> int:
    """Return which monitor a job has; one that failed before it had any goes with the last."""
    monitors = _monitors(jobs)
    return monitors.index(job.monitor) if job.monitor else max(0, len(monitors) - 1)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) and len(repr(value)) > 8 else _text(value)

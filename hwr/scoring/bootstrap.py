"""Percentile bootstrap intervals of an error rate, and macro averages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwr.scoring.counts import Counts

CONFIDENCE = 0.95  # the share of intervals that hold the true rate


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How an interval is drawn: that many resamples, from a seed."""

    resamples: int
    seed: int


def interval(units: Sequence[Counts], how: Resampling) -> tuple[float, float] | None:
    """Return the 95 % interval of the pooled rate, drawing `units` with replacement; None for fewer than two.

    Give lines, or one summed count a writer: lines of one writer err alike, and drawing them one by one makes
    the interval too narrow (cluster bootstrap: Field and Welsh, 2007). The percentile method is chapter 13 of
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993.
    """
    if len(units) < 2:
        return None
    errors = np.array([unit.errors for unit in units])  # (U,)
    reference = np.array([unit.reference for unit in units])  # (U,)
    generator = np.random.default_rng(how.seed)
    rates = np.empty(how.resamples)
    for number in range(how.resamples):
        draw = generator.integers(len(units), size=len(units))
        rates[number] = errors[draw].sum() / max(reference[draw].sum(), 1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(rates, [tail, 1 - tail])
    return float(low), float(high)


def by_cluster(lines: Mapping[str, Counts], clusters: Mapping[str, str]) -> dict[str, Counts]:
    """Return the counts of every cluster (writer, group), summed over its lines, in order of appearance."""
    sums: dict[str, Counts] = {}
    for line, counts in lines.items():
        sums[clusters[line]] = sums.get(clusters[line], Counts()) + counts
    return sums


def macro(units: Iterable[Counts]) -> float:
    """Return the mean of the units' own rates: every line or writer weighs the same, however short."""
    return float(np.mean([unit.rate for unit in units]))

"""Percentile bootstrap intervals of an error rate and of the difference of two, and macro averages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwr.scoring.counts import Counts

CONFIDENCE = 0.95  # the share of intervals that hold the true rate
_DRAWN = 1 << 20  # units drawn at once, 8 MiB: few calls of NumPy, little memory

Interval = tuple[float, float]
Rates = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How an interval is drawn: that many resamples, from a seed."""

    resamples: int
    seed: int


def interval(units: Sequence[Counts], how: Resampling) -> Interval | None:
    """Return the 95 % interval of the pooled rate, drawing `units` with replacement; None for fewer than two.

    Give lines, or one summed count a writer: lines of one writer err alike, and drawing them one by one makes
    the interval too narrow (cluster bootstrap: Field and Welsh, 2007). The percentile method is chapter 13 of
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993.
    """
    if len(units) < 2:
        return None
    (rates,) = _resampled([units], how)
    return middle(rates)


def difference(units: Sequence[Counts], base: Sequence[Counts], how: Resampling) -> Interval | None:
    """Return the 95 % interval of the pooled rate of `units` less that of `base`; None for fewer than two."""
    found = differences(units, base, how)
    return None if found is None else middle(found)


def differences(units: Sequence[Counts], base: Sequence[Counts], how: Resampling) -> Rates | None:
    """Return the pooled rate of `units` less that of `base` in every resample, (R,); None for fewer than two.

    Both count the same lines or writers, in one order, and every resample draws the same of both: how hard
    what it draws is to read then cancels out (paired bootstrap: Bisani and Ney, 2004).
    """
    if len(units) != len(base):
        raise ValueError(f"{len(units)} and {len(base)} units are no pairs")
    if len(units) < 2:
        return None
    own, other = _resampled([units, base], how)
    return own - other


def middle(rates: Rates) -> Interval:
    """Return the ends of the middle 95 % of `rates` (R,)."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(rates, [tail, 1 - tail])
    return float(low), float(high)


def drawn(lines: Mapping[str, Counts], writers: Mapping[str, str]) -> list[Counts]:
    """Return what is drawn: a count a writer where every line has one and they are several, else the lines.

    `writers` are by line id, "" where unknown.
    """
    known = all(writers.get(line) for line in lines)
    clusters = list(by_cluster(lines, writers).values()) if known else []
    return clusters if len(clusters) > 1 else list(lines.values())


def by_cluster(lines: Mapping[str, Counts], clusters: Mapping[str, str]) -> dict[str, Counts]:
    """Return the counts of every cluster (writer, group), summed over its lines, in order of appearance."""
    sums: dict[str, Counts] = {}
    for line, counts in lines.items():
        sums[clusters[line]] = sums.get(clusters[line], Counts()) + counts
    return sums


def macro(units: Iterable[Counts]) -> float:
    """Return the mean of the units' own rates: every line or writer weighs the same, however short."""
    return float(np.mean([unit.rate for unit in units]))


def _resampled(systems: Sequence[Sequence[Counts]], how: Resampling) -> list[Rates]:
    """Return the pooled rates (R,) of each system in every resample, which draws the same units of all."""
    errors = np.array([[unit.errors for unit in units] for units in systems])  # (S, U)
    reference = np.array([[unit.reference for unit in units] for units in systems])  # (S, U)
    generator = np.random.default_rng(how.seed)
    count = errors.shape[1]
    block = max(1, _DRAWN // count)
    rates = np.empty((len(systems), how.resamples))
    for start in range(0, how.resamples, block):
        draws = generator.integers(count, size=(min(block, how.resamples - start), count))  # (B, U)
        for own, wrong, long in zip(rates, errors, reference, strict=True):
            own[start : start + block] = wrong[draws].sum(axis=1) / np.maximum(long[draws].sum(axis=1), 1)
    return list(rates)

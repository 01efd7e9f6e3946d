"""Bootstrap intervals of error rates and of their differences, and significance tests.

A p-value is two-sided: the probability of a difference at least as large if both recognisers are equally
good.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from hwr.config.roots import Resampling
from hwr.scoring.edits import Counts, Pair

CONFIDENCE = 0.95  # the share of intervals that hold the true rate
BOUND = 2  # words in a row that both read well end a segment: as in SCTK's sc_stats
_DRAWN = 1 << 20  # units drawn at once, 8 MiB: few calls of NumPy, little memory

Interval = tuple[float, float]
Errors = tuple[int, int]  # of either recogniser
_Rates = NDArray[np.float64]


@dataclass(frozen=True)
class MatchedPairs:
    """The outcome of MAPSSWE: how many segments hold an error, and z, positive where the first errs more."""

    segments: int
    z: float

    @property
    def p(self) -> float:
        """The two-sided p-value: z is normal where the two are alike and segments are many."""
        return math.erfc(abs(self.z) / math.sqrt(2))


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the 95 % confidence interval of the mean of two or more values, by Student's t."""
    count, mean = len(values), statistics.fmean(values)
    quantile = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2))
    half = quantile * statistics.stdev(values) / math.sqrt(count)
    return mean - half, mean + half


def rate_interval(units: Sequence[Counts], how: Resampling) -> Interval | None:
    """Return the 95 % interval of the pooled rate, drawing `units` with replacement; None for fewer than two.

    Give lines, or one summed count a writer: errors of one writer's lines are correlated, and drawing lines
    one by one makes the interval too narrow (cluster bootstrap: Field and Welsh, 2007). The percentile method
    is chapter 13 of Efron and Tibshirani, An Introduction to the Bootstrap, 1993.
    """
    return _middle(_resampled_rates([units], how)[0]) if len(units) > 1 else None


def bootstrap_test(
    first: Sequence[Counts], second: Sequence[Counts], how: Resampling
) -> tuple[Interval | None, float]:
    """Return the 95 % interval of the pooled rate of `second` less that of `first`, and a p-value.

    Both count the same lines or writers, in one order, and every resample draws the same of both, so that
    their difficulty cancels out (paired bootstrap: Bisani and Ney, 2004). The p-value is twice the share of
    resamples on the rarer side of zero, one added to both counts so that it is never 0 (Efron and Tibshirani,
    1993, chapter 15.4). Fewer than two units have no interval, and p is 1.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(second)} and {len(first)} units are no pairs")
    if len(first) < 2:
        return None, 1.0
    other, own = _resampled_rates([first, second], how)
    differences = own - other  # (R,)
    rarer = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return _middle(differences), min(1.0, 2 * (int(rarer) + 1) / (len(differences) + 1))


def units_to_draw(lines: Mapping[str, Counts], writers: Mapping[str, str]) -> list[Counts]:
    """Return what a bootstrap draws: a count a writer where all are known and several, else the lines."""
    known = all(writers.get(line) for line in lines)
    clusters = list(sum_by_cluster(lines, writers).values()) if known else []
    return clusters if len(clusters) > 1 else list(lines.values())


def sum_by_cluster(lines: Mapping[str, Counts], clusters: Mapping[str, str]) -> dict[str, Counts]:
    """Return the counts of every cluster (writer, group), summed over its lines, in order of appearance."""
    members: dict[str, list[Counts]] = {}
    for line, counts in lines.items():
        members.setdefault(clusters[line], []).append(counts)
    return {cluster: Counts.total(own) for cluster, own in members.items()}


def macro_rate(units: Iterable[Counts]) -> float:
    """Return the mean of the units' own rates: every line or writer has the same weight."""
    return float(np.mean([unit.rate for unit in units]))


def permutation_p(first: Sequence[int], second: Sequence[int]) -> float:
    """Return the p-value of the permutation test on paired errors, of lines or of writers.

    Under the null hypothesis each pair may be swapped. p is the share of all 2^n ways of swapping whose
    summed errors differ by at least as much, counted exactly for any n (Pitman, 1937; exact for whole numbers
    by the network of Pagano and Tritchler, 1983). SciPy's lists the ways, or draws them.
    """
    changes = [a - b for a, b in zip(first, second, strict=True) if a != b]
    total, seen = sum(map(abs, changes)), abs(sum(changes))
    chances = np.zeros(total + 1)  # of the changes that go up to sum to so much
    chances[0] = 1.0
    reached = 0
    for size in map(abs, changes):
        reached += size
        without = chances[: reached + 1] / 2
        with_it = np.zeros(reached + 1)
        with_it[size:] = without[: reached + 1 - size]
        chances[: reached + 1] = without + with_it
    return min(1.0, 2 * float(chances[: (total - seen) // 2 + 1].sum()))


def mcnemar_p(first_alone: int, second_alone: int) -> float:
    """Return the p-value, given how many lines only the one and only the other read without an error.

    Exact: the smaller count is binomial with probability 1/2 (McNemar, 1947). SCTK's test of this name
    differs.
    """
    both = first_alone + second_alone
    tail = sum(math.comb(both, n) for n in range(min(first_alone, second_alone) + 1))
    return min(1.0, float(2 * tail / 2**both))


def matched_pairs(segments: Sequence[Errors]) -> MatchedPairs:
    """Return the matched-pairs test on the segments of all lines, MAPSSWE (Gillick and Cox, 1989).

    The mean difference of errors a segment over its standard error; 0 where all segments differ alike, as
    SCTK has it.
    """
    changes = [a - b for a, b in segments]
    spread = statistics.stdev(changes) if len(changes) > 1 else 0.0
    z = statistics.fmean(changes) / (spread / math.sqrt(len(changes))) if spread > 0 else 0.0
    return MatchedPairs(len(changes), z)


def error_segments(first: Sequence[Pair], second: Sequence[Pair]) -> list[Errors]:
    """Return the errors of either alignment of a line in each of its segments that holds one.

    Segments are bounded by at least BOUND words in a row that both read correctly, without insertions, or by
    the ends of the line, so that errors of different segments are nearly independent.
    """
    segments: list[Errors] = []
    errors, well = (0, 0), 0
    for (before_a, wrong_a), (before_b, wrong_b) in zip(_by_word(first), _by_word(second), strict=True):
        if before_a or before_b:
            errors, well = (errors[0] + before_a, errors[1] + before_b), 0
        if wrong_a or wrong_b:
            errors, well = (errors[0] + wrong_a, errors[1] + wrong_b), 0
        else:
            well += 1
        if well == BOUND and any(errors):
            segments.append(errors)
            errors = (0, 0)
    return [*segments, errors] if any(errors) else segments


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of several tests, adjusted to keep the family-wise error rate.

    Holm, A simple sequentially rejective multiple test procedure, 1979: the smallest times their number, the
    next times one less, and so on, none below one before it.
    """
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted


def _middle(rates: _Rates) -> Interval:
    """Return the ends of the middle 95 % of `rates` (R,)."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(rates, [tail, 1 - tail])
    return float(low), float(high)


def _resampled_rates(systems: Sequence[Sequence[Counts]], how: Resampling) -> list[_Rates]:
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


def _by_word(pairs: Sequence[Pair]) -> list[tuple[int, int]]:
    """Return for every true word, and for the end, how many are inserted before it, and 1 if it is wrong."""
    words = [[0, 0]]
    for reference, hypothesis in pairs:
        if reference is None:
            words[-1][0] += 1
        else:
            words[-1][1] = int(reference != hypothesis)
            words.append([0, 0])
    return [(before, wrong) for before, wrong in words]

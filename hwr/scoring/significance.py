"""Tests of whether two recognisers that read the same lines really differ: p-values, two-sided.

A p-value is the chance of a difference at least as large where the two are equally good.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwr.scoring import bootstrap
from hwr.scoring.bootstrap import Interval, Resampling
from hwr.scoring.counts import Counts
from hwr.scoring.edits import Pair

BOUND = 2  # words in a row that both read well end a segment: as in SCTK's sc_stats

Errors = tuple[int, int]  # of either recogniser


@dataclass(frozen=True)
class MatchedPairs:
    """The outcome of MAPSSWE: how many segments hold an error, and z, positive where the first errs more."""

    segments: int
    z: float

    @property
    def p(self) -> float:
        """The two-sided p-value: z is normal where the two are alike and segments are many."""
        return math.erfc(abs(self.z) / math.sqrt(2))


def sign_flips(first: Sequence[int], second: Sequence[int]) -> float:
    """Return the p-value of the permutation test on paired errors, of lines or of writers.

    Where the two are alike, each pair might as well be the other way round. Of all 2^n ways, it is the share
    whose errors differ in sum by at least as much: counted exactly, whatever n (Pitman, 1937; exact for whole
    numbers by the network of Pagano and Tritchler, 1983).
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


def resampled(
    first: Sequence[Counts], second: Sequence[Counts], how: Resampling
) -> tuple[Interval, float] | None:
    """Return the 95 % interval of the pooled rate of `second` less that of `first`, and a p-value.

    It is twice the share of resamples on the rarer side of zero, one added to both counts so that it is never
    0 (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 15.4). None for fewer than two.
    """
    found = bootstrap.differences(second, first, how)
    if found is None:
        return None
    rarer = min(np.count_nonzero(found <= 0), np.count_nonzero(found >= 0))
    return bootstrap.middle(found), min(1.0, 2 * (int(rarer) + 1) / (len(found) + 1))


def mcnemar(first_alone: int, second_alone: int) -> float:
    """Return the p-value for lines that one of the two alone read without an error, counted for either.

    Exact: the smaller count is binomial with chance 1/2 (McNemar, 1947). SCTK's own does something else.
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


def segments(first: Sequence[Pair], second: Sequence[Pair]) -> list[Errors]:
    """Return the errors of either alignment of a line in each of its segments that holds one.

    Segments begin and end where both read at least BOUND words in a row, nothing inserted between them, or
    the line ends: what goes wrong in one is then hardly the fault of another.
    """
    found: list[Errors] = []
    errors, well = (0, 0), 0
    for here in zip(_by_word(first), _by_word(second), strict=True):
        (before_a, wrong_a), (before_b, wrong_b) = here
        if before_a or before_b:
            errors, well = (errors[0] + before_a, errors[1] + before_b), 0
        if wrong_a or wrong_b:
            errors, well = (errors[0] + wrong_a, errors[1] + wrong_b), 0
        else:
            well += 1
        if well == BOUND and any(errors):
            found.append(errors)
            errors = (0, 0)
    return [*found, errors] if any(errors) else found


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of several tests, adjusted: at a level, the chance of any false alarm keeps to it.

    Holm, A simple sequentially rejective multiple test procedure, 1979: the smallest times their number, the
    next times one less, and so on, none below one before it.
    """
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted


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

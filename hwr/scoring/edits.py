"""Edit counts in process: SClite's alignment and tie rule; the Levenshtein distance; confused characters.

SClite minimises 4 S + 3 D + 3 I, not S + D + I, so its error count can exceed the Levenshtein distance: three
substitutions cost as much as two deletions and two insertions, five cost more than three of each.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import editdistance
import numpy as np
from numpy.typing import NDArray

SUBSTITUTION, GAP = 4, 3  # SClite's costs: wwd_WORD in src/sclite/word.c of NIST SCTK 2.4.10

Pair = tuple[str | None, str | None]  # (reference, hypothesis); None = nothing there


class Counts(NamedTuple):
    """Edits that turn a reference into a hypothesis, and the reference's length, in characters or words."""

    reference: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @classmethod
    def total(cls, counts: "Iterable[Counts]") -> "Counts":
        """Return the sum of `counts`."""
        return cls(*map(sum, zip(cls(), *counts, strict=True)))

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per unit of reference, 0 or more; an empty reference counts as one unit long."""
        return self.errors / max(self.reference, 1)


def character_edits(reference: str, hypothesis: str) -> Counts:
    """Count edits between code points, spaces included; neither text is normalised here."""
    return count_edits(align(reference, hypothesis))


def word_edits(reference: str, hypothesis: str) -> Counts:
    """Count edits between white-space separated tokens: case matters, punctuation stays attached."""
    return count_edits(align(reference.split(), hypothesis.split()))


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    """Return the alignment SClite chooses, in reading order, matches included.

    Among alignments of equal cost SClite walks back from the end and prefers a match or substitution, then an
    insertion, then a deletion (calculate_internal_cells in src/sclite/net_dp.c of NIST SCTK 2.4.10).
    """
    costs = _costs(reference, hypothesis)
    i, j = len(reference), len(hypothesis)
    pairs: list[Pair] = []
    while i or j:
        here = costs[i, j]
        if i and j and (reference[i - 1] == hypothesis[j - 1] or costs[i - 1, j - 1] + SUBSTITUTION == here):
            i, j = i - 1, j - 1
            pairs.append((reference[i], hypothesis[j]))
        elif j and costs[i, j - 1] + GAP == here:
            j -= 1
            pairs.append((None, hypothesis[j]))
        else:
            i -= 1
            pairs.append((reference[i], None))
    return pairs[::-1]


def count_edits(pairs: Sequence[Pair]) -> Counts:
    """Count the edits of an alignment."""
    insertions = sum(reference is None for reference, _ in pairs)
    deletions = sum(hypothesis is None for _, hypothesis in pairs)
    unequal = sum(reference != hypothesis for reference, hypothesis in pairs)
    return Counts(len(pairs) - insertions, unequal - insertions - deletions, deletions, insertions)


def count_confusions(alignments: Iterable[Iterable[Pair]]) -> Counter[Pair]:
    """Count the unequal pairs of all alignments; (None, "x") is an inserted x, ("x", None) a deleted one."""
    return Counter(pair for alignment in alignments for pair in alignment if pair[0] != pair[1])


def levenshtein(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Return the least possible S + D + I, each edit costing 1: never above the errors of `align`."""
    return int(editdistance.eval(reference, hypothesis))


def _costs(reference: Sequence[str], hypothesis: Sequence[str]) -> NDArray[np.int32]:
    """Return the cheapest cost of every pair of prefixes, (len(reference) + 1, len(hypothesis) + 1)."""
    index: dict[str, int] = {}
    rows = [index.setdefault(token, len(index)) for token in reference]
    columns = np.array([index.setdefault(token, len(index)) for token in hypothesis], np.int32)
    gaps = GAP * np.arange(len(columns) + 1, dtype=np.int32)
    costs = np.empty((len(rows) + 1, len(columns) + 1), np.int32)
    costs[0] = gaps
    for i, token in enumerate(rows, 1):
        above = costs[i - 1]
        best = above + GAP  # deletion
        np.minimum(best[1:], above[:-1] + SUBSTITUTION * (columns != token), out=best[1:])
        costs[i] = np.minimum.accumulate(best - gaps) + gaps  # insertions: the cheapest start to the left
    return costs

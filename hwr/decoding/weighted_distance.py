"""How far a word that was read is from words that may be true, at costs of what a recogniser gets wrong."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwr.language.costs import Costs


def distances(read: str, candidates: Sequence[str], costs: Costs) -> NDArray[np.float64]:
    """Return the least cost of edits that turn each candidate, taken for true, into `read`, (N,) float64.

    A character of a candidate that is not read costs its deletion, one that is read beside the candidate its
    insertion, any other pair its substitution of [true, read]; equal characters cost nothing. One pass over
    the characters read holds the costs for all prefixes of all candidates (Wagner and Fischer 1974).
    """
    true = code_points(candidates)  # (N, L)
    own = code_points([read])[0, : len(read)]  # (R,)
    deletion, insertion, substitution = costs.padded
    true_index, read_index = costs.indices(true), costs.indices(own)
    deleted = np.zeros((len(true), true.shape[1] + 1))
    np.cumsum(deletion[true_index], axis=1, out=deleted[:, 1:])  # (N, L + 1): of whole prefixes
    row = deleted
    for code, index in zip(own, read_index, strict=True):
        best = row + insertion[index]
        replaced = row[:, :-1] + np.where(true == code, 0.0, substitution[true_index, index])
        np.minimum(best[:, 1:], replaced, out=best[:, 1:])
        row = np.minimum.accumulate(best - deleted, axis=1) + deleted  # the cheapest start to the left
    lengths = np.fromiter(map(len, candidates), np.intp, len(candidates))
    last: NDArray[np.float64] = row[np.arange(len(true)), lengths]
    return last


def code_points(words: Sequence[str]) -> NDArray[np.uint32]:
    """Return the code points of N words, (N, length of the longest, at least 1), zeros behind the shorter."""
    longest = max(1, max(map(len, words), default=0))
    return np.array(words, f"U{longest}").view(np.uint32).reshape(len(words), longest)

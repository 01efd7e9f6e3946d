"""Greedy decoding, row by row; classes a, b, space and blank `_`."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hwr.decoding.greedy import GreedyDecoder
from hwr.text import Alphabet

DECODE = GreedyDecoder(Alphabet("ab "))


def probs(path: str, peak: float = 0.7) -> NDArray[np.float32]:
    """Return probs (T, 4) whose best class at each step is that of `path`, with probability `peak`."""
    rows = np.full((len(path), 4), (1 - peak) / 3, np.float32)
    rows[np.arange(len(path)), ["ab _".index(c) for c in path]] = peak
    return rows


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ab", "ab"),
        ("aaabb", "ab"),  # repeats are one character
        ("a_a", "aa"),  # a blank parts them
        ("_a__b_", "ab"),
        ("____", ""),
        ("_", ""),
        ("a bb_ b", "a b b"),
        (" _a ", "a"),  # no white space at the ends
        ("   ", ""),
        ("ba_ab", "baab"),
    ],
)
def test_text_is_that_of_the_best_path(path: str, text: str) -> None:
    assert DECODE(probs(path)).text == text


def test_confidence_is_the_geometric_mean_of_the_characters_best_steps() -> None:
    rows = probs("aab_")
    rows[:, 3] = [0.0, 0.0, 0.0, 1.0]
    rows[:3, 0] = [0.5, 0.8, 0.1]  # a: best step 0.8
    rows[:3, 1] = [0.1, 0.1, 0.2]  # b: 0.2; sqrt(0.8 * 0.2) = 0.4
    rows[:, 2] = 0.0
    assert DECODE(rows).confidence == pytest.approx(0.4, abs=1e-6)


def test_confidence_is_none_when_nothing_is_read() -> None:
    assert DECODE(probs("___", peak=0.9)).confidence == 0.0


def test_confidence_leaves_out_how_sure_blanks_are() -> None:
    rows = np.concatenate([probs("a", 0.9), probs("___", 0.4)])
    assert DECODE(rows).confidence == pytest.approx(0.9, abs=1e-6)

"""How probable texts are by what was seen: against the sum over every path; classes a, b, space and blank."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwr.decoding.likelihood import log_likelihoods
from hwr.text import Alphabet

AB = Alphabet("ab ")


@st.composite
def matrices(draw: st.DrawFn) -> NDArray[np.float32]:
    """Return probs (T, 4) of up to five steps."""
    steps = draw(st.integers(1, 5))
    weights = draw(st.lists(st.integers(0, 9), min_size=4 * steps, max_size=4 * steps))
    rows = np.array(weights, np.float32).reshape(steps, 4) + 0.01
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float32)


@given(matrices())
def test_likelihoods_are_sums_over_all_paths(probs: NDArray[np.float32]) -> None:
    every: dict[str, float] = {}
    for path in itertools.product(range(4), repeat=len(probs)):
        text = AB.decode([c for i, c in enumerate(path) if i == 0 or path[i - 1] != c])
        every[text] = every.get(text, 0.0) + float(np.prod(probs[range(len(probs)), path].astype(float)))
    found = log_likelihoods(probs, list(every), AB)
    assert found == pytest.approx(np.log(list(every.values())), rel=1e-4, abs=1e-4)


def test_text_alone_is_as_probable_as_among_longer_ones() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(4), 30).astype(np.float32)
    together = log_likelihoods(probs, ["ab", "", "abba ab"], AB)
    alone = [log_likelihoods(probs, [text], AB)[0] for text in ("ab", "", "abba ab")]
    assert together == pytest.approx(alone)


@pytest.mark.parametrize("text", ["aa", "abab", "xyz"])
def test_text_that_no_path_reads_is_impossible(text: str) -> None:
    probs = np.full((2, 4), 0.25, np.float32)  # two a need a blank between them
    assert log_likelihoods(probs, [text], AB)[0] == -np.inf


def test_long_lines_do_not_underflow() -> None:
    probs = np.full((5000, 4), 0.25, np.float32)
    assert log_likelihoods(probs, [""], AB)[0] == pytest.approx(5000 * np.log(0.25))

"""Greedy decoding, row by row; classes a, b, space and blank `_`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwr.decoding.greedy import GreedyDecoder
from hwr.text import Alphabet

DECODE = GreedyDecoder(Alphabet("ab "))


def test_it_was_made_from_no_text() -> None:
    assert DECODE.records == ()


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


@pytest.mark.parametrize(
    ("path", "spans"),
    [
        ("aa_b", ((0.0, 0.5), (0.75, 1.0))),
        ("ab", ((0.0, 0.5), (0.5, 1.0))),
        ("a_a_", ((0.0, 0.25), (0.5, 0.75))),
        (" _a ", ((0.5, 0.75),)),  # of the text alone, without the white space at its ends
        ("____", ()),
        ("    ", ()),
    ],
)
def test_spans_tell_where_each_character_was_read(path: str, spans: tuple[tuple[float, float], ...]) -> None:
    assert DECODE(probs(path)).spans == spans


def test_confidences_are_the_best_steps_of_each_character() -> None:
    rows = np.concatenate([probs(" ", 0.95), probs("a", 0.5), probs("a", 0.8), probs("_"), probs("b", 0.4)])
    assert DECODE(rows).confidences == pytest.approx([0.8, 0.4], abs=1e-6)


@given(st.text("ab _", min_size=1, max_size=20))
def test_every_character_has_a_span_and_a_confidence(path: str) -> None:
    read = DECODE(probs(path))
    assert len(read.text) == len(read.spans) == len(read.confidences)
    edges = [edge for span in read.spans for edge in span]
    assert edges == sorted(edges)
    assert all(0 <= edge <= 1 for edge in edges)

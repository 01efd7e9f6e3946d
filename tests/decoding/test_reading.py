"""Readings with another text: where characters are, and how sure they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.decoding import Alternative, Reading, mean_confidence, rewrite_reading

# five characters in fifths of the line, but for a gap between b and c
ABCDE = Reading(
    "abcde", 0.5, ((0.0, 0.2), (0.2, 0.3), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)), (0.9, 0.8, 0.7, 0.6, 0.5)
)
TEXTS = st.text("ab c", max_size=9)


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    text = draw(TEXTS)
    edges = sorted(draw(st.lists(st.floats(0, 1), min_size=2 * len(text), max_size=2 * len(text))))
    sure = draw(st.lists(st.floats(0.01, 1), min_size=len(text), max_size=len(text)))
    spans = tuple(zip(edges[::2], edges[1::2], strict=True))
    return Reading(text, mean_confidence(sure), spans, tuple(sure))


@given(readings(), TEXTS)
def test_every_character_has_a_span_and_a_confidence(reading: Reading, text: str) -> None:
    found = rewrite_reading(reading, text)
    assert found.text == text
    assert len(found.spans) == len(found.confidences) == len(text)


@given(readings(), TEXTS)
def test_spans_stay_in_order_within_the_line(reading: Reading, text: str) -> None:
    edges = [edge for span in rewrite_reading(reading, text).spans for edge in span]
    assert edges == pytest.approx(sorted(edges))
    assert all(-1e-9 <= edge <= 1 + 1e-9 for edge in edges)


def test_kept_characters_keep_span_and_confidence() -> None:
    found = rewrite_reading(ABCDE, "abXde")
    assert found.spans[:2] + found.spans[3:] == ABCDE.spans[:2] + ABCDE.spans[3:]
    assert found.confidences[:2] + found.confidences[3:] == (0.9, 0.8, 0.6, 0.5)


def test_new_character_takes_over_from_the_one_it_replaces() -> None:
    found = rewrite_reading(ABCDE, "abXde")
    assert (found.spans[2], found.confidences[2]) == ((0.4, 0.6), 0.7)


def test_new_characters_share_the_place_of_those_they_replace() -> None:
    found = rewrite_reading(ABCDE, "aXYZde")  # bc, read from 0.2 to 0.6
    edges = [edge for span in found.spans[1:4] for edge in span]
    assert edges == pytest.approx([0.2, 1 / 3, 1 / 3, 7 / 15, 7 / 15, 0.6])
    assert found.confidences[1:4] == (0.7, 0.7, 0.7)


def test_inserted_character_lies_in_the_gap_and_is_as_sure_as_its_lesser_neighbour() -> None:
    found = rewrite_reading(ABCDE, "abXcde")
    assert found.spans[2] == pytest.approx((0.3, 0.4))
    assert found.confidences[2] == 0.7


def test_deleted_character_leaves_the_others_alone() -> None:
    found = rewrite_reading(ABCDE, "abde")
    assert found.spans == ABCDE.spans[:2] + ABCDE.spans[3:]
    assert found.confidences == (0.9, 0.8, 0.6, 0.5)


def test_confidence_is_the_mean_of_the_new_characters() -> None:
    assert rewrite_reading(ABCDE, "d").confidence == pytest.approx(0.6)


def test_reading_is_the_same_when_its_text_is() -> None:
    reading = Reading("a", 0.5, ((0.0, 1.0),), (0.5,), (Alternative("a", -1.0), Alternative("b", -2.0)))
    assert rewrite_reading(reading, "a") is reading


def test_alternatives_are_of_the_old_text_alone() -> None:
    reading = Reading("a", 0.5, ((0.0, 1.0),), (0.5,), (Alternative("a", -1.0),))
    assert rewrite_reading(reading, "b").alternatives == ()


def test_text_that_stands_where_nothing_was_read_has_no_confidence() -> None:
    found = rewrite_reading(Reading("", 0.0), "ab")
    assert found.spans == ((0.0, 0.5), (0.5, 1.0))
    assert found.confidences == (0.0, 0.0)


def test_reading_without_spans_is_taken_as_evenly_written() -> None:
    found = rewrite_reading(Reading("ab", 0.5), "aX")
    assert found.spans == ((0.0, 0.5), (0.5, 1.0))
    assert found.confidences == (0.5, 0.5)

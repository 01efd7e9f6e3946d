import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.pictures.cards import Column, collated

LETTERS = st.text("ab c", max_size=12)


def differing(columns: list[Column]) -> int:
    """Return the number of columns in which a reading differs."""
    return sum(any(written != read for row in rows for written, read in row) for _, rows in columns)


@pytest.mark.parametrize(
    ("reference", "reading", "columns"),
    [
        ("abc", "abc", [("abc", "abc")]),
        ("abc", "axc", [("a", "a"), ("b", "x"), ("c", "c")]),
        ("abc", "ac", [("a", "a"), ("b", ""), ("c", "c")]),
        ("ac", "abc", [("a", "a"), ("", "b"), ("c", "c")]),
        ("", "abc", [("", "abc")]),
        ("abc", "", [("abc", "")]),
        ("", "", []),
    ],
)
def test_one_reading_is_cut_where_it_differs(
    reference: str, reading: str, columns: list[tuple[str, str]]
) -> None:
    assert collated(reference, [reading]) == [(block[0], [[block]]) for block in columns]


def test_difference_of_one_reading_stands_above_the_same_text_of_another() -> None:
    assert collated("abc", ["axc", "abc"]) == [
        ("a", [[("a", "a")], [("a", "a")]]),
        ("b", [[("b", "x")], [("b", "b")]]),
        ("c", [[("c", "c")], [("c", "c")]]),
    ]


def test_differences_side_by_side_keep_columns_of_their_own() -> None:
    assert collated("abcd", ["axcd", "abyd"]) == [
        ("a", [[("a", "a")], [("a", "a")]]),
        ("b", [[("b", "x")], [("b", "b")]]),
        ("c", [[("c", "c")], [("c", "y")]]),
        ("d", [[("d", "d")], [("d", "d")]]),
    ]


def test_overlapping_differences_share_a_column() -> None:
    assert collated("abcd", ["axyd", "abzd"]) == [
        ("a", [[("a", "a")], [("a", "a")]]),
        ("bc", [[("bc", "xy")], [("b", "b"), ("c", "z")]]),
        ("d", [[("d", "d")], [("d", "d")]]),
    ]


def test_insertion_has_nothing_above_it() -> None:
    assert collated("ab", ["a-b", "ab"]) == [
        ("a", [[("a", "a")], [("a", "a")]]),
        ("", [[("", "-")], [("", "")]]),
        ("b", [[("b", "b")], [("b", "b")]]),
    ]


@given(LETTERS, st.lists(LETTERS, min_size=1, max_size=4))
def test_columns_joined_are_what_was_collated(reference: str, readings: list[str]) -> None:
    columns = collated(reference, readings)
    assert "".join(stretch for stretch, _ in columns) == reference
    for number, reading in enumerate(readings):
        assert "".join(read for _, rows in columns for _, read in rows[number]) == reading
        assert "".join(written for _, rows in columns for written, _ in rows[number]) == reference


@given(LETTERS, LETTERS)
def test_readings_alike_need_no_more_columns_than_one_of_them(reference: str, reading: str) -> None:
    assert differing(collated(reference, [reading] * 3)) == differing(collated(reference, [reading]))

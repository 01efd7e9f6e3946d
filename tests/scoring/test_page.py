import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwr.images.boxes import Box
from hwr.scoring import edits
from hwr.scoring.edits import Counts
from hwr.scoring.page import Alignment, FoundLine, TrueLine, bag_of_words, page_text_errors, pair_lines

TEXTS = ("the old house", "stood on a hill", "above the sea")


def _row(number: float, *, left: float = 0.1, right: float = 0.9, rows: float = 1) -> Box:
    """Return a box a tenth of the page high, `number` rows down."""
    return left, number / 10, right, (number + rows) / 10


def _true(*boxes: Box, scored: tuple[bool, ...] = (True, True, True)) -> list[TrueLine]:
    lines = zip(TEXTS, boxes, scored, strict=False)
    return [TrueLine(f"l{number}", *line) for number, line in enumerate(lines, 1)]


ROWS = _true(_row(0), _row(1), _row(2))


def _errors(alignment: Alignment) -> int:
    return sum(edits.levenshtein(written, read) for _, written, read in alignment.pairs)


def test_align_pairs_lines_by_place_in_any_order() -> None:
    found = [FoundLine(text, line.box) for text, line in zip("abc", ROWS, strict=True)]
    alignment = pair_lines("p", ROWS, [found[2], found[0], found[1]])
    assert alignment == Alignment(
        pairs=(("l1", TEXTS[0], "a"), ("l2", TEXTS[1], "b"), ("l3", TEXTS[2], "c")),
        missed=(),
        extra=(),
        ignored=(),
        matched={"l1": (1,), "l2": (2,), "l3": (0,)},
    )


def test_align_does_not_pair_by_text_what_lies_elsewhere() -> None:
    alignment = pair_lines("p", ROWS[:2], [FoundLine(TEXTS[1], _row(0)), FoundLine(TEXTS[0], _row(1))])
    assert alignment.matched == {"l1": (0,), "l2": (1,)}


def test_align_reports_missed_and_extra_lines() -> None:
    found = [FoundLine("a", _row(0)), FoundLine("x", _row(7)), FoundLine("y", _row(8))]
    alignment = pair_lines("p", ROWS[:2], found)
    assert alignment.pairs == (
        ("l1", TEXTS[0], "a"),
        ("l2", TEXTS[1], ""),
        ("p/extra1", "", "x"),
        ("p/extra2", "", "y"),
    )
    assert (alignment.missed, alignment.extra) == (("l2",), (1, 2))


@pytest.mark.parametrize(
    ("box", "paired"),
    [
        (_row(1.35), True),  # middle halves 0.125-0.175 and 0.16-0.21: 0.015 of 0.05 in common
        (_row(1.4), False),  # 0.01 of 0.05
        (_row(1.3, rows=0.4), True),  # without ascenders and descenders
        (_row(1, right=0.3), True),  # its beginning alone
        (_row(1, left=0.8, right=1.0), True),  # half of it beyond the end
        (_row(1, left=0.81, right=1.0), False),
        (_row(1.5, rows=0), False),  # empty
    ],
)
def test_align_pairs_what_lies_on_the_middle_of_a_line(box: Box, paired: bool) -> None:
    alone = [TrueLine("l", "a", _row(1), True)]
    assert bool(pair_lines("p", alone, [FoundLine("a", box)]).matched) == paired


def test_align_lets_text_decide_between_lines_as_near() -> None:
    over_two = [FoundLine(TEXTS[1], _row(0, rows=2))]
    alignment = pair_lines("p", ROWS, over_two)
    assert (alignment.matched, alignment.missed) == ({"l2": (0,)}, ("l1", "l3"))


def test_align_lets_place_decide_between_lines_twice_as_near_as_each_other() -> None:
    tall = _true(_row(0, rows=3), _row(1, rows=3))  # middle halves 0.075-0.225 and 0.175-0.325: a third
    assert pair_lines("p", tall, [FoundLine(TEXTS[1], tall[0].box)]).matched == {"l1": (0,)}


def test_align_finds_the_fewest_errors_of_all_lines_together() -> None:
    # the first line alone would best be read as the second, and then the second found line as nothing
    boxes = _row(0, rows=2), _row(1, rows=1)
    true = [TrueLine("l1", "abcd", _row(0), True), TrueLine("l2", "wxyz", _row(1), True)]
    alignment = pair_lines("p", true, [FoundLine("axyd", boxes[0]), FoundLine("wxy", boxes[1])])
    assert alignment.matched == {"l1": (0,), "l2": (1,)}


def test_align_takes_the_better_reading_of_a_line_found_twice() -> None:
    found = [FoundLine("the cold mouse", _row(0)), FoundLine("the old house", _row(0.1))]
    alignment = pair_lines("p", ROWS[:1], found)
    assert (alignment.matched, alignment.extra) == ({"l1": (1,)}, (0,))


def test_align_joins_the_parts_of_a_line_from_left_to_right() -> None:
    parts = [("house", 0.6, 0.9), ("the", 0.1, 0.3), ("old", 0.28, 0.62)]
    found = [FoundLine(text, _row(0, left=left, right=right)) for text, left, right in parts]
    alignment = pair_lines("p", ROWS[:1], found)
    assert alignment.pairs == (("l1", "the old house", "the old house"),)
    assert alignment.matched == {"l1": (1, 2, 0)}
    assert alignment.extra == ()


def test_align_counts_a_part_with_another_text_as_extra() -> None:
    found = [FoundLine("the old house", _row(0, right=0.7)), FoundLine("##", _row(0, left=0.8))]
    assert pair_lines("p", ROWS[:1], found).pairs[1:] == (("p/extra1", "", "##"),)


def test_align_ignores_what_lies_on_lines_that_are_not_scored() -> None:
    true = _true(_row(0), _row(1), scored=(True, False))
    found = [FoundLine("a", _row(1)), FoundLine("b", _row(0)), FoundLine("c", _row(1.5))]  # c: half of it
    alignment = pair_lines("p", true, found)
    assert alignment.pairs == (("l1", TEXTS[0], "b"),)
    assert (alignment.ignored, alignment.extra) == ((0, 2), ())


def test_align_counts_what_lies_on_a_line_not_scored_with_less_than_half() -> None:
    true = _true(_row(0), _row(1), scored=(True, False))
    assert pair_lines("p", true, [FoundLine("a", _row(1.6))]).extra == (0,)


def test_align_keeps_a_reading_of_a_scored_line_beneath_one_that_is_not() -> None:
    true = [TrueLine("l1", TEXTS[0], _row(0), True), TrueLine("l2", "", _row(0), False)]
    found = [FoundLine("the old", _row(0)), FoundLine("qqqqqqqqqqqqqqqq", _row(0))]
    alignment = pair_lines("p", true, found)
    assert (alignment.matched, alignment.ignored) == ({"l1": (0,)}, (1,))


def test_align_does_not_miss_a_line_that_was_read_as_nothing() -> None:
    alignment = pair_lines("p", ROWS[:1], [FoundLine(" ", _row(0)), FoundLine("", _row(5))])
    assert alignment.pairs == (("l1", TEXTS[0], ""),)
    assert (alignment.missed, alignment.extra, alignment.ignored) == ((), (), (1,))


def test_align_takes_pages_without_lines() -> None:
    nothing = Alignment((), (), (), (), {})
    assert pair_lines("p", [], []) == nothing
    assert pair_lines("p", ROWS[:1], []).missed == ("l1",)
    assert pair_lines("p", [], [FoundLine("x", _row(0))]).pairs == (("p/extra1", "", "x"),)


def test_align_compares_texts_in_nfc() -> None:
    true = [TrueLine("l", "e\u0301te\u0301", _row(0), True)]
    assert pair_lines("p", true, [FoundLine(" \u00e9t\u00e9", _row(0))]).pairs == (("l", "été", "été"),)


BOXES = st.builds(
    lambda x, y, w, h: (x / 10, y / 10, (x + w) / 10, (y + h) / 10),
    *(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 4)),
)
WORDS = st.text("ab ", max_size=6)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(WORDS, BOXES, st.booleans()), max_size=5),
    st.lists(st.tuples(WORDS, BOXES), max_size=5),
)
def test_align_places_every_line_once_and_never_costs_more_than_no_pair(
    true: list[tuple[str, Box, bool]], found: list[tuple[str, Box]]
) -> None:
    lines = [TrueLine(f"l{number}", *line) for number, line in enumerate(true)]
    alignment = pair_lines("p", lines, [FoundLine(*line) for line in found])
    scored = [line.id for line in lines if line.scored]
    placed = [f for reading in alignment.matched.values() for f in reading]
    assert sorted([*placed, *alignment.extra, *alignment.ignored]) == list(range(len(found)))
    assert [line for line, _, _ in alignment.pairs[: len(scored)]] == scored
    assert {*alignment.matched, *alignment.missed} == set(scored)
    texts = [line.text for line in lines if line.scored] + [text for text, _ in found]
    assert _errors(alignment) <= sum(len(" ".join(text.split())) for text in texts)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c", "c a b", Counts(3)),  # order is free
        ("a b c", "a b", Counts(3, deletions=1)),
        ("a b", "a b b", Counts(2, insertions=1)),  # how often counts
        ("a b c", "a x", Counts(3, 1, 1)),  # b and c missing, x surplus
        ("a\nb", "b x  y", Counts(2, 1, 0, 1)),
        ("", "x", Counts(insertions=1)),
    ],
)
def test_bag_of_words_counts_missing_and_surplus_words(
    reference: str, hypothesis: str, expected: Counts
) -> None:
    assert bag_of_words(reference, hypothesis) == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_bag_of_words_errors_are_equation_8_and_never_above_the_word_errors(
    first: list[str], second: list[str]
) -> None:
    difference = sum(abs(first.count(word) - second.count(word)) for word in "abc")
    errors = bag_of_words(" ".join(first), " ".join(second)).errors
    assert 2 * errors == abs(len(first) - len(second)) + difference
    assert errors <= edits.levenshtein(first, second)


def test_page_text_errors_counts_order() -> None:
    assert page_text_errors(["ab", "cd"], ["ab", "cd"]) == Counts(5)
    assert page_text_errors(["ab", "cd"], ["cd", "ab"]) == Counts(5, substitutions=4)  # the break alone stays
    assert page_text_errors(["ab", "cd"], ["ab cd"]) == Counts(5, substitutions=1)  # the break
    assert page_text_errors(["ab", "cd"], ["", "ab", " "]) == Counts(5, deletions=3)

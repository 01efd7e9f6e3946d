"""Corrections: what becomes of a line's words and of its place among the others."""

from dataclasses import replace

import pytest

from hwr.transcription import ReadLine
from hwr.transcription.correction import corrected, spread_words, with_line
from tests.transcription.export.read_pages import BOX, bare, line, page


def texts(read: ReadLine) -> list[str]:
    return [word.text for word in read.words]


def test_words_that_stay_keep_their_boxes() -> None:
    before = line("some old words")
    after = corrected(before, "some new words")
    assert after.words[0] == replace(before.words[0], confidence=1.0)
    assert after.words[2].box == pytest.approx(before.words[2].box)
    assert (after.text, texts(after)) == ("some new words", ["some", "new", "words"])
    assert (after.polygon, after.baseline, after.box) == (before.polygon, before.baseline, before.box)
    assert (after.corrected, after.confidence, set(after.confidences)) == (True, 1.0, {1.0})


@pytest.mark.parametrize(
    ("given", "text"),
    [("", ""), (" a \t b\x00 ", "a b"), ("e\u0301tat", "état"), ("a\u200cb\ufffe", "a\u200cb\ufffd")],
)
def test_text_is_written_as_texts_are(given: str, text: str) -> None:
    for before in (line("x y"), line(""), bare("x y")):
        after = corrected(before, given)
        assert (after.text, " ".join(texts(after)), len(after.confidences)) == (text, text, len(text))
        assert all(word.box[0] <= word.box[2] and word.box[1] < word.box[3] for word in after.words)


def test_words_of_a_line_without_text_stay_in_its_box() -> None:
    empty = replace(bare(""), box=(0.2, 0.4, 0.8, 0.5))
    assert [word.box for word in corrected(empty, "a b").words] == [
        pytest.approx((0.2, 0.4, 0.4, 0.5)),
        pytest.approx((0.6, 0.4, 0.8, 0.5)),
    ]


def test_words_fill_a_box_evenly() -> None:
    assert [word.box for word in spread_words("a b", (0.0, 0.1, 0.3, 0.2))] == [
        pytest.approx((0.0, 0.1, 0.1, 0.2)),
        pytest.approx((0.2, 0.1, 0.3, 0.2)),
    ]


def test_line_that_is_added_takes_its_place() -> None:
    def at(y: float) -> ReadLine:
        return line(str(y), (0.1, y, 0.9, y + 0.05))

    for added, place in ((0.0, 0), (0.25, 1), (0.9, 3)):
        after, where = with_line(page(at(0.1), at(0.4), at(0.6)), at(added))
        assert (where, [own.text for own in after.lines].index(str(added))) == (place, place)
    assert with_line(page(), line("first", BOX))[1] == 0


@pytest.mark.parametrize(("y", "block"), [(0.0, 0), (0.25, 0), (0.55, 0), (0.9, 1)])
def test_line_that_is_added_is_in_the_block_of_the_line_before_it(y: float, block: int) -> None:
    lines = [
        replace(line(str(top), (0.1, top, 0.9, top + 0.05)), block=n)
        for top, n in ((0.1, 0), (0.4, 0), (0.7, 1))
    ]
    after, where = with_line(page(*lines), line("new", (0.1, y, 0.9, y + 0.05)))
    assert after.lines[where].block == block
    assert [len(own) for own in after.blocks] == ([3, 1], [2, 2])[block]

"""Running text is cut anywhere between words; batches hold texts of like length, each once an epoch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.data.batches import round_up
from hwr.data.batches.texts import (
    LENGTH_STEP,
    Passage,
    Sampling,
    TextBatch,
    draw_samples,
    encode_read,
    encode_written,
    passages,
    running_text,
    text_training_batches,
)
from hwr.data.records import Line, Page
from hwr.text import Alphabet, UnknownCharacterError

ABC = Alphabet("abc ")
LINES = Sampling(repeats=1, windows=0.0, longest=100)
BOX = (0.0, 0.0, 1.0, 1.0)


def passage(*lines: str) -> Passage:
    return Passage(tuple(f"l{n}" for n in range(len(lines))), lines)


def page(name: str, split: str, *texts: str) -> Page:
    lines = tuple(Line(f"{name}/{n}", text, BOX) for n, text in enumerate(texts))
    return Page(name, "", split, Path("nowhere"), (10, 10), lines)


def batches(pairs: list[tuple[str, str]], *, seed: int = 0, size: int = 4, start: int = 0) -> list[TextBatch]:
    change = text_of_number
    return list(text_training_batches(pairs, ABC, batch_size=size, seed=[seed], change=change, start=start))


def text_of_number(text: str, place: int) -> str:
    return text[place % 2 :]  # every other text loses its first character


def test_passages_are_the_lines_of_each_page_of_the_split() -> None:
    found = passages(
        [page("p", "train", "a b", "c"), page("q", "valid", "b"), page("r", "train", "c")], "train"
    )
    assert found == [Passage(("p/0", "p/1"), ("a b", "c")), Passage(("r/0",), ("c",))]


@pytest.mark.parametrize("hyphen", ["-", "\N{HYPHEN}", "\N{NOT SIGN}"])
def test_passage_ends_with_a_hyphen(hyphen: str) -> None:
    found = running_text(["1", "2", "3"], ["a b" + hyphen, "c", "d"])
    assert [own.lines for own in found] == [("a b" + hyphen,), ("c", "d")]


def test_passage_ends_with_an_empty_line() -> None:
    found = running_text(["1", "2", "3", "4"], ["a", "", "", "b"])
    assert [(own.ids, own.lines) for own in found] == [(("1",), ("a",)), (("4",), ("b",))]


@given(
    st.lists(st.text("ab", min_size=1, max_size=9), min_size=1, max_size=9),
    st.integers(1, 30),
    st.integers(0, 99),
)
def test_window_is_as_many_whole_words_as_fit(words: list[str], length: int, seed: int) -> None:
    own = passage(" ".join(words[:3]), *words[3:])
    found = own.window(length, np.random.default_rng(seed))
    text = f" {' '.join(words)} "
    assert f" {found} " in text
    assert len(found) <= length or " " not in found
    more = [text[at + len(found) + 2 :] for at in range(len(text)) if text.startswith(f" {found} ", at)]
    assert any(not rest or len(found) + 1 + len(rest.split(" ")[0]) > length for rest in more)


def test_window_begins_at_any_word_that_has_enough_behind_it() -> None:
    own = passage("aa bb", "cc dd ee")
    found = {own.window(5, np.random.default_rng(seed)) for seed in range(50)}
    assert found == {"aa bb", "bb cc", "cc dd", "dd ee"}


def test_window_is_the_whole_text_where_that_is_short() -> None:
    assert passage("aa", "bb").window(50, np.random.default_rng(0)) == "aa bb"


def test_samples_are_the_lines_so_many_times() -> None:
    own = [passage("a b", "c"), passage("d")]
    pairs = [("l0", "a b"), ("l1", "c"), ("l0", "d")]
    assert draw_samples(own, replace(LINES, repeats=2), seed=[0]) == 2 * pairs


def test_samples_are_cut_out_of_running_text_as_long_as_their_lines() -> None:
    own = [passage("aaa bb", "cc", "ddd e ff")]
    found = draw_samples(own, replace(LINES, repeats=20, windows=1.0), seed=[0])
    assert {name for name, _ in found} == {"l0", "l1", "l2"}
    assert {text for name, text in found if name == "l1"} >= {"cc", "e", "ff"}  # words that fit, or one alone
    assert any(text == "bb cc" for _, text in found)
    assert max(len(text) for name, text in found if name == "l0") == 6


def test_samples_are_others_in_another_epoch() -> None:
    own = [passage("a b c", "b c a", "c a b")]
    first, again, other = (
        draw_samples(own, replace(LINES, repeats=5, windows=0.5), seed=[0, epoch]) for epoch in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_samples_are_no_longer_than_they_may() -> None:
    found = draw_samples([passage("abcabc", "a b c")], Sampling(repeats=8, windows=0.5, longest=4), seed=[0])
    assert max(len(text) for _, text in found) == 4


def test_texts_end_with_the_last_class_and_are_padded() -> None:
    found = encode_read(["ab", ""], ABC)
    assert found.tolist() == [[0, 1, 4, -1, -1, -1, -1, -1], [4, -1, -1, -1, -1, -1, -1, -1]]


def test_each_label_is_what_follows() -> None:
    before, labels = encode_written(["ab", "c"], ABC)
    assert before[:, :3].tolist() == [[4, 0, 1], [4, 2, -1]]
    assert labels[:, :3].tolist() == [[0, 1, 4], [2, 4, -1]]


def test_text_with_a_character_outside_the_alphabet_is_refused() -> None:
    with pytest.raises(UnknownCharacterError, match="'é'"):
        encode_read(["é"], ABC)


@pytest.mark.parametrize(("length", "room"), [(1, 8), (8, 8), (9, 16)])
def test_lengths_are_rounded_up(length: int, room: int) -> None:
    assert round_up(length, LENGTH_STEP) == room


def test_batches_hold_each_text_once_changed_by_its_number() -> None:
    pairs = [(f"t{n}", "abc"[: 1 + n % 3]) for n in range(11)]
    found = batches(pairs)
    assert sorted(len(batch.ids) for batch in found) == [3, 4, 4]
    rows = {
        name: (noisy, labels)
        for batch in found
        for name, noisy, labels in zip(batch.ids, batch.noisy, batch.labels, strict=True)
    }
    assert rows.keys() == {name for name, _ in pairs}
    for place, (name, text) in enumerate(pairs):
        noisy, labels = (ABC.decode([int(c) for c in row if c >= 0]) for row in rows[name])
        assert (noisy, labels) == (text_of_number(text, place), text)


def test_batches_hold_texts_of_like_length() -> None:
    pairs = [("", "a" * (1 + n % 8 * 8)) for n in range(64)]
    found = batches(pairs, size=8)
    assert all(len({len(row[row >= 0]) for row in batch.labels}) == 1 for batch in found)


def test_batches_come_in_another_order_in_another_epoch() -> None:
    pairs = [(f"t{n}", "a" * (1 + n % 7)) for n in range(40)]
    first, again, other = ([batch.ids for batch in batches(pairs, seed=seed)] for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("start", [0, 3, 8, 11])
def test_batches_go_on_from_any_of_them(start: int) -> None:
    pairs = [(f"t{n}", "a" * (1 + n % 7)) for n in range(44)]  # 11 batches, in pools of 8
    whole, rest = batches(pairs), batches(pairs, start=start)
    assert [batch.ids for batch in rest] == [batch.ids for batch in whole[start:]]

"""The case of a word, given to another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.decoding.casing import case_of, is_mixed


@pytest.mark.parametrize(
    ("word", "text", "written"),
    [
        ("selt", "salt", "salt"),
        ("Selt", "salt", "Salt"),
        ("SELT", "salt", "SALT"),
        ("S", "salt", "Salt"),  # one letter: a beginning
        ("Église", "étage", "Étage"),
        ("SeLt", "salt", "SaLt"),  # letter by letter
        ("SeLt", "slt", "SLt"),
        ("sElt", "selfst", "sElfst"),  # new ones are lower case
        ("STRAßE", "straße", "STRAßE"),  # a capital of two letters is none
        ("12", "ab", "ab"),
        ("Saint-Denis", "saint-denis", "Saint-Denis"),
    ],
)
def test_text_is_written_in_the_case_of_a_word(word: str, text: str, written: str) -> None:
    assert case_of(word)(text) == written


@pytest.mark.parametrize(
    ("word", "mixed"), [("salt", False), ("Salt", False), ("SALT", False), ("sAlt", True), ("SAlt", True)]
)
def test_mixed_is_neither_lower_nor_upper_nor_title_case(word: str, mixed: bool) -> None:
    assert is_mixed(word) is mixed


@given(st.text("abéßAÉİ'", min_size=1, max_size=6), st.text("abéß'", max_size=6))
def test_letters_are_those_of_the_text(word: str, text: str) -> None:
    assert case_of(word)(text).lower() == text


@given(st.text("abéAÉ'", min_size=1, max_size=6))
def test_word_keeps_its_case_when_it_is_its_own_text(word: str) -> None:
    assert case_of(word)(word.lower()) == word

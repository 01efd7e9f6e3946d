import hashlib
import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwr.errors import InputError
from hwr.text import Alphabet, UnknownCharacterError, common_beginning, nfc

QUICK = settings(max_examples=60, deadline=None)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e\u0301te\u0301", "été"),  # combining accents are joined
        ("  two \t words\n", "two words"),
        ("a\u00a0b\u2003c", "a b c"),  # no-break and em spaces are spaces
        ("\u212b", "Å"),  # the Ångström sign is the letter
        ("ﬁn", "ﬁn"),  # a ligature was written so: NFC leaves it
        (" \n ", ""),
    ],
)
def test_nfc_gives_each_text_one_form(text: str, expected: str) -> None:
    assert nfc(text) == expected


@QUICK
@given(TEXTS)
def test_nfc_twice_changes_nothing(text: str) -> None:
    assert nfc(nfc(text)) == nfc(text)
    assert unicodedata.is_normalized("NFC", nfc(text))


def test_alphabet_holds_each_character_once_in_order() -> None:
    assert Alphabet.of(["baba", "é", " b"]).symbols == " abé"
    assert Alphabet.of([]).symbols == ""


def test_blank_is_the_last_class() -> None:
    alphabet = Alphabet("xyz")
    assert (alphabet.blank, len(alphabet)) == (3, 4)


def test_text_becomes_classes_and_back() -> None:
    alphabet = Alphabet("abc")
    assert alphabet.encode("cab") == [2, 0, 1]
    assert alphabet.decode([2, 3, 0, 3, 3, 1]) == "cab"  # blanks are left out


@QUICK
@given(TEXTS)
def test_decoding_undoes_encoding(text: str) -> None:
    alphabet = Alphabet.of([text])
    assert alphabet.decode(alphabet.encode(text)) == text


def test_unknown_character_is_named_with_its_code_point() -> None:
    with pytest.raises(UnknownCharacterError, match=r"'é' \(U\+00E9\) is not in the alphabet") as refused:
        Alphabet("abc").encode("aéb")
    assert refused.value.character == "é"
    assert isinstance(refused.value, InputError)


def test_unknown_characters_are_listed_once_in_order() -> None:
    assert Alphabet("abc").unknown("xaybx") == "xy"


def test_alphabet_with_a_character_twice_is_refused() -> None:
    with pytest.raises(InputError, match="'aba' holds a character twice"):
        Alphabet("aba")


def test_hash_is_that_of_the_symbols_in_order() -> None:
    assert Alphabet("aé").hash == hashlib.sha256("aé".encode()).hexdigest()
    assert Alphabet("éa").hash != Alphabet("aé").hash


def test_json_has_an_entry_for_each_character() -> None:
    said = json.loads(Alphabet('a"\\').to_json())
    assert said == {"symbols": ["a", '"', "\\"], "hash": Alphabet('a"\\').hash}


@QUICK
@given(TEXTS)
def test_json_gives_the_same_alphabet_back(text: str) -> None:
    alphabet = Alphabet.of([text])
    assert Alphabet.from_json(alphabet.to_json()) == alphabet


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"symbols": "abc"}',
        '{"symbols": ["ab"]}',
        '{"symbols": [1]}',
        '{"symbols": [""]}',
    ],
)
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not an alphabet file"):
        Alphabet.from_json(text)


def test_json_with_a_character_twice_is_refused() -> None:
    with pytest.raises(InputError, match="holds a character twice"):
        Alphabet.from_json('{"symbols": ["a", "a"]}')


@pytest.mark.parametrize(
    ("one", "other", "count"), [("tea", "ten", 2), ("tea", "tea", 3), ("", "tea", 0), ("ab", "b", 0)]
)
def test_common_beginning_is_counted(one: str, other: str, count: int) -> None:
    assert common_beginning(one, other) == common_beginning(list(one), tuple(other)) == count

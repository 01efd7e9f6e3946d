"""Lexicon search: which words are corrected, to what, and what stays as it was read."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import editdistance
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.config.compose import composed
from hwr.config.roots import EvaluateConfig
from hwr.decoding import Probs, Reading, build_decoder
from hwr.decoding.lexicon import (
    Index,
    LexiconDecoder,
    WordCorrector,
    case_of,
    is_mixed,
    lexicon_decoder,
    replace_spans,
    weighted_distances,
)
from hwr.errors import InputError
from hwr.language import Origin, write_record
from hwr.language.confusions import Confusions, Costs, CountedLines
from hwr.language.lexicon import Lexicon
from hwr.text import Alphabet

ALPHABET = Alphabet("abc")
SOURCE = CountedLines("f00d", "valid", "beef", 2)


@dataclass(frozen=True)
class Said:
    """A decoder that reads the same text from every line, all characters equally sure."""

    text: str
    confidence: float = 0.5
    records: tuple[Any, ...] = ()

    def read(self, lines: Sequence[Probs], pages: Sequence[Hashable] = ()) -> list[Reading]:
        length = len(self.text)
        spans = tuple((n / length, (n + 1) / length) for n in range(length))
        return [Reading(self.text, self.confidence, spans, (self.confidence,) * length) for _ in lines]


def search(counts: dict[str, int], costs: Costs | None = None, **settings: Any) -> WordCorrector:
    how = {"limit": 3.0, "share": 1.0, "frequency": 0.0, **settings}
    return WordCorrector(index=Index(Lexicon(counts), 2), costs=costs or Costs.plain(), **how)


def corrected(text: str, counts: dict[str, int], *, sure: float = 1.0, confidence: float = 0.5) -> str:
    decoder = LexiconDecoder(Said(text, confidence), search(counts), sure)
    (reading,) = decoder.read([np.zeros((1, 4), np.float32)])
    return reading.text


WORDS = {"le": 9, "chat": 5, "noir": 3, "église": 2, "eau": 4, "qu": 8}


@pytest.mark.parametrize(
    ("read", "text"),
    [
        ("le chot nolr", "le chat noir"),
        ("le  chot", "le  chat"),  # spaces stay
        ('"chot," (nolr)!', '"chat," (noir)!'),  # and punctuation
        ("Chot CHOT cHot", "Chat CHAT cHat"),  # and case
        ("l'èglise L’Eglise d'ean", "l'église L’Église d'eau"),  # part by part
        ("chat-nolr", "chat-noir"),
        ("ch(at", "chat"),  # punctuation inside a word may be a letter misread
        ("", ""),
        ("-- ...", "-- ..."),
    ],
)
def test_unknown_words_become_the_nearest_known(read: str, text: str) -> None:
    assert corrected(read, WORDS) == text


@pytest.mark.parametrize(
    "text",
    [
        "le chat",  # known
        "Le CHAT",  # known in lower case
        "1951 l8 2e",  # with digits
        "t d",  # single characters
        "mammifère",  # far from any
    ],
)
def test_words_are_left_alone_when_there_is_nothing_to_mend(text: str) -> None:
    assert corrected(text, WORDS) == text


def test_word_is_known_when_the_lexicon_writes_it_with_a_capital() -> None:
    assert corrected("laos", {"Laos": 3, "laps": 9}) == "laos"


def test_word_with_an_apostrophe_is_first_looked_for_as_a_whole() -> None:
    words = {"didn't": 3, "did": 900, "lid": 900}
    assert corrected("didm't didm’t", words) == "didn't didn’t"


def test_apostrophe_is_put_in_when_the_lexicon_has_it() -> None:
    assert corrected("didnt", {"didn't": 3}) == "didn't"


def test_word_is_left_alone_when_it_was_read_with_enough_confidence() -> None:
    assert corrected("chot", WORDS, sure=0.9, confidence=0.91) == "chot"
    assert corrected("chot", WORDS, sure=0.9, confidence=0.89) == "chat"


def confused(true: str, read: str) -> Costs:
    """Return costs by which `true` is often read as `read`."""
    return Costs.of(Confusions({(true, true): 90, (true, read): 40, ("z", "z"): 50}, SOURCE))


def test_nearest_word_is_that_whose_letters_are_often_confused() -> None:
    words = {"salt": 1, "self": 100}
    assert search(words, confused("a", "e"))("selt") == "salt"
    assert search(words, confused("f", "t"))("selt") == "self"


def test_confusion_counts_from_what_is_true_to_what_is_read() -> None:
    words = {"salt": 1, "self": 100}
    assert search(words, confused("e", "a"), frequency=0.001)("selt") == "self"


def test_more_frequent_word_wins_when_words_are_as_near() -> None:
    assert search({"cat": 1, "car": 9}, frequency=0.1)("caz") == "car"
    assert search({"cat": 9, "car": 1}, frequency=0.1)("caz") == "cat"


def test_frequency_outweighs_distance_as_much_as_it_is_told_to() -> None:
    # ln(1000) x 0.2 = 1.38 makes up for an edit, x 0.1 = 0.69 does not
    words = {"carts": 1, "cares": 1, "cat": 1000}
    assert search(words, frequency=0.2)("cartz") == "cat"
    assert search(words, frequency=0.1)("cartz") == "carts"


def test_word_is_left_alone_when_the_nearest_is_at_the_limit() -> None:
    words = {"chat": 1}
    assert search(words, limit=1.0)("chot") == "chot"
    assert search(words, limit=1.01)("chot") == "chat"


def test_longer_words_may_be_further_away() -> None:
    words = {"chat": 1, "chatons": 1}
    assert search(words, share=0.25)("chot") == "chot"  # 1 is not below 0.25 x 4
    assert search(words, share=0.25)("chotons") == "chatons"  # 1 < 0.25 x 7


WORD = st.text("abc", min_size=1, max_size=10)


@given(st.lists(WORD, min_size=1), WORD, st.integers(1, 3))
def test_candidates_are_the_words_within_the_edits(words: list[str], word: str, edits: int) -> None:
    found = Index(Lexicon(dict.fromkeys(words, 1)), edits).near(word)
    assert sorted(found) == sorted({own for own in words if editdistance.eval(own, word) <= edits})


TEXT = st.text("abcABCé'’-.,( 1", max_size=24)


@given(TEXT, st.floats(0, 1), st.floats(0, 1))
def test_every_character_has_a_span_and_a_confidence(text: str, confidence: float, sure: float) -> None:
    words = search({"abc": 3, "ab": 2, "cab": 1, "bé": 1, "a'b": 1})
    (reading,) = LexiconDecoder(Said(text, confidence), words, sure).read([np.zeros((1, 4), np.float32)])
    assert len(reading.text) == len(reading.spans) == len(reading.confidences)


@given(TEXT)
def test_corrected_text_is_not_corrected_again(text: str) -> None:
    words = {"abc": 3, "ab": 2, "cab": 1, "bé": 1}
    once = corrected(text, words)
    assert corrected(once, words) == once


def test_spans_are_replaced_in_order() -> None:
    assert replace_spans("one two three", [(0, 3), (8, 13)], str.upper) == "ONE two THREE"


# what conf/decoder/lexicon.yaml describes

SETTINGS = {"edits": 2, "limit": 3.0, "share": 1.0, "frequency": 0.0, "sure": 1.0}


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.tsv"
    path.write_text("salt\t1\nself\t9\n", encoding="utf-8")
    return path


def made(words: Path, confusions: str | None = None, **settings: Any) -> LexiconDecoder:
    how = {**SETTINGS, **settings}
    return lexicon_decoder(ALPHABET, base=Said("selt"), lexicon=str(words), confusions=confusions, **how)


def test_costs_come_from_counted_confusions(words: Path, tmp_path: Path) -> None:
    counted = Confusions({("f", "f"): 9, ("f", "t"): 5}, SOURCE)
    (tmp_path / "confusions.json").write_text(counted.to_json(), encoding="utf-8")
    assert made(words, str(tmp_path)).search("selt") == "self"


def test_costs_come_from_tables_of_the_original_program(words: Path, tmp_path: Path) -> None:
    confused("a", "e").write_tables(tmp_path)
    assert made(words, str(tmp_path)).search("selt") == "salt"
    confused("f", "t").write_tables(tmp_path)
    assert made(words, str(tmp_path)).search("selt") == "self"


def test_lexicon_is_read_anew_when_its_file_has_changed(words: Path) -> None:
    assert made(words).search("setf") == "self"
    words.write_text("sets\t1\n", encoding="utf-8")
    assert made(words).search("setf") == "sets"


def test_records_are_those_of_the_lexicon_and_of_the_base(words: Path) -> None:
    own = write_record(words, Origin((), frozenset(), frozenset()), unit="word", order=1, symbols="aeflst")
    decoder = lexicon_decoder(
        ALPHABET, base=Said("selt", records=("other",)), lexicon=str(words), confusions=None, **SETTINGS
    )
    assert decoder.records == (own, "other")


def test_lexicon_from_elsewhere_has_no_record(words: Path) -> None:
    assert made(words).records == ()


def test_confusions_that_are_nowhere_are_refused(words: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such file, and no folder with confusions.json"):
        made(words, "nowhere")


def configured(*overrides: str) -> LexiconDecoder:
    config: EvaluateConfig = composed("evaluate", ["decoder=lexicon", *overrides], EvaluateConfig).root
    found = build_decoder(config.decoder, ALPHABET)
    assert isinstance(found, LexiconDecoder)
    return found


def test_base_is_nested_by_its_own_group() -> None:
    found = configured("decoder@decoder.base=lexicon", "decoder.base.sure=0.5")
    assert isinstance(found.base, LexiconDecoder)
    assert (found.base.sure, found.sure) == (0.5, 0.97)


@pytest.mark.parametrize(("read", "true"), [("tovely", "lovely"), ("woved", "waved"), ("selt", "salt")])
def test_english_words_are_mended_by_what_is_confused_in_real_handwriting(read: str, true: str) -> None:
    assert configured("decoder.lexicon=english").search(read) == true


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


SYMBOLS = "aé\0"  # and € outside
SHORT_WORDS = st.text(SYMBOLS + "€", max_size=4)


@st.composite
def tables(draw: st.DrawFn) -> Costs:
    costs = draw(st.lists(st.floats(0.01, 2), min_size=15, max_size=15))
    substitution = np.array(costs[6:]).reshape(3, 3)
    np.fill_diagonal(substitution, 0.0)
    return Costs(SYMBOLS, np.array(costs[:3]), np.array(costs[3:6]), substitution)


def least(true: str, read: str, costs: Costs) -> float:
    """Return the least cost over all ways to turn `true` into `read`."""
    deletion, insertion, substitution = costs.padded
    place = {symbol: n for n, symbol in enumerate(costs.symbols)}
    ways = []
    if true:
        ways.append(deletion[place.get(true[0], 3)] + least(true[1:], read, costs))
    if read:
        ways.append(insertion[place.get(read[0], 3)] + least(true, read[1:], costs))
    if true and read:
        edit = 0.0 if true[0] == read[0] else substitution[place.get(true[0], 3), place.get(read[0], 3)]
        ways.append(edit + least(true[1:], read[1:], costs))
    return min(ways, default=0.0)


@given(SHORT_WORDS, st.lists(SHORT_WORDS, max_size=3), tables())
def test_distance_is_the_least_over_all_ways_to_edit(read: str, candidates: list[str], costs: Costs) -> None:
    expected = [least(true, read, costs) for true in candidates]
    assert weighted_distances(read, candidates, costs).tolist() == pytest.approx(expected)


@given(st.text(max_size=8), st.lists(st.text(max_size=8)))
def test_distance_is_that_of_levenshtein_when_every_edit_costs_1(read: str, candidates: list[str]) -> None:
    found = weighted_distances(read, candidates, Costs.plain())
    assert found.tolist() == pytest.approx([editdistance.eval(read, true) for true in candidates])


def cheap(**own: tuple[int, ...]) -> Costs:
    """Return costs of 1 over a and o, but 0.25 at one place of a table."""
    made = {"deletion": np.ones(2), "insertion": np.ones(2), "substitution": 1 - np.eye(2)}
    for name, place in own.items():
        made[name][place] = 0.25
    return Costs("ao", **made)


def test_substitution_is_of_what_is_true_by_what_is_read() -> None:
    costs = cheap(substitution=(0, 1))  # a is often read as o
    assert weighted_distances("o", ["a"], costs).tolist() == [0.25]
    assert weighted_distances("a", ["o"], costs).tolist() == [1.0]


def test_deletion_is_of_a_character_that_is_true_and_not_read() -> None:
    costs = cheap(deletion=(0,))  # a is often passed over
    assert weighted_distances("", ["a"], costs).tolist() == [0.25]
    assert weighted_distances("a", [""], costs).tolist() == [1.0]


def test_insertion_is_of_a_character_that_is_read_and_not_true() -> None:
    costs = cheap(insertion=(0,))  # an a is often seen where none is
    assert weighted_distances("a", [""], costs).tolist() == [0.25]
    assert weighted_distances("", ["a"], costs).tolist() == [1.0]


def test_equal_characters_cost_nothing_where_no_symbols_are_known() -> None:
    assert weighted_distances("€x", ["€x", "€y"], Costs.plain()).tolist() == [0.0, 1.0]


def test_longer_candidates_do_not_change_the_distance_of_others() -> None:
    costs = cheap(substitution=(0, 1))
    alone = weighted_distances("ooa", ["aoa"], costs)
    assert weighted_distances("ooa", ["aoa", "aaaaaaaaaa", ""], costs)[0] == alone[0] == 0.25

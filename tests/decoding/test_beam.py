"""Beam search: against every labelling there is, and with what its models say; classes end with blank."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwr.data.synthetic.texts import Bigrams
from hwr.decoding.beam import BeamDecoder, beam_decoder
from hwr.decoding.greedy import GreedyDecoder
from hwr.errors import InputError
from hwr.files import sha256
from hwr.language import Origin, arpa, ngrams, write_record
from hwr.text import Alphabet

AB = Alphabet("ab ")
WIDE = {
    "model": None, "word_model": None, "lexicon": None, "width": 10**6, "tokens": 100, "threshold": 1e9,
    "skip": 1.0, "model_weight": 0.0, "word_bonus": 0.0, "word_weight": 0.0, "nbest": 10**6,
}  # fmt: skip


def decoder(alphabet: Alphabet = AB, **settings: Any) -> BeamDecoder:
    return beam_decoder(alphabet, **{**WIDE, **settings})


def labellings(probs: NDArray[np.float32], alphabet: Alphabet) -> dict[str, float]:
    """Return the probability of every text, the sum over all its paths, white space at its ends removed."""
    found: dict[str, float] = {}
    for path in itertools.product(range(len(alphabet)), repeat=len(probs)):
        kept = [c for i, c in enumerate(path) if i == 0 or path[i - 1] != c]
        text = alphabet.decode(kept).strip()
        found[text] = found.get(text, 0.0) + float(np.prod(probs[range(len(probs)), path]))
    return found


@st.composite
def matrices(draw: st.DrawFn) -> NDArray[np.float32]:
    """Return probs (T, 4) of up to five steps."""
    steps = draw(st.integers(1, 5))
    weights = draw(st.lists(st.integers(1, 50), min_size=4 * steps, max_size=4 * steps))
    rows = np.array(weights, np.float32).reshape(steps, 4)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float32)


@given(matrices())
def test_text_is_the_most_probable_labelling_when_all_are_searched(probs: NDArray[np.float32]) -> None:
    every = labellings(probs, AB)
    reading = decoder()(probs)
    assert every[reading.text] == pytest.approx(max(every.values()), rel=1e-4)
    # and its score, and those of its rivals, are sums over all paths
    for rival in reading.alternatives:
        assert np.exp(rival.score) == pytest.approx(every[rival.text], rel=1e-3, abs=1e-7)
    assert {rival.text for rival in reading.alternatives} == set(every)


def test_text_may_differ_from_the_best_path_as_paths_add_up() -> None:
    probs = np.array([[0.4, 0.0, 0.0, 0.6], [0.4, 0.0, 0.0, 0.6]], np.float32)
    assert GreedyDecoder(AB)(probs).text == ""  # one path of 0.36
    assert decoder()(probs).text == "a"  # three paths: 0.16 + 0.24 + 0.24


# Models


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of characters in which b follows a, and a follows nothing but the start and spaces."""
    return written(tmp_path_factory.mktemp("model") / "model.arpa", ["ab", "ab ab", "ab ab ab"] * 20)


def written(path: Path, lines: list[str], *, unit: str = "character", order: int = 3) -> Path:
    """Write a model of these lines with its record."""
    made = ngrams.estimate_ngrams(lines, unit=unit, order=order, min_count=2, symbols="")
    arpa.write_arpa(path, made)
    symbols = arpa.written_symbols(made.vocabulary, unit)
    write_record(path, Origin((), frozenset(), frozenset()), unit=unit, order=order, symbols=symbols)
    return path


UNSURE = np.array([[0.9, 0.05, 0.0, 0.05], [0.0, 0.0, 0.0, 1.0], [0.5, 0.45, 0.0, 0.05]], np.float32)


def test_model_decides_where_probabilities_hardly_differ(model: Path) -> None:
    assert decoder()(UNSURE).text == "aa"
    assert decoder(model=str(model), model_weight=0.5)(UNSURE).text == "ab"


def test_model_is_silent_without_weight(model: Path) -> None:
    assert decoder(model=str(model), model_weight=0.0)(UNSURE).text == "aa"


def test_score_adds_that_of_the_model_at_its_weight(model: Path) -> None:
    plain = {a.text: a.score for a in decoder()(UNSURE).alternatives}
    both = {a.text: a.score for a in decoder(model=str(model), model_weight=0.5)(UNSURE).alternatives}
    own = arpa.NgramModel.load(model)
    for text in ("ab", "aa", "b"):
        assert both[text] == pytest.approx(plain[text] + 0.5 * own.score(text), abs=1e-3)


def test_word_bonus_parts_words(model: Path) -> None:
    probs = np.array([[0.9, 0.0, 0.0, 0.1], [0.0, 0.0, 0.4, 0.6], [0.0, 0.9, 0.0, 0.1]], np.float32)
    assert decoder()(probs).text == "ab"
    assert decoder(word_bonus=1.0)(probs).text == "a b"


def test_blank_weight_reads_letters_that_are_less_probable_than_a_blank() -> None:
    probs = np.array([[0.4, 0.0, 0.0, 0.6]], np.float32)
    assert decoder()(probs).text == ""
    assert decoder(blank_weight=0.5)(probs).text == "a"
    scores = {own.text: own.score for own in decoder(blank_weight=0.5)(UNSURE).alternatives}
    scaled = UNSURE * np.array([1, 1, 1, 0.5], np.float32)
    for text, probability in labellings(scaled, AB).items():
        if probability > 0:
            assert scores[text] == pytest.approx(np.log(probability), abs=1e-3)


def test_words_of_a_lexicon_alone_are_read_where_there_is_one(tmp_path: Path) -> None:
    lexicon = tmp_path / "words.tsv"
    lexicon.write_text("ab\t2\nb\t1\n", encoding="utf-8")
    assert decoder()(UNSURE).text == "aa"
    assert decoder(lexicon=str(lexicon))(UNSURE).text == "ab"
    spaced = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0.6, 0.4, 0, 0]], np.float32)
    assert decoder(lexicon=str(lexicon))(spaced).text == "b ab"


def test_word_model_ranks_the_best_texts_anew(tmp_path: Path) -> None:
    words = written(tmp_path / "words.arpa", ["ab", "ab ab"] * 5, unit="word", order=2)
    reading = decoder(word_model=str(words), word_weight=1.0)(UNSURE)
    assert reading.text == "ab"
    assert [a.score for a in reading.alternatives] == sorted(
        (a.score for a in reading.alternatives), reverse=True
    )


def test_line_reads_the_same_alone_and_among_others(model: Path) -> None:
    own = decoder(model=str(model), model_weight=0.5, width=4)
    others = [UNSURE, UNSURE[:1], UNSURE[::-1]]
    assert own.read(others) == [own(np.ascontiguousarray(probs)) for probs in others]


@pytest.mark.slow
def test_english_model_parts_words_that_ran_together(tmp_path: Path) -> None:
    """The sample of the original program: "forhim" is "for him", with the space hardly seen."""
    sentences = Bigrams().sentences(np.random.default_rng(0))
    english = written(tmp_path / "english.arpa", [next(sentences) for _ in range(20_000)], order=6)
    alphabet = Alphabet(" afhimorstw")
    path = "i_t_ _w_a_s_ _f_o_r_h_i_m"
    gap = path.index("h") - 1
    classes = [alphabet.encode(c)[0] if c != "_" else alphabet.blank for c in path]
    probs = np.full((len(path), len(alphabet)), 0.001, np.float32)
    probs[np.arange(len(path)), classes] = 0.98
    probs[gap, alphabet.encode(" ")] = 0.02
    assert GreedyDecoder(alphabet)(probs).text == "it was forhim"
    assert decoder(alphabet, width=50)(probs).text == "it was forhim"
    assert decoder(alphabet, width=50, model=str(english), model_weight=0.65)(probs).text == "it was for him"


# What comes with the text


def test_characters_carry_where_and_how_surely_they_were_read() -> None:
    probs = np.array(
        [[0, 0, 0, 1], [0.8, 0, 0, 0.2], [0.9, 0, 0, 0.1], [0, 0, 0, 1], [0, 0.6, 0, 0.4], [0, 0, 0, 1]],
        np.float32,
    )
    reading = decoder()(probs)
    assert reading.text == "ab"
    assert reading.confidences == pytest.approx((0.9, 0.6))
    assert sum(reading.spans, ()) == pytest.approx((1 / 6, 3 / 6, 4 / 6, 5 / 6))
    assert reading.confidence == pytest.approx((0.9 * 0.6) ** 0.5)


def test_text_is_the_first_of_as_many_alternatives_as_asked_for() -> None:
    reading = decoder(nbest=2)(UNSURE)
    assert len(reading.alternatives) == 2
    assert reading.alternatives[0].text == reading.text
    assert reading.alternatives[0].score > reading.alternatives[1].score


@pytest.mark.parametrize("skip", [1.0, 0.9])
def test_spans_are_those_of_the_line_when_steps_are_skipped(skip: float) -> None:
    blank, a, b = (np.eye(4, dtype=np.float32)[c] for c in (3, 0, 1))
    reading = decoder(skip=skip)(np.stack([blank, blank, blank, a, blank, blank, blank, blank, b, blank]))
    assert reading.text == "ab"
    assert sum(reading.spans, ()) == pytest.approx((0.3, 0.4, 0.8, 0.9))


def test_double_letters_stay_when_steps_are_skipped() -> None:
    blank, a = (np.eye(4, dtype=np.float32)[c] for c in (3, 0))
    assert decoder(skip=0.5)(np.stack([a, blank, blank, blank, a])).text == "aa"


@given(matrices())
def test_spans_and_confidences_are_one_a_character(probs: NDArray[np.float32]) -> None:
    reading = decoder(width=3)(probs)
    assert len(reading.text) == len(reading.spans) == len(reading.confidences)
    assert all(0 <= start < end <= 1 for start, end in reading.spans)


def test_line_without_steps_is_empty() -> None:
    assert decoder()(np.zeros((0, 4), np.float32)).text == ""


# What is refused


def test_line_in_which_the_search_finds_nothing_is_empty() -> None:
    silent = replace(decoder(), engine=SimpleNamespace(decode=lambda *given: []))
    assert silent(UNSURE).text == ""


def test_probabilities_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match=re.escape("probabilities are not finite")):
        decoder()(np.full((2, 4), np.nan, np.float32))
    with pytest.raises(
        InputError, match=re.escape("probabilities of shape (2, 7) are not of this alphabet of 4 classes")
    ):
        decoder()(np.zeros((2, 7), np.float32))


def test_model_that_lacks_characters_of_the_recogniser_is_refused(model: Path) -> None:
    with pytest.raises(InputError, match=re.escape("does not know 'é' of the recogniser's alphabet")):
        decoder(Alphabet("abé "), model=str(model))


def test_model_of_another_unit_is_refused(model: Path, tmp_path: Path) -> None:
    words = written(tmp_path / "words.arpa", ["ab ab"] * 5, unit="word")
    with pytest.raises(InputError, match=re.escape("a model of words")):
        decoder(model=str(words))
    with pytest.raises(InputError, match=re.escape("a model of characters")):
        decoder(word_model=str(model))


def test_model_that_is_none_is_refused_with_its_line(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.arpa"
    path.write_text(model.read_text(encoding="utf-8").replace("\\end\\", ""), encoding="utf-8")
    about = json.loads(model.with_suffix(".json").read_text(encoding="utf-8"))
    path.with_suffix(".json").write_text(json.dumps({**about, "sha256": sha256(path)}), encoding="utf-8")
    with pytest.raises(InputError, match=re.escape("model.arpa")):
        decoder(model=str(path))


def test_model_that_is_missing_is_refused() -> None:
    with pytest.raises(InputError, match=re.escape("nowhere.arpa: no such file")):
        decoder(model="nowhere.arpa")


def test_lexicon_without_a_word_that_can_be_written_is_refused(tmp_path: Path) -> None:
    lexicon = tmp_path / "words.tsv"
    lexicon.write_text("xyz\t1\n", encoding="utf-8")
    with pytest.raises(InputError, match=re.escape("none of its words is in the recogniser's alphabet")):
        decoder(lexicon=str(lexicon))

"""The language of a page is that under whose model its lines score highest."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwr.decoding import Probs, Reading
from hwr.decoding.beam import BeamDecoder, LanguageDecoder, language_decoder
from hwr.errors import InputError
from hwr.language import MODEL, Origin, arpa, ngrams, write_record
from hwr.text import Alphabet

ABC = Alphabet("abc")
SEARCH = {
    "width": 100,
    "tokens": 10,
    "threshold": 1e9,
    "skip": 1.0,
    "model_weight": 1.0,
    "word_bonus": 0.0,
    "nbest": 5,
}
DOUBTFUL = np.array([[0.9, 0.05, 0.04, 0.01], [0.02, 0.5, 0.46, 0.02]], np.float32)  # ab, or ac
OTHER = np.array([[0.02, 0.48, 0.49, 0.01], [0.9, 0.05, 0.04, 0.01]], np.float32)  # ca, or ba


class Counted:
    """A decoder that counts the lines that it reads."""

    def __init__(self, decoder: BeamDecoder) -> None:
        self.decoder, self.calls = decoder, 0

    def __call__(self, probs: Probs) -> Reading:
        self.calls += 1
        return self.decoder(probs)


@pytest.fixture
def models(tmp_path: Path) -> dict[str, str]:
    """Return a compressed model of lines "ac" and one of lines "ba"."""
    paths = {}
    for name in ("ac", "ba"):
        path = tmp_path / name / f"{MODEL}.gz"
        path.parent.mkdir()
        model = ngrams.estimate_ngrams([name] * 20, unit="character", order=2, min_count=2, symbols="abc")
        arpa.write_arpa(path, model)
        origin = Origin((), frozenset({6 * name}), frozenset())  # 12 digits
        write_record(path, origin, unit="character", order=2, symbols="abc")
        paths[name] = str(path.parent)
    return paths


def decoder(models: dict[str, str], **settings: Any) -> LanguageDecoder:
    return language_decoder(ABC, models=models, **{**SEARCH, "language": "auto", **settings})


def test_line_is_read_with_the_model_under_which_it_scores_highest(models: dict[str, str]) -> None:
    assert [reading.text for reading in decoder(models).read([DOUBTFUL, OTHER])] == ["ac", "ba"]
    assert {lines for own in decoder(models).records for lines in own.origin.lines} == {6 * "ac", 6 * "ba"}


def test_page_is_read_with_the_model_under_which_its_lines_score_highest(models: dict[str, str]) -> None:
    lines, pages = [DOUBTFUL, OTHER, OTHER, DOUBTFUL, DOUBTFUL], ["p", "p", "p", "q", "q"]
    assert [one.text for one in decoder(models).read(lines, pages)] == ["ba", "ba", "ba", "ac", "ac"]


def test_page_whose_language_is_certain_is_read_with_one_model_alone(models: dict[str, str]) -> None:
    made = decoder(models, certainty=0.1)
    read = {own: Counted(own) for own in made.decoders}
    counted = replace(made, decoders=tuple(read.values()))
    assert [one.text for one in counted.read([DOUBTFUL] * 3 + [OTHER], "pppq")] == ["ac"] * 3 + ["ba"]
    assert [own.calls for own in read.values()] == [4, 2]


@pytest.mark.parametrize("language", ["ac", "ba"])
def test_language_that_is_chosen_reads_every_line(models: dict[str, str], language: str) -> None:
    chosen = decoder(models, language=language)
    assert {reading.text for reading in chosen.read([DOUBTFUL, OTHER])} == {language}
    assert len(chosen.records) == 1


def test_line_without_steps_is_empty(models: dict[str, str]) -> None:
    assert decoder(models).read([np.zeros((0, 4), np.float32)])[0].text == ""


def test_language_without_a_model_is_refused(models: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"language=latin: no model of it; choose one of auto, ac, ba"):
        decoder(models, language="latin")

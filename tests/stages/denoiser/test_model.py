"""Denoisers: texts are rewritten alike in any company, and step by step as all at once."""

from pathlib import Path

import mxnet as mx
import pytest

from hwr.decoding.denoise import search_rewritings
from hwr.stages.denoiser import load_text_denoiser
from hwr.text import Alphabet
from tests.stages.denoiser.untrained import denoiser
from tests.stages.small import ABC, CPU, save

TEXTS = ["a", "cab bead", "e", "dabbed a cab", "bed", "a cab"]


def test_denoiser_of_weights_takes_texts_as_long_as_it_learnt(tmp_path: Path) -> None:
    made = load_text_denoiser(save(tmp_path / "w", "denoiser"), batch_size=2, context=CPU)
    assert (made.longest, made.alphabet) == (30, ABC)


@pytest.mark.parametrize("width", [1, 3])
def test_text_written_step_by_step_is_as_probable_as_at_once(width: int) -> None:
    own, texts = denoiser(alphabet=Alphabet("abcde")), ["a", "bead", "cabba", "dead", "bedcabe"]
    for text, found in zip(texts, search_rewritings(own, texts, width=width, growth=3), strict=True):
        scores = own.log_probs([text] * len(found), list(found))
        assert list(found.values()) == pytest.approx(scores, abs=1e-4)


def test_text_is_rewritten_the_same_alone_in_a_batch_and_in_another_order() -> None:
    own = denoiser(batch_size=32)
    together = dict(zip(TEXTS, search_rewritings(own, TEXTS, width=3, growth=3), strict=True))
    backwards = dict(zip(TEXTS[::-1], search_rewritings(own, TEXTS[::-1], width=3, growth=3), strict=True))
    for text in TEXTS:
        (alone,) = search_rewritings(own, [text], width=3, growth=3)
        assert together[text] == pytest.approx(alone, abs=1e-4)
        assert backwards[text] == pytest.approx(alone, abs=1e-4)


def test_log_probability_is_the_same_alone_in_a_batch_and_in_another_order() -> None:
    own, others = denoiser(batch_size=4), [text[::-1] for text in TEXTS]
    together = own.log_probs(TEXTS, others)
    assert own.log_probs(TEXTS[::-1], others[::-1]) == pytest.approx(together[::-1], abs=1e-4)
    alone = [own.log_probs([text], [other])[0] for text, other in zip(TEXTS, others, strict=True)]
    assert alone == pytest.approx(together, abs=1e-4)


def test_log_probability_adds_up_the_characters_and_the_end() -> None:
    own = denoiser()
    noisy, before = mx.nd.array([[1, 2, 6]]), mx.nd.array([[6, 3, 4]])  # "ab"; before each character of "cd"
    rows = own.network(noisy, before).asnumpy()[0]
    assert own.log_probs(["ab"], ["cd"]) == [pytest.approx(rows[0, 3] + rows[1, 4] + rows[2, 6], abs=1e-4)]

"""Stage `denoiser`: texts are rewritten alike in any company and step by step as all at once; losses fall."""

from dataclasses import dataclass, replace
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from hwr.data.batches.texts import Passage, Sampling
from hwr.decoding.denoise import search_rewritings
from hwr.language.confusions import Confusions, CountedLines
from hwr.language.noise import Noise, Recogniser
from hwr.losses import TextLoss
from hwr.networks.transformer import Transformer
from hwr.stages.denoiser.stage import DenoiserStage, TextDenoiser, TextTask
from hwr.text import Alphabet

ALPHABET = Alphabet(" abcde")
NOISE = Noise(strength=1.0, spread=0.0, bursts=0.0, clean=0.0, most=1.0, smoothing=0.0)
CONFUSIONS = Confusions(
    {("a", "a"): 2, ("a", "e"): 1, ("c", "c"): 1, ("b", "b"): 1}, CountedLines("f", "valid", "w", 1)
)
TEXTS = ["a", "cab bead", "e", "dabbed a cab", "bed", "a cab"]


@dataclass(frozen=True)
class Named:
    """All that the stage asks of a phase."""

    name: str


PHASE = Named("text")


def denoiser(*, batch_size: int = 4, sure: float = 2.0, alphabet: Alphabet = ALPHABET) -> TextDenoiser:
    """Return a denoiser that has learnt nothing; with higher weights, `sure` times, it is surer of itself."""
    network = Transformer(
        len(alphabet), width=16, heads=2, encoder_layers=1, decoder_layers=2, hidden=16, reach=1, dropout=0.1
    )
    mx.random.seed(3)
    network.initialize(mx.init.Xavier(magnitude=2.24))
    network.hybridize()
    for parameter in network.collect_params().values():
        parameter.set_data(sure * parameter.data())
    return TextDenoiser(network, alphabet, longest=20, batch_size=batch_size, context=mx.cpu())


def stage(*, noise: Noise = NOISE) -> DenoiserStage:
    train = [Passage(("t0", "t1", "t2"), ("cab", "a bead", "dab")), Passage(("t3", "t4"), ("abed", "cede"))]
    valid = [("v0", "abba"), ("v1", "dad a")]
    task = TextTask(
        train,
        valid,
        ["abbe", "dad a"],
        Sampling(repeats=2, windows=0.5, longest=20),
        {PHASE.name: TextLoss()},
        {PHASE.name: Recogniser(CONFUSIONS, noise)},
    )
    return DenoiserStage(denoiser(sure=1.0), task, batch_size=4, seed=5)


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


def test_epoch_has_every_line_so_many_times() -> None:
    made = stage()
    found = list(made.batches(PHASE, 0))
    assert len(found) == made.steps() == 3
    assert sorted(name for batch in found for name in batch.ids) == sorted(2 * ["t0", "t1", "t2", "t3", "t4"])


def test_batches_are_misread_anew_in_every_epoch_and_the_same_for_the_same() -> None:
    made = stage()
    first, again, other = (list(made.batches(PHASE, epoch)) for epoch in (0, 0, 1))
    for one, two in zip(first, again, strict=True):
        assert one.ids == two.ids
        np.testing.assert_array_equal(one.noisy, two.noisy)
    assert any(one.noisy.shape != two.noisy.shape or (one.noisy != two.noisy).any()
               for one, two in zip(first, other, strict=True))  # fmt: skip


def test_batches_go_on_from_within_an_epoch() -> None:
    made = stage()
    (*_, last), (rest,) = made.batches(PHASE, 0), made.batches(PHASE, 0, start=2)
    assert last.ids == rest.ids
    np.testing.assert_array_equal(last.noisy, rest.noisy)


def test_misread_text_is_no_longer_than_the_network_takes() -> None:
    confusions = Confusions({("a", "a"): 1, (None, "b"): 1}, CONFUSIONS.source)
    made = stage()
    made.task = replace(
        made.task,
        train=[Passage(("t",), ("a" * 19,))],
        recognisers={PHASE.name: Recogniser(confusions, replace(NOISE, strength=100.0))},
    )
    (batch,) = made.batches(PHASE, 0)
    assert (batch.noisy >= 0).sum(axis=1).tolist() == [21, 21]  # twenty characters and the end


def test_loss_is_one_value_a_text_and_falls_when_trained() -> None:
    made = stage()
    trainer = gluon.Trainer(made.network.collect_params(), "adam", {"learning_rate": 0.01}, kvstore=None)
    means: list[float] = []
    for epoch in range(12):
        for batch in made.batches(PHASE, epoch):
            with autograd.record():
                loss = made.loss(PHASE, batch)
            assert loss.shape == (len(batch.ids),)
            loss.backward()
            trainer.step(len(batch.ids))
            means.append(float(loss.mean().asscalar()))
    assert np.mean(means[-6:]) < 0.7 * np.mean(means[:6])


def test_validate_gives_error_rates_of_texts_rewritten_and_as_misread() -> None:
    class Same(TextDenoiser):
        def greedy(self, texts: Any) -> list[str]:
            return ["abb", "dad a"]

    made = stage()
    made.denoiser.__class__ = Same
    # of nine characters one was misread, and one is missing
    assert made.validate() == {"valid/cer": pytest.approx(1 / 9), "valid/noised_cer": pytest.approx(1 / 9)}


def test_validate_rewrites_the_misread_texts() -> None:
    made = stage()
    assert made.validate()["valid/noised_cer"] == pytest.approx(1 / 9)
    assert made.denoiser.greedy(made.task.noised) != ["abbe", "dad a"]

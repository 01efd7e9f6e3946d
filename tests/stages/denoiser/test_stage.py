"""Stage `denoiser`: texts are misread anew in every epoch, losses fall, errors are rates."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mxnet import autograd, gluon

from hwr.data.batches.texts import Passage, Sampling
from hwr.language.confusions import Confusions, CountedLines, Noise, Recogniser
from hwr.losses import TextLoss
from hwr.stages.denoiser import TextDenoiser
from hwr.stages.denoiser.training import DenoiserStage, TextTask
from tests.stages.denoiser.untrained import denoiser
from tests.stages.small import phase

NOISE = Noise(strength=1.0, spread=0.0, bursts=0.0, clean=0.0, most=1.0, smoothing=0.0)
CONFUSIONS = Confusions(
    {("a", "a"): 2, ("a", "e"): 1, ("c", "c"): 1, ("b", "b"): 1}, CountedLines("f", "valid", "w", 1)
)


PHASE = phase("text")


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

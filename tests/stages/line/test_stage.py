"""Stage `line`: batches repeat by seed, losses fall, scores are ratios of counts."""

from collections.abc import Hashable, Sequence
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon
from numpy.typing import NDArray

from hwr.data.batches.lines import Image, LineSet
from hwr.decoding import Reading
from hwr.decoding.greedy import GreedyDecoder
from hwr.losses import CtcLoss
from hwr.stages.line import LineReader
from hwr.stages.line.training import LineStage, LineTask
from tests.stages.line.lines import ALPHABET, line, network
from tests.stages.small import phase

PHASE = phase("ctc")


def shaken(image: Image, seed: int, epoch: int, index: int) -> Image:
    noise = np.random.default_rng([seed, epoch, index]).integers(0, 9, image.shape)
    return np.clip(image.astype(int) - noise, 0, 255).astype(np.uint8)


def stage(*, shortcut_weight: float = 0.1, decoder: Any = None) -> LineStage:
    texts = ["ab", "c de", "ee", "abcde", "d"]
    train = LineSet([f"t{i}" for i in range(5)], [line(60 + 20 * i, i) for i in range(5)], texts)
    valid = LineSet(["v0", "v1"], [line(64, 8), line(96, 9)], ["ab", "abc d"])
    losses = {PHASE.name: CtcLoss(shortcut_weight=shortcut_weight)}
    task = LineTask(ALPHABET, train, valid, losses, {PHASE.name: shaken})
    return LineStage(
        LineReader(network(), batch_size=2, context=mx.cpu()),
        task,
        decoder or GreedyDecoder(ALPHABET),
        batch_size=2,
        seed=4,
    )


def test_batches_are_changed_and_the_same_for_the_same_epoch() -> None:
    made = stage()
    first, again, other = (list(made.batches(PHASE, epoch)) for epoch in (0, 0, 1))
    assert sorted(name for batch in first for name in batch.ids) == ["t0", "t1", "t2", "t3", "t4"]
    assert len(first) == made.steps() == 3
    for one, two in zip(first, again, strict=True):
        assert one.ids == two.ids
        np.testing.assert_array_equal(one.images, two.images)
    ink, moved = (
        {name: image.sum() for batch in epoch for name, image in zip(batch.ids, batch.images, strict=True)}
        for epoch in (first, other)
    )
    assert all(ink[name] != moved[name] for name in ink)


@pytest.mark.parametrize("shortcut_weight", [0.1, 0.0])
def test_loss_falls_when_trained(shortcut_weight: float) -> None:
    made = stage(shortcut_weight=shortcut_weight)
    trainer = gluon.Trainer(made.network.collect_params(), "adam", {"learning_rate": 0.01}, kvstore=None)
    means: list[float] = []
    for epoch in range(4):
        for batch in made.batches(PHASE, epoch):
            with autograd.record():
                loss = made.loss(PHASE, batch)
            loss.backward()
            trainer.step(len(batch.ids))
            means.append(float(loss.mean().asscalar()))
    assert np.mean(means[-3:]) < 0.6 * np.mean(means[:3])


def test_validate_gives_ratios_of_counts_over_all_lines() -> None:
    class Decoder:
        def read(self, lines: Sequence[NDArray[np.float32]], pages: Sequence[Hashable] = ()) -> list[Reading]:
            return [Reading("ab", 1.0) for _ in lines]

    # "ab" as it is; "abc d" lacks 3 of 5 characters, and of its 2 words neither is "ab"
    assert stage(decoder=Decoder()).validate() == {
        "valid/cer": pytest.approx(3 / 7),
        "valid/wer": pytest.approx(2 / 3),
    }

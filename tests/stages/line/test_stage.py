"""Stage `line`: lines read alike in any company, batches repeat by seed, scores are ratios of counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon
from numpy.typing import NDArray

from hwr.data.batches.lines import Image, LineSet, padded_width, stack
from hwr.decoding.greedy import GreedyDecoder
from hwr.decoding.reading import Reading
from hwr.losses import CtcLoss
from hwr.networks.crnn import Crnn
from hwr.networks.resnet_bilstm import ResnetBilstm
from hwr.stages.build import drawn
from hwr.stages.line.stage import LineReader, LineStage, LineTask
from hwr.text import Alphabet

HEIGHT = 32
ALPHABET = Alphabet(" abcde")
NETWORKS: dict[str, Any] = {
    "crnn": lambda: Crnn(7, stem=8, channels=[8, 12], blocks=[1, 1], hidden=16, layers=2, dropout=0.2),
    "resnet_bilstm": lambda: ResnetBilstm(7, channels=8, hidden=16, layers=1, dropout=0.5),
}


@dataclass(frozen=True)
class Named:
    """All that the stage asks of a phase."""

    name: str


PHASE = Named("ctc")


def line(width: int, seed: int) -> Image:
    """Return a line image with strokes all over it."""
    return np.random.default_rng([seed, width]).integers(0, 256, (HEIGHT, width), dtype=np.uint8)


def network(kind: str = "crnn") -> Any:
    made = NETWORKS[kind]()
    return drawn(made, (HEIGHT, HEIGHT), seed=3, context=mx.cpu())


def reader(kind: str = "crnn", batch_size: int = 32) -> LineReader:
    made = network(kind)
    made.output.weight.set_data(30 * made.output.weight.data())  # as sure of itself as a trained one
    return LineReader(made, batch_size=batch_size, context=mx.cpu())


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


@pytest.mark.parametrize("kind", NETWORKS)
def test_line_reads_the_same_alone_in_a_batch_of_32_and_among_wider_neighbours(kind: str) -> None:
    read = reader(kind)
    target = line(90, 0)
    like = [line(96 - i % 30, i) for i in range(1, 32)]  # all rounded to 96 px
    wider = [line(width, 1) for width in (130, 200, 300)]
    (alone,) = read.probs([target])
    for company in ([target, *like], [*like[:7], target], [wider[0], target, *wider[1:]]):
        place = next(index for index, image in enumerate(company) if image is target)
        together = read.probs(company)[place]
        np.testing.assert_allclose(together, alone, atol=1e-5)
        assert GreedyDecoder(ALPHABET)(together).text == GreedyDecoder(ALPHABET)(alone).text


@pytest.mark.parametrize("kind", NETWORKS)
def test_padding_to_a_wider_neighbour_would_change_a_line(kind: str) -> None:
    """Hold that the test above can fail: it is the line's own width that keeps its neighbours out."""
    read, target = reader(kind), line(90, 0)
    (alone,) = read.probs([target])
    logits, _ = read.network(mx.nd.array(stack([target], 320)))
    padded = mx.nd.softmax(logits, axis=2).asnumpy()[: len(alone), 0]
    assert np.abs(padded - alone).max() > 1e-3


@pytest.mark.parametrize("kind", NETWORKS)
def test_probs_come_in_the_order_of_the_images_with_a_step_for_every_stride(kind: str) -> None:
    widths, read = [200, 40, 90, 41, 300], reader(kind, batch_size=2)
    found = read.probs([line(width, 0) for width in widths])
    padded = [padded_width(width, read.network.width_multiple) for width in widths]
    assert [probs.shape for probs in found] == [(width // read.network.stride, 7) for width in padded]
    for probs in found:
        np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


def test_probs_are_none_when_there_are_no_images() -> None:
    assert reader().probs([]) == []


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


def test_loss_is_one_value_a_line() -> None:
    made = stage()
    batch = next(made.batches(PHASE, 0))
    values = made.loss(PHASE, batch).asnumpy()
    assert values.shape == (len(batch.ids),)
    assert (values > 0).all()


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
        def read(self, lines: Sequence[NDArray[np.float32]]) -> list[Reading]:
            return [Reading("ab", 1.0) for _ in lines]

    # "ab" as it is; "abc d" lacks 3 of 5 characters, and of its 2 words neither is "ab"
    assert stage(decoder=Decoder()).validate() == {
        "valid/cer": pytest.approx(3 / 7),
        "valid/wer": pytest.approx(2 / 3),
    }

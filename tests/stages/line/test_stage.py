"""Stage `line`: batches repeat by seed, losses fall, scores are ratios of counts."""

import os
import subprocess
import sys
from collections.abc import Hashable, Sequence
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon
from numpy.typing import NDArray

from hwr import runtime
from hwr.data.batches.lines import Image, LineBatch, LineSet
from hwr.decoding import Reading
from hwr.decoding.greedy import GreedyDecoder
from hwr.losses import CtcLoss
from hwr.networks.crnn import TILED_PX
from hwr.stages.line import LineReader
from hwr.stages.line.training import LineStage, LineTask
from tests.stages.line.lines import ALPHABET, HEIGHT, line, network
from tests.stages.small import phase

PHASE = phase("ctc")


def shaken(image: Image, seed: int, epoch: int, index: int, view: int) -> Image:
    noise = np.random.default_rng([seed, epoch, index, view]).integers(0, 9, image.shape)
    return np.clip(image.astype(int) - noise, 0, 255).astype(np.uint8)


def stage(*, shortcut_weight: float = 0.1, consistency: float = 0.0, decoder: Any = None) -> LineStage:
    texts = ["ab", "c de", "ee", "abcde", "d"]
    train = LineSet([f"t{i}" for i in range(5)], [line(60 + 20 * i, i) for i in range(5)], texts)
    valid = LineSet(["v0", "v1"], [line(64, 8), line(96, 9)], ["ab", "abc d"])
    losses = {PHASE.name: CtcLoss(shortcut_weight=shortcut_weight, consistency=consistency)}
    task = LineTask(ALPHABET, train, valid, losses, {PHASE.name: shaken})
    return LineStage(
        LineReader(network(), batch_size=2, context=mx.cpu()),
        task,
        decoder or GreedyDecoder(ALPHABET),
        batch_size=2,
        seed=4,
    )


def test_batch_has_two_views_of_a_line_where_the_loss_compares_them() -> None:
    made, plain = stage(consistency=0.2), stage()
    for own in (made, plain):
        own.network.output.weight.set_data(1000 * own.network.output.weight.data())  # views are read apart
    batches = zip(made.batches(PHASE, 0), plain.batches(PHASE, 0), strict=True)
    for batch, alone in batches:
        assert batch.ids == alone.ids
        np.testing.assert_array_equal(batch.images[:, :1], alone.images)
        assert (batch.images[:, 1] != batch.images[:, 0]).any()
        values = made.loss(PHASE, batch)
        assert values.shape == (len(batch.ids),)
        both = [
            plain.loss(PHASE, LineBatch(batch.ids, batch.images[:, view : view + 1], batch.labels))
            for view in (0, 1)
        ]
        apart = 2 * values - sum(both)  # what the loss adds for the difference of the views
        assert (apart.asnumpy() > 0).all()


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


def test_lines_too_wide_for_the_network_are_learnt_from_with_its_twin() -> None:
    made, told = stage(), list[int]()
    made.exact = lambda images: told.append(images.shape[3]) or made.network(images)
    for width in (TILED_PX, TILED_PX + 4):
        made.loss(PHASE, LineBatch(["a"], np.zeros((1, 1, HEIGHT, width), np.float32), np.zeros((1, 3))))
    assert told == [TILED_PX + 4]


GRADIENTS = """
from hwr import runtime
import mxnet as mx, numpy as np
from hwr.networks.crnn import TILED_PX
from tests.stages.test_recipe import smoke

model = smoke("precision=bfloat16", "network.channels=[32,64,128]", "network.dropout=0").model
narrow = model.draw((1, 1, 64, 64), context=mx.cpu(), classes=5)
exact = model.exact_twin(narrow, classes=5)
print(runtime.instruction_set())
for width, networks in ((TILED_PX, (narrow, exact)), (TILED_PX + 32, (exact, narrow))):
    images, found = mx.nd.random.uniform(shape=(2, 1, 64, width)), []
    for network in networks:
        with mx.autograd.record():
            loss = (network(images)[1] ** 2).mean()
        loss.backward()
        weights = narrow.trunk.collect_params(".*conv.*weight").values()
        found.append(np.concatenate([own.grad().asnumpy().ravel() for own in weights]).astype(float))
    one, other = found
    print((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))
"""


@pytest.mark.skipif(not runtime.has_tiles(), reason="this processor has no AMX")
def test_gradients_of_lines_as_wide_as_allowed_are_right_with_amx() -> None:
    environment = {name: value for name, value in os.environ.items() if name != runtime.LIMIT}
    done = subprocess.run(
        [sys.executable, "-c", GRADIENTS], env=environment, capture_output=True, text=True, check=True
    )
    instructions, allowed, wider = done.stdout.split()
    assert instructions == runtime.TILES
    assert float(allowed) > 0.95
    assert not float(wider) > 0.9, "oneDNN is right now: TILED_PX is not needed"

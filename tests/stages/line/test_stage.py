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
from hwr.stages.line import LineReader, training
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


@pytest.mark.parametrize("tiles", [True, False])
def test_lines_are_learnt_from_in_bfloat16_where_that_is_right(
    tiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Twin:
        def right_in_bfloat16(self, height: int, width: int, *, tiled: bool) -> bool:
            return height == HEIGHT and (width < 100 or not tiled)

        def __call__(self, images: Any) -> Any:
            told.append(images.shape[3])
            return made.network(images)

    monkeypatch.setattr(training, "uses_tiles", lambda: tiles)
    made, told = stage(), list[int]()
    made.fast = Twin()
    for width in (96, 100):
        made.loss(PHASE, LineBatch(["a"], np.zeros((1, 1, HEIGHT, width), np.float32), np.zeros((1, 3))))
    assert told == ([96] if tiles else [96, 100])
    made.validate()
    assert len(told) == (1 if tiles else 2)  # validation lines are read in float32


GRADIENTS = """
import sys
from hwr import runtime
import mxnet as mx, numpy as np
from tests.stages.test_recipe import smoke

height, *widths = map(int, sys.argv[1:])
model = smoke("precision=bfloat16", "network.channels=[32,64,128]", "network.dropout=0").model
runtime.use_tiles()
network = model.draw((1, 1, height, 64), context=mx.cpu(), classes=5)
fast = model.in_bfloat16(network, classes=5)
print(runtime.instruction_set())
for width in widths:
    images, found = mx.nd.random.uniform(shape=(2, 1, height, width)), []
    for own in (network, fast):
        with mx.autograd.record():
            loss = (own(images)[1] ** 2).mean()
        loss.backward()
        weights = network.trunk.collect_params(".*conv.*weight").values()
        found.append([own.grad().asnumpy().ravel().astype(float) for own in weights])
    cosines = [(a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(*found)]
    print(fast.right_in_bfloat16(height, width, tiled=True), min(cosines), flush=True)
"""


def with_amx(height: int, *widths: int) -> list[tuple[bool, float]]:
    """Return whether each width is allowed with AMX, and how near gradients are to those of float32."""
    environment = {name: value for name, value in os.environ.items() if name != runtime.LIMIT}
    command = [sys.executable, "-c", GRADIENTS, str(height), *map(str, widths)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    instructions, *rows = done.stdout.splitlines()
    assert instructions == runtime.TILES
    return [(allowed == "True", float(cosine)) for allowed, cosine in map(str.split, rows)]


@pytest.mark.skipif(not runtime.has_tiles(), reason="this processor has no AMX")
@pytest.mark.parametrize(("height", "widest"), [(64, 1408), (48, 896)])
def test_gradients_of_lines_as_wide_as_allowed_are_right_with_amx(height: int, widest: int) -> None:
    allowed = (96, widest - 32, widest)
    wider = [widest + 32 * step for step in (1, 2, 3, 4)]  # one alone happens to be right, seldom
    found = with_amx(height, *allowed, *wider)
    assert all(own and cosine > 0.95 for own, cosine in found[: len(allowed)])
    refused = found[len(allowed) :]
    assert not any(own for own, _ in refused)
    assert not min(cosine for _, cosine in refused) > 0.9, "oneDNN is right now: TILED_COLUMNS is not needed"

"""Stage `segmentation`: errors over the boxes of all images, a loss for each, and that boxes are learnt."""

from dataclasses import fields

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from hwr.data.augment import PageAugmentation
from hwr.data.batches.boxes import BoxSet
from hwr.images.boxes import FloatArray
from hwr.images.canvas import PageFit, placement
from hwr.images.load import GreyImage
from hwr.losses import MultiBoxLoss
from hwr.networks.ssd import compact
from hwr.stages.boxes import BoxStage
from hwr.stages.segmentation import BoxDetector
from hwr.stages.segmentation.training import detection_stage
from tests.stages.segmentation.answers import SIDE, Answers, around, detector, numbered
from tests.stages.small import phase

SPOT = placement((SIDE, SIDE), (0, 0, 1, 1), PageFit(size=(SIDE, SIDE), normalise=False))
NONE = PageAugmentation(**{field.name: 0.0 for field in fields(PageAugmentation)})
MULTIBOX = MultiBoxLoss(overlap=0.5, negatives=3.0, box_weight=1.0)
PHASE = phase("multibox")


def stage(made: BoxDetector, samples: BoxSet) -> BoxStage:
    return detection_stage(
        finder=made, network=made.network, train=samples, valid=samples, losses={"multibox": MULTIBOX},
        augmentations={"multibox": NONE}, batch_size=2, seed=0,
    )  # fmt: skip


def sample_set(images: list[GreyImage], boxes: list[FloatArray]) -> BoxSet:
    return BoxSet([f"p{i}" for i in range(len(images))], images, boxes, [SPOT] * len(images))


def drawn(count: int) -> BoxSet:
    """Return areas with four lines of strokes, 8 px high and of other widths, and their boxes."""
    generator = np.random.default_rng(0)
    images, boxes = [], []
    for _ in range(count):
        image = np.full((SIDE, SIDE), 255, np.uint8)
        own = []
        for top in (4, 20, 36, 52):
            left, right = int(generator.integers(2, 12)), int(generator.integers(36, 62))
            image[top : top + 8, left:right] = generator.integers(0, 160, (8, right - left))
            own.append((left, top, right, top + 8))
        images.append(image)
        boxes.append(np.array(own) / SIDE)
    return sample_set(images, boxes)


def test_validate_gives_errors_over_the_boxes_of_all_images() -> None:
    # The first image has two boxes, of which one is found; of the second, the one found is too wide: its IoU
    # is 0.2 / 0.3, more than 0.5 and less than 0.75.
    wide = (0.6, 0.65, 0.9, 0.85)
    samples = sample_set(numbered(2), [np.array([around(0), around(1)]), np.array([wide])])
    found = stage(detector(Answers({0: 0.9}, {6: 0.9})), samples)
    assert found.validate() == {
        "valid/f1_error": pytest.approx(1 - 2 * 2 / (3 + 2)),
        "valid/f1_75_error": pytest.approx(1 - 2 * 1 / (3 + 2)),
        "valid/iou_error": pytest.approx(1 - (1 + 2 / 3 + 0) / 3, abs=1e-6),
    }
    assert tuple(found.validate()) == found.metrics


def test_loss_is_one_value_an_image() -> None:
    samples = sample_set(numbered(2), [np.array([around(0)]), np.array([around(1), around(2)])])
    made = stage(detector(Answers({0: 1 - 1e-6}, {0: 0.5})), samples)
    (batch,) = made.batches(PHASE, 0)
    values = dict(zip(batch.ids, made.loss(PHASE, batch).asnumpy().tolist(), strict=True))
    assert sorted(values) == ["p0", "p1"]
    assert values["p0"] < values["p1"]
    assert made.steps() == 1


def test_lines_are_found_when_trained() -> None:
    samples = drawn(2)
    network = compact(
        stem=8, channels=[16, 24], strides=[[2, 2], [1, 2]], blocks=[1, 1], reach=2,
        anchors=[[(0.5, 0.125), (0.8, 0.125)]],
    )  # fmt: skip
    mx.random.seed(0)
    network.initialize(mx.init.Xavier(magnitude=2.24))
    made = stage(detector(network, overlap_thres=0.3), samples)
    network.hybridize()
    trainer = gluon.Trainer(network.collect_params(), "adam", {"learning_rate": 0.01}, kvstore=None)
    losses = []
    for epoch in range(60):
        for batch in made.batches(PHASE, epoch):
            with autograd.record():
                loss = made.loss(PHASE, batch)
            loss.backward()
            trainer.step(len(batch.ids))
            losses.append(float(loss.mean().asscalar()))
    assert losses[-1] < 0.1 * losses[0]
    assert made.validate()["valid/f1_error"] < 0.1

"""Stage `segmentation`: which detections are kept, where they lie, and that boxes are learnt."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon
from numpy.typing import NDArray

from hwr.data.augment.pages import PageAugmentation
from hwr.data.batches.boxes import BoxSet
from hwr.images.boxes import FloatArray
from hwr.images.canvas import PageFit, placement
from hwr.images.load import GreyImage
from hwr.losses import MultiBoxLoss
from hwr.networks.ssd import compact
from hwr.stages.paragraph.stage import BoxTask
from hwr.stages.segmentation.stage import BoxDetector, Detecting, SegmentationStage

SIDE = 64
SPOT = placement((SIDE, SIDE), (0, 0, 1, 1), PageFit(size=(SIDE, SIDE), normalise=False))
NONE = PageAugmentation(**{field.name: 0.0 for field in fields(PageAugmentation)})
KEEP = Detecting(min_c=0.5, overlap_thres=0.5, topk=100)
MULTIBOX = MultiBoxLoss(overlap=0.5, negatives=3.0, box_weight=1.0)
TWO = [(0.2, 0.2), (0.24, 0.2)]  # IoU 0.2 / 0.24 at the same cell
# Four cells; anchor 2 c is the first size at cell c, anchor 2 c + 1 the second.
AT = {0: (0.25, 0.25), 1: (0.75, 0.25), 2: (0.25, 0.75), 3: (0.75, 0.75)}


@dataclass(frozen=True)
class Named:
    """All that the stage asks of a phase."""

    name: str


PHASE = Named("multibox")


class Answers:
    """A network that gives each numbered image its own probabilities (A,) and offsets (4 A,)."""

    anchors = (TWO,)

    def __init__(self, *probs: dict[int, float], offsets: dict[int, tuple[float, ...]] | None = None) -> None:
        self.probs = np.full((len(probs), 8), 1e-6)
        for row, own in zip(self.probs, probs, strict=True):
            row[list(own)] = list(own.values())
        self.offsets = np.zeros((8, 4))
        for anchor, values in (offsets or {}).items():
            self.offsets[anchor] = values

    def shapes(self, images: Any) -> list[tuple[int, int]]:
        return [(2, 2)]

    def __call__(self, images: Any) -> tuple[Any, Any]:
        numbers = (images[:, 0, 0, 0].asnumpy() * 255).round().astype(int)
        probs = self.probs[numbers]
        scores = np.stack([0 * probs, np.log(probs / (1 - probs))], axis=1)  # (N, 2, A)
        return mx.nd.array(scores), mx.nd.array(np.tile(self.offsets.reshape(1, -1), (len(numbers), 1)))


def numbered(count: int) -> list[GreyImage]:
    """Return images the shade of which is their number."""
    return [np.full((SIDE, SIDE), 255 - i, np.uint8) for i in range(count)]


def around(cell: int, size: int = 0) -> tuple[float, ...]:
    (x, y), (width, height) = AT[cell], TWO[size]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def detector(network: Any, **changes: Any) -> BoxDetector:
    return BoxDetector(network, replace(KEEP, **changes), size=(SIDE, SIDE), batch_size=2, context=mx.cpu())


def detected(*args: Any, **changes: Any) -> NDArray[np.float64]:
    """Return the detections in one image whose anchors have these probabilities and offsets."""
    offsets = changes.pop("offsets", None)
    (found,) = detector(Answers(*args, offsets=offsets), **changes).detections(numbered(1))
    return found


# BoxDetector


def test_detections_are_the_anchors_themselves_when_offsets_are_zero() -> None:
    found = detected({anchor: 0.9 - anchor / 100 for anchor in range(8)}, overlap_thres=0.9)
    assert found[:, 0] == pytest.approx([0.9 - anchor / 100 for anchor in range(8)])
    expected = np.array([around(cell, size) for cell in range(4) for size in (0, 1)])
    assert found[:, 1:] == pytest.approx(expected, abs=1e-6)


def test_detections_are_moved_by_their_offsets() -> None:
    # Its middle goes by 1 * 0.1 * 0.2 right and -2 * 0.1 * 0.2 down; it is exp(0.2 * 1) times as wide and
    # exp(0.2 * -0.5) times as high.
    found = detected({0: 0.9}, offsets={0: (1.0, -2.0, 1.0, -0.5)})
    wide, high = 0.2 * math.exp(0.2), 0.2 * math.exp(-0.1)
    expected = (0.27 - wide / 2, 0.21 - high / 2, 0.27 + wide / 2, 0.21 + high / 2)
    assert found[:, 1:] == pytest.approx(np.array([expected]), abs=1e-6)


def test_detections_are_where_the_loss_wants_them() -> None:
    offsets = (0.7, -1.1, -0.3, 0.4)
    made = detector(Answers({4: 0.9}, offsets={4: offsets}))
    (boxes,) = made.boxes(numbered(1))
    loss = MultiBoxLoss(overlap=0.99, negatives=3.0, box_weight=1.0)  # the best anchor alone has the box
    scores = mx.nd.array([[[0] * 8, np.where(np.arange(8) == 4, 20, -20)]])
    there, elsewhere = (
        loss(made.anchors, scores, mx.nd.array([np.tile(values, 8)]), mx.nd.array(boxes[None])).asscalar()
        for values in (offsets, np.zeros(4))
    )
    assert there == pytest.approx(0, abs=1e-5)
    assert elsewhere == pytest.approx(0.49 / 2 + (1.1 - 0.5) + 0.09 / 2 + 0.16 / 2, abs=1e-4)


def test_detections_are_sure_enough_and_best_first() -> None:
    assert detected({0: 0.6, 2: 0.49, 4: 0.8, 6: 0.51})[:, 0] == pytest.approx([0.8, 0.6, 0.51])


def test_detections_are_none_when_nothing_is_sure_enough() -> None:
    assert detected({0: 0.4}).shape == (0, 5)


@pytest.mark.parametrize(("worse", "better"), [(0, 1), (1, 0)])
def test_better_one_is_kept_when_two_overlap(worse: int, better: int) -> None:
    found = detected({worse: 0.7, better: 0.9, 2: 0.6})
    assert found[:, 0] == pytest.approx([0.9, 0.6])
    assert found[0, 1:] == pytest.approx(around(0, better), abs=1e-6)


@pytest.mark.parametrize(("overlap", "kept"), [(0.83, 1), (0.84, 2)])
def test_both_are_kept_when_two_overlap_less_than_allowed(overlap: float, kept: int) -> None:
    assert len(detected({0: 0.7, 1: 0.9}, overlap_thres=overlap)) == kept  # 0.2 / 0.24 = 0.833


def test_best_ones_are_kept_when_there_are_more_than_topk() -> None:
    assert detected({0: 0.6, 2: 0.7, 4: 0.9, 6: 0.8}, topk=2)[:, 0] == pytest.approx([0.9, 0.8])


@pytest.mark.parametrize("cells", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_dropped_overlaps_take_no_place_among_the_topk(cells: tuple[int, int, int]) -> None:
    best, second, third = cells
    probs = {2 * best: 0.9, 2 * best + 1: 0.8, 2 * second: 0.7, 2 * third: 0.6}
    assert detected(probs, topk=2)[:, 0] == pytest.approx([0.9, 0.7])


def test_detections_are_cut_to_the_image() -> None:
    found = detected({0: 0.9}, offsets={0: (-10.0, 0, 0, 0)})  # 10 * 0.1 * 0.2 to the left
    assert found[:, 1:] == pytest.approx(np.array([(0.0, 0.15, 0.15, 0.35)]), abs=1e-6)


def test_detections_outside_of_the_image_are_dropped() -> None:
    assert detected({0: 0.9, 6: 0.8}, offsets={0: (-100.0, 0, 0, 0)})[:, 0] == pytest.approx([0.8])


def test_boxes_come_in_the_order_of_the_images() -> None:
    images = numbered(3)
    found = detector(Answers({0: 0.9}, {}, {6: 0.9, 2: 0.6})).boxes([images[i] for i in (2, 0, 1)])
    expected = [[around(3), around(1)], [around(0)], []]
    for boxes, own in zip(found, expected, strict=True):
        assert boxes == pytest.approx(np.array(own).reshape(-1, 4), abs=1e-6)


def test_boxes_are_none_when_there_are_no_images() -> None:
    assert detector(Answers({})).boxes([]) == []


# SegmentationStage


def stage(made: BoxDetector, samples: BoxSet) -> SegmentationStage:
    task = BoxTask(samples, samples, {"multibox": MULTIBOX}, {"multibox": NONE}, lone=False)
    return SegmentationStage(made, task, batch_size=2, seed=0)


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

"""Stage `paragraph`: boxes in the order of their pages, a lone box never lost, and edges that are learnt."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from hwr.data.augment import PageAugmentation
from hwr.data.batches.boxes import BoxBatch, BoxSet
from hwr.images.boxes import FloatArray
from hwr.images.canvas import PageFit, placement
from hwr.images.load import GreyImage
from hwr.losses import IouLoss, MseLoss
from hwr.networks.paragraph import Extent
from hwr.stages.boxes import BoxStage
from hwr.stages.paragraph import AreaFinder
from hwr.stages.paragraph.training import area_stage, overlaps
from tests.stages.paragraph.answers import Answers
from tests.stages.small import phase

HEIGHT, WIDTH = 48, 32
SPOT = placement((HEIGHT, WIDTH), (0, 0, 1, 1), PageFit(size=(HEIGHT, WIDTH), normalise=False))
NONE = PageAugmentation(**{field.name: 0.0 for field in fields(PageAugmentation)})
FAR = replace(NONE, probability=1.0, shift_x=0.9, shift_y=0.9)
LEFT, WHOLE, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 1.0, 1.0), (0.5, 0.0, 1.0, 1.0)


MSE, IOU = phase("mse"), phase("iou")


def samples(images: list[GreyImage], boxes: list[FloatArray]) -> BoxSet:
    return BoxSet([f"p{i}" for i in range(len(images))], images, boxes, [SPOT] * len(images))


def drawn(count: int, seed: int = 0) -> BoxSet:
    """Return white pages with a grey area on each, and around it its box."""
    generator = np.random.default_rng(seed)
    images, boxes = [], []
    for _ in range(count):
        x1, y1 = generator.integers(0, (WIDTH // 3, HEIGHT // 3))
        x2, y2 = generator.integers((WIDTH // 2, HEIGHT // 2), (WIDTH, HEIGHT))
        image = np.full((HEIGHT, WIDTH), 255, np.uint8)
        image[y1:y2, x1:x2] = generator.integers(0, 200, (y2 - y1, x2 - x1))
        images.append(image)
        boxes.append(np.array([[x1, y1, x2, y2]]) / (WIDTH, HEIGHT, WIDTH, HEIGHT))
    return samples(images, boxes)


def numbered(boxes: list[tuple[float, ...]]) -> BoxSet:
    """Return pages the shade of which is their number, with a box each."""
    images = [np.full((HEIGHT, WIDTH), 255 - i, np.uint8) for i in range(len(boxes))]
    return samples(images, [np.array([box]) for box in boxes])


def finder(network: Any) -> AreaFinder:
    return AreaFinder(network, batch_size=2, context=mx.cpu())


def stage(network: Any, train: BoxSet, valid: BoxSet, **changes: Any) -> BoxStage:
    losses = {"mse": MseLoss(), "iou": IouLoss(epsilon=1e-9)}
    made = area_stage(
        finder=finder(network), network=network, train=train, valid=valid, losses=losses,
        augmentations={"mse": NONE, "iou": NONE}, batch_size=4, seed=5,
    )  # fmt: skip
    return replace(made, **changes)


def epochs(augmentation: PageAugmentation, *, lone: bool) -> Iterator[BoxBatch]:
    """Yield the batches of ten epochs over a page with a box in its middle."""
    one = samples([np.zeros((HEIGHT, WIDTH), np.uint8)], [np.array([[0.4, 0.4, 0.6, 0.6]])])
    task = stage(None, one, one, augmentations={"mse": augmentation}, lone=lone, batch_size=1, seed=0)
    for epoch in range(10):
        yield from task.batches(MSE, epoch)


# batches


def test_batches_are_the_same_for_the_same_epoch_and_others_for_another() -> None:
    moving = replace(NONE, probability=1.0, shift_x=0.1)
    made = stage(None, drawn(6), drawn(1), augmentations={"mse": moving})
    first, again, other = (list(made.batches(MSE, epoch)) for epoch in (0, 0, 1))
    assert len(first) == made.steps() == 2
    assert sorted(name for batch in first for name in batch.ids) == [f"p{i}" for i in range(6)]
    for one, two in zip(first, again, strict=True):
        assert one.ids == two.ids
        np.testing.assert_array_equal(one.images, two.images)
        np.testing.assert_array_equal(one.boxes, two.boxes)
    edges, moved = (
        {name: box[0, 0] for batch in epoch for name, box in zip(batch.ids, batch.boxes, strict=True)}
        for epoch in (first, other)
    )
    assert sum(edges[name] != moved[name] for name in edges) >= 4  # a box at the edge may stay there


def test_batches_are_changed_as_their_phase_says() -> None:
    made = stage(None, drawn(3), drawn(1), augmentations={"mse": FAR, "iou": NONE})
    for batch in made.batches(IOU, 0):
        for name, boxes in zip(batch.ids, batch.boxes, strict=True):
            np.testing.assert_allclose(boxes, made.train.boxes[int(name[1:])], atol=1e-6)


def test_lone_box_is_never_lost_however_far_pages_are_shifted() -> None:
    assert all((batch.boxes >= 0).all() for batch in epochs(FAR, lone=True))
    assert any((batch.boxes == -1).all() for batch in epochs(FAR, lone=False))  # it would have been


def test_page_stays_as_it_is_when_its_lone_box_would_leave_it() -> None:
    kept, lost = list(epochs(FAR, lone=True)), list(epochs(FAR, lone=False))
    stays = [(one.boxes, one.images) for one, two in zip(kept, lost, strict=True) if (two.boxes == -1).all()]
    for boxes, images in stays:
        assert boxes[0, 0] == pytest.approx([0.4, 0.4, 0.6, 0.6])
        assert images.all()  # the page is black all over, and no paper came in
    moves = [one for one, two in zip(kept, lost, strict=True) if not (two.boxes == -1).all()]
    assert moves
    assert not any(one.images.all() for one in moves)


# losses and errors


def test_loss_is_that_of_the_phase_one_value_a_page() -> None:
    made = stage(Answers([LEFT, LEFT]), numbered([LEFT, WHOLE]), numbered([LEFT]))
    (batch,) = made.batches(MSE, 0)
    # one edge is half a page off; the boxes share half of the page
    expected = {"p0": (0.0, 0.0), "p1": (0.25 / 4, 0.5)}
    for place, own in enumerate((MSE, IOU)):
        found = dict(zip(batch.ids, made.loss(own, batch).asnumpy().tolist(), strict=True))
        assert found == pytest.approx({name: values[place] for name, values in expected.items()}, abs=1e-6)


def test_validate_gives_one_minus_the_mean_iou() -> None:
    found, true = [LEFT, LEFT, LEFT], [LEFT, WHOLE, RIGHT]  # IoU 1, 0.5 and 0
    made = stage(Answers(found), numbered(true), numbered(true))
    assert made.validate() == {"valid/iou_error": pytest.approx(0.5)}
    assert tuple(made.validate()) == made.metrics


def test_overlaps_are_the_ious_of_pairs() -> None:
    true = [np.array([box]) for box in (WHOLE, LEFT, RIGHT)]
    assert overlaps(np.array([LEFT, LEFT, LEFT]), true) == pytest.approx([0.5, 1.0, 0.0])


def test_areas_are_learnt_when_trained_with_mse_then_iou() -> None:
    pages = drawn(16)
    network = Extent(stem=8, channels=[12, 16], hidden=12)
    mx.random.seed(0)
    network.initialize(mx.init.Xavier(magnitude=2.24))
    network.hybridize()
    made = stage(network, pages, pages)
    trainer = gluon.Trainer(network.collect_params(), "adam", {"learning_rate": 0.01}, kvstore=None)
    means: dict[str, list[float]] = {"mse": [], "iou": []}
    for own, epoch in [(MSE, epoch) for epoch in range(15)] + [(IOU, epoch) for epoch in range(15, 25)]:
        losses = []
        for batch in made.batches(own, epoch):
            with autograd.record():
                loss = made.loss(own, batch)
            loss.backward()
            trainer.step(len(batch.ids))
            losses += loss.asnumpy().tolist()
        means[own.name].append(float(np.mean(losses)))
    assert means["mse"][-1] < 0.2 * means["mse"][0]
    assert means["iou"][-1] < means["iou"][0]
    assert made.validate()["valid/iou_error"] < 0.2

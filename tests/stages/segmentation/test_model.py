"""Detectors: their anchors, which detections are kept, and where these lie."""

import math
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from hwr.images.boxes import Box
from hwr.images.canvas import fit_to_canvas
from hwr.images.tiles import tiles
from hwr.losses import MultiBoxLoss
from hwr.stages.segmentation import box_detector, load_box_detector
from tests.stages.segmentation.answers import Answers, around, detector, numbered
from tests.stages.small import CPU, recipe_of, save

WHOLE = (0.0, 0.0, 1.0, 1.0)


def detected(*args: Any, **changes: Any) -> NDArray[np.float64]:
    """Return the detections in one image whose anchors have these probabilities and offsets."""
    offsets = changes.pop("offsets", None)
    (found,) = detector(Answers(*args, offsets=offsets), **changes).detections(numbered(1))
    return found


def test_detector_has_the_anchors_of_its_map() -> None:
    # stem and stages shrink 32 x 64 px to 4 x 2 cells, each with the eight anchors of the YAML file
    made = box_detector(recipe_of("segmentation").model, batch_size=1, context=CPU)
    assert made.grid.shape == (4 * 2 * 8, 4)
    scores, offsets = made.network(mx.nd.zeros((1, 1, 32, 64)))
    assert (scores.shape, offsets.shape) == ((1, 2, 64), (1, 256))


def test_detector_of_weights_keeps_what_their_configuration_says(tmp_path: Path) -> None:
    kept = ("stage.topk=3", "stage.min_c=0.25", "stage.overlap_thres=0.5", "stage.views=[0.02,0.08]")
    made = load_box_detector(save(tmp_path / "w", "segmentation", *kept), batch_size=1, context=CPU)
    assert (made.keep.min_c, made.keep.overlap_thres, made.keep.topk) == (0.25, 0.5, 3)
    assert list(made.keep.views) == [0.02, 0.08]


AREA = (0.25, 0.25, 0.75, 0.75)


def test_boxes_found_in_an_area_are_those_of_the_page() -> None:
    made = detector(Answers({0: 0.9}))
    assert made.find(np.full((80, 80), 255, np.uint8), AREA) == pytest.approx(halved(around(0)), abs=1e-6)


def test_an_area_is_grown_before_it_is_looked_at() -> None:
    grown = detector(Answers({0: 0.9}), growth=0.5)  # to the whole page
    expected = np.array([around(0)])
    assert grown.find(np.full((80, 80), 255, np.uint8), AREA) == pytest.approx(expected, abs=1e-6)


def halved(box: tuple[float, ...]) -> NDArray[np.float64]:
    """Return a box of AREA as one of the page."""
    return np.array([box]) / 2 + 0.25


def test_an_area_with_low_lines_is_looked_at_in_tiles() -> None:
    page = np.full((146, 130), 255, np.uint8)  # four tiles of 79 x 79 px
    page[:67, 51:], page[67:, :51], page[67:, 51:] = 254, 253, 252  # numbers of the tiles that begin there
    network = Answers({0: 0.9, 2: 0.8}, {2: 0.8}, {}, {6: 0.7})
    assert len(detector(network, least_px=12.0).find(page, WHOLE)) == 2  # 0.2 of 64 px
    found = detector(network, least_px=20.0).find(page, WHOLE)
    (first, second), (_, last) = tiles(WHOLE, 2, 2)
    places = ((first, 0), (first, 1), (second, 1), (last, 3))
    expected = [within(tile, around(cell)) for tile, cell in places]
    assert found == pytest.approx(np.array(expected), abs=0.01)


def test_an_area_with_low_and_long_lines_is_looked_at_in_rows() -> None:
    page = np.full((146, 79), 255, np.uint8)
    page[67:] = 254
    found = detector(Answers({1: 0.9}, {7: 0.8}), least_px=20.0).find(page, WHOLE)
    (first,), (second,) = tiles(WHOLE, 2, 1)
    expected = [within(first, around(0, 1)), within(second, around(3, 1))]
    assert found == pytest.approx(np.array(expected), abs=0.01)


def test_an_area_far_higher_than_the_canvas_is_looked_at_in_sections() -> None:
    page = np.full((256, 64), 255, np.uint8)  # four times as high as wide: two sections
    made = detector(Answers({7: 0.8}, offsets={7: (-0.25 / 0.024, 0.0, 0.0, 0.0)}))  # to the middle
    box = np.array([(0.38, 0.65, 0.62, 0.85)])  # of each canvas
    sections = [fit_to_canvas(page, part, made.keep.fit)[1] for (part,) in tiles(WHOLE, 2, 1)]
    expected = np.concatenate([section.to_page(box) for section in sections])
    assert made.find(page, WHOLE) == pytest.approx(expected, abs=0.01)
    assert made.network.seen == 2


@pytest.mark.parametrize("flat", [(0.2, 0.5, 0.8, 0.5), (0.5, 0.2, 0.5, 0.8), (0.5, 0.5, 0.5, 0.5)])
def test_an_area_without_a_side_is_looked_at(flat: Box) -> None:
    found = detector(Answers({0: 0.9})).find(np.full((80, 80), 255, np.uint8), flat)
    assert found.shape[1] == 4


def test_views_of_an_area_are_averaged() -> None:
    page = np.full((80, 80), 255, np.uint8)
    made = detector(Answers({0: 0.9}), views=(0.0, 0.0))
    assert made.find(page, AREA) == pytest.approx(halved(around(0)), abs=1e-6)
    spread = detector(Answers({0: 0.9}), views=(0.0, 0.5))  # the box lies elsewhere in the larger view
    assert len(spread.find(page, AREA)) == 0  # 0.45 each
    surer = detector(Answers({0: 0.9}), views=(0.0, 0.5), min_c=0.4)
    assert len(surer.find(page, AREA)) == 2


def within(tile: Box, box: tuple[float, ...]) -> list[float]:
    """Return a box of a tile as one of the page."""
    sides = tile[2] - tile[0], tile[3] - tile[1]
    return [tile[edge % 2] + value * sides[edge % 2] for edge, value in enumerate(box)]


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

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwr.images import boxes
from hwr.images.boxes import Box

NUMBERS = st.floats(-0.5, 1.5, width=32)
POINTS = st.tuples(NUMBERS, NUMBERS)
BOXES = st.tuples(POINTS, POINTS).map(boxes.around)
QUICK = settings(max_examples=50, deadline=None)


def test_around_is_the_smallest_box() -> None:
    assert boxes.around([(0.5, 0.1), (0.2, 0.9), (0.3, 0.4)]) == (0.2, 0.1, 0.5, 0.9)
    assert boxes.around([(0.5, 0.1)]) == (0.5, 0.1, 0.5, 0.1)


def test_union_holds_both() -> None:
    assert boxes.union([(0.0, 0.2, 0.5, 0.6), (0.4, 0.1, 0.9, 0.5)]) == (0.0, 0.1, 0.9, 0.6)


@pytest.mark.parametrize("function", [boxes.around, boxes.union])
def test_box_around_nothing_is_an_error(function: object) -> None:
    with pytest.raises(ValueError, match="not enough values"):
        function([])  # type: ignore[operator]


def test_clip_cuts_to_the_image() -> None:
    assert boxes.clip((-0.5, 0.25, 0.5, 1.5)) == (0.0, 0.25, 0.5, 1.0)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0.0, 0.0, 1.0, 1.0), (0, 0, 200, 100)),
        ((0.25, 0.5, 0.5, 0.75), (50, 50, 100, 75)),
        ((0.251, 0.501, 0.499, 0.749), (50, 50, 100, 75)),  # pixels that are touched are covered
        ((-1.0, 0.5, 2.0, 3.0), (0, 50, 200, 100)),
    ],
)
def test_pixels_cover_the_box(box: Box, expected: tuple[int, int, int, int]) -> None:
    assert boxes.to_px(box, (100, 200)) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0), 1.0),
        ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), 0.0),  # they touch
        ((0.0, 0.0, 0.2, 0.2), (0.5, 0.5, 1.0, 1.0), 0.0),
        ((0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 1.0, 1.0), 0.5),
        ((0.0, 0.0, 0.5, 1.0), (0.25, 0.0, 0.75, 1.0), 1 / 3),
        ((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5), 0.0),  # empty
        ((0.9, 0.9, 0.1, 0.1), (0.0, 0.0, 1.0, 1.0), 0.0),  # inside out
    ],
)
def test_iou_is_shared_by_total_area(first: Box, second: Box, expected: float) -> None:
    assert boxes.iou(np.array([first]), np.array([second])).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ([(0.4, 0.1, 0.6, 0.2)], [(0.35, 0.1, 0.65, 0.2)]),
        ([(0.01, 0.1, 0.99, 0.2)], [(0.0, 0.1, 1.0, 0.2)]),  # not beyond the page
        (  # a neighbour in the same row is not touched
            [(0.1, 0.1, 0.4, 0.2), (0.42, 0.12, 0.8, 0.22)],
            [(0.05, 0.1, 0.41, 0.2), (0.41, 0.12, 0.85, 0.22)],
        ),
        (  # that of the next row does not count
            [(0.1, 0.1, 0.4, 0.2), (0.42, 0.2, 0.8, 0.3)],
            [(0.05, 0.1, 0.45, 0.2), (0.37, 0.2, 0.85, 0.3)],
        ),
    ],
)
def test_boxes_grow_sideways(narrow: list[Box], wide: list[Box]) -> None:
    np.testing.assert_allclose(boxes.widened(np.array(narrow), 0.25, aspect=2.0), wide, atol=1e-12)


def test_no_boxes_grow_to_none() -> None:
    assert boxes.widened(np.zeros((0, 4)), 0.3, aspect=1.4).shape == (0, 4)


def test_iou_has_a_row_for_each_of_the_first_boxes() -> None:
    first, second = (
        np.array([(0, 0, 1, 1), (0, 0, 0.5, 1), (0, 0, 1, 0.5)]),
        np.array([(0, 0, 1, 1), (0, 0, 0.5, 0.5)]),
    )
    expected = np.array([(1, 0.25), (0.5, 0.5), (0.5, 0.5)])
    assert boxes.iou(first, second) == pytest.approx(expected)


@pytest.mark.parametrize("sizes", [(0, 2), (2, 0), (0, 0)])
def test_iou_of_no_boxes_is_empty(sizes: tuple[int, int]) -> None:
    assert boxes.iou(np.zeros((sizes[0], 4)), np.zeros((sizes[1], 4))).shape == sizes


@QUICK
@given(BOXES, BOXES)
def test_iou_is_a_share_and_the_same_both_ways(first: Box, second: Box) -> None:
    one, other = np.array([first]), np.array([second])
    value = boxes.iou(one, other).item()
    assert 0 <= value <= 1 + 1e-9
    assert value == boxes.iou(other, one).item()


@QUICK
@given(BOXES, BOXES)
def test_union_is_around_the_corners(first: Box, second: Box) -> None:
    joined = boxes.union([first, second])
    for x1, y1, x2, y2 in (first, second):
        assert joined[0] <= x1 <= x2 <= joined[2]
        assert joined[1] <= y1 <= y2 <= joined[3]


@QUICK
@given(BOXES, st.integers(1, 3000), st.integers(1, 3000))
def test_pixels_lie_on_the_image(box: Box, height: int, width: int) -> None:
    x1, y1, x2, y2 = boxes.to_px(box, (height, width))
    assert 0 <= x1 <= x2 <= width
    assert 0 <= y1 <= y2 <= height


@QUICK
@given(BOXES)
def test_clipping_twice_changes_nothing(box: Box) -> None:
    assert boxes.clip(boxes.clip(box)) == boxes.clip(box)

"""Anchors lie at every cell in the order of a detector's heads, and cover boxes as well as is said."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwr.networks.ssd import anchor_grid, best_overlaps

QUICK = settings(max_examples=50, deadline=None)
SIDES = st.floats(0.01, 1.0)
MAPS = st.tuples(st.integers(1, 5), st.integers(1, 5))
SIZES = st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=3)

WHOLE = (0.0, 0.0, 1.0, 1.0)


def test_grid_has_every_size_at_both_cells_of_a_map_1_x_2() -> None:
    found = anchor_grid([(1, 2)], [[(0.5, 0.4), (0.1, 1.0)]])  # centres (0.25, 0.5) and (0.75, 0.5)
    expected = [(0.0, 0.3, 0.5, 0.7), (0.2, 0.0, 0.3, 1.0), (0.5, 0.3, 1.0, 0.7), (0.7, 0.0, 0.8, 1.0)]
    assert found == pytest.approx(np.array(expected))


def test_grid_goes_row_by_row() -> None:
    found = anchor_grid([(2, 2)], [[(0.5, 0.5)]])  # an anchor is its cell
    assert found.tolist() == [[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]]


def test_grid_goes_map_by_map_each_with_its_own_sizes() -> None:
    found = anchor_grid([(2, 3), (1, 1)], [[(0.1, 0.1), (0.2, 0.1)], [(1.0, 1.0)]])
    assert found.shape == (2 * 3 * 2 + 1, 4)
    assert tuple(found[-1]) == WHOLE


def test_grid_may_reach_over_the_edge() -> None:
    assert anchor_grid([(1, 1)], [[(2.0, 1.0)]]).tolist() == [[-0.5, 0, 1.5, 1]]


def test_grid_refuses_sizes_of_another_number_of_maps() -> None:
    with pytest.raises(ValueError, match="zip"):
        anchor_grid([(1, 1), (2, 2)], [[(0.1, 0.1)]])


@QUICK
@given(MAPS, SIZES)
def test_grid_has_the_sizes_given_in_turn(shape: tuple[int, int], sizes: list[tuple[float, float]]) -> None:
    found = anchor_grid([shape], [sizes])
    expected = np.tile(np.array(sizes), (shape[0] * shape[1], 1))
    np.testing.assert_allclose(found[:, 2:] - found[:, :2], expected, atol=1e-9)


def test_best_is_the_highest_iou_with_any_anchor() -> None:
    anchors = np.array([WHOLE, (0.0, 0.0, 0.5, 1.0)])
    boxes = np.array([(0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 0.25, 1.0), (0.5, 0.0, 1.0, 0.5)])
    assert best_overlaps(boxes, anchors) == pytest.approx([1.0, 0.5, 0.25])


def test_best_has_a_value_for_each_of_many_boxes() -> None:
    widths = np.arange(1, 131) / 130  # more than are compared at once
    boxes = np.stack([0 * widths, 0 * widths, widths, 1 + 0 * widths], axis=1)
    np.testing.assert_allclose(best_overlaps(boxes, np.array([WHOLE])), widths)


def test_best_is_empty_without_boxes() -> None:
    assert best_overlaps(np.zeros((0, 4)), np.array([WHOLE])).shape == (0,)

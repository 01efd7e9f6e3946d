"""Tiles cover their area, and what is found in them becomes the boxes of the area."""

import numpy as np
import pytest

from hwr.images.boxes import Box, FloatArray, union
from hwr.images.tiles import agreed, joined, pieces, section_count, tile_grid, tiles

AREA: Box = (0.0, 0.0, 1.0, 1.0)
RIGHT, LEFT = 1 / 1.65, 0.65 / 1.65  # end of the first and start of the second of two tiles in a row
LOWER, UPPER = 1 / 1.85, 0.85 / 1.85  # and of two in a column


def found(*rows: tuple[float, ...]) -> FloatArray:
    return np.array(rows, dtype=np.float64).reshape(-1, 5)


def of_two(*tile_rows: FloatArray) -> FloatArray:
    """Return what two rows of two tiles make of what was found in them, in reading order."""
    rows = [list(tile_rows[:2]), list(tile_rows[2:]) or [found(), found()]]
    return joined(rows, tiles(AREA, 2, 2), 0.3)


def test_tiles_cover_the_area_and_overlap() -> None:
    area = (0.1, 0.2, 0.9, 0.6)
    parts = tiles(area, 3, 3)
    assert [len(row) for row in parts] == [3, 3, 3]
    assert union(tile for row in parts for tile in row) == pytest.approx(area)
    (first, second, _), (below, _, _), _ = parts
    width, height = 0.8 / 2.3, 0.4 / 2.7
    assert first == pytest.approx((0.1, 0.2, 0.1 + width, 0.2 + height))
    assert first[2] - second[0] == pytest.approx(0.35 * width)
    assert first[3] - below[1] == pytest.approx(0.15 * height)


@pytest.mark.parametrize(
    ("height", "count"), [(0.03, 1), (0.02, 1), (0.0199, 2), (0.0101, 2), (0.006, 3), (0.001, 3)]
)
def test_as_many_tiles_as_make_the_median_line_high_enough_and_no_columns_for_long_lines(
    height: float, count: int
) -> None:
    boxes = np.array([(0.0, 0.0, 1.0, 0.5), (0.0, 0.1, 1.0, 0.1 + height), (0.0, 0.2, 1.0, 0.2001)])
    cells = boxes * (0.4, 1.0, 0.4, 1.0) + np.array([(0.0,), (0.0,), (0.6,)]) * (1.0, 0.0, 1.0, 0.0)
    assert tile_grid(boxes, 1000, 20.0) == (count, 1)
    assert tile_grid(cells, 1000, 20.0) == (count, count)
    assert tile_grid(boxes, 1000, 0.0) == tile_grid(cells, 1000, 0.0) == (1, 1)


def test_an_area_without_boxes_is_not_cut() -> None:
    assert tile_grid(np.zeros((0, 4)), 1000, 20.0) == (1, 1)


@pytest.mark.parametrize(
    ("size", "count"),
    [((100, 50), 1), ((240, 50), 1), ((241, 50), 2), ((1000, 50), 5), ((9000, 2), 20), ((50, 9000), 1),
     ((0, 10), 1), ((10, 0), 3), ((0, 0), 1)],
)  # fmt: skip
def test_areas_far_higher_than_the_canvas_are_cut_into_sections(
    size: tuple[float, float], count: int
) -> None:
    assert section_count(size, (200, 100)) == count


def test_lines_that_a_tile_cuts_are_in_it_unless_they_hardly_begin_there() -> None:
    part = (0.2, 0.2, 0.8, 0.8)
    inside, cut, begins = (0.3, 0.3, 0.5, 0.4), (0.1, 0.5, 0.5, 0.6), (0.7, 0.5, 1.2, 0.6)
    hardly, sliver, outside = (0.75, 0.3, 1.05, 0.4), (0.3, 0.77, 0.5, 0.87), (0.3, 0.9, 0.5, 1.0)
    expected = [inside, (0.2, 0.5, 0.5, 0.6), (0.7, 0.5, 0.8, 0.6)]
    boxes = np.array([inside, cut, begins, hardly, sliver, outside])
    assert pieces(boxes, part) == pytest.approx(np.array(expected))


def test_pieces_of_a_line_are_united() -> None:
    left, right = found((0.9, 0.2, 0.1, RIGHT, 0.14)), found((0.8, LEFT, 0.101, 0.8, 0.142))
    assert of_two(left, right) == pytest.approx(found((0.9, 0.2, 0.1, 0.8, 0.142)))


def test_pieces_of_lines_at_other_heights_are_not_united() -> None:
    left, right = found((0.9, 0.2, 0.1, RIGHT, 0.14)), found((0.8, LEFT, 0.2, 0.8, 0.24))
    assert of_two(left, right) == pytest.approx(np.concatenate([left, right]))


def test_a_line_that_goes_through_three_tiles_is_one() -> None:
    (one, two, three), *_ = parts = tiles(AREA, 3, 3)
    row = [found((0.5, *tile[:1], 0.1, tile[2], 0.14)) for tile in (one, two, three)]
    nothing = [found()] * 3
    assert joined([row, nothing, nothing], parts, 0.3) == pytest.approx(found((0.5, 0.0, 0.1, 1.0, 0.14)))


def test_a_line_whole_in_one_tile_is_better_than_its_likelier_piece() -> None:
    whole = found((0.6, LEFT + 0.05, 0.1, 0.8, 0.14))
    assert of_two(found((0.9, LEFT + 0.05, 0.1, RIGHT, 0.14)), whole) == pytest.approx(whole)
    lower = found((0.6, 0.1, UPPER + 0.03, 0.3, UPPER + 0.07))
    piece = found((0.9, 0.1, UPPER + 0.03, 0.3, LOWER))
    assert of_two(piece, found(), lower, found()) == pytest.approx(lower)


def test_a_line_in_both_tiles_is_one_the_likelier() -> None:
    here, there = found((0.6, 0.44, 0.1, 0.52, 0.14)), found((0.9, 0.441, 0.1, 0.52, 0.14))
    assert of_two(here, there) == pytest.approx(there)


def test_a_line_at_the_edge_of_the_area_is_not_cut_by_it() -> None:
    border, inner = found((0.9, 0.0, 0.0, 0.3, 0.04)), found((0.6, 0.0, 0.0, 0.31, 0.045))
    assert of_two(np.concatenate([inner, border]), found()) == pytest.approx(border)


def test_nothing_found_is_nothing() -> None:
    assert of_two(found(), found()).shape == (0, 5)


# Several views


def test_a_line_that_all_views_show_is_one_with_the_mean_of_its_probabilities() -> None:
    one = found((0.9, 0.1, 0.1, 0.9, 0.2), (0.5, 0.1, 0.5, 0.9, 0.6))
    other = found((0.7, 0.12, 0.5, 0.9, 0.6), (0.6, 0.1, 0.11, 0.9, 0.2))
    expected = found((0.75, 0.1, 0.1, 0.9, 0.2), (0.6, 0.12, 0.5, 0.9, 0.6))
    assert agreed([one, other], 0.4, 0.3) == pytest.approx(expected)
    assert agreed([other, one], 0.4, 0.3) == pytest.approx(expected)


def test_a_line_that_one_view_lacks_has_to_be_surer() -> None:
    sure, unsure = (0.9, 0.1, 0.1, 0.9, 0.2), (0.7, 0.1, 0.5, 0.9, 0.6)
    assert agreed([found(sure, unsure), found()], 0.4, 0.3) == pytest.approx(found((0.45, *sure[1:])))
    assert agreed([found(), found()], 0.4, 0.3).shape == (0, 5)


def test_boxes_of_two_views_are_one_line_from_the_overlap_on_that_repetitions_have() -> None:
    one, other = found((0.7, 0.1, 0.1, 0.9, 0.2)), found((0.7, 0.1, 0.135, 0.9, 0.235))  # IoU 0.48
    assert agreed([one, other], 0.4, 0.4) == pytest.approx(one)
    assert len(agreed([one, other], 0.4, 0.5)) == 0  # two lines, each in one view alone


def test_of_two_boxes_for_a_line_in_one_view_the_better_counts() -> None:
    best, worse = (0.8, 0.1, 0.1, 0.9, 0.2), (0.6, 0.1, 0.12, 0.9, 0.22)  # IoU 0.67
    once = found((0.7, 0.1, 0.1, 0.9, 0.2))
    assert agreed([found(best, worse), once], 0.2, 0.3) == pytest.approx(found((0.75, *best[1:])))

"""The tilt of a page is that of its lines, whatever boxes say where they are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hwr.images.boxes import FloatArray
from hwr.images.load import GreyImage
from hwr.layout.orientation import find_tilt

HEIGHT, WIDTH, LINES = 1200, 900, 16
TOPS = np.linspace(0.15, 0.85, LINES) * HEIGHT


def written(slope: float, *, ruled: bool = False) -> GreyImage:
    """Return a page of letters: strokes of differing height on lines that fall by `slope`."""
    draw = np.random.default_rng(0)
    page = np.full((HEIGHT, WIDTH), 230, np.uint8)
    for top in TOPS:
        for x in range(120, 780, 7):
            y = round(top + slope * (x - WIDTH / 2))
            if draw.random() < 0.85:  # else a space
                page[max(0, y - draw.integers(8, 22)) : max(0, y), x : x + 3] = 40
        if ruled:
            page[round(top) + 2, 60:840] = 200
    return page


def line_boxes(slope: float) -> FloatArray:
    """Return what a detector finds: boxes around tilted lines."""
    rise = abs(slope) * 660 / 2
    sides: NDArray[np.float64] = np.array([[120, top - 24 - rise, 780, top + 6 + rise] for top in TOPS])
    return sides / [WIDTH, HEIGHT, WIDTH, HEIGHT]


@pytest.mark.parametrize("slope", [-0.25, -0.12, -0.04, 0.0, 0.02, 0.06, 0.17, 0.25])
def test_tilt_is_the_slope_of_the_lines(slope: float) -> None:
    page = written(slope)
    boxes = line_boxes(slope)
    assert find_tilt(page, boxes) == pytest.approx(slope, abs=0.02)
    several = boxes + np.array([0, -40 / HEIGHT, 0, 40 / HEIGHT])  # of two lines and more
    assert find_tilt(page, several[::4]) == pytest.approx(slope, abs=0.02)


def test_rules_of_the_paper_do_not_hide_the_tilt_of_the_writing() -> None:
    assert find_tilt(written(0.06, ruled=True), line_boxes(0.06)) == pytest.approx(0.06, abs=0.01)


def test_table_beside_a_photographed_page_does_not_hide_its_tilt() -> None:
    page = written(-0.08)
    page[:, :100] = page[:, 800:] = 60
    wider = line_boxes(-0.08) + np.array([-0.08, 0, 0.1, 0])
    assert find_tilt(page, wider) == pytest.approx(-0.08, abs=0.01)


def test_page_without_ink_or_lines_is_level() -> None:
    empty = np.full((HEIGHT, WIDTH), 230, np.uint8)
    assert find_tilt(empty, line_boxes(0.0)) == 0
    assert find_tilt(written(0.1), np.zeros((0, 4))) == 0
    assert find_tilt(np.zeros((3, 2), np.uint8), np.array([[0.0, 0.0, 1.0, 1.0]])) == 0

"""Turns of images and points agree; a page is turned where it is read more surely, never for little."""

import cv2
import numpy as np
import pytest

from hwr.images.boxes import corners
from hwr.layout.orientation import (
    Legibility,
    LevelPage,
    is_upright,
    is_upside_down,
    lies_aside,
    may_lie_aside,
    turned_box,
    turned_image,
    turned_point,
)

DEGREES = (0, 90, 180, 270)


def read(*confidences: float, text: str = "words are read here") -> Legibility:
    return Legibility(np.array(confidences), [text] * len(confidences))


@pytest.mark.parametrize("degrees", DEGREES)
def test_image_is_turned_clockwise_and_its_points_with_it(degrees: int) -> None:
    image = np.zeros((4, 6), np.uint8)
    image[0, 5] = 255  # upper right
    turned = turned_image(image, degrees)
    row, column = np.argwhere(turned)[0]
    assert (row, column) == {0: (0, 5), 90: (5, 3), 180: (3, 0), 270: (0, 0)}[degrees]
    x, y = turned_point((5.5 / 6, 0.5 / 4), degrees)
    assert (int(y * turned.shape[0]), int(x * turned.shape[1])) == (row, column)


@pytest.mark.parametrize("degrees", DEGREES)
def test_box_turned_there_and_back_is_the_same(degrees: int) -> None:
    assert turned_box(turned_box((0.1, 0.2, 0.4, 0.3), degrees), -degrees) == pytest.approx(
        (0.1, 0.2, 0.4, 0.3)
    )


def test_score_counts_signs_as_nothing_and_spaces_not_at_all() -> None:
    assert Legibility(np.array([0.8, 0.4]), ["ab c", "1/2d"]).score == pytest.approx((0.8 * 3 + 0.4) / 7)
    assert Legibility(np.array([]), []).score == 0


@pytest.mark.parametrize(
    ("given", "flipped", "turned"),
    [
        (read(0.7, 0.7, 0.72, 0.7), read(0.9, 0.9, 0.88, 0.9), True),
        (read(0.9, 0.9, 0.88, 0.9), read(0.7, 0.7, 0.72, 0.7), False),
        (read(0.7, 0.7, 0.72, 0.7), read(0.72, 0.72, 0.73, 0.72), False),  # by little
        (read(0.4, 0.4, 0.41, 0.4), read(0.5, 0.51, 0.5, 0.5), False),  # illegible either way
        (read(0.9, 0.5, 0.9, 0.5), read(0.6, 0.9, 0.7, 0.9), False),  # one line so, the other so
        (read(0.7, 0.7), read(0.9, 0.9), False),  # too few lines
        (read(), read(), False),
    ],
)
def test_page_is_upside_down_where_its_lines_agree(
    given: Legibility, flipped: Legibility, turned: bool
) -> None:
    assert is_upside_down(given, flipped) is turned


@pytest.mark.parametrize(
    ("given", "aside", "turned"),
    [
        (read(0.5, 0.5), read(0.9, 0.8), True),
        (read(0.5, 0.5), read(0.52, 0.54), False),
        (read(0.5, 0.5), read(0.9, 0.9, text="{1/|}fi{{1/|}1{/"), False),  # rules of a table
        (read(0.3, 0.3), read(0.4, 0.4), False),
    ],
)
def test_page_lies_aside_where_words_are_read_then(
    given: Legibility, aside: Legibility, turned: bool
) -> None:
    assert lies_aside(given, aside) is turned


@pytest.mark.parametrize(
    ("given", "flipped", "upright"),
    [(read(0.7, 0.7), read(0.4, 0.5), True), (read(0.7, 0.7), read(0.6, 0.7), False),
     (read(0.5, 0.5), read(0.1, 0.1), False), (read(), read(), False)],
)  # fmt: skip
def test_few_lines_tell_that_a_legible_page_is_upright(
    given: Legibility, flipped: Legibility, upright: bool
) -> None:
    assert is_upright(given, flipped) is upright


def test_page_that_is_read_either_way_up_does_not_lie_aside() -> None:
    assert may_lie_aside(read(0.5), read(0.4))
    assert not may_lie_aside(read(0.5), read(0.7))
    assert may_lie_aside(read(), read())  # no line was found


def test_page_without_lines_is_not_turned_aside_for_none() -> None:
    assert not lies_aside(read(), read())
    assert lies_aside(read(), read(0.9, 0.8))


@pytest.mark.parametrize("slope", [-0.25, -0.05, 0.03, 0.2])
def test_level_page_shows_all_of_the_page_and_tells_where_it_was(slope: float) -> None:
    page = np.full((300, 200), 250, np.uint8)
    spots = [(20, 30), (100, 150), (190, 290), (5, 295)]  # x, y
    for x, y in spots:
        page[y - 3 : y + 3, x - 3 : x + 3] = 0
    level = LevelPage.of(page, slope)
    count, _, _, middles = cv2.connectedComponentsWithStats((level.image < 120).astype(np.uint8))
    assert count == 1 + len(spots)
    size = np.array(level.image.shape[::-1])
    found = level.to_page([(float(x), float(y)) for x, y in (middles[1:] + 0.5) / size])
    for x, y in spots:
        assert min(np.hypot(200 * u - x, 300 * v - y) for u, v in found) < 0.5


@pytest.mark.parametrize("slope", [-0.1, 0.1])
def test_line_that_falls_on_the_page_is_level_on_its_level_page(slope: float) -> None:
    level = LevelPage.of(np.zeros((300, 200), np.uint8), slope)
    (x1, y1), (x2, y2) = level.to_page([(0.3, 0.5), (0.7, 0.5)])
    assert 300 * (y2 - y1) / (200 * (x2 - x1)) == pytest.approx(slope)


def test_share_of_a_box_that_shows_the_page_is_known() -> None:
    level = LevelPage.of(np.zeros((300, 300), np.uint8), 1.0)  # a square on its corner
    boxes = np.array([(0.4, 0.4, 0.6, 0.6), (0.0, 0.0, 0.2, 0.2), (0.0, 0.0, 1.0, 1.0)])
    assert level.shares_on_page(boxes) == pytest.approx([1.0, 0.0, 0.5], abs=0.1)
    assert level.shares_on_page(boxes[:0]).shape == (0,)


def test_box_of_a_level_page_stays_on_the_page_and_holds_what_it_held() -> None:
    level = LevelPage.of(np.zeros((300, 200), np.uint8), 0.1)
    inner = (0.3, 0.4, 0.6, 0.5)
    x1, y1, x2, y2 = level.box_to_page(inner)
    assert all(
        x1 - 1e-9 <= x <= x2 + 1e-9 and y1 - 1e-9 <= y <= y2 + 1e-9 for x, y in level.to_page(corners(inner))
    )
    assert level.box_to_page((0.0, 0.0, 1.0, 1.0)) == (0.0, 0.0, 1.0, 1.0)
    x1, y1, x2, y2 = level.box_of_page((x1, y1, x2, y2))  # there, too, it holds all
    assert x1 < inner[0]
    assert y1 < inner[1]
    assert x2 > inner[2]
    assert y2 > inner[3]

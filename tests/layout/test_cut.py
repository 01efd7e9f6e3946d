"""Cuts keep a line's own ink, leave its neighbours', and stand on its baseline, however crowded the page."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwr.images.boxes import FloatArray
from hwr.images.line_crop import LineCrop, crop_line
from hwr.images.load import GreyImage
from hwr.layout import cut
from hwr.layout.cut import LineCut, cut_lines

SIZE = (500, 900)  # height, width
TEXTS = (
    "Typography holds paper jugs and",
    "quickly digs happy byways, thirty",
    "hefty fjords keep drying up by half",
    "all jolly dogs beg for the big pigs",
    "yet lofty kings apply thick glue",
)
CROP = LineCrop(height=48, max_width=2000, margin=0.0, mask=True, deskew=True, normalise=True)


@dataclass(frozen=True)
class Drawn:
    page: GreyImage
    layers: list[NDArray[np.bool_]]  # the ink of every line
    boxes: FloatArray  # (N, 4) in [0, 1], with a few pixels around the ink
    feet: list[FloatArray]  # the ends (2, 2) of every baseline, px


def drawn(
    *, slope: float = 0.0, pitch: int = 42, texts: tuple[str, ...] = TEXTS, pad: int = 6, scale: float = 1.2,
    twist: float = 0.0,
) -> Drawn:  # fmt: skip
    """Write lines with descenders into the ascenders below: letters are 26 px high and reach 9 px down.

    Their slope grows by `twist` from the first to the last.
    """
    height, width = SIZE
    layers, boxes, feet = [], [], []
    slopes = slope + twist * np.linspace(-0.5, 0.5, len(texts))
    for k, (text, slope) in enumerate(zip(texts, slopes, strict=True)):
        foot = 120 + k * pitch
        turn = np.array([[1.0, 0.0, 0.0], [slope, 1.0, -slope * width / 2]])
        sheet = np.zeros(SIZE, dtype=np.uint8)
        cv2.putText(sheet, text, (100, foot), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 2, cv2.LINE_AA)
        ink = cv2.warpAffine(sheet, turn, (width, height)) > 100
        ys, xs = np.nonzero(ink)
        box = [xs.min() - pad, ys.min() - pad, xs.max() + 1 + pad, ys.max() + 1 + pad]
        boxes.append(np.array(box) / (width, height, width, height))
        feet.append(np.array([[x, foot + slope * (x - width / 2)] for x in (xs.min(), xs.max())]))
        layers.append(ink)
    page = np.where(np.any(layers, axis=0), 40, 235).astype(np.uint8)
    return Drawn(page, layers, np.array(boxes), feet)


def inside(found: LineCut, size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    mask = np.zeros(size, dtype=np.uint8)
    points = np.array(found.polygon) * size[::-1] - 0.5
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], (1,), shift=4)
    return mask > 0


def kept(found: LineCut, ink: NDArray[np.bool_]) -> float:
    return float((inside(found) & ink).sum() / ink.sum())


def foreign(cuts: list[LineCut], layers: list[NDArray[np.bool_]], i: int) -> float:
    """Return the ink of other lines in a polygon, as a share of the line's own."""
    others = np.any([layer for k, layer in enumerate(layers) if k != i], axis=0) & ~layers[i]
    return float((inside(cuts[i]) & others).sum() / layers[i].sum())


def slope_of(found: LineCut, size: tuple[int, int] = SIZE) -> float:
    (x1, y1), (x2, y2) = found.baseline[0], found.baseline[-1]
    return (y2 - y1) * size[0] / ((x2 - x1) * size[1])


@pytest.mark.parametrize("slope", [0.0, 0.02, -0.025, 0.06])
@pytest.mark.parametrize("pitch", [38, 46])
def test_cut_keeps_own_ink_and_leaves_the_neighbours_when_boxes_overlap(slope: float, pitch: int) -> None:
    page = drawn(slope=slope, pitch=pitch)
    cuts = cut_lines(page.page, page.boxes)
    for i, found in enumerate(cuts):
        assert kept(found, page.layers[i]) > 0.97
        assert foreign(cuts, page.layers, i) < 0.03


@pytest.mark.parametrize("slope", [0.0, 0.025, -0.025, 0.07, -0.07])
def test_cut_finds_the_baseline_when_lines_slope(slope: float) -> None:
    page = drawn(slope=slope)
    for found, foot in zip(cut_lines(page.page, page.boxes), page.feet, strict=True):
        assert np.arctan(slope_of(found)) == pytest.approx(np.arctan(slope), abs=np.radians(0.5))
        xs, ys = (np.array(found.baseline) * SIZE[::-1]).T
        assert np.abs(ys - np.interp(xs, *foot.T)).max() < 5  # px; letters are 26 high


def test_cut_follows_the_slope_of_a_line_when_it_stands_alone() -> None:
    page = drawn(slope=0.05, texts=TEXTS[:1])
    (found,) = cut_lines(page.page, page.boxes)
    assert np.arctan(slope_of(found)) == pytest.approx(np.arctan(0.05), abs=np.radians(0.5))


@pytest.mark.parametrize("twist", [-0.12, 0.12])
def test_cut_follows_lines_whose_slope_changes_down_the_page(twist: float) -> None:
    page = drawn(twist=twist, texts=(*TEXTS, *TEXTS[:4]))
    for i, found in enumerate(cut_lines(page.page, page.boxes)):
        (x1, y1), (x2, y2) = page.feet[i]
        assert slope_of(found) == pytest.approx((y2 - y1) / (x2 - x1), abs=0.01)


@pytest.mark.parametrize("drop", [-16, 0, 8])
def test_cut_finds_the_baseline_when_paper_is_ruled(drop: int) -> None:
    page = drawn(pitch=46)
    for _, y in (foot[0] for foot in page.feet):
        cv2.line(page.page, (20, int(y) + drop), (880, int(y) + drop + 5), 90, 1)
    for i, found in enumerate(cut_lines(page.page, page.boxes)):
        ys = np.array(found.baseline)[:, 1] * SIZE[0]
        assert np.abs(ys - page.feet[i][0, 1]).max() < 5
        assert kept(found, page.layers[i]) > 0.97


def test_cut_is_the_same_when_paper_darkens_across_the_page() -> None:
    page = drawn()
    shade = np.linspace(1.0, 0.6, SIZE[1])
    for found, plain in zip(
        cut_lines((page.page * shade).astype(np.uint8), page.boxes),
        cut_lines(page.page, page.boxes),
        strict=True,
    ):
        both, either = inside(found) & inside(plain), inside(found) | inside(plain)
        assert both.sum() > 0.97 * either.sum()


def test_cut_gives_the_same_when_boxes_come_in_another_order() -> None:
    page = drawn(slope=0.02)
    order = np.array([3, 0, 4, 2, 1])
    cuts = cut_lines(page.page, page.boxes)
    assert cut_lines(page.page, page.boxes[order]) == [cuts[i] for i in order]


def test_cut_stays_near_its_box_when_the_neighbour_is_far() -> None:
    page = drawn(pitch=150, texts=TEXTS[:3])
    for found, (x1, y1, x2, y2) in zip(cut_lines(page.page, page.boxes), page.boxes, strict=True):
        xs, ys = np.array(found.polygon).T
        assert y1 - 0.1 * (y2 - y1) <= ys.min() < y1 + 0.1 * (y2 - y1)
        assert y2 - 0.1 * (y2 - y1) < ys.max() <= y2 + 0.1 * (y2 - y1)
        assert x1 - 0.1 * (y2 - y1) < xs.min() <= x1 < x2 <= xs.max() < x2 + 0.1 * (y2 - y1)


def test_cut_leaves_wide_boxes_as_tight_as_others() -> None:
    page = drawn(pitch=46)
    loose = drawn(pitch=46, pad=18)
    for i, found in enumerate(cut_lines(loose.page, loose.boxes)):
        tight = inside(cut_lines(page.page, page.boxes)[i]).sum()
        assert inside(found).sum() < 1.25 * tight


def test_cut_makes_no_seam_when_boxes_lie_side_by_side() -> None:
    page = drawn(texts=TEXTS[:1])
    x1, y1, x2, y2 = page.boxes[0]
    middle = (x1 + x2) / 2
    halves = cut_lines(page.page, np.array([[x1, y1, middle + 0.01, y2], [middle - 0.01, y1 + 0.01, x2, y2]]))
    together = np.any([inside(half) for half in halves], axis=0)
    assert (together & page.layers[0]).sum() > 0.99 * page.layers[0].sum()


def test_cut_gives_both_the_whole_line_when_boxes_coincide() -> None:
    page = drawn(texts=TEXTS[:1])
    first, second = cut_lines(page.page, page.boxes[[0, 0]])
    assert first == second
    assert kept(first, page.layers[0]) > 0.99


def test_cut_returns_nothing_when_there_is_no_box() -> None:
    assert cut_lines(np.full(SIZE, 255, dtype=np.uint8), np.zeros((0, 4))) == []


def test_cut_lays_a_level_baseline_when_a_box_holds_no_ink() -> None:
    (found,) = cut_lines(np.full((100, 400), 230, dtype=np.uint8), np.array([[0.1, 0.2, 0.9, 0.7]]))
    assert found.box == (0.1, 0.2, 0.9, 0.7)
    assert {round(y, 6) for _, y in found.baseline} == {0.54}  # 0.68 of the way from 0.2 to 0.7
    assert (found.baseline[0][0], found.baseline[-1][0]) == pytest.approx((0.1, 0.9))


def test_cheapest_goes_through_the_gap_when_ink_is_in_the_way() -> None:
    costs = np.zeros((5, 1, 4), dtype=np.float32)
    costs[2, 0, :3] = 9  # a wall in the third column, open at row 3
    costs[:, 0, 1:] += 0.5  # row 0 is the pleasant one
    rows = cut._cheapest(costs)[:, 0]
    assert rows[2] == 3
    assert np.abs(np.diff(rows)).max() <= 2
    assert (rows[0], rows[-1]) == (0, 0)


side = st.floats(0, 1, allow_nan=False)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(side, side, side, side), min_size=1, max_size=8), st.integers(0, 3))
def test_cut_gives_what_can_be_cropped_whatever_the_boxes(
    corners: list[tuple[float, ...]], seed: int
) -> None:
    page = np.random.default_rng(seed).integers(0, 256, (90, 120), dtype=np.uint8)
    boxes = np.array([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in corners])
    for found, box in zip(cut_lines(page, boxes), boxes, strict=True):
        assert found.box == tuple(box)
        assert 4 <= len(found.polygon) <= 120
        assert 2 <= len(found.baseline) <= 8
        xs = [x for x, _ in found.baseline]
        assert xs == sorted(xs)
        assert all(0 <= value <= 1 for point in found.polygon + found.baseline for value in point)
        assert crop_line(page, found, CROP).shape[0] == 48


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (40, 50)])
def test_cut_gives_polygons_on_the_page_when_it_is_tiny(size: tuple[int, int]) -> None:
    page = np.full(size, 200, dtype=np.uint8)
    for found in cut_lines(
        page, np.array([[0.0, 0.0, 1.0, 1.0], [0.4, 0.4, 0.4, 0.4], [2.0, 2.0, 3.0, 3.0]])
    ):
        assert all(0 <= value <= 1 for point in found.polygon + found.baseline for value in point)

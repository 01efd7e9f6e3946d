"""Pages come onto the canvas in their aspect, in the middle and on white, and boxes come there and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwr.errors import InputError
from hwr.images.canvas import PageFit, Placement, fit_to_canvas, grown, placement, visible_boxes
from hwr.images.load import GreyImage

QUICK = settings(max_examples=50, deadline=None)
WHOLE = (0.0, 0.0, 1.0, 1.0)
PLAIN = PageFit(size=(64, 64), normalise=False)
EVEN = PageFit(size=(64, 64), normalise=True)
SIDES = st.integers(1, 5000)
FRACTIONS = st.floats(0, 1)
REGIONS = st.tuples(FRACTIONS, FRACTIONS, FRACTIONS, FRACTIONS).map(
    lambda r: (min(r[0], r[2]), min(r[1], r[3]), max(r[0], r[2]), max(r[1], r[3]))
)
BOXES = st.lists(st.tuples(*[st.floats(-1, 2)] * 4), max_size=5)


def blank(height: int, width: int, shade: int = 255) -> GreyImage:
    return np.full((height, width), shade, dtype=np.uint8)


@pytest.mark.parametrize("size", [[15, 64], [64, 0], [64], [64, 64, 64], []])
def test_page_fit_refuses_a_size_that_is_none(size: list[int]) -> None:
    with pytest.raises(InputError, match="height and width of 16 or more pixels"):
        PageFit(size=size, normalise=False)  # type: ignore[arg-type]


def test_page_fit_takes_a_list_as_yaml_has_it() -> None:
    assert PageFit(size=[64, 64], normalise=False) == PLAIN  # type: ignore[arg-type]


def test_placement_puts_an_upright_page_in_the_middle() -> None:
    found = placement((200, 100), WHOLE, PLAIN)  # 64 x 32 px, from column 16
    assert found == Placement((200, 100), (64, 64), WHOLE, (0.25, 0.0, 0.75, 1.0))


def test_placement_of_a_region_is_that_of_its_pixels() -> None:
    found = placement((200, 100), (0.1, 0.5, 0.9, 0.7), PLAIN)  # 80 x 40 px, so 64 x 32, from row 16
    assert found.region == pytest.approx((0.1, 0.5, 0.9, 0.7))
    assert found.place == (0.0, 0.25, 1.0, 0.75)


def test_boxes_are_taken_to_the_canvas_and_back() -> None:
    spot = placement((200, 100), (0.0, 0.5, 1.0, 1.0), PLAIN)  # the lower half fills the canvas
    box = np.array([[0.25, 0.5, 0.75, 0.75], [0.0, 0.0, 1.0, 1.0]])
    assert spot.to_canvas(box) == pytest.approx(np.array([[0.25, 0, 0.75, 0.5], [0, -1, 1, 1]]))
    assert spot.to_page(spot.to_canvas(box)) == pytest.approx(box)


@QUICK
@given(height=SIDES, width=SIDES, region=REGIONS, boxes=BOXES)
def test_to_page_undoes_to_canvas(height: int, width: int, region: tuple, boxes: list) -> None:  # type: ignore[type-arg]
    spot = placement((height, width), region, PLAIN)
    own = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    np.testing.assert_allclose(spot.to_page(spot.to_canvas(own)), own, atol=1e-9)
    np.testing.assert_allclose(spot.to_canvas(spot.to_page(own)), own, atol=1e-9)


@QUICK
@given(height=st.integers(1, 200), width=st.integers(1, 200), region=REGIONS, normalise=st.booleans())
def test_fit_never_fails_and_agrees_with_placement(
    height: int,
    width: int,
    region: tuple[float, float, float, float],
    normalise: bool,
) -> None:
    by = PageFit(size=(16, 24), normalise=normalise)
    canvas, spot = fit_to_canvas(blank(height, width, 7), region, by)
    assert (canvas.shape, canvas.dtype) == ((16, 24), np.uint8)
    assert spot == placement((height, width), region, by)
    assert placement((height, width), spot.region, by) == spot


def test_fit_moves_ink_where_the_placement_says() -> None:
    page = blank(400, 300)
    page[100:200, 60:240] = 0
    canvas, spot = fit_to_canvas(page, (0.1, 0.2, 0.9, 0.9), PLAIN)
    rows, columns = np.nonzero(canvas < 128)
    found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    (box,) = spot.to_canvas(np.array([[60 / 300, 100 / 400, 240 / 300, 200 / 400]]))
    assert np.abs(found - box * 64).max() <= 0.75


def test_fit_averages_when_it_shrinks() -> None:
    page = blank(640, 640)
    page[::2] = 0  # every other row: sampling points would give all black or all white
    canvas, _ = fit_to_canvas(page, WHOLE, PLAIN)
    assert abs(canvas.astype(int) - 128).max() <= 1


def test_fit_pads_with_white() -> None:
    canvas, _ = fit_to_canvas(blank(200, 100, 90), WHOLE, PLAIN)
    assert (canvas[:, :16] == 255).all() and (canvas[:, 48:] == 255).all()
    assert (canvas[:, 16:48] == 90).all()


def test_normalise_whitens_grey_paper_and_leaves_ink() -> None:
    page = blank(256, 256, 160)
    page[100:108, 40:200] = 40
    canvas, _ = fit_to_canvas(page, WHOLE, EVEN)
    assert np.median(canvas) == 255
    assert canvas[26, 30] == pytest.approx(40 * 255 / 160, abs=2)


def test_normalise_lifts_a_shadow_across_the_page() -> None:
    shadow = np.linspace(250, 150, 512).round().astype(np.uint8)
    canvas, _ = fit_to_canvas(np.tile(shadow, (512, 1)), WHOLE, PageFit(size=(256, 256), normalise=True))
    assert canvas.min() > 240


def test_normalise_leaves_a_table_beside_the_page_dark() -> None:
    page = blank(256, 256, 240)
    page[:, :128] = 20
    canvas, _ = fit_to_canvas(page, WHOLE, EVEN)
    assert canvas[32, 8] == pytest.approx(20 / 120 * 255, abs=2)  # lifted as paper half as light would be


def test_normalise_of_a_black_picture_is_black() -> None:
    assert fit_to_canvas(blank(64, 64, 0), WHOLE, EVEN)[0].max() == 0


def test_grown_moves_each_edge_by_a_share_of_its_side_and_stays_on_the_page() -> None:
    assert grown((0.2, 0.4, 0.4, 0.5), 0.1) == pytest.approx((0.18, 0.39, 0.42, 0.51))
    assert grown((0.0, 0.5, 1.0, 1.0), 0.5) == (0.0, 0.25, 1.0, 1.0)


def test_visible_cuts_boxes_and_leaves_out_those_mostly_gone() -> None:
    boxes = np.array(
        [
            [0.2, 0.2, 0.4, 0.4],  # inside
            [-0.1, 0.0, 0.1, 0.5],  # half of it
            [0.9, 0.0, 1.2, 0.5],  # a third
            [0.5, 0.5, 0.5, 0.9],  # flat
            [np.nan, 0.0, 0.1, 0.1],
        ]
    )
    left, kept = visible_boxes(boxes, WHOLE)
    assert kept.tolist() == [0, 1]
    assert left.tolist() == [[0.2, 0.2, 0.4, 0.4], [0.0, 0.0, 0.1, 0.5]]


def test_visible_of_no_boxes_is_none() -> None:
    left, kept = visible_boxes(np.zeros((0, 4)), WHOLE)
    assert (left.shape, kept.shape) == ((0, 4), (0,))

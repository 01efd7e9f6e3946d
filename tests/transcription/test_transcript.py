import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwr.images.boxes import box_px, corners, points_px
from tests.transcription.export.read_pages import AREA, BASELINE, BOX, POLYGON, bare, line, page, two_columns

SIDES = st.integers(1, 20_000)
SHARES = st.floats(0, 1)


def test_points_go_to_the_nearest_pixel() -> None:
    assert points_px([(0.124, 0.126), (1.0, 0.0)], (100, 1000)) == [(124, 13), (1000, 0)]


def test_points_are_cut_to_the_page() -> None:
    assert points_px([(-0.1, 1.2)], (100, 200)) == [(0, 100)]


def test_box_goes_to_the_nearest_pixels() -> None:
    assert box_px((0.1024, 0.104, 0.6013, 0.3549), (100, 200)) == (20, 10, 120, 35)


@settings(max_examples=50)
@given(SIDES, SIDES, SHARES, SHARES)
def test_points_move_by_half_a_pixel_at_most(height: int, width: int, x: float, y: float) -> None:
    ((x_px, y_px),) = points_px([(x, y)], (height, width))
    assert abs(x_px - x * width) <= 0.5
    assert abs(y_px - y * height) <= 0.5


@settings(max_examples=50)
@given(SIDES, st.data())
def test_pixels_stay_when_they_are_read_back_and_written_again(width: int, data: st.DataObject) -> None:
    x = data.draw(st.integers(0, width))
    assert points_px([(x / width, 0.0)], (1, width)) == [(x, 0)]


def test_outline_is_the_polygon_or_else_the_box() -> None:
    assert line("a").outline == POLYGON
    assert bare("a").outline == corners(BOX) == ((0.1, 0.1), (0.6, 0.1), (0.6, 0.35), (0.1, 0.35))


@pytest.mark.parametrize(
    ("box", "area", "expected"),
    [
        (BOX, AREA, AREA),
        (BOX, None, BOX),
        ((0.0, 0.2, 0.5, 0.3), AREA, (0.0, 0.05, 0.95, 0.9)),  # a line that sticks out
    ],
)
def test_extent_holds_area_and_lines(box: tuple, area: tuple | None, expected: tuple) -> None:
    assert page(line("a", box=box), area=area).extent == expected


def test_extent_is_missing_when_nothing_was_found() -> None:
    assert page(area=None).extent is None


@pytest.mark.parametrize(
    ("turn", "size", "box"),
    [
        (0, (100, 200), (0.1, 0.1, 0.6, 0.35)),
        (90, (200, 100), (0.1, 0.4, 0.35, 0.9)),  # what was on top is on the left in the file
        (180, (100, 200), (0.4, 0.65, 0.9, 0.9)),
        (270, (200, 100), (0.65, 0.1, 0.9, 0.6)),
    ],
)
def test_turned_page_is_given_as_its_file_holds_it(turn: int, size: tuple, box: tuple) -> None:
    stored = page(line("a")).as_stored(turn)
    assert (stored.turn, stored.size) == (turn, size)
    assert stored.lines[0].box == pytest.approx(box)
    again = stored.as_stored(-turn % 360)
    assert again.area == pytest.approx(AREA)
    for own, before in zip(again.lines[0].polygon + again.lines[0].baseline, POLYGON + BASELINE, strict=True):
        assert own == pytest.approx(before)
    assert again.lines[0].words[0].box == pytest.approx(line("a").words[0].box)


def test_block_is_a_run_of_lines() -> None:
    blocks = two_columns().as_stored(90).blocks
    assert ["".join(own.text for own in block) for block in blocks] == ["0123", "4567"]
    assert page().blocks == []

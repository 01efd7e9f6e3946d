from dataclasses import replace

import numpy as np
import pytest

from hwr.transcription import ReadLine, export
from hwr.transcription.export import AREA, draw_overlay
from tests.transcription.export.read_pages import bare, page, two_columns

WHITE = np.full((100, 200), 255, np.uint8)


def at(top: float, text: str = "") -> ReadLine:
    """Return a line 0.2 pages high, across the page from 0.2 to 0.8."""
    return replace(bare(text), box=(0.2, top, 0.8, top + 0.2))


def test_picture_has_the_pages_ratio() -> None:
    picture = draw_overlay(WHITE, page(), 400)
    assert picture.shape == (200, 400, 3)
    assert picture.dtype == np.uint8


def test_picture_of_a_strip_is_not_enlarged_without_bound() -> None:
    strip = np.full((12000, 3), 255, np.uint8)
    assert draw_overlay(strip, page(at(0.4, "read")), 100).shape == (16 * 100, 1, 3)


def test_picture_is_the_page_alone_when_nothing_was_read() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 200)).astype(np.uint8)
    assert (draw_overlay(noise, page(area=None), 200) == noise[:, :, None]).all()


def test_area_is_framed() -> None:
    picture = draw_overlay(WHITE, page(area=(0.1, 0.1, 0.9, 0.9)), 200)
    assert tuple(picture[50, 20]) == AREA
    assert tuple(picture[50, 179]) == AREA
    assert tuple(picture[50, 100]) == (255, 255, 255)


def test_blocks_are_framed_where_there_are_several() -> None:
    picture = draw_overlay(WHITE, replace(two_columns(), area=None), 200)
    assert [tuple(picture[25, x]) for x in (20, 79, 120, 179)] == [AREA] * 4  # between two lines
    lines = tuple(replace(line, block=0) for line in two_columns().lines)
    picture = draw_overlay(WHITE, replace(two_columns(), area=None, lines=lines), 200)
    assert tuple(picture[25, 20]) == (255, 255, 255)


def test_line_is_tinted_inside_and_not_outside() -> None:
    picture = draw_overlay(WHITE, page(at(0.4), area=None), 400)  # px: 80,80 to 320,120
    assert picture[100, 200, 2] > picture[100, 200, 0]  # blue
    assert (picture[30, 200] == 255).all()


def test_ink_is_seen_through_the_tint() -> None:
    ink = WHITE.copy()
    ink[:, 100:] = 0
    picture = draw_overlay(ink, page(at(0.4), area=None), 200)
    assert picture[50, 80].min() > picture[50, 120].max()


def test_neighbours_have_different_tints() -> None:
    picture = draw_overlay(WHITE, page(at(0.1), at(0.5), at(0.75), area=None), 400)
    tints = [tuple(picture[y, 200]) for y in (40, 120, 170)]
    assert tints[0] == tints[2] != tints[1]


def test_number_is_written_before_the_line() -> None:
    picture = draw_overlay(WHITE, page(at(0.4), area=None), 400)
    assert (picture[80:120, 60:79] < 255).any()


def test_number_stays_on_the_page_when_the_line_begins_at_its_edge() -> None:
    edge = replace(bare(""), box=(0.0, 0.4, 0.8, 0.6))
    corner = draw_overlay(WHITE, page(edge, area=None), 400)[90:110, :16]
    assert np.unique(corner.reshape(-1, 3), axis=0).shape[0] > 3


@pytest.mark.parametrize(("width_px", "legible"), [(400, True), (100, False)])
def test_text_is_written_where_it_is_large_enough(width_px: int, legible: bool) -> None:
    without, with_text = (
        draw_overlay(WHITE, page(at(0.4, text), area=None), width_px) for text in ("", "été à Nîmes")
    )
    assert (without != with_text).any() == legible


def test_text_stays_on_the_page_when_it_is_long() -> None:
    picture = draw_overlay(WHITE, page(at(0.4, "wide " * 20), area=None), 800)  # box: 160,160 to 640,240 px
    assert (picture[230:250, 642:] < 255).any()
    assert (picture[:, -1] == 255).all()


@pytest.mark.parametrize(("ends", "rows"), [((0.3, 0.7), (55, 95)), ((0.7, 0.3), (125, 165))])
def test_text_of_a_sloped_line_stands_below_its_left_end(
    ends: tuple[float, float], rows: tuple[int, int]
) -> None:
    sloped = replace(bare("text"), box=(0.2, 0.2, 0.8, 0.8), baseline=((0.2, ends[0]), (0.8, ends[1])))
    picture = draw_overlay(WHITE, page(sloped, area=None), 400)  # box: 80,40 to 320,160 px
    dark = np.flatnonzero((picture[:, 84:110] < 100).all(axis=2).any(axis=1))
    assert rows[0] <= dark.min()
    assert dark.max() <= rows[1]


def test_accents_have_letters_of_their_own() -> None:
    plain, accented = (draw_overlay(WHITE, page(at(0.4, text), area=None), 400) for text in ("ete", "été"))
    assert (plain != accented).any()
    assert export.font(12).getmask("é").getbbox() != export.font(12).getmask("e").getbbox()

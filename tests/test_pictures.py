from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from hwr.errors import InputError
from hwr.pictures import CARD, INK, MISSED, WIDTH_PX, WRONG, Reading, font, readings, save, sheet


def line(width: int = 300, height: int = 64) -> np.ndarray:
    return np.full((height, width), 128, np.uint8)


def reading(reference: str, hypothesis: str, errors: int = 0, width: int = 300) -> Reading:
    return Reading(line(width), "page/line", reference, hypothesis, errors)


def pixels(picture: np.ndarray, colour: str) -> int:
    return int((picture == ImageColor.getrgb(colour)).all(axis=2).sum())


def test_sheet_has_a_row_for_every_three_images() -> None:
    heights = [sheet([line()] * n, ["caption"] * n, columns=3).shape[0] for n in (3, 4, 6, 7)]
    row = heights[1] - heights[0]
    assert row > 64
    assert heights == [heights[0], heights[0] + row, heights[0] + row, heights[0] + 2 * row]


def test_sheet_is_no_wider_than_allowed_however_long_the_lines() -> None:
    picture = sheet([line(5000), line(20), line(2000)], ["long " * 100, "", "with\na break"], columns=3)
    assert picture.dtype == np.uint8
    assert picture.shape[1] <= WIDTH_PX
    assert picture.shape[2] == 3


def test_sheet_shows_small_images_in_their_own_size() -> None:
    assert pixels(sheet([line(100, 64)], [""], columns=3), "#808080") == 100 * 64


def test_sheet_refuses_a_caption_too_few() -> None:
    with pytest.raises(ValueError, match="shorter"):
        sheet([line(), line()], ["one"], columns=3)


def test_readings_colour_nothing_when_all_is_right() -> None:
    picture = readings({"all": [reading("œuvre", "œuvre")]})
    assert pixels(picture, INK) > 0
    assert pixels(picture, MISSED[1]) == pixels(picture, WRONG[1]) == 0


def test_readings_colour_a_missed_stretch_in_both_texts() -> None:
    picture = readings({"": [reading("abc", "ac", 1)]})
    assert pixels(picture, MISSED[1]) > 0
    assert pixels(picture, WRONG[1]) > pixels(
        picture, MISSED[1]
    )  # an empty stretch: no letter covers its ground


def test_readings_colour_an_insertion_in_the_hypothesis_alone() -> None:
    picture = readings({"": [reading("ac", "abc", 1)]})
    assert pixels(picture, MISSED[1]) == 0
    assert pixels(picture, WRONG[1]) > 0


def test_readings_colour_a_space_that_is_too_much() -> None:
    assert pixels(readings({"": [reading("ab", "a b", 1)]}), WRONG[1]) > 0


@pytest.mark.parametrize(
    ("reference", "hypothesis"), [("", ""), ("", "abc"), ("abc", ""), ("x" * 600, "y" * 500)]
)
def test_readings_draw_every_pair_within_the_width(reference: str, hypothesis: str) -> None:
    picture = readings({"group": [reading(reference, hypothesis, 3, width=4000)]})
    assert picture.shape[1] == WIDTH_PX
    assert pixels(picture[:, -20:-14], WRONG[1]) == 0  # the text ends before the card does


def test_readings_of_nothing_are_a_heading() -> None:
    empty, one = readings({"worst": []}), readings({"worst": [reading("a", "a")]})
    assert pixels(empty, CARD) == 0 < pixels(one, CARD)


@pytest.mark.parametrize("character", "éœŒ«»\u2019“”€—…ßſþωάЖčőșñ¿†")
def test_font_has_the_characters_of_european_handwriting(character: str) -> None:
    missing = font(20).getmask("\U000f0000")  # a private character: the box that stands for what a font lacks
    assert bytes(font(20).getmask(character)) != bytes(missing)


def test_save_writes_what_was_drawn(tmp_path: Path) -> None:
    picture = sheet([line()], ["é"], columns=3)
    save(tmp_path / "sheet.png", picture)
    assert (np.asarray(Image.open(tmp_path / "sheet.png")) == picture).all()


def test_save_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none/sheet\.png: cannot be written"):
        save(tmp_path / "none" / "sheet.png", np.zeros((2, 2, 3), np.uint8))

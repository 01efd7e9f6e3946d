import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from hwr.errors import InputError
from hwr.pictures import (
    CARD,
    INK,
    MISSED,
    WIDTH_PX,
    WRONG,
    Column,
    LineCard,
    ReadText,
    boxed,
    collated,
    font,
    load_lines,
    picture_size,
    readings,
    save_lines,
    save_picture,
    sheet,
)


def line(width: int = 300, height: int = 64) -> np.ndarray:
    return np.full((height, width), 128, np.uint8)


def reading(reference: str, hypothesis: str, errors: int = 0, width: int = 300) -> LineCard:
    return LineCard(line(width), "page/line", reference, {"read": ReadText(hypothesis, errors)})


def several(reference: str, *hypotheses: str) -> LineCard:
    """Return a reading by `first`, `second` and so on."""
    names = ("first", "second", "third")
    read = {name: ReadText(text, 1) for name, text in zip(names, hypotheses, strict=False)}
    return LineCard(line(), "page/line", reference, read)


def pixels(picture: np.ndarray, colour: str) -> int:
    return int((picture == ImageColor.getrgb(colour)).all(axis=2).sum())


@pytest.mark.parametrize(
    ("shape", "size"),
    [((200, 100), (50, 100)), ((1600, 100), (50, 800)), ((12000, 3), (1, 800)), ((1, 900), (50, 1))],
)
def test_picture_of_a_strip_is_not_enlarged_without_bound(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    assert picture_size(np.zeros(shape, np.uint8), 50) == size


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


def test_sheet_shows_coloured_images_in_their_colours() -> None:
    red = np.full((64, 100, 3), (255, 0, 0), np.uint8)
    assert pixels(sheet([red], [""], columns=3), "#ff0000") == 100 * 64


def test_boxed_outlines_boxes_in_their_colours() -> None:
    true, found = np.array([[0.25, 0.25, 0.75, 0.75]]), np.array([[0.0, 0.0, 0.5, 0.5]])
    picture = boxed(line(80, 40), {"#00ff00": true, "#ff0000": found})
    assert picture.shape == (40, 80, 3)
    assert pixels(picture[10:30, 20:60], "#00ff00") > 0 == pixels(picture[31:], "#00ff00")
    assert pixels(picture, "#ff0000") == 2 * (40 + 20) - 4  # 40 x 20 px, their four corners once
    assert tuple(picture[20, 50]) == (128, 128, 128)


def test_boxed_shows_all_four_sides_of_a_box_as_large_as_the_image() -> None:
    picture = boxed(line(80, 40), {"#ff0000": np.array([[0.0, 0.0, 1.0, 1.0]])})
    assert pixels(picture, "#ff0000") == 2 * (80 + 40) - 4


def test_boxed_outlines_a_box_turned_inside_out_as_if_it_were_not() -> None:
    box = np.array([[0.25, 0.25, 0.75, 0.5]])
    turned = boxed(line(), {"#ff0000": box[:, [2, 3, 0, 1]]})
    assert np.array_equal(turned, boxed(line(), {"#ff0000": box}))


@pytest.mark.parametrize("box", [[0.5, 0.5, 0.5, 0.5], [0.5, 0.2, 0.5, 0.8]])
def test_boxed_shows_a_box_without_area(box: list[float]) -> None:
    assert pixels(boxed(line(), {"#ff0000": np.array([box])}), "#ff0000") > 0


def test_boxed_leaves_an_image_without_boxes_as_it_is() -> None:
    picture = boxed(line(80, 40), {"#ff0000": np.zeros((0, 4))})
    assert pixels(picture, "#808080") == 80 * 40


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


def test_save_writes_what_was_drawn(tmp_path: Path) -> None:
    picture = sheet([line()], ["é"], columns=3)
    save_picture(tmp_path / "sheet.png", picture)
    assert (np.asarray(Image.open(tmp_path / "sheet.png")) == picture).all()


def test_save_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "none").touch()
    with pytest.raises(InputError, match=r"none/sheet\.png: cannot be written"):
        save_picture(tmp_path / "none" / "sheet.png", np.zeros((2, 2, 3), np.uint8))


@pytest.mark.parametrize("name", ["sheet.png", "lines.zip"])
def test_picture_that_finds_no_room_is_named_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 640), dtype=np.uint8)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(
            InputError, match=rf"{name}: cannot be written \(File too large\); make room there"
        ):
            save_picture(tmp_path / name, noise) if name == "sheet.png" else save_lines(
                tmp_path / name, [noise], height=64
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert list(tmp_path.iterdir()) == []


def test_readings_have_a_row_for_every_text_that_was_read() -> None:
    heights = [readings({"": [several("abc", *["abc"] * n)]}).shape[0] for n in (1, 2, 3)]
    assert heights[1] - heights[0] == heights[2] - heights[1] > 0


def test_readings_colour_what_is_written_only_where_none_has_it() -> None:
    assert pixels(readings({"": [several("abc", "axc", "abc")]}), MISSED[1]) == 0
    assert pixels(readings({"": [several("abc", "axc", "ayc")]}), MISSED[1]) > 0


def test_readings_colour_each_text_by_its_own_errors() -> None:
    one = pixels(readings({"": [several("abcd", "axcd", "abcd")]}), WRONG[1])
    two = pixels(readings({"": [several("abcd", "axcd", "abxd")]}), WRONG[1])
    assert 0 < one < two


def test_readings_show_long_names_to_their_last_letter() -> None:
    def named(name: str) -> np.ndarray:
        return readings({"": [LineCard(line(), "page/line", "abc", {name: ReadText("abc", 0)})]})

    for name in ("lexicon_beam", "lexicon over beam", "a decoder of many words"):
        assert not np.array_equal(named(name + "m"), named(name + "n"))


def test_readings_cut_names_that_would_leave_no_room() -> None:
    picture = readings({"": [LineCard(line(), "page/line", "abc", {"name " * 100: ReadText("abc", 0)})]})
    assert picture.shape[1] <= WIDTH_PX


@pytest.mark.parametrize("character", "éœŒ«»\u2019“”€—…ßſþωάЖčőșñ¿†")
def test_font_has_the_characters_of_european_handwriting(character: str) -> None:
    missing = font(20).getmask("\U000f0000")  # a private character: the box that stands for what a font lacks
    assert bytes(font(20).getmask(character)) != bytes(missing)


LETTERS = st.text("ab c", max_size=12)


def differing(columns: list[Column]) -> int:
    """Return the number of columns in which a reading differs."""
    return sum(any(written != read for row in rows for written, read in row) for _, rows in columns)


@pytest.mark.parametrize(
    ("reference", "reading", "columns"),
    [
        ("abc", "abc", [("abc", "abc")]),
        ("abc", "axc", [("a", "a"), ("b", "x"), ("c", "c")]),
        ("abc", "ac", [("a", "a"), ("b", ""), ("c", "c")]),
        ("ac", "abc", [("a", "a"), ("", "b"), ("c", "c")]),
        ("", "abc", [("", "abc")]),
        ("abc", "", [("abc", "")]),
        ("", "", []),
    ],
)
def test_one_reading_is_cut_where_it_differs(
    reference: str, reading: str, columns: list[tuple[str, str]]
) -> None:
    assert collated(reference, [reading]) == [(block[0], [[block]]) for block in columns]


def test_difference_of_one_reading_stands_above_the_same_text_of_another() -> None:
    assert collated("abc", ["axc", "abc"]) == [
        ("a", [[("a", "a")], [("a", "a")]]),
        ("b", [[("b", "x")], [("b", "b")]]),
        ("c", [[("c", "c")], [("c", "c")]]),
    ]


def test_differences_side_by_side_keep_columns_of_their_own() -> None:
    assert collated("abcd", ["axcd", "abyd"]) == [
        ("a", [[("a", "a")], [("a", "a")]]),
        ("b", [[("b", "x")], [("b", "b")]]),
        ("c", [[("c", "c")], [("c", "y")]]),
        ("d", [[("d", "d")], [("d", "d")]]),
    ]


def test_overlapping_differences_share_a_column() -> None:
    assert collated("abcd", ["axyd", "abzd"]) == [
        ("a", [[("a", "a")], [("a", "a")]]),
        ("bc", [[("bc", "xy")], [("b", "b"), ("c", "z")]]),
        ("d", [[("d", "d")], [("d", "d")]]),
    ]


def test_insertion_has_nothing_above_it() -> None:
    assert collated("ab", ["a-b", "ab"]) == [
        ("a", [[("a", "a")], [("a", "a")]]),
        ("", [[("", "-")], [("", "")]]),
        ("b", [[("b", "b")], [("b", "b")]]),
    ]


@given(LETTERS, st.lists(LETTERS, min_size=1, max_size=4))
def test_columns_joined_are_what_was_collated(reference: str, readings: list[str]) -> None:
    columns = collated(reference, readings)
    assert "".join(stretch for stretch, _ in columns) == reference
    for number, reading in enumerate(readings):
        assert "".join(read for _, rows in columns for _, read in rows[number]) == reading
        assert "".join(written for _, rows in columns for written, _ in rows[number]) == reference


@given(LETTERS, LETTERS)
def test_readings_alike_need_no_more_columns_than_one_of_them(reference: str, reading: str) -> None:
    assert differing(collated(reference, [reading] * 3)) == differing(collated(reference, [reading]))


def grey_line(grey: int, height: int = 20, width: int = 60) -> np.ndarray:
    return np.full((height, width), grey, np.uint8)


def test_lines_come_back_by_their_number(tmp_path: Path) -> None:
    save_lines(tmp_path / "lines.zip", [grey_line(50), grey_line(200), grey_line(120)], height=20)
    found = load_lines(tmp_path / "lines.zip", [2, 0])
    assert [image.shape for image in found] == [(20, 60), (20, 60)]
    assert [round(float(image.mean()), -1) for image in found] == [120, 50]


def test_high_lines_are_scaled_down_and_low_ones_kept(tmp_path: Path) -> None:
    save_lines(tmp_path / "lines.zip", [grey_line(50, 40, 100), grey_line(50, 8, 30)], height=10)
    assert [image.shape for image in load_lines(tmp_path / "lines.zip", [0, 1])] == [
        (10, 25),
        (8, 30),
    ]


def test_same_lines_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        save_lines(tmp_path / name, [grey_line(50), grey_line(80)], height=20)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_missing_line_is_refused(tmp_path: Path) -> None:
    save_lines(tmp_path / "lines.zip", [grey_line(50)], height=20)
    with pytest.raises(InputError, match=r"lines\.zip: no pictures of these lines"):
        load_lines(tmp_path / "lines.zip", [1])


@pytest.mark.parametrize("content", [None, b"no zip file"])
def test_file_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "lines.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"lines\.zip: no pictures of these lines"):
        load_lines(tmp_path / "lines.zip", [0])

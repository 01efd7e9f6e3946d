import re
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from hwr.data.sources import PageImages
from hwr.data.sources.alto import read_alto
from hwr.transcription import ReadPage
from hwr.transcription.correction import from_alto
from hwr.transcription.export import to_alto
from tests.transcription.export.read_pages import AREA, BOX, SPLITTING, line, page, two_columns, write
from tests.transcription.export.validation import faults


def test_box_reads_back_within_half_a_pixel_when_it_lies_between_pixels(tmp_path: Path) -> None:
    box = (0.1024, 0.104, 0.6013, 0.3549)  # px: 20.48 10.4 120.26 35.49
    write(tmp_path, "p.xml", to_alto(page(line("Hello", box=box))))
    ((found,),) = (read.lines for read in read_alto(tmp_path, **SPLITTING).pages)
    assert found.box == pytest.approx((20 / 200, 10 / 100, 120 / 200, 35 / 100))


def test_schema_finds_a_fault_when_the_page_has_no_number() -> None:
    broken = to_alto(page(line("Hello"))).replace('PHYSICAL_IMG_NR="1"', "")
    assert len(faults(broken, "alto")) == 1


def test_confidence_is_written_with_every_word() -> None:
    strings = fromstring(to_alto(page(line("Hello, world")))).findall(".//{*}String")
    assert [string.get("WC") for string in strings] == ["0.7500", "0.7500"]


@pytest.mark.parametrize("turn", [0, 90])
def test_column_is_a_block_in_the_area(turn: int, tmp_path: Path) -> None:
    text = to_alto(two_columns().as_stored(turn))
    assert faults(text, "alto") == []
    root = fromstring(text)
    blocks = root.findall(".//{*}TextBlock")
    assert [len(block) for block in blocks] == [4, 4]
    assert [element.get("ID") for element in root.iterfind(".//{*}TextLine")] == [
        f"line_{number}" for number in range(1, 9)
    ]
    found = opened(tmp_path, text)
    assert found.turn == turn
    assert found.as_read().area == pytest.approx(AREA)
    if not turn:
        place = [[block.get(key) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")] for block in blocks]
        assert place == [["20", "10", "60", "70"], ["120", "10", "60", "70"]]


@pytest.mark.parametrize("place", ['HPOS="NaN"', 'HPOS="200"', 'WIDTH="-5"', 'HEIGHT="0"', 'VPOS="x"'])
def test_area_is_that_of_the_one_block_where_the_print_space_has_no_place(place: str, tmp_path: Path) -> None:
    key = place.partition("=")[0]
    text = re.sub(f'(<PrintSpace[^>]*){key}="[^"]*"', rf"\1{place}", to_alto(page(line("Hello"))))
    assert place in text
    assert opened(tmp_path, text).area == pytest.approx(BOX)


def test_area_that_is_the_whole_page_is_kept(tmp_path: Path) -> None:
    whole = (0.0, 0.0, 1.0, 1.0)
    assert opened(tmp_path, to_alto(page(line("Hello"), area=whole))).area == whole
    assert opened(tmp_path, to_alto(page(area=None))).area is None


def test_turn_of_a_page_whose_last_line_was_removed_is_kept(tmp_path: Path) -> None:
    text = to_alto(page().as_stored(90))
    assert faults(text, "alto") == []
    assert opened(tmp_path, text).turn == 90


def test_blocks_of_another_program_are_kept(tmp_path: Path) -> None:
    text = to_alto(two_columns()).replace('ID="block_', 'ID="theirs_')
    lines = opened(tmp_path, text).lines
    assert [own.block for own in lines] == [0] * 4 + [1] * 4
    assert to_alto(opened(tmp_path, to_alto(opened(tmp_path, text)))) == to_alto(opened(tmp_path, text))


def test_page_is_opened_as_it_was_written(tmp_path: Path) -> None:
    levels = tuple(n / 9 for n in (9, 0, 9, 5, 9, 8, 9))
    read = page(
        replace(line("ab é cd"), confidences=levels, corrected=True),
        replace(line("Hello"), confidences=(1.0,) * 5),
        line(""),
    )
    for turn in (0, 90, 180, 270):
        first = opened(tmp_path, to_alto(read.as_stored(turn)))
        assert opened(tmp_path, to_alto(first)) == first
        upright = first.as_read()
        assert (first.turn, upright.size) == (turn, read.size)
        assert upright.area == pytest.approx(read.area)
        for own, other in zip(upright.lines, read.lines, strict=True):
            assert (own.text, own.corrected) == (other.text, other.corrected)
            assert own.confidences == pytest.approx(other.confidences)
            assert own.box == pytest.approx(other.box)
            assert [word.text for word in own.words] == [word.text for word in other.words]


def test_line_that_another_program_wrote_whole_keeps_its_text(tmp_path: Path) -> None:
    text = to_alto(page(line("Hello"))).replace('CONTENT="Hello"', 'CONTENT="Hello, my world"')
    (found,) = opened(tmp_path, text).lines
    assert [word.text for word in found.words] == ["Hello,", "my", "world"]
    assert found.text in [own.text for own in opened(tmp_path, to_alto(page(found))).lines]


def test_numbers_of_another_program_that_are_none_are_passed_over(tmp_path: Path) -> None:
    text = to_alto(replace(page(replace(line("Hello"), confidences=(0.5,) * 5)), turn=0))
    for before, after in (('WC="0.7500"', 'WC="high"'), ('CC="4 4 4 4 4"', 'CC="4 x 44"'),
                          ("<TextBlock ", '<TextBlock ROTATION="7.5" ')):  # fmt: skip
        assert before in text
        text = text.replace(before, after)
    read = opened(tmp_path, text)
    assert (read.turn, read.lines[0].text, read.lines[0].confidences) == (0, "Hello", ())
    assert read.lines[0].words[0].confidence == 1.0


def opened(folder: Path, text: str) -> ReadPage:
    return from_alto(write(folder, "p.xml", text) / "p.xml", PageImages(folder))

from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given, settings

from hwr.data.records import Page
from hwr.data.sources import alto as source
from hwr.transcription.export.alto import to_alto
from hwr.transcription.export.xml import clean_text
from hwr.transcription.transcript import ReadPage
from tests.transcription.export.read_pages import (
    AREA,
    BASELINE,
    BOX,
    ODD,
    POLYGON,
    TEXTS,
    bare,
    line,
    page,
    write,
)
from tests.transcription.export.validation import faults


def read_back(root: Path, read: ReadPage) -> Page:
    write(root, "p.alto.xml", to_alto(read))
    (found,) = source.read_alto(root, splits=None, shares=(0.8, 0.1, 0.1), seed=0)
    return found


def test_page_reads_back_with_its_picture_and_size(tmp_path: Path) -> None:
    found = read_back(tmp_path, page(line("Hello")))
    assert found.image == tmp_path / "p.png"
    assert found.size == (100, 200)


def test_line_reads_back_as_it_was_read(tmp_path: Path) -> None:
    (found,) = read_back(tmp_path, page(line("Hello, world"))).lines
    assert found.text == "Hello, world"
    assert found.box == pytest.approx(BOX)
    assert found.polygon == POLYGON
    assert found.baseline == BASELINE


def test_words_read_back_with_their_boxes(tmp_path: Path) -> None:
    (found,) = read_back(tmp_path, page(line("Hello, world"))).lines
    assert [word.text for word in found.words] == ["Hello,", "world"]
    assert found.words[1].box == pytest.approx((0.15, 0.1, 0.2, 0.35))


def test_box_reads_back_when_it_is_wider_than_the_polygon(tmp_path: Path) -> None:
    (found,) = read_back(tmp_path, page(line("Hello", box=(0.05, 0.0, 0.7, 0.5)))).lines
    assert found.box == pytest.approx((0.05, 0.0, 0.7, 0.5))
    assert found.polygon == POLYGON


def test_box_reads_back_within_half_a_pixel_when_it_lies_between_pixels(tmp_path: Path) -> None:
    box = (0.1024, 0.104, 0.6013, 0.3549)  # px: 20.48 10.4 120.26 35.49
    (found,) = read_back(tmp_path, page(line("Hello", box=box))).lines
    assert found.box == pytest.approx((20 / 200, 10 / 100, 120 / 200, 35 / 100))


def test_polygon_and_baseline_are_left_out_when_there_are_none(tmp_path: Path) -> None:
    (found,) = read_back(tmp_path, page(bare("Hello"))).lines
    assert (found.polygon, found.baseline) == ((), ())
    assert found.box == pytest.approx(BOX)


def test_empty_line_reads_back_as_empty(tmp_path: Path) -> None:
    found = read_back(tmp_path, page(line(""), line("Hello")))
    assert [entry.text for entry in found.lines] == ["", "Hello"]
    assert found.lines[0].words == ()


def test_page_reads_back_without_lines_when_nothing_was_read(tmp_path: Path) -> None:
    assert read_back(tmp_path, page(area=None)).lines == ()


def test_forbidden_characters_are_replaced(tmp_path: Path) -> None:
    (found,) = read_back(tmp_path, page(line("a\x01b \ufffe"))).lines
    assert found.text == "a\ufffdb \ufffd"


@settings(max_examples=50, deadline=None)
@given(text=TEXTS)
def test_any_text_reads_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    (found,) = read_back(tmp_path_factory.getbasetemp() / "alto", page(line(text))).lines
    assert found.text == clean_text(text)


@pytest.mark.parametrize(
    "read",
    [
        page(line("Hello, world"), line("again")),
        page(area=None),
        page(),
        page(bare(ODD), line(""), area=None),
        replace(page(line("Hello")), image='odd "<name>" \udcff.tif', number=12),
    ],
    ids=["rich", "empty", "area alone", "odd characters", "odd name"],
)
def test_schema_finds_no_fault(read: ReadPage) -> None:
    assert faults(to_alto(read), "alto") == []


def test_schema_finds_a_fault_when_the_page_has_no_number() -> None:
    broken = to_alto(page(line("Hello"))).replace('PHYSICAL_IMG_NR="1"', "")
    assert len(faults(broken, "alto")) == 1


def test_confidence_is_written_with_every_word() -> None:
    strings = fromstring(to_alto(page(line("Hello, world")))).findall(".//{*}String")
    assert [string.get("WC") for string in strings] == ["0.7500", "0.7500"]


def test_block_is_the_area_when_the_lines_lie_in_it() -> None:
    block = fromstring(to_alto(page(line("Hello"), area=AREA))).find(".//{*}TextBlock")
    assert block is not None
    assert [block.get(key) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")] == ["10", "5", "180", "85"]

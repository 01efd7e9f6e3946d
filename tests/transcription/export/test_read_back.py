"""What ALTO and PAGE hold of a page, as the data sources read it back."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from PIL import Image

from hwr.data import source_reader
from hwr.data.records import Page
from hwr.transcription import ReadPage
from hwr.transcription.export import clean_text, to_alto, to_pagexml
from tests.transcription.export.read_pages import (
    AREA,
    BASELINE,
    BOX,
    ODD,
    POLYGON,
    SPLITTING,
    TEXTS,
    bare,
    line,
    page,
    write,
)
from tests.transcription.export.validation import faults

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=timezone.utc)
WRITERS: dict[str, Callable[[ReadPage], str]] = {
    "alto": to_alto,
    "pagexml": lambda read: to_pagexml(read, created=NOON),
}


@pytest.fixture(params=WRITERS)
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read_back(root: Path, source: str, read: ReadPage) -> Page:
    write(root, "p.xml", WRITERS[source](read))
    (found,) = source_reader(source)(root, **SPLITTING).pages
    return found


def test_page_reads_back_with_its_picture_and_size(tmp_path: Path, source: str) -> None:
    found = read_back(tmp_path, source, page(line("Hello")))
    assert found.image == tmp_path / "p.png"
    assert found.size == (100, 200)


def test_page_of_a_file_with_several_reads_back_with_its_number(tmp_path: Path, source: str) -> None:
    kind = "alto" if source == "alto" else "page"
    sheets = [Image.new("L", (200, 100), shade) for shade in (0, 255, 255)]
    sheets[0].save(tmp_path / "book.tif", save_all=True, append_images=sheets[1:])
    for number in (1, 2, 3):
        read = replace(page(line("Hello")), name=f"book-{number:03}", image="book.tif", number=number)
        text = WRITERS[source](read)
        assert faults(text, kind) == []
        write(tmp_path, f"book-{number:03}.{kind}.xml", text)
    found = source_reader(source)(tmp_path, **SPLITTING).pages
    assert [(own.id, own.image.name, own.number) for own in found] == [
        (f"book-{number:03}", "book.tif", number) for number in (1, 2, 3)
    ]


def test_line_reads_back_as_it_was_read(tmp_path: Path, source: str) -> None:
    (found,) = read_back(tmp_path, source, page(line("Hello, world"))).lines
    assert found.text == "Hello, world"
    assert found.box == pytest.approx(BOX)
    assert found.polygon == POLYGON
    assert found.baseline == BASELINE


def test_words_read_back_with_their_boxes(tmp_path: Path, source: str) -> None:
    (found,) = read_back(tmp_path, source, page(line("Hello, world"))).lines
    assert [word.text for word in found.words] == ["Hello,", "world"]
    assert found.words[1].box == pytest.approx((0.15, 0.1, 0.2, 0.35))


def test_lines_read_back_in_reading_order(tmp_path: Path, source: str) -> None:
    lower = line("first", box=(0.1, 0.6, 0.6, 0.8))
    found = read_back(tmp_path, source, page(lower, line("second"))).lines
    assert [entry.text for entry in found] == ["first", "second"]


@pytest.mark.parametrize(
    ("wrote", "box", "polygon"),
    [
        ("alto", (0.05, 0.0, 0.7, 0.5), POLYGON),
        ("pagexml", BOX, POLYGON),  # PAGE has no box
    ],
)
def test_box_wider_than_the_polygon(tmp_path: Path, wrote: str, box: object, polygon: object) -> None:
    (found,) = read_back(tmp_path, wrote, page(line("Hello", box=(0.05, 0.0, 0.7, 0.5)))).lines
    assert found.box == pytest.approx(box)
    assert found.polygon == polygon


@pytest.mark.parametrize(
    ("wrote", "polygon"),
    [("alto", ()), ("pagexml", ((0.1, 0.1), (0.6, 0.1), (0.6, 0.35), (0.1, 0.35)))],
)
def test_box_reads_back_when_there_is_nothing_else(tmp_path: Path, wrote: str, polygon: object) -> None:
    (found,) = read_back(tmp_path, wrote, page(bare("Hello"))).lines
    assert (found.polygon, found.baseline) == (polygon, ())
    assert found.box == pytest.approx(BOX)


def test_empty_line_reads_back_as_empty(tmp_path: Path, source: str) -> None:
    found = read_back(tmp_path, source, page(line(""), line("Hello")))
    assert [entry.text for entry in found.lines] == ["", "Hello"]
    assert found.lines[0].words == ()


def test_page_reads_back_without_lines_when_nothing_was_read(tmp_path: Path, source: str) -> None:
    assert read_back(tmp_path, source, page(area=None)).lines == ()


def test_forbidden_characters_are_replaced(tmp_path: Path, source: str) -> None:
    (found,) = read_back(tmp_path, source, page(line("a\x01b \ufffe"))).lines
    assert found.text == "a\ufffdb \ufffd"


@pytest.mark.parametrize("wrote", WRITERS)
@settings(max_examples=50, deadline=None)
@given(text=TEXTS)
def test_any_text_reads_back(tmp_path_factory: pytest.TempPathFactory, wrote: str, text: str) -> None:
    (found,) = read_back(tmp_path_factory.getbasetemp() / wrote, wrote, page(line(text))).lines
    assert found.text == clean_text(text)


@pytest.mark.parametrize(
    "read",
    [
        page(line("Hello, world"), line("again")),
        page(area=None),
        page(),
        page(bare(ODD), line(""), area=None),
        page(line("Hello", box=(-0.1, -0.2, 1.3, 1.2)), area=(-0.5, 0, 2, 1)),
        page(line("Hello")).as_stored(270),
        replace(page(line("Hello")), image='odd "<name>" \udcff.tif', number=12),
    ],
    ids=["rich", "empty", "area alone", "odd characters", "beyond the page", "turned", "odd name"],
)
def test_schema_finds_no_fault(source: str, read: ReadPage) -> None:
    assert faults(WRITERS[source](read), "alto" if source == "alto" else "page") == []


@pytest.mark.parametrize(("turn", "clockwise"), [(90, "90"), (180, "180"), (270, "-90")])
def test_turn_of_a_page_is_told(source: str, turn: int, clockwise: str) -> None:
    text = WRITERS[source](page(line("Hello")).as_stored(turn))
    assert (f'ROTATION="{turn}"' if source == "alto" else f'orientation="{clockwise}"') in text


def test_area_is_the_block_of_the_lines_that_lie_in_it(source: str) -> None:
    text = WRITERS[source](page(line("Hello"), area=AREA))
    alto, pagexml = 'HPOS="10" VPOS="5" WIDTH="180" HEIGHT="85"', 'points="10,5 190,5 190,90 10,90"'
    assert (alto if source == "alto" else pagexml) in text

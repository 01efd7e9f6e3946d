from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given, settings

from hwr.data.records import Page
from hwr.data.sources import pagexml as source
from hwr.transcription.export.pagexml import to_pagexml
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

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=timezone.utc)


def read_back(root: Path, read: ReadPage) -> Page:
    write(root, "p.page.xml", to_pagexml(read, created=NOON))
    (found,) = source.read_pagexml(root, splits=None, shares=(0.8, 0.1, 0.1), seed=0)
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


def test_lines_read_back_in_reading_order(tmp_path: Path) -> None:
    lower = line("first", box=(0.1, 0.6, 0.6, 0.8))
    assert [entry.text for entry in read_back(tmp_path, page(lower, line("second"))).lines] == [
        "first",
        "second",
    ]


def test_box_reads_back_as_the_polygons_when_it_is_wider(tmp_path: Path) -> None:
    (found,) = read_back(tmp_path, page(line("Hello", box=(0.05, 0.0, 0.7, 0.5)))).lines
    assert found.box == pytest.approx(BOX)


def test_polygon_reads_back_as_the_box_when_there_is_none(tmp_path: Path) -> None:
    (found,) = read_back(tmp_path, page(bare("Hello"))).lines
    assert found.box == pytest.approx(BOX)
    assert found.polygon == ((0.1, 0.1), (0.6, 0.1), (0.6, 0.35), (0.1, 0.35))
    assert found.baseline == ()


def test_page_reads_back_without_lines_when_nothing_was_read(tmp_path: Path) -> None:
    assert read_back(tmp_path, page(area=None)).lines == ()


@settings(max_examples=50, deadline=None)
@given(text=TEXTS)
def test_any_text_reads_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    (found,) = read_back(tmp_path_factory.getbasetemp() / "page", page(line(text))).lines
    assert found.text == clean_text(text)


@pytest.mark.parametrize(
    "read",
    [
        page(line("Hello, world"), line("again")),
        page(area=None),
        page(),
        page(bare(ODD), line(""), area=None),
        page(line("Hello", box=(-0.1, -0.2, 1.3, 1.2)), area=(-0.5, 0, 2, 1)),
        replace(page(line("Hello")), image='odd "<name>" \udcff.tif', number=12),
    ],
    ids=["rich", "empty", "area alone", "odd characters", "beyond the page", "odd name"],
)
def test_schema_finds_no_fault(read: ReadPage) -> None:
    assert faults(to_pagexml(read), "page") == []


def test_schema_finds_a_fault_when_a_coordinate_is_no_integer() -> None:
    broken = to_pagexml(page(line("Hello"))).replace("20,12", "20.5,12")
    assert len(faults(broken, "page")) == 1


def test_moment_is_written_in_utc_when_it_has_another_zone() -> None:
    moment = NOON.astimezone(timezone(timedelta(hours=2)))
    root = fromstring(to_pagexml(page(), created=moment))
    assert root.findtext("{*}Metadata/{*}Created") == "2026-01-02T12:00:00Z"
    assert root.findtext("{*}Metadata/{*}LastChange") == "2026-01-02T12:00:00Z"


def test_confidences_are_written_with_line_and_words() -> None:
    found = fromstring(to_pagexml(page(line("Hello, world")))).findall(".//{*}TextEquiv")
    assert [entry.get("conf") for entry in found] == ["0.7500", "0.7500", "0.8750"]


def test_region_is_the_area_when_the_lines_lie_in_it() -> None:
    coords = fromstring(to_pagexml(page(line("Hello"), area=AREA))).find(".//{*}TextRegion/{*}Coords")
    assert coords is not None
    assert coords.get("points") == "10,5 190,5 190,90 10,90"

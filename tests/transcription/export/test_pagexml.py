from datetime import datetime, timedelta, timezone
from xml.etree.ElementTree import fromstring

from hwr.transcription.export import to_pagexml
from tests.transcription.export.read_pages import line, page, two_columns
from tests.transcription.export.validation import faults


def test_schema_finds_a_fault_when_a_coordinate_is_no_integer() -> None:
    broken = to_pagexml(page(line("Hello"))).replace("20,12", "20.5,12")
    assert len(faults(broken, "page")) == 1


def test_moment_is_written_in_utc_when_it_has_another_zone() -> None:
    moment = datetime(2026, 1, 2, 14, 0, 0, tzinfo=timezone(timedelta(hours=2)))
    root = fromstring(to_pagexml(page(), created=moment))
    assert root.findtext("{*}Metadata/{*}Created") == "2026-01-02T12:00:00Z"
    assert root.findtext("{*}Metadata/{*}LastChange") == "2026-01-02T12:00:00Z"


def test_confidences_are_written_with_line_and_words() -> None:
    found = fromstring(to_pagexml(page(line("Hello, world")))).findall(".//{*}TextEquiv")
    assert [entry.get("conf") for entry in found] == ["0.7500", "0.7500", "0.8750"]


def test_column_is_a_region_in_reading_order() -> None:
    text = to_pagexml(two_columns())
    assert faults(text, "page") == []
    root = fromstring(text)
    regions = root.findall(".//{*}TextRegion")
    assert [entry.get("regionRef") for entry in root.iterfind(".//{*}RegionRefIndexed")] == [
        region.get("id") for region in regions
    ]
    texts = "{*}TextLine/{*}TextEquiv/{*}Unicode"
    assert ["".join(found.text or "" for found in region.iterfind(texts)) for region in regions] == [
        "0123",
        "4567",
    ]
    space = root.find(".//{*}PrintSpace/{*}Coords")
    assert space is not None and space.get("points") == "10,5 190,5 190,90 10,90"

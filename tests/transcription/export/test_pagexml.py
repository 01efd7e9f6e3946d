from datetime import datetime, timedelta, timezone
from xml.etree.ElementTree import fromstring

from hwr.transcription.export import to_pagexml
from tests.transcription.export.read_pages import line, page
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

from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from hwr.data.sources.alto import read_alto
from hwr.transcription.export import to_alto
from tests.transcription.export.read_pages import SPLITTING, line, page, write
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

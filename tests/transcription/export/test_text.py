import json
from dataclasses import replace

import numpy as np

from hwr.transcription.export import to_json, to_txt
from tests.transcription.export.read_pages import ODD, bare, line, page, two_columns


def test_txt_has_a_line_for_every_line_also_an_empty_one() -> None:
    assert to_txt(page(line("Hello, world"), line(""), line("à bientôt"))) == "Hello, world\n\nà bientôt\n"


def test_txt_is_empty_when_nothing_was_read() -> None:
    assert to_txt(page()) == ""


def test_json_holds_everything_in_a_fixed_order() -> None:
    found = json.loads(to_json(page(line("Hi"))))
    assert list(found.items())[:7] == [
        ("name", "p"),
        ("image", "scans/p.png"),
        ("number", 1),
        ("width_px", 200),
        ("height_px", 100),
        ("turn", 0),
        ("area", [0.05, 0.05, 0.95, 0.9]),
    ]
    (entry,) = found["lines"]
    assert list(entry) == ["text", "confidence", "confidences", "box", "polygon", "baseline", "words"]
    assert entry["box"] == [0.1, 0.1, 0.6, 0.35]
    assert entry["polygon"][0] == [0.1, 0.12]
    assert entry["words"] == [{"text": "Hi", "confidence": 0.75, "box": [0.1, 0.1, 0.15, 0.35]}]


def test_json_tells_how_many_lines_each_block_has() -> None:
    assert json.loads(to_json(two_columns()))["blocks"] == [4, 4]
    assert json.loads(to_json(page()))["blocks"] == []


def test_json_holds_null_and_no_lines_when_nothing_was_read() -> None:
    found = json.loads(to_json(page(area=None)))
    assert (found["area"], found["lines"]) == (None, [])


def test_json_keeps_every_character_of_a_text() -> None:
    assert json.loads(to_json(page(bare(ODD))))["lines"][0]["text"] == ODD


def test_json_writes_numpy_numbers_with_six_decimals() -> None:
    entry = replace(line("Hi"), confidence=np.float32(1 / 3))
    assert json.loads(to_json(page(entry)))["lines"][0]["confidence"] == 0.333333


def test_json_fits_utf8_when_a_file_name_does_not() -> None:
    text = to_json(replace(page(), image="scan \udcff.png"))
    assert json.loads(text.encode("utf-8"))["image"] == "scan \ufffd.png"

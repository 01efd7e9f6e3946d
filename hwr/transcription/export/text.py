"""A read page as plain text, one line a line, and as JSON, with everything that is known of it.

JSON keeps places as the transcript does, as fractions of the page, so that they fit its picture in any size;
`width_px` and `height_px` turn them into pixels. Fractions and confidences have six decimals.
"""

import json
from collections.abc import Iterable
from typing import Any

from hwr.images.boxes import Box, Point
from hwr.transcription.export.xml import clean
from hwr.transcription.transcript import ReadLine, ReadPage, ReadWord


def to_txt(read: ReadPage) -> str:
    """Return the lines in reading order, each with its line break; nothing for a page without lines."""
    return "".join(f"{line.text}\n" for line in read.lines)


def to_json(read: ReadPage) -> str:
    """Return a page as a JSON object, its keys always in the same order.

    A box is `[x1, y1, x2, y2]`, a point `[x, y]`; `area` is null where there is none. Of the names of files,
    what UTF-8 or XML cannot hold becomes U+FFFD.
    """
    height, width = read.size
    page = {
        "name": clean(read.name),
        "image": clean(read.image),
        "number": read.number,
        "width_px": width,
        "height_px": height,
        "area": None if read.area is None else _box(read.area),
        "lines": [_line(line) for line in read.lines],
    }
    return json.dumps(page, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _line(line: ReadLine) -> dict[str, Any]:
    return {
        "text": line.text,
        "confidence": _number(line.confidence),
        "box": _box(line.box),
        "polygon": _points(line.polygon),
        "baseline": _points(line.baseline),
        "words": [_word(word) for word in line.words],
    }


def _word(word: ReadWord) -> dict[str, Any]:
    return {"text": word.text, "confidence": _number(word.confidence), "box": _box(word.box)}


def _points(points: Iterable[Point]) -> list[list[float]]:
    return [[_number(x), _number(y)] for x, y in points]


def _box(box: Box) -> list[float]:
    return [_number(value) for value in box]


def _number(value: float) -> float:
    return round(float(value), 6)  # a NumPy number is no number to JSON

"""Exports of read pages: ALTO, PAGE, plain text and JSON."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from hwr.transcription.export.alto import to_alto
from hwr.transcription.export.pagexml import to_pagexml
from hwr.transcription.export.xml import clean_text
from hwr.transcription.transcript import ReadLine, ReadPage, ReadWord

SUFFIXES = {"alto": ".alto.xml", "page": ".page.xml", "txt": ".txt", "json": ".json"}


def to_txt(read: ReadPage) -> str:
    """Return the lines in reading order, each with its line break; nothing for a page without lines."""
    return "".join(f"{line.text}\n" for line in read.lines)


def to_json(read: ReadPage) -> str:
    """Return a page as a JSON object, its keys always in the same order.

    A box is `[x1, y1, x2, y2]`, a point `[x, y]`, in fractions of the page, so that they fit its picture in
    any size; `width_px` and `height_px` turn them into pixels. They and confidences have six decimals; `area`
    is null where there is none. `turn` are the degrees clockwise by which the page was turned to be read. Of
    the names of files, what UTF-8 or XML cannot hold becomes U+FFFD.
    """
    height, width = read.size
    page = {
        "name": clean_text(read.name),
        "image": clean_text(read.image),
        "number": read.number,
        "width_px": width,
        "height_px": height,
        "turn": read.turn,
        "area": None if read.area is None else _plain(read.area),
        "lines": [
            _described(line, ("confidence", "box", "polygon", "baseline"))
            | {"words": [_described(word, ("confidence", "box")) for word in line.words]}
            for line in read.lines
        ],
    }
    return json.dumps(page, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _described(part: ReadLine | ReadWord, keys: Iterable[str]) -> dict[str, Any]:
    return {"text": part.text, **{key: _plain(getattr(part, key)) for key in keys}}


def _plain(value: Any) -> Any:
    """Return a number with six decimals, or nested tuples of numbers as lists of such."""
    return [_plain(one) for one in value] if isinstance(value, tuple) else round(float(value), 6)


FORMATS: dict[str, Callable[[ReadPage], str]] = {
    "alto": to_alto,
    "page": to_pagexml,
    "txt": to_txt,
    "json": to_json,
}

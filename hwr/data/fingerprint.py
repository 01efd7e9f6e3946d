"""Fingerprint of a data set: SHA-256 over its records and the bytes of its images."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from hwr.data.records import Line, Page
from hwr.errors import InputError
from hwr.files import sha256


def fingerprint(pages: Iterable[Page]) -> str:
    """Return the hexadecimal SHA-256 over ids, splits, writers, texts, outlines and image bytes, in order.

    Where the files lie does not matter. An image that cannot be read counts as just that, and raises nothing.
    """
    total = hashlib.sha256()
    for page in pages:
        said = [
            page.id,
            page.writer,
            page.split,
            page.area,
            [_said(line) for line in page.lines],
            _image(page.image),
        ]
        total.update(json.dumps(said, ensure_ascii=True, separators=(",", ":")).encode() + b"\n")
    return total.hexdigest()


def _said(line: Line) -> list[object]:
    words = [[word.id, word.text, word.box] for word in line.words]
    return [line.id, line.text, line.box, line.polygon, line.baseline, line.kind, line.segmented, words]


def _image(path: Path) -> str:
    try:
        return sha256(path)
    except InputError:
        return "unreadable"

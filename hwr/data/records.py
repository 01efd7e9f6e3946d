"""Records that every source yields: pages, lines, words. Coordinates are fractions of the page in [0, 1]."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwr.errors import InputError
from hwr.files import parse_json, sha256
from hwr.images.boxes import Box, Point

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Word:
    """A written word: `text` in NFC inside `box`."""

    id: str
    text: str
    box: Box


@dataclass(frozen=True)
class Line:
    """A written line.

    `id` is unique in the data set; `text` is NFC; `polygon` and `baseline` are empty where there is none;
    `kind` is the source's line type; `segmented` is False where the source doubts its own segmentation (IAM's
    `err`).
    """

    id: str
    text: str
    box: Box
    polygon: tuple[Point, ...] = ()
    baseline: tuple[Point, ...] = ()
    kind: str = ""
    words: tuple[Word, ...] = ()
    segmented: bool = True


@dataclass(frozen=True)
class Page:
    """A scanned page (IAM: form) of `size` (height, width) pixels; `split` is train, valid, test or empty."""

    id: str
    writer: str
    split: str
    image: Path
    size: tuple[int, int]
    lines: tuple[Line, ...]
    area: Box | None = None


def fingerprint(pages: Iterable[Page]) -> str:
    """Return the hexadecimal SHA-256 over ids, splits, writers, texts, outlines and image bytes, in order.

    Where the files lie does not matter. An image that cannot be read counts as just that, and raises nothing.
    """
    total = hashlib.sha256()
    for page in pages:
        lines = [_values(line) for line in page.lines]
        values = [page.id, page.writer, page.split, page.area, lines, _image_sha256(page.image)]
        total.update(json.dumps(values, ensure_ascii=True, separators=(",", ":")).encode() + b"\n")
    return total.hexdigest()


def pages_to_json(pages: Iterable[Page]) -> str:
    """Return pages as JSON, each image by its name alone."""
    return json.dumps([{**asdict(page), "image": page.image.name} for page in pages], ensure_ascii=False)


def pages_from_json(text: str, folder: Path) -> list[Page]:
    """Return the pages that `pages_to_json` wrote; their images lie in `folder`."""
    return [_page(values, folder) for values in parse_json(text)]


def _values(line: Line) -> list[object]:
    words = [[word.id, word.text, word.box] for word in line.words]
    return [line.id, line.text, line.box, line.polygon, line.baseline, line.kind, line.segmented, words]


def _image_sha256(path: Path) -> str:
    try:
        return sha256(path)
    except InputError:
        return "unreadable"


def _page(values: dict[str, Any], folder: Path) -> Page:
    lines = tuple(_line(line) for line in values["lines"])
    area = tuple(values["area"]) if values["area"] else None
    image = folder / values["image"]
    return Page(**{**values, "image": image, "size": tuple(values["size"]), "lines": lines, "area": area})


def _line(values: dict[str, Any]) -> Line:
    words = tuple(Word(word["id"], word["text"], tuple(word["box"])) for word in values["words"])
    points = {key: tuple(tuple(point) for point in values[key]) for key in ("polygon", "baseline")}
    return Line(**{**values, **points, "box": tuple(values["box"]), "words": words})

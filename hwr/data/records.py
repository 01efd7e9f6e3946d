"""Records that every source yields: pages, lines, words. Coordinates are fractions of the page in [0, 1]."""

from dataclasses import dataclass
from pathlib import Path

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

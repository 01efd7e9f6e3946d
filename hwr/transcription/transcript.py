"""Transcript of a page: lines in reading order, with positions (fractions of the page) and confidences."""

from dataclasses import dataclass

from hwr.images.boxes import Box, Point, corners, union


@dataclass(frozen=True)
class ReadWord:
    """A word as it was read, its box and its confidence in [0, 1]."""

    text: str
    box: Box
    confidence: float


@dataclass(frozen=True)
class ReadLine:
    """A line as it was read; `words` joined by single spaces are its `text`; NFC.

    `box` holds the whole line as it was found, `polygon` and `baseline` (left to right) what was cut out of
    the page; `confidence` in [0, 1].
    """

    text: str
    box: Box
    polygon: tuple[Point, ...]
    baseline: tuple[Point, ...]
    confidence: float
    words: tuple[ReadWord, ...]

    @property
    def outline(self) -> tuple[Point, ...]:
        """The polygon, or the corners of the box where the polygon spans no area."""
        return self.polygon if len(self.polygon) >= 3 else corners(self.box)


@dataclass(frozen=True)
class ReadPage:
    """A page as it was read: `lines` in reading order, `area` around the handwriting, None without any.

    `name` is what its outputs are called, `image` the file it came from, `number` its 1-based place there,
    and `size` (height, width) in upright pixels.
    """

    name: str
    image: str
    number: int
    size: tuple[int, int]
    area: Box | None
    lines: tuple[ReadLine, ...]

    @property
    def extent(self) -> Box | None:
        """The smallest box that holds the area and the lines; None where there is neither."""
        held = [*([] if self.area is None else [self.area]), *(line.box for line in self.lines)]
        return union(held) if held else None

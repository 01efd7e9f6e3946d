"""Read whole pages, and export what was read; this module holds the transcript that both have in common.

Its lines are in reading order, with positions (fractions of the page) and confidences.
"""

from dataclasses import dataclass, replace
from itertools import groupby

from hwr.images.boxes import Box, Point, corners, union
from hwr.layout.orientation import turned_box, turned_point


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
    the page; `confidence` in [0, 1], and `confidences` that of each character of the text, where they are
    known. `corrected` says that a person wrote or confirmed the text. `block` is the number of its block on
    the page, from 0.
    """

    text: str
    box: Box
    polygon: tuple[Point, ...]
    baseline: tuple[Point, ...]
    confidence: float
    words: tuple[ReadWord, ...]
    confidences: tuple[float, ...] = ()
    corrected: bool = False
    block: int = 0

    @property
    def outline(self) -> tuple[Point, ...]:
        """The polygon, or the corners of the box where the polygon spans no area."""
        return self.polygon if len(self.polygon) >= 3 else corners(self.box)


@dataclass(frozen=True)
class ReadPage:
    """A page as it was read: `lines` in reading order, `area` around the handwriting, None without any.

    `name` is what its outputs are called, `image` the file it came from, `number` its 1-based place there,
    and `size` (height, width) in pixels, as EXIF has it. It was read
    when turned clockwise by `turn` degrees.
    """

    name: str
    image: str
    number: int
    size: tuple[int, int]
    area: Box | None
    lines: tuple[ReadLine, ...]
    turn: int = 0

    @property
    def extent(self) -> Box | None:
        """The smallest box that holds the area and the lines; None where there is neither."""
        held = [*([] if self.area is None else [self.area]), *(line.box for line in self.lines)]
        return union(held) if held else None

    @property
    def blocks(self) -> list[tuple[ReadLine, ...]]:
        """The lines by column, and by what stands apart in a column; in reading order."""
        return [tuple(lines) for _, lines in groupby(self.lines, key=lambda line: line.block)]

    def as_read(self) -> "ReadPage":
        """Return a page as it lies in its file upright, as it was read."""
        return replace(self.as_stored(-self.turn), turn=0)

    def as_stored(self, turn: int) -> "ReadPage":
        """Return a page that was read upright, turned by `turn`, as it lies in its file."""
        back, area = -turn, self.area

        def moved(line: ReadLine) -> ReadLine:
            words = tuple(replace(word, box=turned_box(word.box, back)) for word in line.words)
            polygon, baseline = (
                tuple(turned_point(point, back) for point in points)
                for points in (line.polygon, line.baseline)
            )
            return replace(
                line, box=turned_box(line.box, back), polygon=polygon, baseline=baseline, words=words
            )

        return replace(
            self,
            size=self.size[::-1] if turn % 180 else self.size,
            area=None if area is None else turned_box(area, back),
            lines=tuple(map(moved, self.lines)),
            turn=turn,
        )

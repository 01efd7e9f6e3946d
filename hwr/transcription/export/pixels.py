"""Where things lie on a read page, in the whole pixels that ALTO and PAGE ask for.

A coordinate goes to the nearest pixel edge, so it moves by half a pixel at most, and what was read back and
is written again stays where it is.
"""

from collections.abc import Iterable

from hwr.images.boxes import Box, Point, union
from hwr.transcription.transcript import ReadLine, ReadPage


def points_px(points: Iterable[Point], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return points as whole pixels x y, cut to a page of `size` (height, width)."""
    height, width = size
    return [(_edge(x, width), _edge(y, height)) for x, y in points]


def box_px(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a box as whole pixels x1 y1 x2 y2, cut to a page of `size` (height, width)."""
    x1, y1, x2, y2 = box
    (left, top), (right, bottom) = points_px([(x1, y1), (x2, y2)], size)
    return left, top, right, bottom


def corners(box: Box) -> tuple[Point, ...]:
    """Return the four corners of a box, clockwise from the upper left one."""
    x1, y1, x2, y2 = box
    return (x1, y1), (x2, y1), (x2, y2), (x1, y2)


def outline(line: ReadLine) -> tuple[Point, ...]:
    """Return the line's polygon, or the corners of its box where the polygon spans no area."""
    return line.polygon if len(line.polygon) >= 3 else corners(line.box)


def block(read: ReadPage) -> Box | None:
    """Return the smallest box that holds the page's area and its lines; None where it has neither."""
    areas = [] if read.area is None else [read.area]
    held = [*areas, *(line.box for line in read.lines)]
    return union(held) if held else None


def _edge(fraction: float, length: int) -> int:
    return min(max(round(fraction * length), 0), length)

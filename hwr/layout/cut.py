"""Cut lines out of overlapping boxes: a tight polygon and a baseline for each. Knows no network.

The steps are the page's ink (`ink`), the baselines (`baselines`), and the seams of least ink between them
(`seams`). Constants of the search are fractions of a line's height, tuned on the handwriting of Copiste.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from hwr.images.boxes import Box, FloatArray, Point
from hwr.images.load import GreyImage
from hwr.layout import seams
from hwr.layout.baselines import Baselines, find_baselines
from hwr.layout.ink import InkSheet, extract_ink

_POINTS = 60  # of a polygon's upper or lower edge at most
_KNOTS = 5  # of a baseline


@dataclass(frozen=True)
class LineCut:
    """A line cut out of a page, in fractions of the page; the baseline runs from left to right."""

    box: Box
    polygon: tuple[Point, ...]
    baseline: tuple[Point, ...]

    def in_strip(self, strip: tuple[float, float]) -> "LineCut":
        """Return the line on a page of which its own is a strip, from and to a fraction of the width."""
        x1, y1, x2, y2 = self.box
        polygon, baseline = (
            tuple((along(x, strip), y) for x, y in points) for points in (self.polygon, self.baseline)
        )
        return LineCut((along(x1, strip), y1, along(x2, strip), y2), polygon, baseline)


def along(x: float, strip: tuple[float, float]) -> float:
    """Return where a fraction of a strip's width is on its page."""
    return strip[0] + x * (strip[1] - strip[0])


def cut_lines(page: GreyImage, boxes: FloatArray) -> list[LineCut]:
    """Return a tight polygon and a baseline for each of the line `boxes` (N, 4) of `page`, in their order.

    The boxes come in any order, and may overlap, coincide or hold no ink. A polygon is at least a pixel high,
    has at most 120 points, and leaves its box by a tenth of the line's height at most.
    """
    if not len(boxes):
        return []
    sheet = extract_ink(page, np.asarray(boxes, dtype=np.float64))
    lines = find_baselines(sheet)
    sides = seams.line_sides(sheet.ink, lines)
    reaches = list(map(seams.seam_reach, sides, seams.find_seams(sides)))
    return [
        _outlined(sheet, lines, i, (up, down), (float(x1), float(y1), float(x2), float(y2)))
        for i, (up, down, (x1, y1, x2, y2)) in enumerate(zip(reaches[::2], reaches[1::2], boxes, strict=True))
    ]


def _outlined(
    sheet: InkSheet, lines: Baselines, i: int, reaches: tuple[FloatArray, FloatArray], box: Box
) -> LineCut:
    """Return line `i` with the polygon that reaches so many rows, up and down, from its baseline."""
    xs, height = seams.strip_columns(lines, i), lines.heights[i]
    base, beyond = lines.at(xs)[i], seams.AIR * height
    wide = np.array([xs[0] - beyond, *xs, xs[-1] + beyond])
    top, bottom = (
        np.clip(base + reach * (height / seams.ROWS), lines.boxes[i, 1] - beyond, lines.boxes[i, 3] + beyond)
        for reach in (-reaches[0], reaches[1])
    )
    # Simpler by a pixel at most, and where lines are tiny by so little that the edges cannot meet.
    fine = min(1.0, 0.03 * height / float(sheet.factor[1]))
    upper, lower = (
        _simplified(sheet.to_page(np.stack([wide, np.pad(edge, 1, mode="edge")], axis=1)), fine)
        for edge in (top, bottom)
    )
    knots = np.linspace(0, len(xs) - 1, _KNOTS).round().astype(int)
    baseline = sheet.to_page(np.stack([xs, base], axis=1)[knots])
    return LineCut(box, _shares(np.vstack([upper, lower[::-1]]), sheet), _shares(baseline, sheet))


def _simplified(edge: FloatArray, fine: float) -> FloatArray:
    """Return an edge (P, 2) with at most `_POINTS` points, off by `fine` px or little more."""
    line = edge.astype(np.float32)[:, None]
    simple = cv2.approxPolyDP(line, fine, False)
    while len(simple) > _POINTS:
        fine *= 1.25
        simple = cv2.approxPolyDP(line, fine, False)
    return np.asarray(simple[:, 0], dtype=np.float64)


def _shares(points: FloatArray, sheet: InkSheet) -> tuple[Point, ...]:
    return tuple((float(x), float(y)) for x, y in np.clip(points / sheet.size, 0, 1))

"""Cut lines out of overlapping boxes: a tight polygon and a baseline for each. Knows no network.

The steps are the page's ink and the baselines (`ink`), and the seams: paths of least ink between
neighbouring baselines, on straightened strips. Constants of the search are fractions of a line's height,
tuned on the handwriting of Copiste.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hwr.images.boxes import Box, FloatArray, Point, around, clip, corners
from hwr.images.load import GreyImage
from hwr.layout.ink import Baselines, InkSheet, extract_ink, find_baselines
from hwr.layout.orientation import LevelPage

_POINTS = 60  # of a polygon's upper or lower edge at most
_KNOTS = 5  # of a baseline
ROWS = 24  # of a strip per line height, and as fine along the line

_REACH = 30  # rows of a strip on each side of the baseline: 1.25 heights
_COLUMNS = 1024  # of a strip at most
_CORE = 0.2, 0.45  # of the height: the least and the largest x-height
_SAME_ROW = 0.35  # of the lower height: baselines nearer than that are one row, with no seam between
_FOOT = 0.08  # of the height below the baseline that no seam enters: letters do not stand on a ruler's edge
_PULL = 0.06  # cost of the corridor's edge against its middle, a pixel of ink being 1
_SLANT = 0.02, 0.08  # cost of a step of one and of two rows between columns: straight where it makes no odds
_BARRIER = 4.0  # cost per row outside of the corridor
_BATCH = 64  # seams searched at once: bounds the memory

AIR = 0.1  # of the height between a line's outermost ink and its polygon, and by which that may leave its box
_LEAST_UP, _LEAST_DOWN = 0.4, 0.2  # of the height that letters reach from the baseline, whatever ink is seen


@dataclass(frozen=True)
class LineCut:
    """A line cut out of a page, in fractions of the page; the baseline runs from left to right.

    `block` is the number of its block on the page, from 0.
    """

    box: Box
    polygon: tuple[Point, ...]
    baseline: tuple[Point, ...]
    block: int = 0

    def in_strip(self, strip: tuple[float, float]) -> "LineCut":
        """Return the line on a page of which its own is a strip, from and to a fraction of the width."""
        x1, y1, x2, y2 = self.box
        polygon, baseline = (
            tuple((along(x, strip), y) for x, y in points) for points in (self.polygon, self.baseline)
        )
        return LineCut((along(x1, strip), y1, along(x2, strip), y2), polygon, baseline, self.block)

    def turned_back(self, level: LevelPage) -> "LineCut":
        """Return the line on the page that `level` shows with level lines; its outline keeps its slope."""
        x1, y1, x2, y2 = self.box
        baseline = self.baseline or ((x1, (y1 + y2) / 2), (x2, (y1 + y2) / 2))
        polygon = level.to_page(self.polygon or corners(self.box))
        return LineCut(clip(around(polygon)), polygon, level.to_page(baseline), self.block)


def along(x: float, strip: tuple[float, float]) -> float:
    """Return where a fraction of a strip's width is on its page."""
    return strip[0] + x * (strip[1] - strip[0])


@dataclass(frozen=True)
class LineSide:
    """One side of a line: rows count away from its baseline, `ROWS` to the line's height."""

    ink: NDArray[np.float32]  # (n, _REACH + 1) in [0, 1]
    near: float  # the seam runs beyond this row
    middle: FloatArray  # (n,) where it likes to run
    far: FloatArray  # (n,) and this side of that row; infinite without a neighbour
    least: float  # rows that letters reach at least


def cut_lines(page: GreyImage, boxes: FloatArray) -> list[LineCut]:
    """Return a tight polygon and a baseline for each of the line `boxes` (N, 4) of `page`, in their order.

    The boxes come in any order, and may overlap, coincide or hold no ink. A polygon is at least a pixel high,
    has at most 120 points, and leaves its box by a tenth of the line's height at most.
    """
    if not len(boxes):
        return []
    sheet = extract_ink(page, np.asarray(boxes, dtype=np.float64))
    lines = find_baselines(sheet)
    sides = line_sides(sheet.ink, lines)
    reaches = list(map(seam_reach, sides, find_seams(sides)))
    return [
        _outlined(sheet, lines, i, (up, down), (float(x1), float(y1), float(x2), float(y2)))
        for i, (up, down, (x1, y1, x2, y2)) in enumerate(zip(reaches[::2], reaches[1::2], boxes, strict=True))
    ]


def strip_columns(lines: Baselines, i: int) -> FloatArray:
    """Return the x positions (n,) of the columns of line `i`'s strip, from the box's left to its right."""
    x1, _, x2, _ = lines.boxes[i]
    count = np.clip(np.ceil((x2 - x1) / lines.heights[i] * ROWS) + 1, 8, _COLUMNS)
    return np.asarray(np.linspace(x1, x2, int(count)))


def line_sides(ink: NDArray[np.uint8], lines: Baselines) -> list[LineSide]:
    """Return both sides of every line: 2 N sides, a line's upper side before its lower one."""
    strips = [_strip(ink, lines, i) for i in range(len(lines.boxes))]
    cores = np.array([_core(strip) for strip in strips]) * lines.heights / ROWS  # (N,) px
    return [side for i, strip in enumerate(strips) for side in _sides(lines, cores, strip, i)]


def find_seams(sides: list[LineSide]) -> list[FloatArray]:
    """Return for each side the rows (n,) of the path that cuts the least ink inside the corridor."""
    found: list[FloatArray] = []
    for first in range(0, len(sides), _BATCH):
        batch = sides[first : first + _BATCH]
        costs = np.zeros((max(len(side.ink) for side in batch), len(batch), _REACH + 1), dtype=np.float32)
        for s, side in enumerate(batch):
            costs[: len(side.ink), s] = _cost(side)
        rows = _cheapest(costs)
        for s, side in enumerate(batch):
            seam = rows[: len(side.ink), s]
            found.append(np.asarray(np.clip(seam, side.near, np.maximum(side.far, side.near))))
    return found


def seam_reach(side: LineSide, seam: FloatArray) -> FloatArray:
    """Return how many rows a polygon reaches (n,): to the seam, or to the end of the line's own ink."""
    own = side.ink * (np.arange(_REACH + 1) <= seam[:, None])  # (n, R)
    inked = np.flatnonzero(own.sum(axis=0) > 2)  # less than a stroke's width is dust
    outermost = float(inked[-1]) if len(inked) else 0.0
    return np.asarray(np.minimum(seam, max(outermost, side.least) + AIR * ROWS))


def _outlined(
    sheet: InkSheet, lines: Baselines, i: int, reaches: tuple[FloatArray, FloatArray], box: Box
) -> LineCut:
    """Return line `i` with the polygon that reaches so many rows, up and down, from its baseline."""
    xs, height = strip_columns(lines, i), lines.heights[i]
    base, beyond = lines.at(xs)[i], AIR * height
    wide = np.array([xs[0] - beyond, *xs, xs[-1] + beyond])
    top, bottom = (
        np.clip(base + reach * (height / ROWS), lines.boxes[i, 1] - beyond, lines.boxes[i, 3] + beyond)
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


def _strip(ink: NDArray[np.uint8], lines: Baselines, i: int) -> NDArray[np.float32]:
    """Return the ink around a line's baseline, straightened: (2 * _REACH + 1, n), in [0, 1]."""
    xs = strip_columns(lines, i)
    ys = lines.at(xs)[i] + np.arange(-_REACH, _REACH + 1)[:, None] * (lines.heights[i] / ROWS)  # (R, n)
    # Positions count pixel edges, cv2 counts pixel centres: half a pixel apart.
    at = np.broadcast_to(xs - 0.5, ys.shape).astype(np.float32), (ys - 0.5).astype(np.float32)
    return np.asarray(cv2.remap(ink, *at, cv2.INTER_LINEAR), dtype=np.float32) / np.float32(255)


def _core(strip: NDArray[np.float32]) -> float:
    """Return the x-height in rows: where the ink falls to half of that just above the baseline."""
    level = strip.mean(axis=1)[_REACH::-1]  # (_REACH + 1,) upwards
    least, most = _CORE[0] * ROWS, _CORE[1] * ROWS
    thin = np.flatnonzero(level < level[1 : int(least) + 1].mean() / 2)
    thin = thin[thin >= least]
    return min(float(thin[0]), most) if len(thin) else (least + most) / 2


def _sides(
    lines: Baselines, cores: FloatArray, strip: NDArray[np.float32], i: int
) -> tuple[LineSide, LineSide]:
    """Return both sides of line `i`, with the corridors for the seams to its neighbours."""
    xs, base = strip_columns(lines, i), lines.at(strip_columns(lines, i))  # (n,), (N, n)
    row = lines.heights[i] / ROWS
    shared = (lines.boxes[:, :1] <= xs) & (xs <= lines.boxes[:, 2:3])  # (N, n)
    lower = _lower(lines, i) / np.minimum(lines.heights, lines.heights[i])  # (N,)

    gap = np.where(shared & (lower < -_SAME_ROW)[:, None], (base[i] - base) / row, np.inf)
    core, far = cores[i] / row, gap.min(axis=0)  # (n,): to the baseline of the line above
    edge = (base[i] - lines.boxes[i, 1]) / row + AIR * ROWS
    middle = np.where(np.isfinite(far), (far + core) / 2, edge)
    up = LineSide(strip[_REACH::-1].T, core / 2, middle, far, max(_LEAST_UP * ROWS, core))

    gap = np.where(shared & (lower > _SAME_ROW)[:, None], (base - base[i]) / row, np.inf)
    theirs, far = cores[gap.argmin(axis=0)] / row, gap.min(axis=0)  # (n,): of the line below
    edge = (lines.boxes[i, 3] - base[i]) / row + AIR * ROWS
    middle = np.where(np.isfinite(far), (far - theirs) / 2, edge)
    return up, LineSide(strip[_REACH:].T, _FOOT * ROWS, middle, far - theirs / 2, _LEAST_DOWN * ROWS)


def _lower(lines: Baselines, i: int) -> FloatArray:
    """Return how far below line `i` each line is (N,), halfway along what they share; 0 if nothing."""
    x1 = np.maximum(lines.boxes[:, 0], lines.boxes[i, 0])
    x2 = np.minimum(lines.boxes[:, 2], lines.boxes[i, 2])
    base = lines.at((x1 + x2) / 2)  # (N, N): every baseline at every place
    return np.asarray(np.where(x1 < x2, np.diagonal(base) - base[i], 0.0))


def _cost(side: LineSide) -> NDArray[np.float32]:
    """Return what it costs to pass a row of a column: (n, _REACH + 1)."""
    rows = np.arange(_REACH + 1)
    between = np.isfinite(side.far)  # where there is no neighbour, ink is no obstacle
    far = np.maximum(np.where(between, side.far, _REACH), side.near)[:, None]
    ink = cv2.blur(np.ascontiguousarray(side.ink), (3, 3))  # so that a step of two rows jumps no stroke
    pull = (rows - side.middle[:, None]) / (np.maximum(far - side.near, 2) / 2)
    outside = np.maximum(side.near - rows, 0) + np.maximum(rows - far, 0)
    return np.asarray(ink * between[:, None] + _PULL * pull**2 + _BARRIER * outside, dtype=np.float32)


def _cheapest(costs: NDArray[np.float32]) -> FloatArray:
    """Return the rows (W, S) of the cheapest ways through `costs` (W, S, R), two rows a step at most."""
    one, two = (np.float32(slant) for slant in _SLANT)
    total = costs.copy()
    framed = np.full((costs.shape[1], costs.shape[2] + 4), np.inf, dtype=np.float32)
    for j in range(1, len(total)):
        framed[:, 2:-2] = total[j - 1]
        best = np.minimum(total[j - 1], np.minimum(framed[:, 1:-3], framed[:, 3:-1]) + one)
        total[j] += np.minimum(best, np.minimum(framed[:, :-4], framed[:, 4:]) + two)
    steps, slants = np.array([0, -1, 1, -2, 2]), np.array([0, one, one, two, two])
    seams = np.arange(costs.shape[1])
    rows = np.empty(costs.shape[:2], dtype=np.int64)
    rows[-1] = total[-1].argmin(axis=1)
    for j in range(len(total) - 1, 0, -1):
        before = np.clip(rows[j][:, None] + steps, 0, costs.shape[2] - 1)  # (S, 5)
        rows[j - 1] = before[seams, (total[j - 1][seams[:, None], before] + slants).argmin(axis=1)]
    return rows.astype(np.float64)

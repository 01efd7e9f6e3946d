"""Reading order from boxes: words into lines, lines into columns, left to right and top to bottom.

Boxes are sorted by their coordinates first, so their order does not matter. A page may be skewed by up to
5 degrees: the skew is estimated from the boxes and removed first. The unit in this module is the page's
width, on both axes.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hwr.images.boxes import WHOLE, Box, FloatArray

IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

_SKEWS_RAD = np.deg2rad(sorted(np.linspace(-7, 7, 57), key=abs))  # every quarter degree, upright first
_GUTTER_SLOPES = np.tan(np.deg2rad(sorted(np.linspace(-6, 6, 9), key=abs)))  # margins drift, too
_STEEPEST = np.tan(np.deg2rad(6))
_MIN_ROWS = 4  # fewer rows side by side are labels, broken lines or rivers of white, not columns
_APART = 3  # times the pitch: the least gap between two blocks of a column
_STRIP = 2.5  # times as wide as high
_LEAST_STRIP_PX = 8  # height: in less there is nothing to see
_FULL = 0.5  # of a strip's height, from which on a line fills it
_HIGH = 0.2  # of a strip's height: lower lines are those of pages side by side
_EDGE = 0.03  # of a strip's height, within which a line touches its edge
_PIECE = 0.5  # of the highest line: lower ones at an edge are what it cuts off
_BREAK, _GUTTER = 1.75, 2.5  # in spaces between words: a gap that may be a gutter, and what a gutter is wide


def words_into_lines(words: FloatArray, *, aspect: float) -> list[list[int]]:
    """Group (N, 4) word boxes into lines in reading order, each the indices of its words left to right.

    `aspect` is the page's height / width in pixels. A line never reaches across two columns.
    """
    if not len(words):
        return []
    order, boxes = _sorted(words, aspect)
    boxes = _turned(boxes, _skew_of_words(boxes))
    pitch = _pitch(boxes)
    pieces, space = _pieces(boxes, _rows(boxes, pitch))
    around = np.array([[*boxes[piece, :2].min(axis=0), *boxes[piece, 2:].max(axis=0)] for piece in pieces])
    lines: list[list[int]] = []
    for block in _blocks(around, pitch, _GUTTER * space):
        inside = np.sort(np.concatenate([pieces[piece] for piece in block]))
        lines += [order[inside[row]].tolist() for row in _rows(boxes[inside], pitch)]
    return lines


def line_order(lines: FloatArray, *, aspect: float) -> list[int]:
    """Return the indices of (N, 4) line boxes in reading order: columns left to right, lines top to bottom.

    `aspect` is the page's height / width in pixels. A line across columns is read before those below it.
    Boxes side by side that are too few for columns are read as one row.
    """
    return [line for block in line_blocks(lines, aspect=aspect) for line in block]


def line_blocks(lines: FloatArray, *, aspect: float) -> list[list[int]]:
    """Return the indices of `line_order` by block: a column, or what stands apart in one.

    What follows a gap of three times the distance between lines stands apart, such as the next entry of a
    register, or the number of a page.
    """
    if not len(lines):
        return []
    order, boxes = _sorted(lines, aspect)
    boxes = _turned(boxes, _skew_of_lines(boxes))
    pitch = _pitch(boxes)
    blocks: list[list[int]] = []
    for inside in map(np.sort, _blocks(boxes, pitch, 0.0)):
        bottom = -np.inf
        for row in _rows(boxes[inside], pitch):
            members = inside[row]
            if boxes[members, 1].min() - bottom > _APART * pitch:
                blocks.append([])
            blocks[-1] += order[members].tolist()
            bottom = max(bottom, boxes[members, 3].max())
    return blocks


def is_strip(size: tuple[int, int]) -> bool:
    """Tell whether an image of `size` (height, width) in px is a line, or a few, cut out of a page."""
    return size[0] >= _LEAST_STRIP_PX and size[1] > _STRIP * size[0]


def lines_are_high(boxes: FloatArray) -> bool:
    """Tell whether lines, found at (N, 4), are as high for their image as on a strip, not as on a page."""
    return len(boxes) > 0 and float(np.median(boxes[:, 3] - boxes[:, 1])) > _HIGH


def lines_of_strip(boxes: FloatArray, strip: Box = WHOLE) -> FloatArray:
    """Return the line boxes (M, 4) of a strip from those found in it (N, 4), in their order.

    A strip with less than two lines is one line as wide as it is. That is as high, too, if it nearly fills
    the strip, as strips are cut out by hand or by a program, closer than a page's lines are found; pieces of
    the lines above and below are no lines.
    """
    x1, y1, x2, y2 = strip
    heights, edge = boxes[:, 3] - boxes[:, 1], _EDGE * (y2 - y1)
    outer = (boxes[:, 1] < y1 + edge) | (boxes[:, 3] > y2 - edge)
    pieces = outer & (heights < _PIECE * heights.max(initial=0.0))
    whole = boxes[~pieces]
    if not len(whole):
        return np.array([strip])
    if np.ptp(_centres(whole)[:, 1]) >= heights.max() / 2:
        return boxes
    top, bottom = whole[:, 1].min(), whole[:, 3].max()
    if bottom - top > _FULL * (y2 - y1) and not pieces.any():
        top, bottom = y1, y2
    return np.array([[x1, top, x2, bottom]])


def _sorted(boxes: FloatArray, aspect: float) -> tuple[IntArray, FloatArray]:
    """Return what sorts `boxes` by their coordinates, and them so sorted in widths of the page."""
    order = np.lexsort(boxes.T[::-1])
    return order, boxes[order] * (1.0, aspect, 1.0, aspect)


def _skew_of_words(boxes: FloatArray) -> float:
    """Return the angle at which most neighbours to the right lie level; near ones only, far ones alias."""
    height = _height(boxes)
    gap = boxes[None, :, 0] - boxes[:, None, 2]  # (N, N), from the row's word to the column's
    step = _centres(boxes)[None] - _centres(boxes)[:, None]  # (N, N, 2)
    level = np.abs(step[..., 1]) < height + 0.125 * step[..., 0]
    step = step[(gap > -0.5 * height) & (gap < 10 * height) & (step[..., 0] > 0) & level]  # (P, 2)
    if not len(step) or height == 0:
        return 0.0
    rise = step[:, 1, None] * np.cos(_SKEWS_RAD) - step[:, 0, None] * np.sin(_SKEWS_RAD)  # (P, A)
    return float(_SKEWS_RAD[np.exp(-np.square(rise / (0.3 * height))).sum(axis=0).argmax()])


def _skew_of_lines(boxes: FloatArray) -> float:
    """Return the angle that explains why longer boxes are higher, with the sign that keeps lines apart."""
    first, second = np.triu_indices(len(boxes), 1)
    size = boxes[:, 2:] - boxes[:, :2]
    longer = (size[second] - size[first])[np.abs(size[second, 0] - size[first, 0]) > 0.1]  # (P, 2)
    if not len(longer):
        return 0.0
    limit = float(np.arctan(np.clip(np.median(longer[:, 1] / longer[:, 0]), 0.0, _STEEPEST)))
    if limit == 0:
        return 0.0
    angles = np.array(sorted(np.linspace(-limit, limit, 9), key=abs))  # upright first: it wins ties
    near = np.minimum(boxes[first, 2], boxes[second, 2]) > np.maximum(boxes[first, 0], boxes[second, 0])
    step = (_centres(boxes)[second] - _centres(boxes)[first])[near]  # (P, 2)
    rise = step[:, 1, None] * np.cos(angles) - step[:, 0, None] * np.sin(angles)  # (P, A)
    spread = 0.5 * _pitch(_turned(boxes, limit))
    return float(angles[np.exp(-np.square(rise / spread)).sum(axis=0).argmin()])


def _turned(boxes: FloatArray, skew_rad: float) -> FloatArray:
    """Return `boxes` turned upright.

    A rectangle of w by h that is skewed has a box w cos + h sin wide and w sin + h cos high.
    """
    sine, cosine = np.sin(skew_rad), np.cos(skew_rad)
    x, y = _centres(boxes).T
    centres = np.stack([x * cosine + y * sine, y * cosine - x * sine], axis=1)
    size = boxes[:, 2:] - boxes[:, :2]
    upright = (size * cosine - size[:, ::-1] * abs(sine)) / np.cos(2 * skew_rad)
    half = np.maximum(upright, 0.2 * size) / 2  # ink does not fill its box: something must be left
    return np.hstack([centres - half, centres + half])


def _pitch(boxes: FloatArray) -> float:
    """Return the usual distance from a box to the next one below, at most twice the usual height."""
    height = _height(boxes)
    y = _centres(boxes)[:, 1]
    below = y[None] - y[:, None]
    nearest = np.where(_stacked(boxes) & (below > 0.2 * height), below, np.inf).min(axis=1)
    known = nearest[np.isfinite(nearest)]
    return min(2 * height, float(np.median(known))) if len(known) else 2 * height


def _rows(boxes: FloatArray, pitch: float) -> list[list[int]]:
    """Return boxes that stand side by side, left to right, as rows from top to bottom.

    The most level and nearest pair is joined first; rows do not join where one has a box above the other's.
    """
    x, y = _centres(boxes).T
    stacked, rise = _stacked(boxes), np.abs(y[None] - y[:, None])
    gap = np.maximum(boxes[None, :, 0] - boxes[:, None, 2], boxes[:, None, 0] - boxes[None, :, 2])
    apart = stacked & (rise > pitch / 2)
    first, second = np.nonzero(np.triu(~stacked & (rise <= pitch / 2), 1))
    cost = (rise + 0.1 * np.maximum(gap, 0.0))[first, second]
    row = np.arange(len(boxes))
    for pair in np.argsort(cost, kind="stable"):
        one, other = row == row[first[pair]], row == row[second[pair]]
        if row[first[pair]] != row[second[pair]] and not apart[np.ix_(one, other)].any():
            row[other] = row[first[pair]]
    members = [np.flatnonzero(row == number) for number in np.unique(row)]
    members.sort(key=lambda row: (y[row].mean(), row[0]))
    return [row[np.argsort(x[row], kind="stable")].tolist() for row in members]


def _pieces(boxes: FloatArray, rows: Sequence[list[int]]) -> tuple[list[list[int]], float]:
    """Return rows of words broken at every gap that may be a gutter, and the usual space between words."""
    gaps = [max(boxes[right, 0] - boxes[left, 2], 0.0) for row in rows for left, right in pairwise(row)]
    space = float(np.median(gaps)) if gaps else 0.0
    pieces: list[list[int]] = []
    for row in rows:
        pieces.append(row[:1])
        for left, right in pairwise(row):
            if boxes[right, 0] - boxes[left, 2] > _BREAK * space:
                pieces.append([])
            pieces[-1].append(right)
    return pieces, space


def _blocks(pieces: FloatArray, pitch: float, gutter: float) -> list[list[int]]:
    """Return pieces of lines in blocks of one column each, in reading order: blocks, not what they hold."""
    return _divided(pieces, np.argsort(_centres(pieces)[:, 1], kind="stable"), pitch, gutter)


def _divided(pieces: FloatArray, members: IntArray, pitch: float, gutter: float) -> list[list[int]]:
    """Divide `members`, sorted from top to bottom, at the gutter with most pieces beside it, and so on."""
    sides = _best_sides(pieces[members], pitch, gutter)
    if not sides.any():
        return [members.tolist()]
    blocks: list[list[int]] = []
    for part in np.split(np.arange(len(members)), np.flatnonzero(np.diff(sides != 0)) + 1):
        for side in np.unique(sides[part]):  # left (-1) before right (1), or all that lies across (0)
            blocks += _divided(pieces, members[part[sides[part] == side]], pitch, gutter)
    return blocks


def _best_sides(pieces: FloatArray, pitch: float, gutter: float) -> IntArray:
    """Return on which side of the best gutter pieces lie: -1 left, 1 right, 0 across or out of reach."""
    y = _centres(pieces)[:, 1]
    level = np.abs(y[None] - y[:, None]) <= pitch / 2
    best, most = np.zeros(len(pieces), np.intp), 0
    for slope in _GUTTER_SLOPES:
        leaning = pieces - np.outer(slope * y, (1, 0, 1, 0))
        for x in np.unique(leaning[:, 0]):
            sides = _sides(leaning, level, x, pitch / 4)
            left = np.count_nonzero(sides)
            for run in _runs(sides) if left > most else ():
                if not _is_columns(leaning, sides, run, level, (pitch, gutter)):
                    sides[run], left = 0, left - len(run)
            if left > most:
                best, most = sides, left
    return best


def _sides(pieces: FloatArray, level: BoolArray, x: float, slack: float) -> IntArray:
    left, right = pieces[:, 2] <= x + slack, pieces[:, 0] >= x - slack
    middle = np.where(_centres(pieces)[:, 0] < x, -1, 1)
    sides = np.where(left & right, middle, right.astype(np.intp) - left)
    sides[level[:, sides == 0].any(axis=1)] = 0  # the rest of a title that lies across
    return sides


def _runs(sides: IntArray) -> list[IntArray]:
    """Return the indices of each run of pieces with nothing across between them."""
    beside = np.flatnonzero(sides)
    return np.split(beside, np.flatnonzero(np.diff(beside) > 1) + 1)


def _is_columns(
    leaning: FloatArray, beside: IntArray, run: IntArray, levels: BoolArray, least: tuple[float, float]
) -> bool:
    """Whether rows on both sides of a run are enough, far enough apart, and beside each other."""
    sides = beside[run]
    if min(np.count_nonzero(sides < 0), np.count_nonzero(sides > 0)) < _MIN_ROWS:
        return False
    pieces, level = leaning[run], levels[np.ix_(run, run)]
    pitch, gutter = least
    x, y = _centres(pieces).T
    inner = level & (sides[None] == sides[:, None]) & ((x[None] - x[:, None]) * -sides[:, None] > 0)
    edge = ~inner.any(axis=1)  # nothing of its row lies between it and the gutter
    ends, starts = edge & (sides < 0), edge & (sides > 0)
    if min(np.count_nonzero(ends), np.count_nonzero(starts)) < _MIN_ROWS:
        return False
    width = float(np.median(pieces[starts, 0]) - np.median(pieces[ends, 2]))
    column = min(np.ptp(pieces[sides < 0][:, [0, 2]]), np.ptp(pieces[sides > 0][:, [0, 2]]))
    shared = min(y[ends].max(), y[starts].max()) - max(y[ends].min(), y[starts].min())
    shorter = min(np.ptp(y[ends]), np.ptp(y[starts]))
    return bool(width >= gutter and column >= 2 * pitch and shared >= 0.5 * shorter)


def _stacked(boxes: FloatArray) -> BoolArray:
    """Whether two boxes share more than half of the narrower one's width: (N, N)."""
    left, right = boxes[:, 0], boxes[:, 2]
    shared = np.minimum(right[:, None], right[None]) - np.maximum(left[:, None], left[None])
    width = right - left
    return np.asarray(shared > 0.5 * np.minimum(width[:, None], width[None]))


def _centres(boxes: FloatArray) -> FloatArray:
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2)  # (N, 2)


def _height(boxes: FloatArray) -> float:
    heights = boxes[:, 3] - boxes[:, 1]
    return float(np.median(heights[heights > 0])) if (heights > 0).any() else 0.0

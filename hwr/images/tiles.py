"""Overlapping parts and several views of an area, and boxes found in them, joined to those of the whole."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hwr.images.boxes import Box, FloatArray, box_areas, iou, share_of, shared_areas, union

_MOST = 3  # rows and columns of tiles
_ACROSS = 0.35  # share of a tile that its neighbour beside it has too: the width of a cell
_DOWN = 0.15  # and that below it: the height of a line
_LEAST_LEFT = (0.2, 0.5)  # shares of width and height of a box
_EDGE = 0.02  # share of a tile's side within which a box touches its edge
_SAME_ROW = 0.5  # IoU of the heights of two pieces of one line
_INSIDE = 0.6  # share of a box in another from which on both are one line
_TALL = 2.4  # times as high for its width as the canvas: it shows no more of an area
_MOST_SECTIONS = 20  # of a page some sixty times as high as wide: more are strips without text
_LONG = 0.5  # share of the width of all boxes: lines longer than this go through columns of tiles

_LEFT, _RIGHT = 0, 2  # sides of a box


def section_count(size: tuple[float, float], canvas: tuple[int, int]) -> int:
    """Return into how many rows an area far higher than its canvas is cut before boxes are found.

    Both sizes are (height, width) in px. 1 where the canvas shows what is in the area: on usual pages, and on
    strips, whose few lines a canvas shows however long they are.
    """
    height, width = (max(side, 1.0) for side in size)  # a flat area is looked at as a pixel high or wide
    stretch = (height / width) / (canvas[0] / canvas[1])
    return int(np.clip(np.ceil(stretch / _TALL), 1, _MOST_SECTIONS))


def tile_grid(boxes: FloatArray, height_px: int, least_px: float) -> tuple[int, int]:
    """Return into how many rows and columns an area is to be cut so that its boxes are `least_px` high.

    `boxes` (N, 4) lie on a canvas of `height_px`; their medians decide. (1, 1) where they are high enough.
    Long lines are cut in no columns: rows alone make them larger, and no pieces have to be united.
    """
    if not len(boxes):
        return 1, 1
    median_px = float(np.median(boxes[:, 3] - boxes[:, 1])) * height_px
    count = min(_MOST, max(1, int(np.ceil(least_px / max(median_px, 1.0)))))
    long = np.median(boxes[:, 2] - boxes[:, 0]) > _LONG * (boxes[:, 2].max() - boxes[:, 0].min())
    return count, 1 if long else count


def tiles(area: Box, rows: int, columns: int) -> list[list[Box]]:
    """Return `rows` of `columns` overlapping parts of an area, which they cover."""
    x1, y1, x2, y2 = area
    xs, ys = _stretches(x1, x2, columns, _ACROSS), _stretches(y1, y2, rows, _DOWN)
    return [[(left, top, right, bottom) for left, right in xs] for top, bottom in ys]


def pieces(boxes: FloatArray, part: Box) -> FloatArray:
    """Cut boxes (N, 4) to a tile's `part` of its canvas, less those that hardly begin in it: (K, 4).

    Half of the height has to be left, and a fifth of the width, as the rest is found in the next tile.
    """
    cut = np.clip(boxes.reshape(-1, 2, 2), part[:2], part[2:]).reshape(-1, 4)
    left = share_of(cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2])  # (N, 2)
    return np.asarray(cut[(left >= _LEAST_LEFT).all(axis=1)])


def joined(
    found: Sequence[Sequence[FloatArray]], parts: Sequence[Sequence[Box]], overlap: float
) -> FloatArray:
    """Return what was found in `tiles`, probability and box (K, 5) in each, as that of their area: (N, 5).

    Two pieces of a line on either side of an edge become one box. Of boxes that overlap with an IoU above
    `overlap`, or of which one lies in the other, the best stays: one that no edge cuts, and of these the
    likeliest.
    """
    area = union(tile for row in parts for tile in row)
    own = [pair for rows, row in zip(found, parts, strict=True) for pair in _united(rows, row)]
    cut = np.concatenate([_is_cut(rows, tile, area) for rows, tile in own])
    rows = np.concatenate([rows for rows, _ in own])
    return _best(rows[np.lexsort((-rows[:, 0], cut))], overlap)


def agreed(views: Sequence[FloatArray], least: float, overlap: float) -> FloatArray:
    """Return what several views of an area show of its lines, probability and box (K, 5) in each: (N, 5).

    Boxes of two views that overlap with an IoU above `overlap` are one line. It has the likeliest box, and
    the mean of the probabilities: 0 where a view lacks it. It is dropped where that is below `least`, where
    it overlaps a better line by more than `overlap`, and where it lies in one, as in `joined`.
    """
    rows, view = np.concatenate(views), np.repeat(np.arange(len(views)), [len(own) for own in views])
    alike, left = iou(rows[:, 1:], rows[:, 1:]), np.ones(len(rows), dtype=bool)
    lines: list[FloatArray] = []
    for first in np.argsort(-rows[:, 0], kind="stable"):
        if not left[first]:
            continue
        seen = [first]
        for other in set(range(len(views))) - {view[first]}:
            near = np.where(left & (view == other), alike[first], 0.0)
            if near.max() > overlap:
                seen.append(near.argmax())
        left[seen] = False
        lines.append(np.array([rows[seen, 0].sum() / len(views), *rows[first, 1:]]))
    found = np.array(lines).reshape(-1, 5)
    found = found[found[:, 0] >= least]
    return _best(found[np.argsort(-found[:, 0], kind="stable")], overlap)


def _stretches(low: float, high: float, count: int, overlap: float) -> list[tuple[float, float]]:
    length = (high - low) / (count - (count - 1) * overlap)
    starts = [low + place * (1 - overlap) * length for place in range(count)]
    return [(start, start + length) for start in starts]


def _united(found: Sequence[FloatArray], row: Sequence[Box]) -> Iterator[tuple[FloatArray, Box]]:
    """Yield what was found in each tile of a row, with the tile; united pieces are in the right one."""
    last = found[0]
    for left, right, fresh in zip(row, row[1:], found[1:], strict=False):
        new, gone = fresh.copy(), np.zeros(len(last), dtype=bool)
        both = np.outer(_touches(last, left, _RIGHT), _touches(new, right, _LEFT))
        alike = np.where(both, iou(_flat(last), _flat(new)), 0.0)
        for piece in np.flatnonzero(alike.max(axis=1, initial=0.0) > _SAME_ROW):
            other = int(alike[piece].argmax())
            whole = union([tuple(last[piece, 1:]), tuple(new[other, 1:])])
            new[other] = max(last[piece, 0], new[other, 0]), *whole
            gone[piece] = True
        yield last[~gone], left
        last = new
    yield last, row[-1]


def _is_cut(rows: FloatArray, tile: Box, area: Box) -> NDArray[np.bool_]:
    """Tell which boxes (K, 5) an edge of their tile cuts that is none of the area."""
    inner = [side for side in range(4) if tile[side] != area[side]]
    cuts = [_touches(rows, tile, side) for side in inner]
    return np.asarray(np.any([np.zeros(len(rows), dtype=bool), *cuts], axis=0))


def _touches(rows: FloatArray, tile: Box, side: int) -> NDArray[np.bool_]:
    length = tile[side % 2 + 2] - tile[side % 2]
    return np.asarray(np.abs(rows[:, 1 + side] - tile[side]) < _EDGE * length)


def _flat(rows: FloatArray) -> FloatArray:
    """Return the boxes of rows (K, 5), all as wide as the page: heights alone tell them apart."""
    return np.stack([np.zeros(len(rows)), rows[:, 2], np.ones(len(rows)), rows[:, 4]], axis=1)


def _best(rows: FloatArray, overlap: float) -> FloatArray:
    """Return those of rows (K, 5), best first, that are no repetition of a better one."""
    boxes = rows[:, 1:]
    shared, areas, overlaps = shared_areas(boxes, boxes), box_areas(boxes), iou(boxes, boxes)
    inside = share_of(shared, np.minimum.outer(areas, areas))
    kept: list[int] = []
    for index in range(len(rows)):
        if not (overlaps[index, kept] > overlap).any() and not (inside[index, kept] > _INSIDE).any():
            kept.append(index)
    return rows[kept]

"""Box geometry in pure NumPy: boxes are x1 y1 x2 y2, as fractions of the image they lie on."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Point = tuple[float, float]
FloatArray = NDArray[np.float64]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)  # the box of the whole image


def around(points: Iterable[Point]) -> Box:
    """Return the smallest box that holds all `points` (at least one)."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def union(boxes: Iterable[Box]) -> Box:
    """Return the smallest box that holds all `boxes` (at least one)."""
    return around(point for x1, y1, x2, y2 in boxes for point in ((x1, y1), (x2, y2)))


def clip(box: Box) -> Box:
    """Cut a box to the image, [0, 1] on both axes."""
    x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in box)
    return x1, y1, x2, y2


def widened(boxes: FloatArray, share: float, *, aspect: float) -> FloatArray:
    """Return boxes (N, 4) grown to both sides by `share` of their height.

    `aspect` is height / width of the image. A box grows at most to the middle of the gap to its neighbour in
    the same row.
    """
    x1, y1, x2, y2 = boxes.T
    heights = y2 - y1
    shared = np.minimum.outer(y2, y2) - np.maximum.outer(y1, y1)
    gaps = np.subtract.outer(x1, x2)  # (N, N): from the end of the second to the start of the first
    gaps = np.where((shared > np.minimum.outer(heights, heights) / 2) & (gaps >= 0), gaps / 2, np.inf)
    growth = share * heights * aspect
    left = np.minimum(growth, gaps.min(axis=1, initial=np.inf))
    right = np.minimum(growth, gaps.min(axis=0, initial=np.inf))
    return np.stack([np.maximum(x1 - left, 0.0), y1, np.minimum(x2 + right, 1.0), y2], axis=1)


def to_px(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the pixel slice bounds x1 y1 x2 y2 that cover `box` on an image of `size` (height, width)."""
    height, width = size
    x1, y1, x2, y2 = clip(box)
    return int(x1 * width), int(y1 * height), int(np.ceil(x2 * width)), int(np.ceil(y2 * height))


def points_px(points: Iterable[Point], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return points as whole pixels x y, cut to an image of `size` (height, width).

    A coordinate goes to the nearest pixel edge: it moves by half a pixel at most, and stays where it is when
    it is read back and written again.
    """
    height, width = size
    return [(_edge(x, width), _edge(y, height)) for x, y in points]


def box_px(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a box as whole pixels x1 y1 x2 y2, cut to an image of `size` (height, width)."""
    x1, y1, x2, y2 = box
    (left, top), (right, bottom) = points_px([(x1, y1), (x2, y2)], size)
    return left, top, right, bottom


def corners(box: Box) -> tuple[Point, ...]:
    """Return the four corners of a box, clockwise from the upper left one."""
    x1, y1, x2, y2 = box
    return (x1, y1), (x2, y1), (x2, y2), (x1, y2)


def box_areas(boxes: FloatArray) -> FloatArray:
    """Return the areas (N,) of boxes (N, 4); 0 of those that end before they begin."""
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None)
    return np.asarray(sides[:, 0] * sides[:, 1])


def iou(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the intersection over union of every pair: (N, 4) and (M, 4) give (N, M); empty boxes give 0."""
    shared = shared_areas(first, second)
    return share_of(shared, box_areas(first)[:, None] + box_areas(second)[None, :] - shared)


def shared_areas(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the area that every pair has in common: (N, 4) and (M, 4) give (N, M)."""
    across, down = (
        np.minimum.outer(first[:, 2 + axis], second[:, 2 + axis])
        - np.maximum.outer(first[:, axis], second[:, axis])
        for axis in (0, 1)
    )
    return np.asarray(np.clip(across, 0.0, None) * np.clip(down, 0.0, None))


def share_of(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Return `part` / `whole`, 0 where there is no whole."""
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))


def _edge(fraction: float, length: int) -> int:
    return min(max(round(fraction * length), 0), length)

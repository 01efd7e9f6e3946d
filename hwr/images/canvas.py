"""Fit a page, or a part of it, to the fixed canvas of a network, and convert boxes both ways."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hwr.errors import InputError
from hwr.images.boxes import Box, FloatArray, box_areas, clip
from hwr.images.load import WHITE, GreyImage

_LEAST = 16  # px a side: a network's trunk halves its input four times
_CELLS = 16  # along the longer side, in each of which the paper's shade is estimated
_CELL_PX = 16  # the least side of one
_DARKEST = 0.5  # of the lightest paper: what is darker is a table or a photograph, not a shadow


@dataclass(frozen=True, kw_only=True)
class PageFit:
    """How a page, or a part of it, is fitted to a network's input.

    `size` (height, width) of the canvas in px; `normalise` makes the paper 255, in a shadow too.
    """

    size: tuple[int, int]
    normalise: bool

    def __post_init__(self) -> None:
        size = tuple(self.size)  # YAML knows lists alone
        if len(size) != 2 or min(size) < _LEAST:
            raise InputError(
                f"page image size {list(size)} does not fit; give height and width of {_LEAST} or more pixels"
            )
        object.__setattr__(self, "size", size)


@dataclass(frozen=True)
class Placement:
    """Position of a part of a page on a canvas: `region` fills `place`, the rest is white.

    `region` is in fractions of the page, `place` in fractions of the canvas, both on whole pixels; sizes are
    (height, width) in px.
    """

    page_size: tuple[int, int]
    canvas_size: tuple[int, int]
    region: Box
    place: Box

    def to_canvas(self, boxes: FloatArray) -> FloatArray:
        """Take boxes (N, 4) from fractions of the page to fractions of the canvas; nothing is clipped."""
        return _mapped(boxes, self.region, self.place)

    def to_page(self, boxes: FloatArray) -> FloatArray:
        """Take boxes (N, 4) from fractions of the canvas to fractions of the page; nothing is clipped."""
        return _mapped(boxes, self.place, self.region)


def fit_to_canvas(page: GreyImage, region: Box, settings: PageFit) -> tuple[GreyImage, Placement]:
    """Return the canvas (H, W) with `region` of the page (h, w) in its middle, and where it lies.

    The aspect is kept, to the pixel. A region less than a pixel high or wide is a pixel high or wide.
    """
    spot = placement((page.shape[0], page.shape[1]), region, settings)
    x1, y1, x2, y2 = _px(spot.region, spot.page_size)
    left, top, right, bottom = _px(spot.place, spot.canvas_size)
    part = _resized(page[y1:y2, x1:x2], (bottom - top, right - left))
    canvas = np.full(settings.size, WHITE, dtype=np.uint8)
    canvas[top:bottom, left:right] = _evened(part) if settings.normalise else part
    return canvas, spot


def placement(page_size: tuple[int, int], region: Box, settings: PageFit) -> Placement:
    """Return where `fit_to_canvas` puts `region` of a page of `page_size` (height, width)."""
    page, canvas = np.array(page_size), np.array(settings.size)
    x1, y1, x2, y2 = _px(clip(region), page_size)
    low = np.minimum((y1, x1), page - 1)
    high = np.maximum((y2, x2), low + 1)
    part = high - low  # (2,) height, width
    inner = np.clip(np.round(part * (canvas / part).min()), 1, canvas).astype(int)
    start = (canvas - inner) // 2
    place = _fractions(start, start + inner, canvas)
    return Placement(page_size, settings.size, _fractions(low, high, page), place)


def grown(region: Box, share: float) -> Box:
    """Move each edge outwards by a `share` of the box's own width or height, and cut the box to the page."""
    x1, y1, x2, y2 = region
    across, down = share * (x2 - x1), share * (y2 - y1)
    return clip((x1 - across, y1 - down, x2 + across, y2 + down))


def visible_boxes(boxes: FloatArray, part: Box) -> tuple[FloatArray, NDArray[np.intp]]:
    """Cut boxes (N, 4) to `part`, less those of which less than half is left: (K, 4), and indices (K,)."""
    low, high = np.array(part[:2]), np.array(part[2:])
    cut = np.clip(boxes.reshape(-1, 2, 2), low, high).reshape(-1, 4)
    whole, left = box_areas(boxes), box_areas(cut)
    kept = np.flatnonzero((left > 0) & (left >= 0.5 * whole))
    return cut[kept], kept


def _mapped(boxes: FloatArray, source: Box, target: Box) -> FloatArray:
    """Take boxes (N, 4) by the map that takes the box `source` to the box `target`."""
    (low, high), (new_low, new_high) = np.array(source).reshape(2, 2), np.array(target).reshape(2, 2)
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 2, 2)
    return np.asarray(((corners - low) * ((new_high - new_low) / (high - low)) + new_low).reshape(-1, 4))


def _px(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    # Rounded, not covered as in hwr.images.boxes: the fractions of whole pixels give those pixels again.
    x1, y1, x2, y2 = (round(edge * side) for edge, side in zip(box, size[::-1] * 2, strict=True))
    return x1, y1, x2, y2


def _fractions(low: NDArray[np.int_], high: NDArray[np.int_], size: NDArray[np.int_]) -> Box:
    (y1, x1), (y2, x2) = (low / size).tolist(), (high / size).tolist()
    return x1, y1, x2, y2


def _resized(part: GreyImage, size: tuple[int, int]) -> GreyImage:
    shrinks = part.shape[0] > size[0] or part.shape[1] > size[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, size[::-1], interpolation=how), dtype=np.uint8)


def _evened(part: GreyImage) -> GreyImage:
    """Divide a picture (h, w) by the shade of its paper, which changes slowly across it."""
    height, width = part.shape
    cell = max(_CELL_PX, max(part.shape) // _CELLS)
    rows, columns = max(1, round(height / cell)), max(1, round(width / cell))
    even = _resized(part, (rows * cell, columns * cell))
    cells = even.reshape(rows, cell, columns, cell).swapaxes(1, 2).reshape(rows, columns, -1)
    # Ink covers less than half of a cell, so the third quarter is paper, and a light speck is not.
    levels = np.percentile(cells, 75, axis=2).astype(np.float32)  # (rows, columns)
    levels = np.asarray(cv2.medianBlur(levels, 3), dtype=np.float32).reshape(rows, columns)
    levels = np.maximum(levels, max(1.0, _DARKEST * float(levels.max())))
    paper = cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.minimum(part * (WHITE / paper), WHITE).round(), dtype=np.uint8)

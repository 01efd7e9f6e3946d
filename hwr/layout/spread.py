"""Double pages: where the gutter of an open book runs between its two pages. Knows no network."""

import cv2
import numpy as np
from numpy.typing import NDArray

from hwr.images.load import GreyImage
from hwr.layout.ink import paper_depth

_WIDER = 1.1  # than high: two pages side by side are, a single one seldom
_SIDE_PX = 640  # of the reduced page on which it is seen: strokes are a pixel wide
_INK = 0.35  # of a deep stroke's depth
_MIDDLE = (0.3, 0.7)  # of the width, between which the gutter runs
_CLEAR = 0.02  # of the rows written on that may have ink in a column of the gutter
_WIDTH, _COLUMN = 0.025, 0.2  # of the page's width: the least gutter, and the least writing on either side
_HEIGHT = 0.3  # of the page's height that the writing on either side spans at least
_FOLD = 0.1  # of the height: what is as high as this is the fold, a page's edge or a rule, not writing


def find_gutter(page: GreyImage) -> float | None:
    """Return where a double page (H, W) is to be parted, as a fraction of its width; None for other pages."""
    height, width = page.shape
    if width < _WIDER * height:
        return None
    scale = min(1.0, _SIDE_PX / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    ink = _writing(np.asarray(cv2.resize(page, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))
    gutter = _widest(ink)
    if gutter is None or not all(_is_page(side, size) for side in (ink[:, : gutter[0]], ink[:, gutter[1] :])):
        return None
    return (gutter[0] + gutter[1]) / 2 / size[0]


def _writing(grey: GreyImage) -> NDArray[np.bool_]:
    """Return where (H, W) there is ink, but for upright lines and what hangs together with the margins."""
    depth = paper_depth(grey)
    ink = (depth > _INK * max(float(np.percentile(depth, 99)), 48.0)).astype(np.uint8)
    tall = np.ones((max(3, round(_FOLD * len(ink))), 1), np.uint8)
    upright = cv2.dilate(cv2.morphologyEx(ink, cv2.MORPH_OPEN, tall), np.ones((1, 5), np.uint8))
    return np.asarray((ink > 0) & (upright == 0))


def _widest(ink: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Return the first column of the widest clear stretch in the middle, and that behind it."""
    width = ink.shape[1]
    rows = max(1, np.count_nonzero(ink.any(axis=1)))
    written = ink.sum(axis=0) > _CLEAR * rows
    low, high = (round(share * width) for share in _MIDDLE)
    edges = np.flatnonzero(np.diff(np.pad(~written[low:high], 1).astype(np.int8)))
    runs = sorted(zip(edges[::2], edges[1::2], strict=True), key=lambda run: run[0] - run[1])
    if not runs or runs[0][1] - runs[0][0] < _WIDTH * width:
        return None
    return low + int(runs[0][0]), low + int(runs[0][1])


def _is_page(side: NDArray[np.bool_], size: tuple[int, int]) -> bool:
    """Tell whether one side of a page of `size` (width, height) is written on as a page is."""
    spans = []
    for axis in (0, 1):
        inked = np.flatnonzero(side.sum(axis=axis) > 1)
        spans.append(int(inked[-1] - inked[0]) if len(inked) else 0)
    return spans[0] >= _COLUMN * size[0] and spans[1] >= _HEIGHT * size[1]

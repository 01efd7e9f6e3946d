"""Ink of a page: what its line boxes cover, without ruled lines, and the gutter of a double page."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hwr.images.boxes import FloatArray
from hwr.images.load import GreyImage

HEIGHT = 32  # px a box of median height is scaled down to: strokes are still two pixels wide

_LEAST = 6.0  # px on the page: smaller boxes are grown to it, so that every polygon is a pixel high
_FAINTEST = 24.0  # grey levels below the paper that writing has at least: less is noise, and is not stretched
_RULE_RUN = 48  # px without a gap, at any slope up to 0.06: longer than a letter's bar
_RULE_LENGTH = 4 * HEIGHT  # px a ruled line spans at least: longer than most words
_RULE_INK = 0.12  # of a stroke's depth: rules are lighter than the pen, and lie between two rows of pixels
_RULE_THICKNESS = 8  # px at most, with what the search adds to it

# Of double pages.
_WIDER = 1.1  # than high: two pages side by side are, a single one seldom
_SIDE_PX = 640  # of the reduced page on which it is seen: strokes are a pixel wide
_WRITTEN = 0.35  # of a deep stroke's depth
_MIDDLE = (0.3, 0.7)  # of the width, between which the gutter runs
_CLEAR = 0.02  # of the rows written on that may have ink in a column of the gutter
_WIDTH, _COLUMN = 0.025, 0.2  # of the page's width: the least gutter, and the least writing on either side
_TALL = 0.3  # of the page's height that the writing on either side spans at least
_FOLD = 0.1  # of the height: what is as high as this is the fold, a page's edge or a rule, not writing


@dataclass(frozen=True)
class InkSheet:
    """Ink (0 on paper, 255 in a stroke) and the boxes on it."""

    ink: NDArray[np.uint8]  # (H, W)
    boxes: FloatArray  # (N, 4) px of `ink`
    origin: FloatArray  # (2,) px of the page
    factor: FloatArray  # (2,) px of `ink` per px of the page
    size: FloatArray  # (2,) width and height of the page

    def to_page(self, points: FloatArray) -> FloatArray:
        """Map points (P, 2) in px of `ink` to px of the page, clipped to its edges."""
        return np.asarray(np.clip(points / self.factor + self.origin, 0, self.size))


def extract_ink(page: GreyImage, boxes: FloatArray) -> InkSheet:
    """Return the ink of the part of `page` that `boxes` (N, 4), at least one, cover."""
    size = np.array(page.shape[::-1], dtype=np.float64)
    low = np.clip(boxes[:, :2] * size, 0, np.maximum(size - _LEAST, 0))
    high = np.clip(np.maximum(boxes[:, 2:] * size, low + _LEAST), 0, size)
    height = float(np.median(high[:, 1] - low[:, 1]))
    x1, y1 = np.floor(np.clip(low.min(axis=0) - height / 2, 0, None)).astype(int)
    x2, y2 = np.ceil(np.clip(high.max(axis=0) + height / 2, 0, size)).astype(int)
    part = page[y1:y2, x1:x2]
    full = np.array(part.shape[::-1], dtype=np.float64)
    scaled = np.maximum(np.round(full * min(1.0, HEIGHT / height)), 1)
    small = cv2.resize(part, (int(scaled[0]), int(scaled[1])), interpolation=cv2.INTER_AREA)
    origin, factor = np.array([x1, y1], dtype=np.float64), scaled / full
    corners = np.hstack([(low - origin) * factor, (high - origin) * factor])
    return InkSheet(_ink(paper_depth(np.asarray(small))), corners, origin, factor, size)


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


def paper_depth(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return how much darker each pixel (H, W) is than the paper around it, in grey levels."""
    height, width = grey.shape
    coarse = cv2.resize(grey, (-(-width // 8), -(-height // 8)), interpolation=cv2.INTER_AREA)
    lightest = cv2.blur(cv2.dilate(coarse, np.ones((7, 7), np.uint8)), (7, 7))
    paper = cv2.resize(lightest, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.subtract(paper, grey), dtype=np.uint8)


def _ink(depth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the ink (H, W), 0 on paper and 255 in a stroke; of ruled lines, only what crosses them."""
    full = max(float(np.percentile(depth[::3, ::3], 99)), _FAINTEST)  # writing covers 3 to 10 % of a page
    # Up to a quarter of that it is the paper's noise, and from three quarters on a stroke.
    levels = ((np.arange(256) - full / 4) * (510 / full)).clip(0, 255).astype(np.uint8)
    ink = np.asarray(cv2.LUT(depth, levels), dtype=np.uint8)
    crossing = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((6, 1), np.uint8))
    return np.asarray(np.where(_rules(depth, _RULE_INK * full), crossing, ink), dtype=np.uint8)


def _rules(depth: NDArray[np.uint8], least: float) -> NDArray[np.bool_]:
    """Return where (H, W) the paper is ruled: ink that is long, thin and nearly level."""
    tall = cv2.dilate(depth, np.ones((3, 1), np.uint8))  # a sloped rule is a stair: this joins its steps
    runs = cv2.morphologyEx(tall, cv2.MORPH_OPEN, np.ones((1, _RULE_RUN), np.uint8)) > least
    _, labels, stats, _ = cv2.connectedComponentsWithStats(runs.astype(np.uint8))
    widths, areas = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_AREA]
    ruled = (widths > _RULE_LENGTH) & (areas < _RULE_THICKNESS * widths)
    ruled[0] = False  # the paper
    return np.asarray(ruled[labels], dtype=np.bool_)


def _writing(grey: GreyImage) -> NDArray[np.bool_]:
    """Return where (H, W) there is ink, but for upright lines and what hangs together with the margins."""
    depth = paper_depth(grey)
    ink = (depth > _WRITTEN * max(float(np.percentile(depth, 99)), 48.0)).astype(np.uint8)
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
    return spans[0] >= _COLUMN * size[0] and spans[1] >= _TALL * size[1]

"""Ink of a page, without ruled lines: what line boxes cover, its baselines, the gutter of a double page.

A baseline is the boundary between ink above and paper below.
"""

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

# Of baselines.
_STEEPEST = 0.12  # slope of a page at its top or bottom: a photo of a bound page has 0.06 and -0.1
_SLOPES = 25  # tried at either place
_BAND = 3  # heights of a line in each of the bands that a page's slope is told from
_LEVEL_BIAS = 0.17  # how much more regular a band must look at the steepest slope than level
_TWIST_BIAS = 0.05  # and how much more where top and bottom differ by the steepest slope
_DEFECT = 0.25  # what a band counts at most against a slope: it may hold a dark edge and no line
_LEEWAY = 0.03  # by which a line's slope may differ from the page's
_PLACE = 0.68  # of the height from the top: the median of Copiste's outlines
_STRAY = 0.3  # of the height the baseline may lie off that place
_STRAY_BIAS, _TURN_BIAS = 0.3, 0.1  # share of its evidence that a line must win at the farthest of each
_CORE = 0.25  # of the height: the band of letters without ascenders, which ends at the baseline
_INKED = 0.04  # more ink above than below, from which a stretch as wide as high tells something
_WOBBLE = 0.15  # of the height a stretch may lie off the straight baseline
_WOBBLE_BIAS = 0.4  # share of its evidence that a stretch must win at the farthest
_STIFF = np.array([0.1, 0.1, 0.5])  # how much evidence a shift, a turn and a bend of the line must overcome
_DOUBT = 0.05  # of the height off the curve at which a stretch counts half

# Of squared paper.
_GLANCE_PX = 1000  # of the longer side of the reduced page on which it is seen
_LEAST_RULES = 16  # that cross a page each way; tables have up to eleven upright ones
_LEAST_DEPTH = 12  # grey levels of a rule
_RULE_SHARE = 25  # of the page's longer side a rule runs without a gap: farther than a letter's stem
_RULE_SLACK = 5  # px that a rule may stray on that way
_DARKEST_RULE = 0.8  # of the paper's brightness that a rule takes away at most

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


@dataclass(frozen=True)
class Baselines:
    """Baselines: `curves` are c0 + c1 u + c2 u², with u measured from the box's centre, in px."""

    boxes: FloatArray  # (N, 4)
    heights: FloatArray  # (N,) without what the slope adds to the box
    curves: FloatArray  # (N, 3)

    def at(self, xs: FloatArray) -> FloatArray:
        """Return the row of every baseline at `xs` (n,), kept inside its box: (N, n)."""
        u = xs - self.boxes[:, ::2].mean(axis=1)[:, None]
        c0, c1, c2 = self.curves.T[:, :, None]
        return np.asarray(np.clip(c0 + u * (c1 + u * c2), self.boxes[:, 1:2], self.boxes[:, 3:4]))


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


def find_baselines(sheet: InkSheet) -> Baselines:
    """Return the baseline of every box of `sheet`; a level one if a box has too little ink."""
    top, bottom = _skew(sheet.ink)
    down = sheet.boxes[:, 1::2].mean(axis=1) / len(sheet.ink)  # (N,) from 0 at the top to 1 at the bottom
    slopes = top + (bottom - top) * down
    curves = np.array([_curve(sheet.ink, box, slope) for box, slope in zip(sheet.boxes, slopes, strict=True)])
    return Baselines(sheet.boxes, _level_heights(sheet.boxes, curves[:, 1]), curves)


def without_squares(page: GreyImage) -> GreyImage:
    """Return a page (H, W) without the rules of squared paper; the page itself where it has none.

    Rules that only run one way stay: recognisers learn from ruled paper.
    """
    scale = min(1.0, _GLANCE_PX / max(page.shape))
    size = max(1, round(page.shape[1] * scale)), max(1, round(page.shape[0] * scale))
    small = paper_depth(np.asarray(cv2.resize(page, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))
    length = max(small.shape) // _RULE_SHARE + 1
    for side in (small.T, small):
        if _rule_count(_level_runs(np.ascontiguousarray(side), length, slack=3)) < _LEAST_RULES:
            return page
    depth, length = paper_depth(page), max(page.shape) // _RULE_SHARE + 1
    upright = _level_runs(np.ascontiguousarray(depth.T), length, slack=_RULE_SLACK).T
    rules = np.maximum(_level_runs(depth, length, slack=_RULE_SLACK), upright).astype(np.float32)
    paper = cv2.add(page, depth).astype(np.float32)
    light = 1 - np.minimum(rules / np.maximum(paper, 1), np.float32(_DARKEST_RULE))  # that rules let through
    return np.asarray(np.minimum(page / light, paper).round(), dtype=np.uint8)


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


def _rule_count(rules: NDArray[np.uint8]) -> float:
    """Return how many level rules (H, W) cross a page from top to bottom, at the median of several places."""
    places = np.linspace(0.2, 0.8, 9) * rules.shape[1]
    least = _LEAST_DEPTH + 2 * float(np.median(rules))  # between rules there is nothing but noise
    ruled = (rules[:, places.astype(int)] > least).astype(np.int8)
    return float(np.median((np.diff(ruled, axis=0) == 1).sum(axis=0)))


def _rules(depth: NDArray[np.uint8], least: float) -> NDArray[np.bool_]:
    """Return where (H, W) the paper is ruled: ink that is long, thin and nearly level."""
    runs = _level_runs(depth, _RULE_RUN, slack=3) > least
    _, labels, stats, _ = cv2.connectedComponentsWithStats(runs.astype(np.uint8))
    widths, areas = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_AREA]
    ruled = (widths > _RULE_LENGTH) & (areas < _RULE_THICKNESS * widths)
    ruled[0] = False  # the paper
    return np.asarray(ruled[labels], dtype=np.bool_)


def _level_runs(depth: NDArray[np.uint8], length: int, *, slack: int) -> NDArray[np.uint8]:
    """Return how deep (H, W) level stretches of `length` px are throughout, whatever crosses them; else 0."""
    tall = cv2.dilate(depth, np.ones((slack, 1), np.uint8))  # a sloped rule is a stair: this joins its steps
    return np.asarray(cv2.morphologyEx(tall, cv2.MORPH_OPEN, np.ones((1, length), np.uint8)), dtype=np.uint8)


def _level_heights(boxes: FloatArray, slopes: FloatArray) -> FloatArray:
    """Return the boxes' heights (N,) less what the lines rise over their length, at least half of them."""
    widths, heights = (boxes[:, 2:] - boxes[:, :2]).T
    return np.asarray(np.maximum(heights - np.abs(slopes) * widths, heights / 2))


def _skew(ink: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the slopes at the top and at the bottom along which the rows of the page differ most.

    Between them the slope changes evenly. The measure is the energy of the projection (Postl 1986), taken in
    bands of the page.
    """
    count = int(np.clip(ink.shape[1] // HEIGHT, 1, 24))
    profile = np.asarray(cv2.resize(ink, (count, ink.shape[0]), interpolation=cv2.INTER_AREA), np.float64)
    slopes = np.linspace(-_STEEPEST, _STEEPEST, _SLOPES)
    xs = ((np.arange(count) + 0.5) / count - 0.5) * ink.shape[1]
    rows = np.arange(len(profile), dtype=np.float64)
    energy = _sheared(profile, rows, slopes, xs) ** 2  # (S, R)
    bands = max(1, round(len(rows) / (_BAND * HEIGHT)))
    told = np.array([own.sum(axis=1) for own in np.array_split(energy, bands, axis=1)])  # (B, S)
    level = told[:, _SLOPES // 2]
    if not level.any():
        return 0.0, 0.0
    gain = np.maximum(told / np.maximum(level, 1.0)[:, None] - 1, -_DEFECT)
    weight = np.minimum(level, np.median(level[level > 0]))  # no band counts for more than its like
    gain = (gain - _LEVEL_BIAS * (slopes / _STEEPEST) ** 2) * (weight / weight.sum())[:, None]
    down = (np.arange(bands) + 0.5) / bands
    first, last = np.arange(_SLOPES)[:, None, None], np.arange(_SLOPES)[:, None]
    between = np.rint(first * (1 - down) + last * down).astype(int)  # (S, S, B)
    score = gain[np.arange(bands), between].sum(axis=2)
    score -= _TWIST_BIAS * ((slopes[:, None] - slopes) / _STEEPEST) ** 2
    score -= 1e-9 * (np.abs(slopes)[:, None] + np.abs(slopes))  # among equals, the most level
    top, bottom = np.unravel_index(np.argmax(score), score.shape)
    return float(slopes[top]), float(slopes[bottom])


def _sheared(table: FloatArray, rows: FloatArray, slopes: FloatArray, xs: FloatArray) -> FloatArray:
    """Sum `table` (R, C), whose columns are at `xs` (C,), along lines through `rows` (K,) at 0: (S, K)."""
    framed = np.pad(table, ((1, 1), (0, 0)))  # what lies outside counts as nothing
    at = np.rint(rows[None, :, None] + slopes[:, None, None] * xs).astype(int) + 1  # (S, K, C)
    return np.asarray(framed[np.clip(at, 0, len(framed) - 1), np.arange(len(xs))].sum(axis=2))


def _curve(ink: NDArray[np.uint8], box: FloatArray, skew: float) -> FloatArray:
    """Return the curve (3,) on which the ink in `box` stands."""
    height = float(_level_heights(box[None], np.array([skew]))[0])
    usual = (box[1] + box[3]) / 2 + (_PLACE - 0.5) * height
    table, top, us = _edges(ink, box, height)
    best = table.max(axis=0)  # (C,)
    if not (best > _INKED).any():
        return np.array([usual, skew, 0.0])
    stray = np.linspace(-_STRAY, _STRAY, 2 * max(1, round(_STRAY * height)) + 1)  # (K,)
    turns = np.linspace(-_LEEWAY, _LEEWAY, 13)  # (S,)
    score = _sheared(table, usual - top + stray * height, skew + turns, us) / best[best > _INKED].sum()
    score -= _STRAY_BIAS * (stray / _STRAY) ** 2 + _TURN_BIAS * (turns[:, None] / _LEEWAY) ** 2
    turn, place = np.unravel_index(np.argmax(score), score.shape)
    start, slope = usual + stray[place] * height, skew + turns[turn]
    return np.array([start, slope, 0.0]) + _bend(table, start - top + slope * us, us, height)


def _edges(ink: NDArray[np.uint8], box: FloatArray, height: float) -> tuple[FloatArray, float, FloatArray]:
    """Return how much more ink is above than below each row of a box, for columns as wide as the box is high.

    Returns the table (R, C), the row of `ink` where it starts, and its columns' offsets from the centre.
    """
    reach = max(1, round(_CORE * height))
    top, bottom = int(box[1]) - reach, int(np.ceil(box[3])) + reach
    left, right = int(box[0]), max(int(np.ceil(box[2])), int(box[0]) + 1)
    window = ink[max(top, 0) : bottom, left:right]
    count = int(np.clip((right - left) // height, 1, min(64, window.shape[1])))
    profile = np.asarray(cv2.resize(window, (count, len(window)), interpolation=cv2.INTER_AREA), np.float64)
    above, under = max(-top, 0) + reach, max(bottom - len(ink), 0) + reach
    total = np.pad(profile.reshape(-1, count) / 255, ((above + 1, under), (0, 0))).cumsum(axis=0)
    table = (2 * total[reach:-reach] - total[: -2 * reach] - total[2 * reach :]) / reach
    us = ((np.arange(count) + 0.5) / count - 0.5) * (box[2] - box[0])
    return table, float(top), us


def _bend(table: FloatArray, rows: FloatArray, us: FloatArray, height: float) -> FloatArray:
    """Return the curve (3,) that bends a straight baseline, at `rows` (C,) of `table`, a little."""
    count, reach = len(us), max(1, round(_WOBBLE * height))
    off = np.arange(-reach, reach + 1)[:, None]  # (K, 1)
    at = np.clip(np.rint(rows).astype(int) + off, 0, len(table) - 1)  # (K, C)
    values = table[at, np.arange(count)]
    best = np.argmax(values - _WOBBLE_BIAS * values.max(axis=0) * (off / reach) ** 2, axis=0)
    gap = np.rint(rows) - rows + off[best, 0]  # (C,)
    weight = values[best, np.arange(count)] * (values.max(axis=0) > _INKED)
    half = max(float(np.abs(us).max()), 1.0)
    powers = np.vander(us / half, 1 + (count >= 4) + (count >= 8), increasing=True)
    prior = (weight.mean() + 1e-9) * np.diag(_STIFF[: len(powers.T)] * (powers**2).sum(axis=0))
    fit = np.zeros(powers.shape[1])
    for _ in range(3):  # Cauchy's weights: a word of descenders does not pull the line down
        trust = weight.clip(0) / (1 + ((gap - powers @ fit) / (_DOUBT * height)) ** 2)
        fit = np.linalg.solve(powers.T @ (trust[:, None] * powers) + prior, powers.T @ (trust * gap))
    return np.asarray(np.pad(fit, (0, 3 - len(fit))) / np.array([1.0, half, half**2]))


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

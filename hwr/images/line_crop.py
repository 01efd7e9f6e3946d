"""Cut line images out of a page image: straight, level, of one height, on white paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from hwr.errors import InputError
from hwr.images.boxes import Box, Point, clip, corners
from hwr.images.load import WHITE, GreyImage

MIN_WIDTH = 8  # of a line image, px: narrower than that no network has a time step
MAX_HEIGHT = 1024  # px: far above what a network reads, and lines of it still fit in memory
MOST_GROWN = 0.25  # of a mask, share of the height: further out lies the next line
_FARTHEST = 32_766  # px that cv2.remap addresses


class Outline(Protocol):
    """Outline of a line, in fractions of the page; polygon and baseline may be empty."""

    @property
    def box(self) -> Box: ...  # noqa: D102
    @property
    def polygon(self) -> tuple[Point, ...]: ...  # noqa: D102
    @property
    def baseline(self) -> tuple[Point, ...]: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class LineCrop:
    """How a line is cut out of its page.

    `height` of the image in px; `max_width` in px, beyond which a line is squeezed; `margin` added on every
    side, as a share of the line's height; `mask` replaces what lies outside the polygon by paper, except what
    is nearer to it than `mask_grow`, a share of the height; `deskew` makes the baseline straight and level;
    `normalise` makes paper 255 and ink 0; `canvas` fits the line into `height` x `max_width` px, in the
    middle, instead of squeezing a long one.
    """

    height: int
    max_width: int
    margin: float
    mask: bool
    deskew: bool
    normalise: bool
    canvas: bool = False  # older weights lack this and the next
    mask_grow: float = 0.03  # outlines touch strokes

    def __post_init__(self) -> None:
        if self.height < 8:
            raise InputError(f"line image height {self.height} is too small; use 8 or more pixels")
        if self.height > MAX_HEIGHT:
            raise InputError(
                f"line image height {self.height} is too large; use {MAX_HEIGHT} or fewer pixels"
            )
        if self.max_width < MIN_WIDTH:
            remedy = f"use {MIN_WIDTH} or more pixels"
            raise InputError(f"line image max_width {self.max_width} is too small; {remedy}")
        for name, most in (("margin", 1), ("mask_grow", MOST_GROWN)):
            share = getattr(self, name)
            if not 0 <= share <= most:
                what = "it is a share of the line's height"
                raise InputError(f"line image {name} {share} is not between 0 and {most}; {what}")


def crop_line(page: GreyImage, line: Outline, settings: LineCrop) -> GreyImage:
    """Cut `line` out of `page` (H, W) in one resampling: (height, W'), aspect kept, W' from 8 to `max_width`.

    Raise InputError, naming only the reason, when the line has no area or lies outside the page.
    """
    window = _Window.of(line, (page.shape[0], page.shape[1]), settings)
    at = window.positions(np.arange(settings.height))
    crop, written = _resample(page, at, float(window.scale.min()))
    if settings.mask:
        outline = (window.outline - window.low) * window.scale
        written &= _filled(outline, (settings.height, window.width), settings.mask_grow)
    return _on_paper(crop, written, normalise=settings.normalise)


def image_width(line: Outline, size: tuple[int, int], settings: LineCrop) -> int:
    """Return the width in px of what `crop_line` cuts out of a page of `size` (height, width).

    Raise InputError as it does.
    """
    if (sides := _upright_sides(line, size, settings)) is not None:
        return _width(*sides, settings)
    window = _Window.of(line, size, settings)
    _part(window.positions(np.array([0, settings.height - 1])), size)  # the outer rows reach farthest
    return window.width


def cut_flaw(line: Outline, size: tuple[int, int], settings: LineCrop) -> str:
    """Return why `crop_line` cannot cut a line out of a page of `size`; "" where it can."""
    try:
        image_width(line, size, settings)
    except InputError as error:
        return str(error)
    return ""


def stretches(
    line: Outline, size: tuple[int, int], settings: LineCrop, spans: Sequence[tuple[float, float]]
) -> list[Box]:
    """Return where stretches of a line image, from and to a fraction of its width, lie on its page.

    `size` is the page's (height, width); a box holds all that the outline holds between the two ends, and
    nothing of the margin.
    """
    if not spans:
        return []
    window = _Window.of(line, size, settings)
    (left, top), (right, bottom) = window.outline.min(axis=0), window.outline.max(axis=0)
    starts, ends = np.array(spans).T
    xs = window.low[0] + np.linspace(starts, ends, 5, axis=1) * window.width / window.scale[0]  # (S, 5)
    points = window.frame.to_page(np.clip(xs.ravel(), left, right), np.array([top, bottom]))  # (2, 2, 5 S)
    shares = points.reshape(2, 2, len(spans), 5).transpose(2, 0, 1, 3) / np.array(size[::-1])[:, None, None]
    lows, highs = shares.min(axis=(2, 3)).tolist(), shares.max(axis=(2, 3)).tolist()
    return [clip((x1, y1, x2, y2)) for (x1, y1), (x2, y2) in zip(lows, highs, strict=True)]


@dataclass(frozen=True)
class _Window:
    """The part of a line's own axes that its image shows: from `low`, `scale` px of it a px of the page."""

    frame: "_Frame"
    outline: NDArray[np.float64]  # (P, 2) on the line's axes
    low: NDArray[np.float64]  # (2,)
    scale: NDArray[np.float64]  # (2,)
    width: int

    @classmethod
    def of(cls, line: Outline, size: tuple[int, int], settings: LineCrop) -> "_Window":
        frame = _Frame.of(line, size, deskew=settings.deskew)
        outline = frame.to_line(_dense(_clipped_outline(line, size)))  # (P, 2) px
        low, high = outline.min(axis=0), outline.max(axis=0)
        if (high - low).min() < 1:
            raise InputError("the line is less than a pixel high or wide; correct or drop it")
        margin = settings.margin * (high[1] - low[1])
        low, high = low - margin, high + margin
        if settings.canvas:
            canvas = np.array([settings.max_width, settings.height])
            middle, half = (low + high) / 2, canvas * ((high - low) / canvas).max() / 2
            low, high = middle - half, middle + half
        wide, high = high - low
        width = _width(wide, high, settings)
        return cls(frame, outline, low, np.array([width / wide, settings.height / high]), width)

    def positions(self, rows: NDArray[np.int_]) -> NDArray[np.float32]:
        """Return where the pixels of `rows` (R,) lie on the page: (2, R, W), x first."""
        columns = self.low[0] + (np.arange(self.width) + 0.5) / self.scale[0]
        return self.frame.to_page(columns, self.low[1] + (rows + 0.5) / self.scale[1])


def _width(wide: float, high: float, settings: LineCrop) -> int:
    """Return the width of the image of a stretch of the page, `wide` and `high` px."""
    width = round(wide * (settings.height / high))
    return max(MIN_WIDTH, min(width, settings.max_width))


def _upright_sides(line: Outline, size: tuple[int, int], settings: LineCrop) -> tuple[float, float] | None:
    """Return how wide and high the part of a page is that shows a box with no baseline to follow.

    This is what `_Window` works out, bit for bit, a hundred times faster: most lists of lines are such boxes.
    None for other lines, and for what may be refused.
    """
    x1, y1, x2, y2 = line.box
    bent = settings.deskew and len(line.baseline) > 1
    if bent or settings.canvas or len(line.polygon) > 2 or max(size) > _FARTHEST:
        return None
    left, top, right, bottom = x1 * size[1], y1 * size[0], x2 * size[1], y2 * size[0]
    if not (min(x1, y1) >= 0 and max(x2, y2) <= 1 and right - left > 2 and bottom - top > 2):
        return None
    margin = settings.margin * (bottom - top)
    return (right + margin) - (left - margin), (bottom + margin) - (top - margin)


@dataclass(frozen=True)
class _Frame:
    """The line's own axes: x along its baseline, y across it, 0 on the baseline; px on both sides."""

    origin: NDArray[np.float64]  # (2,)
    along: NDArray[np.float64]  # (2,) unit vector
    knots: NDArray[np.float64]  # (K, 2): how far the baseline leaves the straight line, as (x, y)

    @classmethod
    def of(cls, line: Outline, size: tuple[int, int], *, deskew: bool) -> "_Frame":
        """Return the page's own axes without `deskew` or without a usable baseline."""
        points = np.array(line.baseline, dtype=np.float64).reshape(-1, 2) * size[::-1]
        upright = cls(np.zeros(2), np.array([1.0, 0.0]), np.zeros((1, 2)))
        if not deskew or len(points) < 2:
            return upright
        chord = points[-1] - points[0]
        length = float(np.hypot(*chord))
        if length < 2:
            return upright
        along = chord / length
        if abs(along[0]) > abs(along[1]) and along[0] < 0:
            along = -along  # drawn from right to left: the script's habit, not a turned page
        straight = cls(points[0], along, np.zeros((1, 2)))
        own = straight.to_line(points)
        return cls(points[0], along, _smooth(own[np.argsort(own[:, 0], kind="stable")]))

    def to_line(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take page points (P, 2) to the line's axes."""
        moved = points - self.origin
        x = moved @ self.along
        return np.stack([x, moved @ _across(self.along) - self._sag(x)], axis=1)

    def to_page(self, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the page position of every grid point: (2, len(ys), len(xs)), x first."""
        across = _across(self.along)
        base = self.origin[:, None] + self.along[:, None] * xs + across[:, None] * self._sag(xs)  # (2, W)
        return np.asarray(base[:, None, :] + across[:, None, None] * ys[None, :, None], dtype=np.float32)

    def _sag(self, xs: NDArray[np.float64]) -> NDArray[np.float64]:
        # np.interp holds the end values: beyond its ends a baseline runs on along the chord.
        return np.asarray(np.interp(xs, self.knots[:, 0], self.knots[:, 1]), dtype=np.float64)


def _across(along: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([-along[1], along[0]])


def _smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round the corners of a polyline (K, 2) sorted by x, so that letters at a corner are not torn."""
    if len(points) < 3:
        return points
    xs = np.linspace(points[0, 0], points[-1, 0], 65)
    ys = np.interp(xs, points[:, 0], points[:, 1])
    # About a fifth of the line: wider than a word's wobble, narrower than a page's curl.
    window = np.hanning(15)[1:-1]
    padded = np.pad(ys, len(window) // 2, mode="reflect", reflect_type="odd")
    return np.stack([xs, np.convolve(padded, window / window.sum(), mode="valid")], axis=1)


def _clipped_outline(line: Outline, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the polygon, or the box's corners, in px (P, 2), cut to the page."""
    name = "polygon" if len(line.polygon) >= 3 else "box"
    points = np.array(line.polygon if name == "polygon" else corners(line.box), dtype=np.float64)
    if not np.isfinite(points).all():
        raise InputError(f"the {name} holds a number that is not finite; correct or drop the line")
    if (points.max(axis=0) <= 0).any() or (points.min(axis=0) >= 1).any():
        raise InputError(f"the {name} lies outside the page; correct or drop the line")
    points = np.clip(points, 0, 1) * size[::-1]
    if cv2.contourArea(points.astype(np.float32)) < 1:
        raise InputError(f"the {name} has no area; correct or drop the line")
    return points


def _dense(polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the polygon with a point at least every 16 px: its long edges must bend with the baseline."""
    ends = np.roll(polygon, -1, axis=0)
    counts = np.ceil(np.hypot(*(ends - polygon).T) / 16).clip(1).astype(int)
    starts, steps = (np.repeat(a, counts, axis=0) for a in (polygon, (ends - polygon) / counts[:, None]))
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(starts + steps * within[:, None])


def _resample(page: GreyImage, at: NDArray[np.float32], scale: float) -> tuple[GreyImage, NDArray[np.bool_]]:
    """Sample the page at positions (2, h, w); return the pixels (h, w) and which of them lie on the page."""
    height, width = page.shape
    on_page = (at[0] >= 0) & (at[0] <= width) & (at[1] >= 0) & (at[1] <= height)
    x1, y1, x2, y2 = _part(at, (height, width))
    part = page[y1:y2, x1:x2]
    if scale < 1:  # low-pass to the new sampling rate, as area averaging does
        sigma = 0.45 * float(np.sqrt(1 / scale**2 - 1))
        blurred = cv2.GaussianBlur(part, (0, 0), max(sigma, 0.05), borderType=cv2.BORDER_REPLICATE)
        part = np.asarray(blurred, dtype=np.uint8)
    # Positions count pixel edges, cv2 counts pixel centres: half a pixel apart.
    xs, ys = at[0] - np.float32(x1 + 0.5), at[1] - np.float32(y1 + 0.5)
    pixels = cv2.remap(part, xs, ys, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(pixels, dtype=np.uint8), on_page


def _part(at: NDArray[np.float32], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the part x1 y1 x2 y2 px of a page of `size` around positions (2, h, w)."""
    height, width = size
    low = np.floor(at.min(axis=(1, 2))).astype(int) - 4
    high = np.ceil(at.max(axis=(1, 2))).astype(int) + 4
    x1, y1 = np.clip(low, 0, (width - 1, height - 1))
    x2, y2 = np.clip(high, (x1 + 1, y1 + 1), (width, height))
    if max(x2 - x1, y2 - y1) > _FARTHEST:
        raise InputError(f"the line is more than {_FARTHEST} pixels long; scale the page down")
    return x1, y1, x2, y2


def _filled(polygon: NDArray[np.float64], size: tuple[int, int], grow: float) -> NDArray[np.bool_]:
    """Return the inside of a polygon (P, 2) in px, grown by a share of the height, a pixel at least."""
    mask = np.zeros(size, dtype=np.uint8)
    fixed = np.round((polygon - 0.5) * 16).astype(np.int32)  # cv2's fixed point, 4 bits of fraction
    cv2.fillPoly(mask, [fixed], (1,), shift=4)
    grown = 2 * max(1, round(grow * size[0])) + 1
    return np.asarray(cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (grown, grown))) > 0)


def _on_paper(crop: GreyImage, written: NDArray[np.bool_], *, normalise: bool) -> GreyImage:
    """Lay the `written` pixels of a crop (h, w) on even paper, with an edge two pixels soft."""
    paper = _paper(crop, written)  # (W,)
    alpha = cv2.blur(written.astype(np.float32), (3, 3), borderType=cv2.BORDER_REPLICATE)
    if normalise:
        shade = crop * (WHITE / paper)
        ink = _stretched(shade, written) * alpha
        return np.asarray(WHITE - ink).round().clip(0, WHITE).astype(np.uint8)
    return np.asarray(paper + (crop - paper) * alpha).round().clip(0, WHITE).astype(np.uint8)


def _paper(crop: GreyImage, written: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the paper's shade for every column (W,): upper values of square patches, joined by lines."""
    height, width = crop.shape
    starts = np.linspace(0, max(width - height, 0), max(1, round(width / height)) + 1).astype(int)
    levels = []
    for start in starts:
        patch = crop[:, start : start + height][written[:, start : start + height]]
        # Ink covers less than half of a line, so the third quarter is paper, and a light speck is not.
        levels.append(_third_quarter(patch) if len(patch) > height else np.nan)
    known = ~np.isnan(levels)
    if not known.any():
        return np.full(width, max(1.0, _third_quarter(crop.reshape(-1))), dtype=np.float32)
    paper = np.interp(np.arange(width), (starts + height / 2)[known], np.array(levels)[known])
    return np.maximum(paper, 1).astype(np.float32)


def _third_quarter(values: NDArray[np.uint8]) -> float:
    """Return the 75th percentile of values (N,), equal to that of `np.percentile` and four times as fast."""
    *ranks, share = _ranks(0.75, len(values))
    counts = np.cumsum(np.bincount(values))
    low, high = np.searchsorted(counts, ranks, side="right")
    return _between(low, high, share)


def _ranks(part: float, count: int) -> tuple[int, int, float]:
    """Return between which ranks of `count` values a percentile lies, and which share of the way."""
    place = part * (count - 1)
    return int(place), min(int(place) + 1, count - 1), place - int(place)


def _between(low: Any, high: Any, share: float) -> float:
    """Return what lies a share of the way from one value to the next, to the bit as `np.percentile` does."""
    step = float(high - low)
    return float(high) - step * (1 - share) if share >= 0.5 else float(low) + step * share


def _stretched(shade: NDArray[np.float32], written: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the ink, 0 to 255, in a crop (h, w) whose paper is 255."""
    depth = np.asarray(WHITE - shade, dtype=np.float32)
    inside = depth[written]
    if not len(inside):
        return np.zeros_like(depth)
    # The lighter half is paper alone: its spread is the paper's noise.
    middle = len(inside) // 2
    third = (middle + 1) // 3
    low, high, share = _ranks(0.98, len(inside))
    ordered = np.partition(inside, (third, middle, low, high))
    noise = float(ordered[middle] - ordered[third])
    ink = _between(ordered[low], ordered[high], share)
    if ink < max(24.0, 6 * noise):  # an empty line: stretching would turn its noise into ink
        return depth.clip(0, WHITE)
    return np.asarray((depth - 2 * noise) * (WHITE / (ink - 2 * noise))).clip(0, WHITE)

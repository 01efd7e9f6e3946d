"""Random changes to line images (paper 255), and to pages with their boxes; knows no data set and no network.

The geometric changes of a line are done in one resampling, because the canvas must follow the text. What is
drawn depends on a seed, the epoch and the sample alone.
"""

import hashlib
import os
import threading
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hwr.config.roots import Probability
from hwr.images.boxes import FloatArray, to_px
from hwr.images.canvas import visible_boxes
from hwr.images.line_crop import MIN_WIDTH
from hwr.images.load import WHITE, GreyImage

BelowOne = Annotated[float, Field(ge=0, le=0.9)]  # of what may shrink to nothing, but for a tenth
Gamma = Annotated[float, Field(ge=0, le=4)]

# Of printed rules: fractions of a line's height, of the pen's depth, of ruled papers.
_RULE_PITCH, _RULE_THICKNESS, _RULE_SLOPE = (0.25, 1.2), (0.01, 0.05), 0.03
_RULE_DEPTH, _SQUARED = (0.1, 0.6), 0.5

_INK = 64  # ink darker than this must stay on the canvas; lighter is noise of the paper


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What lines and pages have in common: the largest changes, drawn uniformly; 0 switches one off."""

    probability: Probability
    shift_x: Probability
    shift_y: Probability
    jitter_x: BelowOne
    jitter_y: BelowOne
    shear: Probability
    rotate: Probability
    gamma: Gamma
    contrast: BelowOne
    blur: Probability
    noise: Probability

    @property
    def sizes(self) -> NDArray[np.float64]:
        """The largest geometric changes (6,): shift, jitter, shear, turn."""
        return np.array([self.shift_x, self.shift_y, self.jitter_x, self.jitter_y, self.shear, self.rotate])


@dataclass(frozen=True, kw_only=True)
class LineAugmentation(Changes):
    """Largest changes to line images, drawn uniformly (conf/augmentation/line.yaml); 0 switches one off."""

    elastic: Probability
    stroke: Probability
    erase: Annotated[int, Field(ge=0, le=100)]
    erase_size: Probability
    rules: Probability = 0.0  # older configurations lack it

    def __call__(self, image: GreyImage, *, seed: int, epoch: int, index: int, view: int = 0) -> GreyImage:
        """Return a changed copy of `image` (h, w): (h, w'), the same bits for the same arguments.

        The width follows scale, shear and shift; the height stays, and text that would leave it is shrunk.
        Views of a sample have one geometry; strokes, printed rules and shades differ.
        """
        key = sample_seed(seed, epoch, index)
        draw = np.random.default_rng(key)
        if draw.random() >= self.probability:
            return np.array(image)
        ink = _moved_line(~image, self, draw)  # paper 0: what resampling and erasing fill with
        if view:
            key = sample_seed(key, epoch, view)
            draw = np.random.default_rng(key)
        ink = _penned(ink, self.stroke * image.shape[0] * draw.uniform(-1, 1))
        if self.rules and draw.random() < self.rules:
            ink = _ruled(ink, draw)
        holes, hole_px = self.erase if self.erase_size else 0, max(1, round(self.erase_size * image.shape[0]))
        return ~shade_of(self, image.shape[0], holes=holes, hole_px=hole_px)(ink, key)


@dataclass(frozen=True, kw_only=True)
class PageAugmentation(Changes):
    """Largest changes to pages, drawn uniformly (conf/augmentation/page.yaml); 0 switches one off."""

    erase: Probability

    def __call__(
        self, image: GreyImage, boxes: FloatArray, *, seed: int, epoch: int, index: int
    ) -> tuple[GreyImage, FloatArray, NDArray[np.intp]]:
        """Return a changed copy of `image` (H, W), its boxes (K, 4), and which of `boxes` (N, 4) they are.

        The canvas stays as it is: boxes are cut to it, and those of which less than half is left are left
        out. The same (seed, epoch, index) gives the same bits.
        """
        key = sample_seed(seed, epoch, index)
        draw = np.random.default_rng(key)
        if draw.random() >= self.probability:
            return np.array(image), np.array(boxes), np.arange(len(boxes))
        sides = draw.uniform(-1, 1, size=6)  # drawn whether used or not: one part off leaves the others alone
        gone = draw.random(len(boxes)) < self.erase
        image = _erased(image, boxes, gone)
        image, moved = _moved_page(image, boxes[~gone], self, sides)
        left, kept = visible_boxes(moved, (0.0, 0.0, 1.0, 1.0))
        return ~shade_of(self, image.shape[0])(~image, key), left, np.flatnonzero(~gone)[kept]


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """Return a 64-bit seed, the same for the same sample of the same epoch."""
    said = f"{seed} {epoch} {index}".encode()
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "little")


def linear(jitter_x: float, jitter_y: float, shear: float, rotate: float) -> NDArray[np.float64]:
    """Return the matrix (2, 2) on (x, y) that scales by 1 + jitter, then shears, then rotates (radians)."""
    turn = np.array([[np.cos(rotate), -np.sin(rotate)], [np.sin(rotate), np.cos(rotate)]])
    slant = np.array([[1, -np.tan(shear)], [0, 1]])
    return np.asarray(turn @ slant @ np.diag([1 + jitter_x, 1 + jitter_y]))


@dataclass(frozen=True, kw_only=True)
class Shade:
    """Changes of shade that leave the geometry alone: those of an augmentation, lengths in px."""

    gamma: float
    contrast: float
    blur_px: float
    noise: float
    holes: int
    hole_px: int

    def __call__(self, ink: GreyImage, seed: int) -> GreyImage:
        """Return `ink` (h, w), 255 on paper 0, in other shades; itself when all of them are off."""
        changes = _composed(self, threading.get_ident())
        if changes is None:
            return ink
        changes.set_random_seed(seed)
        return np.asarray(changes(image=ink)["image"], dtype=np.uint8)


def shade_of(by: Changes, height: int, *, holes: int = 0, hole_px: int = 1) -> Shade:
    """Return the changes of shade that an augmentation `by` makes to images `height` px high."""
    return Shade(
        gamma=by.gamma, contrast=by.contrast, blur_px=by.blur * height, noise=by.noise, holes=holes,
        hole_px=hole_px,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _composed(by: Shade, thread: int) -> Any:  # albumentations.Compose; it keeps state, so one per thread
    """Return the changes of shade in order; None when all are off."""
    if not any((by.gamma, by.contrast, by.blur_px, by.noise, by.holes)):
        return None
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it calls home on import otherwise
    import albumentations as A  # noqa: N812 (takes a second: only when something is augmented)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a misspelt argument only warns, and the default takes its place
        parts: list[Any] = []
        if by.gamma:
            parts.append(A.RandomGamma(gamma_limit=(100 / (1 + by.gamma), 100 * (1 + by.gamma)), p=1))
        if by.contrast:
            limit = (-by.contrast, by.contrast)
            parts.append(A.RandomBrightnessContrast(brightness_limit=(0, 0), contrast_limit=limit, p=1))
        if by.holes:
            side, some = (1, by.hole_px), by.holes / (by.holes + 1)  # 0 to `holes` boxes are equally likely
            ranges = {"num_holes_range": (1, by.holes), "hole_height_range": side, "hole_width_range": side}
            parts.append(A.CoarseDropout(**ranges, fill=0, p=some))
        if by.blur_px:
            parts.append(A.GaussianBlur(blur_limit=0, sigma_limit=(0, by.blur_px), p=1))
        if by.noise:
            parts.append(A.GaussNoise(std_range=(0, by.noise), per_channel=False, p=1))
        return A.Compose(parts, seed=0)


def _moved_line(ink: GreyImage, by: LineAugmentation, draw: np.random.Generator) -> GreyImage:
    """Scale, shear, rotate, bend and shift the ink (h, w) in one resampling: (h, w')."""
    sides = draw.uniform(-1, 1, size=6)  # drawn whether used or not: one part off leaves the others alone
    if not by.sizes.any() and not by.elastic:
        return ink
    shift_x, shift_y, *changes = (sides * by.sizes).tolist()
    height, width = ink.shape
    shift, bend = (shift_x * width, shift_y * height), by.elastic * height
    matrix, at, new_width = _placed(linear(*changes), _bounds(ink), (height, width), shift=shift, bend=bend)
    back = np.linalg.inv(matrix)
    # cv2 counts pixel centres, the geometry pixel edges: half a pixel apart.
    columns, rows = np.arange(new_width) + 0.5 - at[0], np.arange(height)[:, None] + 0.5 - at[1]
    xs = (back[0, 0] * columns - 0.5).astype(np.float32) + (back[0, 1] * rows).astype(np.float32)  # (h, w')
    ys = (back[1, 0] * columns - 0.5).astype(np.float32) + (back[1, 1] * rows).astype(np.float32)
    if bend:
        xs += _waves(xs.shape, bend, draw)
        ys += _waves(ys.shape, bend, draw)
    moved = cv2.remap(ink, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0,))
    return np.asarray(moved, dtype=np.uint8)


def _bounds(ink: GreyImage) -> tuple[int, int, int, int]:
    """Return x1 y1 x2 y2 in px around the ink; the whole image when there is none."""
    rows = np.flatnonzero(ink.max(axis=1) > _INK)
    columns = np.flatnonzero(ink.max(axis=0) > _INK)
    if not len(rows):
        return 0, 0, ink.shape[1], ink.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _placed(
    matrix: NDArray[np.float64], bounds: tuple[int, int, int, int], size: tuple[int, int], *,
    shift: tuple[float, float], bend: float,
) -> tuple[NDArray[np.float64], tuple[float, float], int]:  # fmt: skip
    """Place the ink within `bounds` on the new canvas, uncut: matrix, place of the old origin, new width."""
    height, width = size
    x1, y1, x2, y2 = bounds
    corners = np.array([[x1, x1, x2, x2], [y1, y2, y1, y2]], dtype=np.float64)
    moved = matrix @ corners
    fit = min(1.0, max(height - 2 * bend, 1.0) / float(np.ptp(moved[1])))
    matrix, moved = matrix * fit, moved * fit
    across = float(np.hypot(*matrix[:, 0]))
    left = x1 * across + max(shift[0], 0.0) - float(moved[0].min())
    new_width = max(MIN_WIDTH, round((x1 + width - x2) * across + float(np.ptp(moved[0])) + abs(shift[0])))
    centre = height / 2 - float((matrix @ np.array([width / 2, height / 2]))[1]) + shift[1]
    low, high = bend - float(moved[1].min()), height - bend - float(moved[1].max())
    return matrix, (left, float(np.clip(centre, min(low, high), max(low, high)))), new_width


def _waves(shape: tuple[int, ...], most: float, draw: np.random.Generator) -> NDArray[np.float32]:
    """Return a smooth field (h, w) within about ±`most`: even draws half a height apart, joined by cubics."""
    cells = (max(2, round(2 * shape[1] / shape[0])) + 1, 3)
    coarse = draw.uniform(-most, most, size=cells[::-1]).astype(np.float32)
    waves = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(waves, dtype=np.float32)


def _penned(ink: GreyImage, change: float) -> GreyImage:
    """Thicken strokes by `change` px, or thin them where it is negative; part of a px is part of it."""
    if not change:
        return ink
    reach = int(np.ceil(abs(change) / 2))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    full = cv2.dilate(ink, kernel) if change > 0 else cv2.erode(ink, kernel)
    share = abs(change) / (2 * reach)
    return np.asarray(cv2.addWeighted(full, share, ink, 1 - share, 0), dtype=np.uint8)


def _ruled(ink: GreyImage, draw: np.random.Generator) -> GreyImage:
    """Print level rules under the ink (h, w), lighter than a pen; on squared paper upright ones as well."""
    height, width = ink.shape
    pitch, thickness = height * draw.uniform(*_RULE_PITCH), height * draw.uniform(*_RULE_THICKNESS)
    slope, depth, squared = draw.uniform(-_RULE_SLOPE, _RULE_SLOPE), draw.uniform(*_RULE_DEPTH), draw.random()
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    places = [rows - np.float32(slope) * columns]
    if squared < _SQUARED:
        places.append(columns + np.float32(slope) * rows)
    light = np.ones((height, width), np.float32)
    for place in places:
        away = np.abs((place + draw.uniform(0, pitch)) % np.float32(pitch) - np.float32(pitch / 2))
        light *= 1 - np.float32(depth) * np.clip(np.float32(thickness / 2 + 0.5) - away, 0, min(1, thickness))
    return np.asarray(255 - (255 - ink) * light, dtype=np.uint8)


def _erased(image: GreyImage, boxes: FloatArray, gone: NDArray[np.bool_]) -> GreyImage:
    """Return a copy of `image` (H, W) with paper on boxes (N, 4) that are `gone`, save where others lie."""
    wiped = np.zeros(image.shape, dtype=np.bool_)
    for chosen, state in ((gone, True), (~gone, False)):
        for x1, y1, x2, y2 in boxes[chosen].tolist():
            left, top, right, bottom = to_px((x1, y1, x2, y2), (image.shape[0], image.shape[1]))
            wiped[top:bottom, left:right] = state
    return np.where(wiped, np.uint8(WHITE), image)


def _moved_page(
    image: GreyImage, boxes: FloatArray, by: PageAugmentation, sides: NDArray[np.float64]
) -> tuple[GreyImage, FloatArray]:
    """Move image (H, W) and boxes (N, 4) by one matrix; `sides` (6,) say how far of the largest change."""
    if not by.sizes.any():
        return image, boxes
    size = np.array(image.shape[::-1])  # width, height
    matrix = linear(*(sides * by.sizes)[2:].tolist())
    # Where the old origin comes to lie.
    start = size / 2 + (sides * by.sizes)[:2] * size - matrix @ (size / 2)
    # cv2 counts pixel centres, the geometry pixel edges: half a pixel apart.
    centred = np.column_stack([matrix, start + matrix @ (0.5, 0.5) - 0.5])  # (2, 3)
    picture = cv2.warpAffine(  # bilinear
        image, centred, image.shape[::-1], borderMode=cv2.BORDER_CONSTANT, borderValue=(WHITE,)
    )
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] * size  # (N, 4, 2) px
    moved = (corners @ matrix.T + start) / size
    return np.asarray(picture, dtype=np.uint8), np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)

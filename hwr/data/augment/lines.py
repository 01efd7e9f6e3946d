"""Random changes to line images (paper 255) that keep their text legible; knows no data set and no network.

All geometric changes are done in one resampling, because the canvas must follow the text.
"""

from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hwr.config.roots import Probability
from hwr.data.augment import BelowOne, Gamma, linear, sample_seed, shade_of
from hwr.images.line_crop import MIN_WIDTH
from hwr.images.load import GreyImage

_INK = 64  # ink darker than this must stay on the canvas; lighter is noise of the paper


@dataclass(frozen=True, kw_only=True)
class LineAugmentation:
    """Largest changes to line images, drawn uniformly (conf/augmentation/line.yaml); 0 switches one off."""

    probability: Probability
    shift_x: Probability
    shift_y: Probability
    jitter_x: BelowOne
    jitter_y: BelowOne
    shear: Probability
    rotate: Probability
    elastic: Probability
    stroke: Probability
    gamma: Gamma
    contrast: BelowOne
    blur: Probability
    noise: Probability
    erase: Annotated[int, Field(ge=0, le=100)]
    erase_size: Probability

    def __call__(self, image: GreyImage, *, seed: int, epoch: int, index: int) -> GreyImage:
        """Return a changed copy of `image` (h, w): (h, w'), the same bits for the same (seed, epoch, index).

        The width follows scale, shear and shift; the height stays, and text that would leave it is shrunk.
        """
        key = sample_seed(seed, epoch, index)
        draw = np.random.default_rng(key)
        if draw.random() >= self.probability:
            return np.array(image)
        ink = _moved(~image, self, draw)  # paper 0: what resampling and erasing fill with
        ink = _penned(ink, self.stroke * image.shape[0] * draw.uniform(-1, 1))
        holes, hole_px = self.erase if self.erase_size else 0, max(1, round(self.erase_size * image.shape[0]))
        return ~shade_of(self, image.shape[0], holes=holes, hole_px=hole_px)(ink, key)


def _moved(ink: GreyImage, by: LineAugmentation, draw: np.random.Generator) -> GreyImage:
    """Scale, shear, rotate, bend and shift the ink (h, w) in one resampling: (h, w')."""
    sides = draw.uniform(-1, 1, size=6)  # drawn whether used or not: one part off leaves the others alone
    sizes = np.array([by.shift_x, by.shift_y, by.jitter_x, by.jitter_y, by.shear, by.rotate])
    if not sizes.any() and not by.elastic:
        return ink
    shift_x, shift_y, *changes = (sides * sizes).tolist()
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

"""Random changes to a page, or a part of it, and to the boxes on it; knows no data set and no network."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hwr.config.roots import Probability
from hwr.data.augment import BelowOne, Gamma, linear, sample_seed, shade_of
from hwr.images.boxes import FloatArray, to_px
from hwr.images.canvas import visible_boxes
from hwr.images.load import WHITE, GreyImage


@dataclass(frozen=True, kw_only=True)
class PageAugmentation:
    """Largest changes to pages, drawn uniformly (conf/augmentation/page.yaml); 0 switches one off."""

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
        image, moved = _moved(image, boxes[~gone], self, sides)
        left, kept = visible_boxes(moved, (0.0, 0.0, 1.0, 1.0))
        return ~shade_of(self, image.shape[0])(~image, key), left, np.flatnonzero(~gone)[kept]


def _erased(image: GreyImage, boxes: FloatArray, gone: NDArray[np.bool_]) -> GreyImage:
    """Return a copy of `image` (H, W) with paper on boxes (N, 4) that are `gone`, save where others lie."""
    wiped = np.zeros(image.shape, dtype=np.bool_)
    for chosen, state in ((gone, True), (~gone, False)):
        for x1, y1, x2, y2 in boxes[chosen].tolist():
            left, top, right, bottom = to_px((x1, y1, x2, y2), (image.shape[0], image.shape[1]))
            wiped[top:bottom, left:right] = state
    return np.where(wiped, np.uint8(WHITE), image)


def _moved(
    image: GreyImage, boxes: FloatArray, by: PageAugmentation, sides: NDArray[np.float64]
) -> tuple[GreyImage, FloatArray]:
    """Move image (H, W) and boxes (N, 4) by one matrix; `sides` (6,) say how far of the largest change."""
    sizes = np.array([by.shift_x, by.shift_y, by.jitter_x, by.jitter_y, by.shear, by.rotate])
    if not sizes.any():
        return image, boxes
    size = np.array(image.shape[::-1])  # width, height
    matrix = linear(*(sides * sizes)[2:].tolist())
    start = size / 2 + (sides * sizes)[:2] * size - matrix @ (size / 2)  # where the old origin comes to lie
    # cv2 counts pixel centres, the geometry pixel edges: half a pixel apart.
    centred = np.column_stack([matrix, start + matrix @ (0.5, 0.5) - 0.5])  # (2, 3)
    picture = cv2.warpAffine(
        image, centred, image.shape[::-1], borderMode=cv2.BORDER_CONSTANT, borderValue=(WHITE,)
    )  # bilinear
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] * size  # (N, 4, 2) px
    moved = (corners @ matrix.T + start) / size
    return np.asarray(picture, dtype=np.uint8), np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)

"""Shared parts of the augmentation of lines and pages: ranges, seeds, the linear map, and shades."""

import hashlib
import os
import threading
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hwr.images.load import GreyImage

BelowOne = Annotated[float, Field(ge=0, le=0.9)]  # of what may shrink to nothing, but for a tenth
Gamma = Annotated[float, Field(ge=0, le=4)]


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


def shade_of(by: Any, height: int, *, holes: int = 0, hole_px: int = 1) -> Shade:
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

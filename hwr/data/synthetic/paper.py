"""The sheet below the writing: paper, rules, printed text, and the scanner's blur and grain."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hwr.data.synthetic import fonts
from hwr.data.synthetic.writers import Floats, field

PRINT_INK = 45.0
_SHIFT = 4  # fractional bits of OpenCV's line ends


@dataclass(frozen=True)
class Sheet:
    """One sheet on the scanner: `paper` grey, `ruled` or plain, and `to_scan` (2, 3), its slight turn."""

    size: tuple[int, int]
    paper: float
    shade: float
    grain: float
    blur_px: float
    ruled: bool
    to_scan: Floats


def draw_sheet(size: tuple[int, int], ruled: float, rng: np.random.Generator) -> Sheet:
    """Draw a random sheet of `size` (height, width) px; `ruled` is the probability of ruled lines."""
    height, width = size
    degrees = float(np.clip(rng.normal(0, 0.3), -0.7, 0.7))
    return Sheet(
        size=size,
        paper=float(rng.uniform(222, 250)),
        shade=float(rng.uniform(1, 4)),
        grain=float(rng.uniform(1, 5)),
        blur_px=float(rng.uniform(0.35, 0.8)),
        ruled=bool(rng.random() < ruled),
        to_scan=cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0).astype(np.float32),
    )


def blank(sheet: Sheet, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the empty sheet (H, W)."""
    height, width = sheet.size
    shade = field((height // 8, width // 8), width / 24, rng) * sheet.shade + sheet.paper
    return cv2.resize(np.clip(shade, 0, 255).astype(np.uint8), (width, height)).astype(np.uint8)


def scan(canvas: NDArray[np.uint8], sheet: Sheet, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return `canvas` (H, W) as scanned: blurred and with grain."""
    blurred = cv2.GaussianBlur(canvas, (0, 0), sheet.blur_px).astype(np.float32)
    blurred += sheet.grain * rng.standard_normal(canvas.shape, np.float32)
    return np.clip(blurred, 0, 255).astype(np.uint8)


def rule(canvas: NDArray[np.uint8], sheet: Sheet, y: float, ink: float) -> None:
    """Draw a rule across the sheet at height `y`, into `canvas`."""
    width = sheet.size[1]
    ends = np.array([[0.05 * width, y, 1.0], [0.95 * width, y, 1.0]]) @ sheet.to_scan.T * 2**_SHIFT
    start, stop = ends.round().astype(int).tolist()
    cv2.line(canvas, start, stop, (ink,), 2, cv2.LINE_AA, _SHIFT)


def print_rows(
    canvas: NDArray[np.uint8], sheet: Sheet, file: Path, rows: list[tuple[str, float, float, float]]
) -> None:
    """Print `rows` of (text, left, baseline, size), all px, into `canvas`."""
    height, width = sheet.size
    if not rows:
        return
    top = int(min(baseline - 1.5 * size for _, _, baseline, size in rows))
    bottom = int(max(baseline + size for _, _, baseline, size in rows))
    layer = Image.new("L", (width, bottom - top), 0)
    pen = ImageDraw.Draw(layer)
    for text, left, baseline, size in rows:
        pen.text((left, baseline - top), text, font=fonts.face(file, size, 0.0), fill=255, anchor="ls")
    moved = sheet.to_scan.copy()
    moved[:, 2] += moved[:, 1] * top  # the layer starts at `top`
    above = max(0, top - 20)
    moved[1, 2] -= above
    turned = cv2.warpAffine(np.asarray(layer), moved, (width, min(height, bottom + 20) - above))
    stain(canvas, turned.astype(np.float32) / 255.0, (0, above), PRINT_INK)


def wrap_print(words: list[str], file: Path, size: float, width: float) -> list[str]:
    """Break `words` into printed rows at most `width` px wide."""
    face = fonts.face(file, size, 0.0)
    rows = [""]
    for word in words:
        longer = f"{rows[-1]} {word}".strip()
        if face.getlength(longer) <= width or not rows[-1]:
            rows[-1] = longer
        else:
            rows.append(word)
    return rows


def stain(canvas: NDArray[np.uint8], cover: Floats, corner: tuple[int, int], ink: float) -> None:
    """Blend `ink` (grey) into `canvas` by `cover` (h, w) in [0, 1]; its `corner` is x y."""
    left, top = corner
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + cover.shape[1], canvas.shape[1]), min(top + cover.shape[0], canvas.shape[0])
    if x1 >= x2 or y1 >= y2:
        return
    cover = cover[y1 - top : y2 - top, x1 - left : x2 - left]
    patch = canvas[y1:y2, x1:x2]
    canvas[y1:y2, x1:x2] = np.minimum(patch, patch + (ink - patch) * cover).astype(np.uint8)

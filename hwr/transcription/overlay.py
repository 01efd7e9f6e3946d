"""Picture of a page with its area, its lines, their order and the text that was read."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hwr.images.boxes import box_px, points_px
from hwr.images.load import GreyImage
from hwr.pictures.cards import font
from hwr.transcription.transcript import ReadLine, ReadPage

AREA = (22, 163, 74)
LINES = ((37, 99, 235), (217, 119, 6))  # in turn: neighbours are told apart
TINT, EDGE, GROUND = 48, 200, 215  # how much a line's inside, its outline and its lettering cover, of 255
INK, WHITE = (31, 36, 48), (255, 255, 255)
LEGIBLE_PX, LARGEST_PX = 8, 22  # font sizes


def draw_overlay(page: GreyImage, read: ReadPage, width_px: int) -> NDArray[np.uint8]:
    """Return `page` (H, W) scaled to `width_px` as RGB (H', width_px, 3), with what was read drawn on it.

    The area is framed in green. Lines are tinted in turn and numbered in reading order at their left end; the
    text read stands on a line's lower edge, and is left out where it would be too small to read.
    """
    height = max(1, round(page.shape[0] * width_px / page.shape[1]))
    scaled = Image.fromarray(page).resize((width_px, height), Image.Resampling.LANCZOS)
    picture = scaled.convert("RGB")
    pen = ImageDraw.Draw(picture, "RGBA")  # blends translucent colours into the picture
    if read.area is not None:
        x1, y1, x2, y2 = box_px(read.area, (height, width_px))
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=AREA, width=2)
    for position, line in enumerate(read.lines):
        colour = LINES[position % len(LINES)]
        outline = points_px(line.outline, (height, width_px))
        pen.polygon(outline, fill=(*colour, TINT), outline=(*colour, EDGE))
    for position, line in enumerate(read.lines):  # on top of every tint
        _letter(pen, line, position, (height, width_px))
    return np.asarray(picture)


def _letter(pen: ImageDraw.ImageDraw, line: ReadLine, position: int, size: tuple[int, int]) -> None:
    """Write a line's number before its left end, or on it at the page's edge, and its text below."""
    x1, y1, _, y2 = box_px(line.box, size)
    number, number_size = str(position + 1), _between((y2 - y1) // 2)
    left = max(0, x1 - 3 - round(font(number_size).getlength(number)))
    _write(pen, (left, (y1 + y2) // 2), number, (number_size, LINES[position % len(LINES)]))
    text_size = _fitting(line.text, (y2 - y1) // 3, size[1] - x1)
    if line.text and text_size >= LEGIBLE_PX:
        middle = min(y2, size[0] - text_size // 2 - 1)
        _write(pen, (x1, middle), line.text, (text_size, INK))


def _write(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, style: tuple[int, tuple[int, int, int]]
) -> None:
    """Write `text` on translucent white from the middle of its left end; `style` is font size and ink."""
    size, ink = style
    pen.rectangle(pen.textbbox(at, text, font(size), anchor="lm"), (*WHITE, GROUND))
    pen.text(at, text, ink, font(size), anchor="lm")


def _fitting(text: str, size: int, room: int) -> int:
    """Return the largest font size, at most `size`, in which `text` fits; below legible where none does."""
    size = min(size, LARGEST_PX)
    while size >= LEGIBLE_PX and font(size).getlength(text) > room:
        size -= 1
    return size


def _between(size: int) -> int:
    return min(max(size, LEGIBLE_PX), LARGEST_PX)

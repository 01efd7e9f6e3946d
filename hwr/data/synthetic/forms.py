"""IAM-like forms: a printed text, rules, and the same text by hand below, with the box of every word."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hwr.data.records import Line, Word
from hwr.data.synthetic import hands, texts
from hwr.data.synthetic.hands import Floats, Hand, Ink, can_write, open_face, smooth_noise
from hwr.images import boxes
from hwr.images.boxes import Box, Point

_VISIBLE = 50  # ink fainter than a fifth does not widen a box
_PRINT_SHARE = 0.0165  # size of the printed face, as a share of the page's width
_PRINT_LEADING = 1.35
_MARGIN = 0.08  # of the page's width


@dataclass(frozen=True)
class PaperSheet:
    """One sheet on the scanner: `paper` grey, `ruled` or plain, and `to_scan` (2, 3), its slight turn."""

    size: tuple[int, int]
    paper: float
    shade: float
    grain: float
    blur_px: float
    ruled: bool
    to_scan: Floats


@dataclass(frozen=True)
class Layout:
    """What all forms share: `size` (height, width) px, fewest and most `lines`, shares, printed face.

    Shares: of pages that are `ruled` or `worn`, of words with a drawn accent or `struck` out.
    """

    size: tuple[int, int]
    lines: tuple[int, int]
    ruled: float
    accents: float
    struck: float
    worn: float
    printed: Path


@dataclass(frozen=True)
class Form:
    """One form to fill in: what is written on it, by which hand; `kind` goes to its lines."""

    id: str
    kind: str
    hand: Hand
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class _Placed:
    text: str
    ink: Ink
    left: float
    struck: bool


@dataclass(frozen=True)
class _Desk:
    canvas: NDArray[np.uint8]
    sheet: PaperSheet
    hand: Hand
    rng: np.random.Generator


def draw_form(
    form: Form, layout: Layout, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], tuple[Line, ...]]:
    """Return the image (H, W) of a form and its lines.

    Words with a character that the hand's face lacks are left out, and so is what does not fit on the page; a
    page on which nothing could be written has no lines.
    """
    rows = _wrap(_writable(form, layout, rng), form.hand, layout, rng)
    first, pitch = _first_baseline(rows, form.hand, layout), form.hand.pitch * form.hand.body_px
    rows = rows[: max(0, 1 + math.floor((0.9 * layout.size[0] - first) / pitch))]
    sheet = draw_sheet(layout.size, layout.ruled, rng)
    desk = _Desk(_blank(sheet, rng), sheet, form.hand, rng)
    _print_header(desk, form.id, rows, layout)
    lines = tuple(_write_line(desk, form, n, row, first + pitch * n) for n, row in enumerate(rows))
    if layout.worn and rng.random() < layout.worn:
        _wear(desk.canvas, rng)
    return _scan(desk.canvas, sheet, rng), lines


def outline_of_boxes(found: Sequence[Box]) -> tuple[Point, ...]:
    """Return the polygon that runs along the tops of boxes, left to right, and back along their bottoms."""
    edges = sorted({x for x1, _, x2, _ in found for x in (x1, x2)})
    above: list[Point] = []
    below: list[Point] = []
    for left, right in pairwise(edges):
        here = [box for box in found if box[0] < right and box[2] > left]
        if here:
            _, top, _, bottom = boxes.union(here)
            above += [(left, top), (right, top)]
            below += [(left, bottom), (right, bottom)]
    return tuple(above + below[::-1])


def _writable(form: Form, layout: Layout, rng: np.random.Generator) -> list[str]:
    def known(character: str) -> bool:
        return can_write(form.hand.file, character) and can_write(layout.printed, character)

    words = " ".join(form.sentences).split()
    words = [texts.with_accent(word, known, rng) if rng.random() < layout.accents else word for word in words]
    return [word for word in words if all(known(character) for character in word)]


def _wrap(words: Sequence[str], hand: Hand, layout: Layout, rng: np.random.Generator) -> list[list[_Placed]]:
    """Write words until the page's lines are full; a word wider than the page is left out.

    A line's first word is never struck out, so that every line has a text.
    """
    width = layout.size[1]
    left, right = (_MARGIN + 0.02 * rng.random()) * width, (1.0 - _MARGIN - 0.05 * rng.random()) * width
    most = int(rng.integers(layout.lines[0], layout.lines[1], endpoint=True))
    rows: list[list[_Placed]] = [[]]
    x = left
    for word in words:
        ink = hands.write_word(word, hand, rng)
        advance = ink.advance * hand.stretch
        if advance > right - left or not ink.mask.any():
            continue
        if x + advance > right:
            if len(rows) == most:
                break
            rows.append([])
            x = left + float(rng.normal(0, 0.15)) * hand.body_px
        struck = bool(layout.struck and rows[-1] and rng.random() < layout.struck)
        rows[-1].append(_Placed(word, ink, x, struck))
        x += advance + max(0.6, hand.word_gap + float(rng.normal(0, 0.12))) * hand.body_px
    return [row for row in rows if row]


def _print_size(layout: Layout) -> float:
    return max(8.0, _PRINT_SHARE * layout.size[1])


def _printed_rows(rows: list[list[_Placed]], layout: Layout) -> list[str]:
    words = [placed.text for row in rows for placed in row if not placed.struck]
    return _wrap_print(words, layout.printed, _print_size(layout), (1 - 2 * _MARGIN) * layout.size[1])


def _header_top(layout: Layout) -> float:
    return 0.045 * layout.size[0]


def _first_baseline(rows: list[list[_Placed]], hand: Hand, layout: Layout) -> float:
    printed = _PRINT_LEADING * _print_size(layout) * (3.2 + len(_printed_rows(rows, layout)))
    return _header_top(layout) + printed + hand.pitch * hand.body_px


def _print_header(desk: _Desk, title: str, rows: list[list[_Placed]], layout: Layout) -> None:
    """Print title, rule, the text, and a second rule, as on an IAM form."""
    size, left, top = _print_size(layout), _MARGIN * layout.size[1], _header_top(layout)
    leading = _PRINT_LEADING * size
    printed = [("Sentence Database", left, top, size), (title, 0.6 * layout.size[1], top, size)]
    for index, text in enumerate(_printed_rows(rows, layout)):
        printed.append((text, left, top + leading * (2.2 + index), size))
    _print_rows(desk.canvas, desk.sheet, layout.printed, printed)
    foot = 0.965 * layout.size[0]
    _print_rows(desk.canvas, desk.sheet, layout.printed, [("Name:", left, foot, size)])
    for y in (top + 0.8 * leading, printed[-1][2] + 0.9 * leading, foot - 1.2 * leading):
        _rule(desk.canvas, desk.sheet, y, _PRINT_INK)


def _write_line(desk: _Desk, form: Form, number: int, row: list[_Placed], height: float) -> Line:
    """Write a row along a drifting, wavy baseline that starts at `height`."""
    hand, rng, name = desk.hand, desk.rng, f"{form.id}-{number:02d}"
    if desk.sheet.ruled:
        _rule(desk.canvas, desk.sheet, height + 0.15 * hand.body_px, 0.85 * desk.sheet.paper)
    slope = hand.slope * (1.0 + float(rng.normal(0, 0.25)))
    wave, length = hand.wave * hand.body_px, float(rng.uniform(12, 30)) * hand.body_px
    phase = float(rng.uniform(0, 2 * np.pi))
    words: list[Word] = []
    baseline: list[Point] = []
    for placed in row:
        angle = placed.left / length + phase
        y = height + slope * (placed.left - row[0].left) + wave * float(np.sin(angle))
        tilt = slope + wave / length * float(np.cos(angle)) + 0.2 * hand.lift_jitter * float(rng.normal())
        upright = np.array([[1.0, -tilt, placed.left], [tilt, 1.0, y], [0.0, 0.0, 1.0]])
        to_scan = (desk.sheet.to_scan @ upright).astype(np.float32)
        box = _write(desk, placed.ink, to_scan)
        if placed.struck:
            _strike(desk, placed.ink.advance * hand.stretch, to_scan)
            continue
        words.append(Word(f"{name}-{len(words):02d}", placed.text, box))
        ends = np.array([[0.0, 0.0, 1.0], [placed.ink.advance * hand.stretch, 0.0, 1.0]]) @ to_scan.T
        baseline += [(float(x), float(y)) for x, y in ends / desk.sheet.size[::-1]]
    found = [word.box for word in words]
    text = " ".join(word.text for word in words)
    box, outline = boxes.union(found), outline_of_boxes(found)
    return Line(name, text, box, outline, tuple(baseline), form.kind, tuple(words))


def _write(desk: _Desk, ink: Ink, to_scan: Floats) -> Box:
    """Put a word on the sheet and return the box of what can be seen of it."""
    hand, rng = desk.hand, desk.rng
    mask, (left, top) = hands.place_word(ink, hand, to_scan, rng)
    pressure = 1.0 - hand.pressure * np.clip(
        0.5 + 0.5 * smooth_noise((mask.shape[0], mask.shape[1]), 2.0 * hand.body_px, rng), 0.0, 1.0
    )
    speckle = 1.0 - 0.4 * hand.pressure * rng.random(mask.shape, np.float32)
    cover = mask.astype(np.float32) / 255.0 * pressure * speckle
    _stain(desk.canvas, cover, (left, top), (1.0 - hand.darkness) * desk.sheet.paper)
    seen = mask > min(_VISIBLE, int(mask.max()) // 2)
    columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    height, width = desk.sheet.size
    x1, x2 = (left + columns[0]) / width, (left + columns[-1] + 1) / width
    y1, y2 = (top + rows[0]) / height, (top + rows[-1] + 1) / height
    return boxes.clip((float(x1), float(y1), float(x2), float(y2)))


def _strike(desk: _Desk, width: float, to_scan: Floats) -> None:
    """Cross out a word of `width` px, by one or two strokes of its own pen through its middle."""
    hand, rng = desk.hand, desk.rng
    ink = (1.0 - hand.darkness * (1.0 - 0.5 * hand.pressure)) * desk.sheet.paper
    ends = np.array([[0.0, -0.4 * hand.body_px, 1.0], [width, -0.4 * hand.body_px, 1.0]]) @ to_scan.T
    for _ in range(int(rng.integers(1, 3))):
        start, stop = (
            np.round((ends + rng.normal(0, 0.2 * hand.body_px, (2, 2))) * 2**_SHIFT).astype(int).tolist()
        )
        cv2.line(desk.canvas, start, stop, (ink,), max(1, round(0.12 * hand.body_px)), cv2.LINE_AA, _SHIFT)


def _wear(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Let the back's ink shine through, then stain and fold the sheet, in place."""
    height, width = canvas.shape
    back = cv2.GaussianBlur(np.roll(canvas[:, ::-1], int(rng.integers(-40, 40)), axis=0), (0, 0), 1.5)
    through = rng.uniform(0.0, 0.25) * (float(np.median(canvas)) - back)
    stain = np.clip(
        cv2.resize(smooth_noise((height // 8, width // 8), width / 40, rng), (width, height)), 0, 2
    )
    worn = canvas - np.clip(through, 0, 255) - rng.uniform(0, 25) * stain
    for _ in range(int(rng.integers(0, 3))):  # a fold: a dark edge beside a light one
        across = rng.random() < 0.5
        where = rng.uniform(0.1, 0.9) * (height if across else width)
        away = np.arange(height if across else width, dtype=np.float32) - where
        fold = rng.uniform(10, 40) * (np.exp(-((away - 2) ** 2) / 4) - 0.6 * np.exp(-((away + 2) ** 2) / 8))
        worn -= fold[:, None] if across else fold[None, :]
    canvas[:] = np.clip(worn, 0, 255).astype(np.uint8)


_PRINT_INK = 45.0
_SHIFT = 4  # fractional bits of OpenCV's line ends


def draw_sheet(size: tuple[int, int], ruled: float, rng: np.random.Generator) -> PaperSheet:
    """Draw a random sheet of `size` (height, width) px; `ruled` is the probability of ruled lines."""
    height, width = size
    degrees = float(np.clip(rng.normal(0, 0.3), -0.7, 0.7))
    return PaperSheet(
        size=size,
        paper=float(rng.uniform(222, 250)),
        shade=float(rng.uniform(1, 4)),
        grain=float(rng.uniform(1, 5)),
        blur_px=float(rng.uniform(0.35, 0.8)),
        ruled=bool(rng.random() < ruled),
        to_scan=cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0).astype(np.float32),
    )


def _blank(sheet: PaperSheet, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the empty sheet (H, W)."""
    height, width = sheet.size
    shade = smooth_noise((height // 8, width // 8), width / 24, rng) * sheet.shade + sheet.paper
    return cv2.resize(np.clip(shade, 0, 255).astype(np.uint8), (width, height)).astype(np.uint8)


def _scan(canvas: NDArray[np.uint8], sheet: PaperSheet, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return `canvas` (H, W) as scanned: blurred and with grain."""
    blurred = cv2.GaussianBlur(canvas, (0, 0), sheet.blur_px).astype(np.float32)
    blurred += sheet.grain * rng.standard_normal(canvas.shape, np.float32)
    return np.clip(blurred, 0, 255).astype(np.uint8)


def _rule(canvas: NDArray[np.uint8], sheet: PaperSheet, y: float, ink: float) -> None:
    """Draw a rule across the sheet at height `y`, into `canvas`."""
    width = sheet.size[1]
    ends = np.array([[0.05 * width, y, 1.0], [0.95 * width, y, 1.0]]) @ sheet.to_scan.T * 2**_SHIFT
    start, stop = ends.round().astype(int).tolist()
    cv2.line(canvas, start, stop, (ink,), 2, cv2.LINE_AA, _SHIFT)


def _print_rows(
    canvas: NDArray[np.uint8], sheet: PaperSheet, file: Path, rows: list[tuple[str, float, float, float]]
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
        pen.text((left, baseline - top), text, font=open_face(file, size, 0.0), fill=255, anchor="ls")
    moved = sheet.to_scan.copy()
    moved[:, 2] += moved[:, 1] * top  # the layer starts at `top`
    above = max(0, top - 20)
    moved[1, 2] -= above
    turned = cv2.warpAffine(np.asarray(layer), moved, (width, min(height, bottom + 20) - above))
    _stain(canvas, turned.astype(np.float32) / 255.0, (0, above), _PRINT_INK)


def _wrap_print(words: list[str], file: Path, size: float, width: float) -> list[str]:
    """Break `words` into printed rows at most `width` px wide."""
    face = open_face(file, size, 0.0)
    rows = [""]
    for word in words:
        longer = f"{rows[-1]} {word}".strip()
        if face.getlength(longer) <= width or not rows[-1]:
            rows[-1] = longer
        else:
            rows.append(word)
    return rows


def _stain(canvas: NDArray[np.uint8], cover: Floats, corner: tuple[int, int], ink: float) -> None:
    """Blend `ink` (grey) into `canvas` by `cover` (h, w) in [0, 1]; its `corner` is x y."""
    left, top = corner
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + cover.shape[1], canvas.shape[1]), min(top + cover.shape[0], canvas.shape[0])
    if x1 >= x2 or y1 >= y2:
        return
    cover = cover[y1 - top : y2 - top, x1 - left : x2 - left]
    patch = canvas[y1:y2, x1:x2]
    canvas[y1:y2, x1:x2] = np.minimum(patch, patch + (ink - patch) * cover).astype(np.uint8)

"""Pseudo-writers: a font family and a randomly drawn style, which write words as ink masks."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hwr.errors import InputError
from hwr.files import package_folder

SUFFIXES = (".ttf", ".otf", ".woff", ".woff2")
FONTS = Path(__file__).parent / "fonts"
_STYLE_WORDS = re.compile(r"\b(thin|light|regular|medium|semi ?bold|bold|black|heavy|italic|oblique)\b")
_NOWHERE = "\U0010ffff"  # a noncharacter: every font draws it as its box for missing glyphs
_SAMPLE_PX = 64


@dataclass(frozen=True)
class FontFamily:
    """A font family; `files` are its upright faces, lightest first, each with or without a weight axis."""

    name: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class FaceMetrics:
    """Measures of a face, in ems: height of x, of ascender plus descender, and width of its strokes."""

    x_height: float
    extent: float
    stroke: float
    joined: bool


def packaged_family(slug: str) -> FontFamily:
    """Return the family in `fonts/`, else of the package `fontpkg-SLUG`; raise InputError for none."""
    if re.fullmatch(r"[a-z0-9-]+", slug) and (FONTS / slug).is_dir():
        return FontFamily(slug, _by_weight(_font_files(FONTS / slug)))
    package = "fontpkg_" + slug.replace("-", "_")
    remedy = f"font family {slug!r} is not installed: run `pip install fontpkg-{slug}`"
    return FontFamily(slug, _by_weight(_font_files(package_folder(package, remedy) / "files")))


def families_in(folder: Path) -> list[FontFamily]:
    """Return the font families in `folder`, named as in their files; raise InputError where it has none."""
    if not folder.is_dir():
        raise InputError(f"font folder {folder} does not exist")
    members: dict[str, list[Path]] = {}
    for file in _font_files(folder):
        name = _STYLE_WORDS.sub(" ", (open_face(file, _SAMPLE_PX, 0.0).getname()[0] or file.stem).lower())
        members.setdefault("-".join(re.findall(r"\w+", name)) or file.stem, []).append(file)
    if not members:
        raise InputError(f"font folder {folder} holds no {', '.join(SUFFIXES)} file")
    return [FontFamily(name, _by_weight(files)) for name, files in sorted(members.items())]


@lru_cache(maxsize=512)
def open_face(file: Path, size_px: float, weight: float) -> ImageFont.FreeTypeFont:
    """Open a face at `size_px` a em; `weight` in [0, 1] goes along the weight axis of a variable font.

    Basic layout, so that the same pixels come out with and without the raqm library. Raises InputError.
    """
    try:
        font = ImageFont.truetype(str(file), size_px, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise InputError(f"{file} is not a readable font: {error}") from None
    try:
        axes = font.get_variation_axes()
    except OSError:  # not a variable font
        return font
    values = [float(axis["default"] or 0) for axis in axes]
    for index, axis in enumerate(axes):
        if axis["name"] == b"Weight":
            low, high = axis["minimum"] or 0, axis["maximum"] or 0
            values[index] = float(round(low + weight * (high - low)))
    font.set_variation_by_axes(values)
    return font


@lru_cache(maxsize=65536)
def can_write(file: Path, character: str) -> bool:
    """Tell whether the face has a glyph for `character`, not the box for missing ones."""
    return _picture(file, character) not in (None, _picture(file, _NOWHERE))


@lru_cache(maxsize=64)
def measure_face(file: Path) -> FaceMetrics:
    """Measure a face on drawn letters, as fractions of the em."""
    font = open_face(file, _SAMPLE_PX, 0.0)
    tall = font.getbbox("dhklpgy", anchor="ls")
    x_height = -font.getbbox("x", anchor="ls")[1]
    ink = _drawn_text(font, "nanoemu") > 127
    outline = cv2.morphologyEx(ink.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    stroke = 2.0 * ink.sum() / max(outline.sum() / 2.0, 1.0)  # area over half the outline's length
    parts = cv2.connectedComponents(ink.astype(np.uint8), connectivity=8)[0] - 1
    extent = max(tall[3] - tall[1], 1)
    return FaceMetrics(max(x_height, 1) / _SAMPLE_PX, extent / _SAMPLE_PX, stroke / _SAMPLE_PX, parts <= 3)


def _picture(file: Path, character: str) -> tuple[tuple[int, int], bytes] | None:
    mask = open_face(file, _SAMPLE_PX, 0.0).getmask(character)
    return (mask.size, bytes(mask)) if mask.getbbox() else None


def _drawn_text(font: ImageFont.FreeTypeFont, text: str) -> NDArray[np.uint8]:
    left, top, right, bottom = font.getbbox(text)
    canvas = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4), 0)
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), text, font=font, fill=255)
    return np.asarray(canvas)


def _font_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


def _by_weight(files: list[Path]) -> tuple[Path, ...]:
    upright = [file for file in files if "italic" not in file.stem.lower()] or files
    return tuple(sorted(upright, key=lambda file: (measure_face(file).stroke, file.name)))


Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Hand:
    """One writer's habits; lengths are shares of the body (the height of an x), angles are tangents."""

    file: Path
    weight: float
    joined: bool
    body_px: float
    size_px: float
    stretch: float
    slant: float
    slant_jitter: float
    letter_gap: float
    word_gap: float
    size_jitter: float
    lift_jitter: float
    slope: float
    wave: float
    fine_warp: float
    coarse_warp: float
    thicken_px: float
    pressure: float
    darkness: float
    pitch: float


@dataclass(frozen=True)
class Ink:
    """A written word, not yet on a page: `mask` 0-255 (H, W), `origin` x y of its baseline's left end."""

    mask: NDArray[np.uint8]
    origin: tuple[float, float]
    advance: float


def draw_hand(
    family: FontFamily,
    body_px: tuple[float, float],
    variation: float,
    rng: np.random.Generator,
    slant: tuple[float, float] = (-0.19, 0.25),
) -> Hand:
    """Draw a hand's habits once; `variation` scales every departure from the font (0 is the bare font).

    `slant` holds the tangents of the steepest slants to the left and to the right.
    """

    def around(middle: float, spread: float) -> float:
        return float(middle + variation * rng.uniform(-spread, spread))

    def up_to(most: float) -> float:
        return float(variation * rng.uniform(0.15, 1.0) * most)

    file = family.files[int(rng.integers(len(family.files)))]
    face = measure_face(file)
    body = float(rng.uniform(*body_px))
    size = body / float(np.sqrt(face.x_height * face.extent / 2.8))  # a tiny x is judged by both
    pen = body * float(np.clip(around(0.125, 0.045), 0.06, 0.25))
    thicken = float(np.clip(pen - face.stroke * size, -0.45 * face.stroke * size, 0.1 * body))
    return Hand(
        file=file,
        weight=float(rng.random() ** 2 * min(variation, 1.0)),
        joined=face.joined,
        body_px=body,
        size_px=size,
        stretch=around(1.0, 0.14),
        slant=around((slant[0] + slant[1]) / 2, (slant[1] - slant[0]) / 2),
        slant_jitter=up_to(0.04),
        letter_gap=around(0.02, 0.08),
        word_gap=around(0.95, 0.3),
        size_jitter=up_to(0.07),
        lift_jitter=up_to(0.07),
        slope=around(0.0, 0.012),
        wave=up_to(0.14),
        fine_warp=up_to(0.05),
        coarse_warp=up_to(0.11),
        thicken_px=thicken * min(variation, 1.0),
        pressure=up_to(0.4),
        darkness=around(0.78, 0.17),
        pitch=around(3.7, 0.5),
    )


def in_pencil(hand: Hand, rng: np.random.Generator) -> Hand:
    """Return the hand with a pencil instead of a pen: paler, and broken by the paper's grain."""
    return replace(hand, darkness=float(rng.uniform(0.3, 0.55)), pressure=float(rng.uniform(0.5, 0.9)))


def write_word(word: str, hand: Hand, rng: np.random.Generator) -> Ink:
    """Write `word`: letter by letter where the face is unjoined, in one go where it is joined."""
    pieces = [word] if hand.joined else list(word)
    margin = int(2.0 * hand.body_px + hand.size_px)
    longest = hand.size_px * 1.1 + _face(hand, 0.0).getlength(word) * (1.0 + hand.size_jitter)
    canvas = Image.new("L", (int(longest + len(word) * hand.body_px * 0.25) + 2 * margin, 2 * margin), 0)
    pen, x = ImageDraw.Draw(canvas), float(margin)
    for index, piece in enumerate(pieces):
        face = _face(hand, float(rng.uniform(-1, 1)))
        lift = float(rng.uniform(-1, 1)) * hand.lift_jitter * hand.body_px
        pen.text((x, margin + lift), piece, font=face, fill=255, anchor="ls")
        following = pieces[index + 1] if index + 1 < len(pieces) else ""
        x += face.getlength(piece + following) - face.getlength(following)  # kerned
        if following:
            x += (hand.letter_gap + 0.5 * hand.lift_jitter * float(rng.uniform(-1, 1))) * hand.body_px
    mask = _rewidth(np.asarray(canvas), hand.thicken_px)
    return Ink(mask[:, : int(x) + margin], (float(margin), float(margin)), x - margin)


def place_word(
    ink: Ink, hand: Hand, to_page: Floats, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Slant, warp and place a word: return its mask on the page's grid and the page x y of the mask's corner.

    `to_page` (2, 3) takes points relative to the baseline's left end, y down, to page pixels.
    """
    slant = hand.slant + float(rng.uniform(-1, 1)) * hand.slant_jitter
    shear = np.array([[hand.stretch, -slant, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    shift = np.array([[1.0, 0.0, -ink.origin[0]], [0.0, 1.0, -ink.origin[1]], [0.0, 0.0, 1.0]])
    forward = np.vstack([to_page, [0.0, 0.0, 1.0]]) @ shear @ shift  # mask pixel -> page pixel
    rows, columns = np.flatnonzero(ink.mask.any(axis=1)), np.flatnonzero(ink.mask.any(axis=0))
    corners = np.array([(x, y, 1.0) for x in columns[[0, -1]] for y in rows[[0, -1]]]) @ forward[:2].T
    room = 4.0 + hand.body_px * 3.0 * (hand.fine_warp + hand.coarse_warp)
    left, top = np.floor(corners.min(axis=0) - room).astype(int)
    width, height = np.ceil(corners.max(axis=0) + room).astype(int) - (left, top)
    back = np.linalg.inv(forward).astype(np.float32)
    xs = np.arange(left, left + width, dtype=np.float32)[None, :]
    ys = np.arange(top, top + height, dtype=np.float32)[:, None]
    warp_x, warp_y = _warp((height, width), hand, rng), _warp((height, width), hand, rng)
    from_x = back[0, 0] * xs + (back[0, 1] * ys + back[0, 2]) + warp_x
    from_y = back[1, 0] * xs + (back[1, 1] * ys + back[1, 2]) + warp_y
    return cv2.remap(ink.mask, from_x, from_y, cv2.INTER_LINEAR).astype(np.uint8), (int(left), int(top))


def smooth_noise(size: tuple[int, int], cell_px: float, rng: np.random.Generator) -> Floats:
    """Return smooth noise (H, W) of unit variance at knots `cell_px` apart."""
    height, width = size
    knots = rng.standard_normal((int(height / cell_px) + 3, int(width / cell_px) + 3), np.float32)
    return np.asarray(cv2.resize(knots, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _warp(size: tuple[int, int], hand: Hand, rng: np.random.Generator) -> Floats:
    fine = smooth_noise(size, 0.9 * hand.body_px, rng) * (hand.fine_warp * hand.body_px)
    coarse = smooth_noise(size, 3.5 * hand.body_px, rng) * (hand.coarse_warp * hand.body_px)
    return np.clip(fine + coarse, -hand.body_px / 3, hand.body_px / 3)


def _face(hand: Hand, where: float) -> ImageFont.FreeTypeFont:
    step = round(2 * where) / 2  # five sizes a hand keep the font cache small
    return open_face(hand.file, round(hand.size_px * (1.0 + step * hand.size_jitter), 1), hand.weight)


def _rewidth(mask: NDArray[np.uint8], thicken_px: float) -> NDArray[np.uint8]:
    """Make strokes `thicken_px` wider (thinner when negative) by moving the threshold of a blurred edge."""
    sigma = max(0.8, 0.6 * abs(thicken_px))
    blurred = cv2.GaussianBlur(mask, (0, 0), sigma)
    level = float(np.clip(127.0 - 255.0 * 0.39 * thicken_px / 2.0 / sigma, 25.0, 200.0))
    gain = max(2.1, 130.0 / level)  # 0.39 above: the normal distribution's height; the gain keeps paper at 0
    ramp = np.clip(127.5 + gain * (np.arange(256) - level), 0.0, 255.0).astype(np.uint8)
    return cv2.LUT(blurred, ramp).astype(np.uint8)

"""Font families on disk: their files, the characters they have, and their sizes."""

import importlib.util
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hwr.errors import InputError

SUFFIXES = (".ttf", ".otf", ".woff", ".woff2")
_STYLE_WORDS = re.compile(r"\b(thin|light|regular|medium|semi ?bold|bold|black|heavy|italic|oblique)\b")
_NOWHERE = "\U0010ffff"  # a noncharacter: every font draws it as its box for missing glyphs
_SAMPLE_PX = 64


@dataclass(frozen=True)
class Family:
    """A font family; `files` are its upright faces, lightest first, each with or without a weight axis."""

    name: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Measure:
    """Measures of a face, in ems: height of x, of ascender plus descender, and width of its strokes."""

    x_height: float
    extent: float
    stroke: float
    joined: bool


def packaged(slug: str) -> Family:
    """Return the family of the package `fontpkg-SLUG`; raise InputError when it is not installed."""
    package = "fontpkg_" + slug.replace("-", "_")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise InputError(f"font family {slug!r} is not installed: run `pip install fontpkg-{slug}`")
    return Family(slug, _by_weight(_font_files(Path(spec.origin).parent / "files")))


def in_folder(folder: Path) -> list[Family]:
    """Return the families of all font files in `folder`, named after the family name inside the files.

    Raises InputError when the folder is missing, holds no font, or holds a damaged one.
    """
    if not folder.is_dir():
        raise InputError(f"font folder {folder} does not exist")
    members: dict[str, list[Path]] = {}
    for file in _font_files(folder):
        name = _STYLE_WORDS.sub(" ", (face(file, _SAMPLE_PX, 0.0).getname()[0] or file.stem).lower())
        members.setdefault("-".join(re.findall(r"\w+", name)) or file.stem, []).append(file)
    if not members:
        raise InputError(f"font folder {folder} holds no {', '.join(SUFFIXES)} file")
    return [Family(name, _by_weight(files)) for name, files in sorted(members.items())]


@lru_cache(maxsize=512)
def face(file: Path, size_px: float, weight: float) -> ImageFont.FreeTypeFont:
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
def measure(file: Path) -> Measure:
    """Measure a face on drawn letters, as fractions of the em."""
    font = face(file, _SAMPLE_PX, 0.0)
    tall = font.getbbox("dhklpgy", anchor="ls")
    x_height = -font.getbbox("x", anchor="ls")[1]
    ink = _draw(font, "nanoemu") > 127
    outline = cv2.morphologyEx(ink.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    stroke = 2.0 * ink.sum() / max(outline.sum() / 2.0, 1.0)  # area over half the outline's length
    parts = cv2.connectedComponents(ink.astype(np.uint8), connectivity=8)[0] - 1
    return Measure(
        max(x_height, 1) / _SAMPLE_PX,
        max(tall[3] - tall[1], 1) / _SAMPLE_PX,
        stroke / _SAMPLE_PX,
        joined=parts <= 3,
    )


def _picture(file: Path, character: str) -> tuple[tuple[int, int], bytes] | None:
    mask = face(file, _SAMPLE_PX, 0.0).getmask(character)
    return (mask.size, bytes(mask)) if mask.getbbox() else None


def _draw(font: ImageFont.FreeTypeFont, text: str) -> NDArray[np.uint8]:
    left, top, right, bottom = font.getbbox(text)
    canvas = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4), 0)
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), text, font=font, fill=255)
    return np.asarray(canvas)


def _font_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


def _by_weight(files: list[Path]) -> tuple[Path, ...]:
    upright = [file for file in files if "italic" not in file.stem.lower()] or files
    return tuple(sorted(upright, key=lambda file: (measure(file).stroke, file.name)))

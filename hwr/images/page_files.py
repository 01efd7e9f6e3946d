"""Pages of images, multi-page TIFF and PDF as upright grey (H, W), dark ink on light paper."""

import math
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from hwr.errors import InputError
from hwr.images.load import (
    WHITE,
    GreyImage,
    check_size,
    decode_image,
    doubtful_orientation,
    is_turned,
    open_image,
)

_POINTS = 72  # of a PDF, to the inch
_PDFIUM = Lock()  # PDFium bears one thread at a time
_SUBFILE = 254  # TIFF 6.0, NewSubfileType: bit 0 a smaller copy of another picture, bit 2 a mask
_NO_PAGE = 0b101

# Polarity is seen at about 600 px a page side, where a stroke is 1 or 2 px wide and a line under 15 high.
_GLANCE_PX = 360_000
_AROUND_PX = 15
_DARK = 128


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How pages are loaded.

    Those of more than `max_pixels` are refused before they are decoded, and larger ones than `working_pixels`
    reduced. A PDF page is drawn at `pdf_dpi` dots to the inch; without it PDF is refused.
    """

    max_pixels: int
    working_pixels: int
    pdf_dpi: int | None = None


def count_pages(path: Path) -> int:
    """Return the number of pages in a file: those of a multi-page TIFF or a PDF; 1 for other images.

    Raise InputError when the file is missing, damaged, or neither image nor PDF.
    """
    if _is_pdf(path):
        with _pdf(path) as document:
            return len(document)
    with _picture(path) as image:
        return len(_frames(image))


def load_page(path: Path, loading: Loading, number: int = 1) -> GreyImage:
    """Return page `number`, from 1, of a file as upright grey (H, W); whatever reads pages loads them so.

    Larger pages are reduced by averaging over areas. A page that is light on dark is inverted. Raise
    InputError when there is no such page, or when it cannot be read or is too large.
    """
    if _is_pdf(path):
        with _pdf(path) as document:
            _check_number(path, number, len(document))
            page = _drawn(path, document[number - 1], loading)
    else:
        with _page(path, number) as image:
            check_size(path, image.size, loading.max_pixels)
            page = decode_image(path, image, least=_fitted(image.size, loading.working_pixels))
    return _dark_on_light(_reduced(page, loading.working_pixels))


def upright_size(path: Path, number: int = 1, *, pdf_dpi: int | None = None) -> tuple[int, int]:
    """Return the (height, width) in px of page `number`, from 1, as shown, before it is reduced."""
    if _is_pdf(path):
        with _pdf(path) as document:
            _check_number(path, number, len(document))
            width, height = _pixels(document[number - 1], _dpi(path, pdf_dpi))
            return height, width
    with _page(path, number) as image:
        return _shown_size(image)


def page_header(path: Path, number: int = 1) -> tuple[int, int, str, int]:
    """Return `upright_size` and `orientation_doubt` of a page, and `count_pages`, of a file opened once.

    Raise InputError as they do, and for a PDF.
    """
    if _is_pdf(path):
        upright_size(path)  # which refuses it
    with _picture(path) as image:
        frames = _frames(image)
        _check_number(path, number, len(frames))
        image.seek(frames[number - 1])
        return *_shown_size(image), doubtful_orientation(image), len(frames)


def orientation_doubt(path: Path, number: int = 1) -> str:
    """Return what EXIF does to page `number`, from 1, where that is often wrong: it may be upside down."""
    if _is_pdf(path):
        return ""
    with _page(path, number) as image:
        return doubtful_orientation(image)


def unread_pictures(path: Path) -> int:
    """Return how many pictures of a file are no pages: frames of an animation, more photos in a HEIC.

    Those of a TIFF or a JPEG are copies, masks, previews and depths, and none is missed.
    """
    if _is_pdf(path):
        return 0
    with _picture(path) as image:
        copies = isinstance(image, TiffImageFile) or image.format in ("JPEG", "MPO")
        return 0 if copies else getattr(image, "n_frames", 1) - 1


def reduced_size(size: tuple[int, int], working_pixels: int) -> tuple[int, int]:
    """Return the (height, width) in px that `load_page` reduces a page of `size` to."""
    width, height = _fitted((size[1], size[0]), working_pixels)
    return height, width


def _check_number(path: Path, number: int, pages: int) -> None:
    if not 1 <= number <= pages:
        raise InputError(f"{path}: there is no page {number}; its pages run from 1 to {pages}")


# Images


@contextmanager
def _picture(path: Path) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's: max_pixels bounds the size, damage shows in decoding
        with open_image(path) as image:
            yield image


@contextmanager
def _page(path: Path, number: int) -> Iterator[Image.Image]:
    """Open page `number`, from 1, of an image file."""
    with _picture(path) as image:
        frames = _frames(image)
        _check_number(path, number, len(frames))
        image.seek(frames[number - 1])
        yield image


def _shown_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (width, height) if is_turned(image) else (height, width)


def _frames(image: Image.Image) -> list[int]:
    """Return which pictures of a file are pages: of a TIFF all but smaller copies and masks, else the first.

    A JPEG's further pictures are previews and depths, those of a WebP, PNG or GIF an animation.
    """
    if not isinstance(image, TiffImageFile):
        return [image.tell()]  # in a HEIC the main picture need not be the first
    pages = []
    for frame in range(image.n_frames):
        image.seek(frame)
        if not image.tag_v2.get(_SUBFILE, 0) & _NO_PAGE:
            pages.append(frame)
    return pages or list(range(image.n_frames))


def _fitted(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Return `size` (width, height) px, or the largest of like aspect that has at most `pixels`."""
    scale = min(1.0, math.sqrt(pixels / (size[0] * size[1])))
    width = max(1, int(size[0] * scale))
    height = max(1, min(int(size[1] * scale), pixels // width))
    return max(1, min(width, pixels // height)), height  # a side of 1 px leaves the other all the pixels


def _reduced(page: GreyImage, pixels: int) -> GreyImage:
    size = (page.shape[1], page.shape[0])
    fitted = _fitted(size, pixels)
    if fitted == size:
        return page
    return np.asarray(cv2.resize(page, fitted, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _dark_on_light(page: GreyImage) -> GreyImage:
    """Invert a page of which three quarters are dark, and on which no dark strokes stand out.

    So a letter photographed on a dark table stays as it is: its paper is light, and if that is little of the
    picture, its writing is darker than what surrounds it. A page black all over becomes blank paper.
    """
    seen = _reduced(page, _GLANCE_PX)
    if np.percentile(seen, 75) >= _DARK:
        return page
    around = cv2.medianBlur(seen, _AROUND_PX)
    darker, lighter = cv2.subtract(around, seen), cv2.subtract(seen, around)  # uint8, at least 0
    if int(darker.sum()) > int(lighter.sum()):
        return page
    return np.asarray(WHITE - page, dtype=np.uint8)


# PDF


def _is_pdf(path: Path) -> bool:
    """Tell whether a file has a PDF's mark where readers look for it, in its first 1024 bytes."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            return False
        with path.open("rb") as file:
            return b"%PDF-" in file.read(1024)
    except OSError:
        return False  # opening it as an image says what is wrong


@contextmanager
def _pdf(path: Path) -> Iterator[Any]:
    """Open a PDF that has pages, while no other thread works with PDFium."""
    try:
        import pypdfium2
    except ImportError:
        raise InputError(f"{path}: reading PDF needs pypdfium2; pip install pypdfium2") from None
    try:
        with _PDFIUM, closing(pypdfium2.PdfDocument(path)) as document:
            yield document
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise InputError(f"{path}: the PDF asks for a password; save it without one") from None
        raise InputError(f"{path}: a PDF that is damaged or has no pages ({error}); save it anew") from None


def _dpi(path: Path, pdf_dpi: int | None) -> int:
    if pdf_dpi is None:
        raise InputError(f"{path}: a PDF is no image of a data set; save its pages as PNG or TIFF")
    return pdf_dpi


def _drawn(path: Path, page: Any, loading: Loading) -> GreyImage:
    """Draw a page of a PDF at `dpi`, or so that it has `working_pixels`; refuse it above `max_pixels`.

    Drawn small, pictures are averaged and outlines smoothed: nothing larger than the result is held.
    """
    points, dpi = _points(page), _dpi(path, loading.pdf_dpi)
    width, height = _pixels(page, dpi)
    if width * height > loading.max_pixels:
        raise InputError(
            f"{path}: at pdf_dpi={dpi} the page has {width} x {height} pixels, "
            f"more than max_pixels={loading.max_pixels}; lower pdf_dpi or raise max_pixels"
        )
    fitted = _fitted((width, height), loading.working_pixels)
    # PDFium's sides are rounded up: a hair less keeps them from being one more.
    scale = min(fitted[0] / points[0], fitted[1] / points[1]) * (1 - 1e-9)
    with closing(page.render(scale=scale, grayscale=True)) as bitmap:
        return np.array(bitmap.to_numpy(), dtype=np.uint8)  # a copy: the bitmap's memory goes with it


def _points(page: Any) -> tuple[float, float]:
    """Return width and height of a page of a PDF, turned as shown."""
    width, height = page.get_size()
    return max(float(width), 1.0), max(float(height), 1.0)


def _pixels(page: Any, dpi: int) -> tuple[int, int]:
    """Return width and height in px of a page of a PDF at `dpi`."""
    width, height = (math.ceil(side * dpi / _POINTS) for side in _points(page))
    return width, height

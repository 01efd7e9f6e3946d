"""Grey images as uint8 (H, W): load them safely; knows no data format."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from hwr.errors import InputError

GreyImage = NDArray[np.uint8]

WHITE = 255
_STRIP_PX = 4_000_000  # turned grey at a time: on the way Pillow takes up to twelve bytes a pixel

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
# What Pillow's decoders raise on truncated or malicious bytes.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# Array operations that undo each EXIF orientation (Exif 2.32, tag 0x0112); 1 is upright.
_UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: a.T[:, ::-1],
    7: lambda a: a.T[::-1, ::-1],
    8: lambda a: a.T[::-1],
}


_TURNED = (5, 6, 7, 8)  # of them, those that exchange the sides


def load_image(path: Path, *, max_pixels: int) -> GreyImage:
    """Read an image file as upright grey (H, W), alpha over white, 16 bits cut to 8.

    The size is taken from the header, before any pixel is decoded. Raise InputError when the file is missing,
    not an image, truncated, or larger than `max_pixels`.
    """
    with open_image(path) as image:
        check_size(path, image.size, max_pixels)
        return decode_image(path, image, least=None)


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image file by its header alone; what Pillow raises while it is open becomes an InputError."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            yield image
    except FileNotFoundError:
        raise InputError(f"{path}: no such image; restore the file or leave its page out") from None
    except (PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnidentifiedImageError:
        raise InputError(
            f"{path}: not a PNG, JPEG, TIFF, WebP or BMP image; convert it or leave its page out"
        ) from None
    except _BOMB:
        raise InputError(f"{path}: the image is too large to decode safely; scale it down") from None
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(
            f"{path}: damaged image ({_one_line(error)}); restore the file or leave its page out"
        ) from None


def check_size(path: Path, size: tuple[int, int], max_pixels: int) -> None:
    """Raise InputError when an image of `size` (width, height) px has more than `max_pixels`."""
    width, height = size
    if width * height > max_pixels:
        raise InputError(
            f"{path}: {width} x {height} pixels are more than max_pixels={max_pixels}; "
            "scale the image down or raise max_pixels"
        )


def is_turned(image: Image.Image) -> bool:
    """Tell whether an opened image is shown with its sides exchanged."""
    return _orientation(image) in _TURNED


def decode_image(path: Path, image: Image.Image, *, least: tuple[int, int] | None) -> GreyImage:
    """Return an opened image as upright grey (H, W), alpha over white, 16 bits cut to 8.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is not below `least` (width, height) px.
    """
    kind = image.format or "image"
    image.draft("L", least)  # a JPEG then decodes its luma alone; other formats ignore this
    try:
        image.load()
    except _BOMB:
        raise
    except _DAMAGE:
        raise InputError(
            f"{path}: truncated or damaged {kind}; restore the file or leave its page out"
        ) from None
    turn = _UPRIGHT.get(_orientation(image))
    grey = _grey(path, image)
    return np.ascontiguousarray(turn(grey) if turn else grey)


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _grey(path: Path, image: Image.Image) -> GreyImage:
    if image.mode == "F":
        raise InputError(
            f"{path}: floating-point pixels have no known white; save the image with 8 or 16 bits"
        )
    if image.mode.startswith("I"):  # Pillow's 16-bit modes: I;16, I;16B, and I for older PNG
        return np.clip(np.asarray(image) >> 8, 0, WHITE).astype(np.uint8)
    grey = np.empty((image.height, image.width), dtype=np.uint8)
    rows = max(1, _STRIP_PX // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        grey[top:bottom] = _strip(image.crop((0, top, image.width, bottom)))
    return grey


def _strip(image: Image.Image) -> GreyImage:
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (WHITE, WHITE, WHITE, WHITE))
        image = Image.alpha_composite(white, rgba)
    elif image.mode in ("LAB", "HSV"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"), dtype=np.uint8)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

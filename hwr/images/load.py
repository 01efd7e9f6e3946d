"""Grey images as uint8 (H, W): open and decode image files safely; knows no data format."""

import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from hwr.errors import InputError

GreyImage = NDArray[np.uint8]

# Names of image files, the more usual first.
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".jpe", ".jfif", ".gif", ".jp2", ".j2k",
    ".jpx", ".pbm", ".pgm", ".ppm", ".pnm", ".avif", ".heic", ".heif",
)  # fmt: skip
WHITE = 255
_STRIP_PX = 4_000_000  # turned grey at a time: on the way Pillow takes up to twelve bytes a pixel
_DARK = 128  # deep colour none of which is lighter holds less than its depth: Pillow keeps the upper 8 bits
PngImagePlugin.MAX_TEXT_CHUNK = 64 << 20  # bytes: Photoshop describes a picture in more than a mebibyte

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "JPEG2000", "PPM", "AVIF")
_DEEP = ("PNG", "TIFF")  # may have 16 bits a channel
_READ = "PNG, JPEG, TIFF, WebP, BMP, GIF, JPEG 2000, PNM, AVIF, HEIC"
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")  # brands of ISO/IEC 23008-12
# What Pillow's decoders raise on truncated or malicious bytes.
_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, RuntimeError,
    struct.error, zlib.error,
)  # fmt: skip
_FORMAT_TAG = 339  # TIFF 6.0, SampleFormat: 1 unsigned, 2 signed, 3 floating
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
_DOUBTFUL = {3: "turns it by 180 degrees", **dict.fromkeys((2, 4, 5, 7), "mirrors it")}  # and seldom mean it


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image file by its header alone; what Pillow raises while it is open becomes an InputError."""
    try:
        with _opened(path) as image:
            yield image
    except FileNotFoundError:
        raise InputError(f"{path}: no such image; restore the file or leave its page out") from None
    except UnidentifiedImageError:
        raise InputError(
            f"{path}: damaged, or no image of a kind that is read ({_READ}); convert it or leave its page out"
        ) from None
    except _BOMB:
        raise InputError(f"{path}: the image is too large to decode safely; scale it down") from None
    except InputError:
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(
                f"{path}: cannot be read ({error.strerror}); allow it or leave its page out"
            ) from None
        damage = f"damaged image ({' '.join(str(error).split()) or type(error).__name__})"
        raise InputError(f"{path}: {damage}; restore the file or leave its page out") from None


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
    return orientation(image) in _TURNED


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened image, 1 to 8; 1 is upright, 3 turned by 180 degrees."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif", "xmp"} & image.info.keys():
        return 1  # asked for tags that a PNG has not, Pillow decodes it to look behind its pixels
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def doubtful_orientation(image: Image.Image) -> str:
    """Return what the EXIF orientation of an opened image does where scanners and phones often err; or ""."""
    number = orientation(image)
    return f"EXIF orientation {number} {_DOUBTFUL[number]}" if number in _DOUBTFUL else ""


def decode_image(path: Path, image: Image.Image, *, least: tuple[int, int] | None) -> GreyImage:
    """Return an opened image as upright grey (H, W), alpha over white.

    Deep pixels are scaled by what they hold: the white of 10 bits in 16 is that of 10 bits. A JPEG is decoded
    at 1/2, 1/4 or 1/8 of its size where that is not below `least` (width, height) px.
    """
    kind = image.format or "image"
    image.draft("L", least)  # a JPEG then decodes its luma alone; other formats ignore this
    try:
        image.load()
    except _BOMB:
        raise
    except _DAMAGE:
        remedy = "restore the file or leave its page out"
        raise InputError(f"{path}: truncated or damaged {kind}; {remedy}") from None
    turn = _UPRIGHT.get(orientation(image))
    grey = _grey(path, image)
    return np.ascontiguousarray(turn(grey) if turn else grey)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever
        raise InputError(f"{path}: not a file; give an image")
    Image.init()
    known = [name for name in _FORMATS if name in Image.OPEN]  # an older Pillow has no AVIF
    with Image.open(path, formats=[*known, *_heic(path)]) as image:
        yield image


def _heic(path: Path) -> list[str]:
    """Return the name of the format of a HEIC file, registered with Pillow; nothing for other files."""
    with path.open("rb") as file:
        head = file.read(64)
    if head[4:8] != b"ftyp" or not any(brand in head for brand in _HEIC):
        return []
    try:
        import pi_heif
    except ImportError:
        remedy = "pip install pi-heif, or convert the image"
        raise InputError(f"{path}: reading HEIC needs pi-heif; {remedy}") from None
    pi_heif.register_heif_opener()
    return ["HEIF"]


def _grey(path: Path, image: Image.Image) -> GreyImage:
    if image.mode == "F" or image.mode.startswith("I"):  # I;16, I;16B, I
        return _levels(path, _samples(image))
    if image.format in _DEEP and image.mode in ("RGB", "RGBA"):
        lightest = np.asarray(image.getextrema())[:3, 1].max()
        if lightest < _DARK and (deep := _deep_colour(path, image.tell())) is not None:
            return _levels(path, deep)
    grey = np.empty((image.height, image.width), dtype=np.uint8)
    rows = max(1, _STRIP_PX // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        grey[top:bottom] = _strip(image.crop((0, top, image.width, bottom)))
    return grey * np.uint8(WHITE) if grey.max() == 1 else grey  # a mask of 0 and 1


def _samples(image: Image.Image) -> NDArray[Any]:
    """Return the pixels (H, W) of an image of one deep channel; transparent ones as the lightest."""
    values = np.asarray(image)
    if image.mode == "I" and isinstance(image, TiffImageFile) and image.tag_v2.get(_FORMAT_TAG, (1,)) == (1,):
        values = values.view(np.uint32)  # Pillow knows no unsigned numbers
    clear = image.info.get("transparency")
    return np.where(values == clear, values.max(), values) if isinstance(clear, int) else values


def _deep_colour(path: Path, frame: int) -> NDArray[Any] | None:
    """Return a colour picture that has more than 8 bits a channel as deep grey (H, W), clear pixels white."""
    file = np.frombuffer(path.read_bytes(), np.uint8)
    _, found = cv2.imdecodemulti(file, cv2.IMREAD_UNCHANGED, range=(frame, frame + 1))
    if not found or found[0].dtype == np.uint8 or found[0].ndim != 3:
        return None
    grey = np.asarray(cv2.cvtColor(found[0], cv2.COLOR_BGR2GRAY))
    clear = found[0][:, :, 3:].min(axis=2, initial=1) == 0
    return np.where(clear, max(int(grey.max()), 1), grey)


def _levels(path: Path, values: NDArray[Any]) -> GreyImage:
    """Return values (H, W) of any depth as grey: white is the largest number of as many bits as they take.

    Of fractions it is 1. What is below 0 moves all others up; what is no number is white.
    """
    held = values[np.isfinite(values)]
    if not len(held):
        raise InputError(f"{path}: the image holds no number; save it with 8 or 16 bits")
    low, high = min(float(held.min()), 0.0), float(held.max())
    fractions = values.dtype.kind == "f" and high - low < 2
    white = 1.0 if fractions else 2.0 ** int(high - low).bit_length() - 1
    grey = np.empty(values.shape, dtype=np.uint8)
    rows = max(1, _STRIP_PX // values.shape[1])
    for top in range(0, len(values), rows):
        part = values[top : top + rows].astype(np.float64)
        scaled = (np.where(np.isfinite(part), part, high) - low) * (WHITE / max(white, 1.0))
        grey[top : top + rows] = np.rint(scaled.clip(0, WHITE))
    return grey


def _strip(image: Image.Image) -> GreyImage:
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (WHITE, WHITE, WHITE, WHITE))
        image = Image.alpha_composite(white, rgba)
    elif image.mode in ("LAB", "HSV"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"), dtype=np.uint8)

"""Files of a data set, read safely: folders, images and tables, none outside the root."""

import csv
import io
import struct
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

from hwr.errors import InputError
from hwr.files import read_text

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
# What Pillow's readers of headers raise on damaged bytes.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, struct.error)
_EXIF_TURNED = (5, 6, 7, 8)  # orientations whose width is the stored height


def existing_folder(folder: str | Path) -> Path:
    """Return `folder` as an absolute path; raise InputError when it is no folder."""
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        reason = "is a file, not a folder" if path.exists() else "does not exist"
        raise InputError(f"data folder {path} {reason}; set data.root to a folder that does")
    return path


def path_inside(root: Path, name: str | Path) -> Path:
    """Return `name`, from `root` when relative, resolved; raise InputError when it lies outside `root`.

    Links are followed before the check, so a link that points outside is refused as well.
    """
    path = root / name
    try:
        path = path.resolve()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # for the caller to say what is missing
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name too long, no name at all
        raise InputError(f"path {str(name)[:80]!r} cannot be followed ({error}); correct it") from None
    if not path.is_relative_to(root.resolve()):
        raise InputError(f"path {str(name)!r} leads outside the data folder {root}; move the file into it")
    return path


def find_image(description: Path, root: Path, named: str = "") -> Path:
    """Return the image that `description` (an XML file in `root`) describes.

    It is the file `named` there, or one of that name or of the description's stem beside the description, in
    the folder above it, or in `root`. Raise InputError when there is none, or when it lies outside `root`.
    """
    try:
        for candidate in _candidates(description, root, named):
            image = path_inside(root, candidate)
            if image.is_file():
                return image
    except InputError as error:
        raise InputError(f"{description}: {error}") from None
    wanted = named or f"{description.stem}{{{','.join(IMAGE_SUFFIXES)}}}"
    raise InputError(f"{description}: its image {wanted} is missing; put it beside the XML or remove the XML")


def image_size(image: Path) -> tuple[int, int]:
    """Return the (height, width) of an image as shown, from its header; raise InputError when it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # here no pixel is decoded
            with Image.open(image) as opened:
                width, height = opened.size
                # Asked for tags that a PNG has not, Pillow decodes it to look behind its pixels.
                tagged = opened.format != "PNG" or "exif" in opened.info
                turned = tagged and opened.getexif().get(ExifTags.Base.Orientation) in _EXIF_TURNED
    except FileNotFoundError:
        raise InputError(f"{image}: no such image; restore the file or leave its page out") from None
    except UnidentifiedImageError:
        raise InputError(f"{image}: not an image; restore the file or leave its page out") from None
    except Image.DecompressionBombError:
        raise InputError(f"{image}: the image is too large to open safely; scale it down") from None
    except _DAMAGE as error:
        raise InputError(
            f"{image}: damaged image ({error}); restore the file or leave its page out"
        ) from None
    return (width, height) if turned else (height, width)


def _candidates(description: Path, root: Path, named: str) -> Iterable[Path]:
    folders = [f for f in (description.parent, description.parent.parent, root) if f.is_relative_to(root)]
    if named:
        yield description.parent / named
        yield from (folder / Path(named).name for folder in folders)
    for folder in folders:
        for suffix in IMAGE_SUFFIXES:
            yield folder / f"{description.stem}{suffix}"
            yield folder / f"{description.stem}{suffix.upper()}"


def table_rows(
    path: Path, columns: Sequence[str], required: Sequence[str]
) -> list[tuple[str, dict[str, str]]]:
    """Return (place, row) for every row, place being the file and line for messages.

    A first row that names the `required` columns is a header, in any order and beside others; without one the
    columns stand in the order of `columns`. Fields are stripped; a `.tsv` has no quotation marks. Raise
    InputError for a file that is no such table, has no row, or lacks a required field.
    """
    found = _cells(path)
    header = [name.lower() for name in found[0][1]] if found else []
    if set(required) <= set(header):
        del found[0]
    else:
        header = list(columns)
    if not found:
        raise InputError(f"{path} holds no row; write {path.suffix[1:].upper()} with {', '.join(columns)}")
    return [(place, _row(cells, header, required, place)) for place, cells in found]


def _row(cells: Sequence[str], header: Sequence[str], required: Sequence[str], place: str) -> dict[str, str]:
    row = dict(zip(header, cells, strict=False))
    if len(cells) > len(header) or any(name not in row for name in required):
        raise InputError(f"{place}: expected {', '.join(header)}; found {len(cells)} field(s): {cells}")
    return row


def _cells(path: Path) -> list[tuple[str, list[str]]]:
    text = read_text(path)
    lines = io.StringIO(text, newline="")
    if path.suffix.lower() == ".tsv":
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, delimiter=_delimiter(text.partition("\n")[0]))
    try:
        found = [(f"{path}, line {reader.line_num}", [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; write it as plain CSV or TSV") from None
    return [(place, cells) for place, cells in found if any(cells)]


def _delimiter(first_line: str) -> str:
    """Return the comma, or where there is none what office programs write for it."""
    return next((mark for mark in ",;\t" if mark in first_line), ",")

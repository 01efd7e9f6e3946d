"""Small images of many lines in one file, to show lines without their pages."""

import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from hwr.errors import InputError
from hwr.files import as_input_error, replacing, scratch_folder
from hwr.images.load import GreyImage, check_size, decode_image, open_image

NAME = "lines.zip"
_FORMAT, _QUALITY = "WEBP", 40  # 3.5 KB for a line 48 px high and 700 px wide; as JPEG it takes a third more
_MOST_PIXELS = 20_000_000
_WRITTEN = (1980, 1, 1, 0, 0, 0)  # the same pictures give the same bytes, whenever they are written


def save_lines(path: Path, lines: Iterable[GreyImage], *, height: int) -> None:
    """Write grey lines (h, w), scaled down to `height` px, never up, under their numbers from 0."""
    failing = as_input_error(path, "name another file")
    with failing, replacing(path) as fresh, zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as file:
        for number, line in enumerate(lines):
            file.writestr(zipfile.ZipInfo(_name(number), _WRITTEN), _encoded(line, height))


def load_lines(path: Path, numbers: Sequence[int]) -> list[GreyImage]:
    """Return the lines of these numbers; raise InputError where the file is damaged or lacks one."""
    try:
        with zipfile.ZipFile(path) as file, scratch_folder() as scratch:
            lines = []
            for path in (Path(file.extract(_name(number), scratch)) for number in numbers):
                with open_image(path) as image:
                    check_size(path, image.size, _MOST_PIXELS)
                    lines.append(decode_image(path, image, least=None))
            return lines
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: no pictures of these lines ({error}); evaluate anew") from None


def _name(number: int) -> str:
    return f"{number:06d}.webp"


def _encoded(line: GreyImage, height: int) -> bytes:
    picture = Image.fromarray(line)
    if picture.height > height:
        width = max(1, round(picture.width * height / picture.height))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    picture.save(written, _FORMAT, quality=_QUALITY)
    return written.getvalue()

"""A folder of page images with the ALTO of each beside it, which is all that is kept of the work on them."""

import os
import re
import shutil
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from hwr.data.sources import PageImages, path_inside
from hwr.errors import InputError, first_line, printable
from hwr.files import as_input_error, make_folder, replacing
from hwr.images import page_files
from hwr.images.load import GreyImage
from hwr.images.page_files import Loading
from hwr.layout.orientation import turned_image
from hwr.pictures import png
from hwr.serving.answers import Refused
from hwr.transcription import ReadPage
from hwr.transcription.correction import from_alto
from hwr.transcription.export import OVERLAY, to_alto
from hwr.transcription.files import SUFFIXES, PageOfFile

ALTO, OTHER_ALTO = ".alto.xml", ".xml"  # as `hwr transcribe` and as others name it
KEPT = ".before"  # added to the name of an ALTO file of another program, which is kept as it was
# Kept as they are.
_SHOWN = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".jp2", ".avif")
_NAME_BYTES = 120
_ALTO, _OWN = re.compile(rb"<(\w+:)?alto\b"), b"<softwareName>hwr</softwareName>"


@dataclass(frozen=True)
class KeptPage:
    """A page of the folder: `upright` as it was read, turned by `turn`, and the ALTO file that holds it."""

    upright: ReadPage
    turn: int
    path: Path


@dataclass(frozen=True)
class Glance:
    """What the list of pages tells of one: how many lines, how many of them corrected, and their text.

    `taught` are the corrected lines that say something: from the others nothing is learnt.
    """

    lines: int
    corrected: int
    text: str
    taught: tuple[str, ...]


class PageFolder:
    """The pages of a folder. Nothing outside of it is read or written, and nothing in it is removed."""

    def __init__(self, root: Path, loading: Loading) -> None:
        make_folder(root)
        self.root, self.loading = root.resolve(), loading
        self._lock = threading.RLock()

    def pages(self) -> dict[str, Path]:
        """Return the images and PDFs of the folder by the names of their pages: the stems, where unique."""
        files = [path for path in sorted(self.root.iterdir()) if self._is_page(path)]
        stems = Counter(path.stem for path in files)
        return {printable(path.stem if stems[path.stem] == 1 else path.name): path for path in files}

    def image(self, name: str) -> Path:
        """Return the image of a page; Refused where there is none."""
        try:
            return self.pages()[name]
        except KeyError:
            raise Refused(404, f"{name}: no such page in the folder; look at the list of pages") from None

    def alto(self, name: str, image: Path) -> Path | None:
        """Return the ALTO file of a page; of two images with one stem, that which names this one."""
        for own in dict.fromkeys((name, image.stem, image.name)):
            for path in (path_inside(self.root, f"{own}{end}") for end in (ALTO, OTHER_ALTO)):
                if not path.is_file() or not _ALTO.search(head := path.read_bytes()[:4096]):
                    continue
                if own in (name, image.name) or f">{image.name}<".encode() in head:
                    return path
        return None

    def load(self, name: str) -> KeptPage | None:
        """Return a page as its ALTO holds it; None for one that was not read yet."""
        path = self.alto(name, self.image(name))
        return None if path is None else _loaded(self.root, path, name, _version(path))

    def load_read(self, name: str) -> KeptPage:
        """Return a page as `load` does; Refused for one that was not read yet."""
        if (kept := self.load(name)) is None:
            raise Refused(409, f"{name}: not read yet; wait until it is")
        return kept

    def glance(self, name: str, image: Path) -> Glance | None:
        """Return what the list of pages tells of one; None for one that was not read yet."""
        path = self.alto(name, image)
        return None if path is None else _glance(self.root, path, name, _version(path))

    def taught(self) -> Iterator[str]:
        """Yield the texts of corrected lines; pages that cannot be read have none."""
        for name, image in self.pages().items():
            with suppress(InputError):
                glance = self.glance(name, image)
                yield from () if glance is None else glance.taught

    def without_root(self, error: Exception) -> str:
        """Return the first line of an error with files named from the folder on."""
        return first_line(error).replace(f"{self.root}/", "")

    def save(self, name: str, stored: ReadPage) -> None:
        """Write the ALTO of a page, for good; one of another program is kept beside it as it was."""
        image = self.image(name)
        path = self.alto(name, image) or self.root / f"{name}{ALTO}"
        with as_input_error(path, "make room, or allow it"), self._lock:
            before = path.with_name(path.name + KEPT)
            if path.exists() and not before.exists() and _OWN not in path.read_bytes()[:4096]:
                shutil.copyfile(path, before)
            text = to_alto(replace(stored, image=image.name))
            with replacing(path, durable=True) as fresh:
                fresh.write_text(text, encoding="utf-8", newline="\n")

    def change(self, name: str, change: Callable[[ReadPage], ReadPage]) -> KeptPage:
        """Change what is written on a page; Refused for one that was not read yet."""
        with self._lock:
            kept = self.load_read(name)
            self.save(name, change(kept.upright).as_stored(kept.turn))
            return self.load_read(name)

    def add(self, file: Path, given: str, max_pages: int) -> list[str]:
        """Put a file that was sent into the folder, and return the names of its pages.

        Pages of a PDF, or of a file that holds several, become a PNG each. InputError for what is no image.
        """
        count = page_files.count_pages(file)
        if count > max_pages:
            raise InputError(
                f"{given}: holds {count} pages, more than max_pages={max_pages}; send a part of it"
            )
        path = PurePosixPath(safe_name(given))
        suffix = path.suffix.lower()
        stem = path.stem if suffix in SUFFIXES else path.name
        stem = os.fsencode(stem)[:_NAME_BYTES].decode(errors="ignore").strip(" .") or "page"
        if count == 1 and suffix in _SHOWN:
            page_files.load_page(file, self.loading)  # else it would be refused only later
            return [self._placed(stem, suffix, lambda fresh: shutil.copyfile(file, fresh))]
        pages = [PageOfFile(Path(f"{stem}.pdf"), number, count) for number in range(1, count + 1)]
        return [self._drawn(file, page) for page in pages]

    def picture(self, name: str, turn: int, width: int) -> bytes:
        """Return the picture of a page for a browser as JPEG, turned clockwise, at most `width` px wide."""
        image = turned_image(page_files.load_page(self.image(name), self.loading), turn)
        if image.shape[1] > width:
            size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())

    def _drawn(self, file: Path, page: PageOfFile) -> str:
        image: GreyImage = page_files.load_page(file, self.loading, page.number)
        return self._placed(page.name, ".png", lambda fresh: fresh.write_bytes(png(image)))

    def _placed(self, stem: str, suffix: str, write: Callable[[Path], object]) -> str:
        """Write an image under a name that is free."""
        with self._lock:
            taken = {unicodedata.normalize("NFC", path.name).casefold() for path in self.root.iterdir()}
            number, name = 1, stem
            while any(f"{name}{end}".casefold() in taken for end in (*SUFFIXES, ALTO, OTHER_ALTO)):
                number += 1
                name = f"{stem}-{number}"
            path = self.root / f"{name}{suffix}"
            with as_input_error(path, "make room, or allow it"), replacing(path, durable=True) as fresh:
                write(fresh)
        return name

    def _is_page(self, path: Path) -> bool:
        hidden = path.name.startswith(".") or path.name.endswith(OVERLAY)
        if hidden or path.suffix.lower() not in SUFFIXES or not path.is_file():
            return False
        return path.resolve().is_relative_to(self.root)


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=10_000)
def _glance(root: Path, path: Path, name: str, version: tuple[int, int]) -> Glance:
    lines = _loaded(root, path, name, version).upright.lines
    corrected = [line.text for line in lines if line.corrected]
    text = "\n".join(line.text for line in lines)
    return Glance(len(lines), len(corrected), text, tuple(filter(None, corrected)))


@lru_cache(maxsize=32)
def _loaded(root: Path, path: Path, name: str, version: tuple[int, int]) -> KeptPage:
    stored = from_alto(path, PageImages(root))
    return KeptPage(replace(stored.as_read(), name=name), stored.turn, path)


def safe_name(given: str) -> str:
    """Return a file name that was sent with nothing in it that leads elsewhere; "" where nothing is left."""
    name = PurePosixPath(given.replace("\\", "/")).name
    name = "".join(c if c.isalnum() or c in " ._-()+" else "_" for c in unicodedata.normalize("NFC", name))
    return name.strip(" .")[-_NAME_BYTES:]

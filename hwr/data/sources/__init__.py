"""Data sources, a module for each format: what they share, the files of a data set, read safely.

Folders and images are found for what names them; none lies outside the root.
"""

import logging
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from hwr.data.records import Page
from hwr.data.remembered import remembered
from hwr.errors import InputError
from hwr.images.load import IMAGE_SUFFIXES
from hwr.images.page_files import page_header
from hwr.text import common_beginning

T = TypeVar("T")
# Ocropus and Calamari keep grey and black-and-white copies of lines and pages.
_SUFFIXES = (*IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES), ".nrm.png", ".bin.png")
_ELSEWHERE = re.compile(r"[A-Za-z][\w+.-]*:/*|/+")  # a scheme, a drive, the root of a file system or network
_LOG = logging.getLogger(__name__)
OF_MACOS = "of macOS"  # ._NAME and __MACOSX/, which its archives hold beside every file


def existing_folder(folder: str | Path) -> Path:
    """Return `folder` as an absolute path; raise InputError when it is no folder."""
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        reason = "is a file, not a folder" if path.exists() else "does not exist"
        raise InputError(f"data folder {path} {reason}; set data.root to a folder that does")
    return path


def path_inside(root: Path, name: str | Path) -> Path:
    """Return `name`, from `root` when relative, resolved; raise InputError outside `root`, or for no file.

    Links are followed before the check, so a link that points outside is refused as well.
    """
    path = root / name
    try:
        path = path.resolve()
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = stat.S_IFREG  # for the caller to say what is missing
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name too long, no name at all
        raise InputError(f"path {str(name)[:80]!r} cannot be followed ({error}); correct it") from None
    if not path.is_relative_to(root.resolve()):
        raise InputError(f"path {str(name)!r} leads outside the data folder {root}; move the file into it")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(f"path {str(name)!r} is a pipe or device; remove it")  # that waits for ever
    return path


class PageImages:
    """The images in the data folder `root`, found for the files that name them; none lies outside."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._notes: list[str] = []  # on images that were not found as stated
        self._folders: dict[str, str] = {}  # resolved; "" outside the root

    def find(self, folder: Path, stated: str, stems: Sequence[str] = ()) -> Path:
        """Return the image that a file in `folder` calls `stated`.

        The stated path may be that of another machine: the longest end of it is taken that leads to a file
        from `folder` or from one above; else the same with another suffix; else an image of one of the
        `stems`; else a file of that name anywhere in the data folder, in any case and Unicode form. Raise
        InputError when there is none, or one outside the data folder, or several alike.
        """
        if not stated.startswith("/") and (plain := self._plain_file(f"{folder}/{stated}")):
            return Path(plain)
        refused = ""
        for candidate, as_stated in self._candidates(folder, stated, stems):
            try:
                image = path_inside(self.root, candidate)
            except InputError as error:
                refused = refused or str(error)
                continue
            if image.is_file():
                if not as_stated:
                    self._notes.append(f"{stated!r} is {self.name(image)}")
                return image
        wanted = stated or f"{stems[0]}.*"
        raise InputError(refused or f"its image {wanted} is missing; add it, or set data.root higher")

    def find_or_flaw(self, description: Path, stated: str) -> tuple[Path, str]:
        """Return the image that an XML file calls `stated`, or that of its stem; or itself and why not."""
        stems = (description.stem, Path(description.stem).stem)  # of p.jpg.xml or p.alto.xml as well
        try:
            return self.find(description.parent, stated, stems), ""
        except InputError as error:
            return description, f"{description}: {error}"

    def tell(self) -> None:
        """Log once how many images were not found as stated."""
        if self._notes:
            text = "%d image(s) found by name in %s, not where they are said to lie: %s%s"
            _LOG.warning(text, len(self._notes), self.root, self._notes[0], ", …" * (len(self._notes) > 1))

    def inside(self, path: Path) -> Path:
        """Return an absolute path as `path_inside` does."""
        plain = self._plain_file(str(path))
        return Path(plain) if plain else path_inside(self.root, path)

    def name(self, path: Path) -> str:
        """Return the path from the root of a file that was found."""
        return str(path)[len(self._real_root) :].lstrip("/")

    @cached_property
    def _real_root(self) -> str:
        return str(self.root.resolve())

    def _plain_file(self, path: str) -> str:
        """Return the path of a file inside the root, no link, resolved with its folder; "" for all else."""
        folder, _, name = path.rpartition("/")
        if (real := self._folders.get(folder)) is None:
            try:
                real = str(path_inside(self.root, folder))
            except InputError:
                real = ""
            self._folders[folder] = real
        with suppress(OSError, ValueError):
            if real and stat.S_ISREG(os.lstat(f"{real}/{name}").st_mode):
                return f"{real}/{name}"
        return ""

    def _candidates(self, folder: Path, stated: str, stems: Sequence[str]) -> Iterator[tuple[Path, bool]]:
        """Yield the paths where the image may lie, and whether that is what `stated` says."""
        folders = [own for own in (folder, *folder.parents) if own.is_relative_to(self.root)]
        foreign, parts = _path_parts(stated)
        if stated and (not Path(stated).is_absolute() or Path(stated).is_relative_to(self.root)):
            yield folder / stated, True
        ends = [own.joinpath(*parts[start:]) for start in range(len(parts)) for own in folders]
        whole = 0 if foreign else len(folders)  # of the ends
        yield from ((path, n < whole) for n, path in enumerate(ends))
        bare = whole if parts and _stem(parts[-1]) == parts[-1] else 0
        for n, path in enumerate(ends):
            yield from ((path.with_name(f"{_stem(path.name)}{end}"), n < bare) for end in _SUFFIXES)
        for path in (own / stem for stem in dict.fromkeys(stems) for own in folders):
            own_ends = _SUFFIXES if _stem(path.name) == path.name else ("",)
            yield from ((path.with_name(f"{path.name}{end}"), not stated) for end in own_ends)
        if parts:
            yield from ((path, False) for path in self._namesakes(folder, parts))

    def _namesakes(self, folder: Path, parts: Sequence[str]) -> Sequence[Path]:
        """Return the image of the last part's name: of several, whose path ends alike, or the nearest."""
        folded = [_folded(part) for part in parts]

        def likeness(path: Path) -> tuple[int, int]:
            own = [_folded(part) for part in path.relative_to(self.root).parts]
            beside = common_beginning(path.parent.parts, folder.parts)
            return common_beginning(own[::-1], folded[::-1]), beside

        found = self._by_name.get(folded[-1], [])
        best = [path for path in found if likeness(path) == max(map(likeness, found))]
        if len(best) > 1:
            names = ", ".join(str(path.relative_to(self.root)) for path in best[:3])
            raise InputError(f"its image may be any of {names}; say which, or leave one")
        return best

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for entry in entries_below(self.root):
            if _is_image(entry.name) and not is_of_macos(_place(entry, self.root)):
                found.setdefault(_folded(entry.name), []).append(Path(entry.path))
        return found


def tried(paths: Iterable[Path], call: Callable[[Path], T]) -> tuple[dict[Path, T], dict[Path, str]]:
    """Return what `call` returns for each path, and why it refuses the others."""
    results, refused = dict[Path, T](), dict[Path, str]()
    for path in paths:
        try:
            results[path] = call(path)
        except InputError as error:
            refused[path] = str(error)
    return results, refused


def is_of_macos(place: str) -> bool:
    """Tell whether a path within a data folder is one that macOS adds."""
    *folders, name = place.split("/")
    return name.startswith("._") or "__MACOSX" in (*folders, name)


def images_beside(root: Path, pages: Iterable[Page], what: str) -> dict[str, str]:
    """Return the images under `root` that no page has, and the files of macOS, each with what it is."""
    used = {str(page.image) for page in pages}
    real, notes = root.resolve(), {}
    for entry in entries_below(root):
        place = _place(entry, root)
        if is_of_macos(place) and Path(entry).is_file():
            notes[place] = OF_MACOS
        elif _is_image(entry.name):
            linked = entry.is_symlink()
            path = os.path.realpath(entry) if linked else f"{real}/{place}"  # of a loop of links too
            notes |= {} if path in used else {place: what}
    return notes


def size_or_flaw(image: Path, number: int = 1) -> tuple[tuple[int, int], str]:
    """Return the (height, width) of a page of an image as shown, or a pixel and why it cannot be read."""
    try:
        return image_header(image, number)[:2], ""
    except InputError as error:
        return (1, 1), str(error)


def number_in_file(image: Path, stated: str | None) -> int:
    """Return which page of an image file is meant, from 1: the stated one if the file has as many, else 1.

    A file of one page may be stated to be the hundredth of its volume.
    """
    number = int(stated) if stated and stated.isascii() and stated.isdigit() else 1
    try:
        return number if 1 < number <= image_header(image)[3] else 1
    except InputError:
        return 1


def image_header(image: Path, number: int = 1) -> tuple[int, int, str, int]:
    """Return what `page_header` does, from memory where the image has not changed."""
    what = "header" if number == 1 else f"header {number}"
    height, width, doubt, pages = remembered(what, image, partial(page_header, number=number))
    return height, width, doubt, pages


def entries_below(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Yield all that lies in a folder and in those below, in the order of paths; links are not followed."""
    with suppress(PermissionError), os.scandir(folder) as found:
        for entry in sorted(found, key=lambda entry: entry.name):
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from entries_below(entry.path)


def _place(entry: os.DirEntry[str], root: Path) -> str:
    return entry.path[len(str(root)) :].lstrip("/")


def _is_image(name: str) -> bool:
    name = name.lower()
    return name.endswith(IMAGE_SUFFIXES) and name not in IMAGE_SUFFIXES


def _path_parts(stated: str) -> tuple[bool, list[str]]:
    """Return whether a stated path leads elsewhere (absolute, upwards, a URL), and its parts without that."""
    path = stated.replace("\\", "/")
    start = _ELSEWHERE.match(path)
    if start and "://" in start[0]:
        path = unquote(path)
    parts = path[start.end() if start else 0 :].split("/")
    return bool(start) or ".." in parts, [part for part in parts if part not in ("", ".", "..")]


def _stem(name: str) -> str:
    """Return a file name without the suffix of an image."""
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()

"""Files of a data set, read safely: folders and images, none outside the root."""

import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from hwr.data.records import Page
from hwr.errors import InputError
from hwr.images.load import IMAGE_SUFFIXES
from hwr.images.page_files import upright_size

T = TypeVar("T")
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


class PageImages:
    """The images in the data folder `root`, found for the XML files that describe them; none lies outside."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._notes: list[str] = []  # on images that were not found as stated

    def find(self, description: Path, stated: str = "") -> Path:
        """Return the image that `description`, an XML file in the folder, describes and calls `stated`.

        The stated path may be that of another machine: the longest end of it is taken that leads to a file
        from the description's folder or from one above; else the same name with another suffix; else an
        image of the description's own stem; else a file of that name anywhere in the folder, in any case and
        Unicode form. Raise InputError when there is none, or one outside the folder, or several alike.
        """
        refused = ""
        for candidate, as_stated in self._candidates(description, stated):
            try:
                image = path_inside(self.root, candidate)
            except InputError as error:
                refused = refused or str(error)
                continue
            if image.is_file():
                if not as_stated:
                    self._notes.append(f"{description.name} names {stated!r}, {image.name} was read")
                return image
        wanted = stated or f"{description.stem}{{{','.join(IMAGE_SUFFIXES)}}}"
        missing = (
            f"its image {wanted} is missing; put it beside the XML, set data.root higher, or remove the XML"
        )
        raise InputError(f"{description}: {refused or missing}")

    def find_or_flaw(self, description: Path, stated: str) -> tuple[Path, str]:
        """Return the image that `find` finds, or `description` itself and why there is none."""
        try:
            return self.find(description, stated), ""
        except InputError as error:
            return description, str(error)

    def tell(self) -> None:
        """Log once how many images were not found as stated."""
        if self._notes:
            text = "%d image(s) found by name in %s, not where the XML says: %s%s"
            _LOG.warning(text, len(self._notes), self.root, self._notes[0], ", …" * (len(self._notes) > 1))

    def _candidates(self, description: Path, stated: str) -> Iterator[tuple[Path, bool]]:
        """Yield the paths where the image may lie, and whether that is what `stated` says."""
        folders = [folder for folder in description.parents if folder.is_relative_to(self.root)]
        foreign, parts = _path_parts(stated)
        if stated and (not Path(stated).is_absolute() or Path(stated).is_relative_to(self.root)):
            yield description.parent / stated, True
        for start in range(len(parts)):
            for folder in folders:
                yield folder.joinpath(*parts[start:]), not (foreign or start)
        stems = [Path(name).stem for name in (*parts[-1:], description.name)]
        for stem in dict.fromkeys((*stems, Path(stems[-1]).stem)):  # of p.jpg.xml or p.alto.xml as well
            for folder in folders:
                for suffix in ("", *IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES)):
                    if suffix or Path(stem).suffix.lower() in IMAGE_SUFFIXES:
                        yield folder / f"{stem}{suffix}", not stated
        if parts:
            yield from ((path, False) for path in self._namesakes(description, parts))

    def _namesakes(self, description: Path, parts: Sequence[str]) -> Sequence[Path]:
        """Return the image of the last part's name: of several, whose path ends alike, or the nearest."""
        folded = [_folded(part) for part in parts]

        def likeness(path: Path) -> tuple[int, int]:
            own = [_folded(part) for part in path.relative_to(self.root).parts]
            return _alike(own[::-1], folded[::-1]), _alike(path.parent.parts, description.parent.parts)

        found = self._by_name.get(folded[-1], [])
        best = [path for path in found if likeness(path) == max(map(likeness, found))]
        if len(best) > 1:
            names = ", ".join(str(path.relative_to(self.root)) for path in best[:3])
            raise InputError(
                f"{description}: its image may be any of {names}; put the right one beside the XML"
            )
        return best

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in sorted(self.root.rglob("*")):
            if _is_image(path) and not is_of_macos(path.relative_to(self.root)):
                found.setdefault(_folded(path.name), []).append(path)
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


def is_of_macos(path: Path) -> bool:
    """Tell whether a path within a data folder is one that macOS adds."""
    return path.name.startswith("._") or "__MACOSX" in path.parts


def images_beside(root: Path, pages: Iterable[Page], what: str) -> dict[str, str]:
    """Return the images under `root` that no page has, and the files of macOS, each with what it is."""
    used = {page.image for page in pages}
    notes = {}
    for path in sorted(root.rglob("*")):
        place = path.relative_to(root)
        if is_of_macos(place) and path.is_file():
            notes[place.as_posix()] = OF_MACOS
        elif _is_image(path) and path.resolve() not in used:
            notes[place.as_posix()] = what
    return notes


def size_or_flaw(image: Path) -> tuple[tuple[int, int], str]:
    """Return the size of an image, or a pixel and why it cannot be read."""
    try:
        return image_size(image), ""
    except InputError as error:
        return (1, 1), str(error)


def image_size(image: Path) -> tuple[int, int]:
    """Return the (height, width) of an image as shown, from its header; raise InputError when it is none."""
    return upright_size(image)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _path_parts(stated: str) -> tuple[bool, list[str]]:
    """Return whether a stated path leads elsewhere (absolute, upwards, a URL), and its parts without that."""
    path = stated.replace("\\", "/")
    start = _ELSEWHERE.match(path)
    if start and "://" in start[0]:
        path = unquote(path)
    parts = path[start.end() if start else 0 :].split("/")
    return bool(start) or ".." in parts, [part for part in parts if part not in ("", ".", "..")]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _alike(first: Sequence[str], second: Sequence[str]) -> int:
    """Return how many parts two sequences have in common from their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))

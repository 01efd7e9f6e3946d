"""XML that describes pages, read safely: files, coordinates, and what ALTO and PAGE have in common.

XML is read in any namespace: use `{*}name` in paths. Document type definitions are refused, hence also
entity bombs and external entities; nothing is fetched.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree as SafeTree
from defusedxml import DefusedXmlException

from hwr.data.records import Page
from hwr.data.sources.files import PageImages, existing_folder, path_inside
from hwr.data.sources.outlines import with_outlines
from hwr.data.sources.splits import assign_splits
from hwr.errors import InputError
from hwr.images.boxes import Point


@dataclass(frozen=True)
class Sheet:
    """What reading a line needs to know of its page; `size` is (height, width) in the file's own unit."""

    id: str
    path: Path
    size: tuple[float, float]

    def points(self, text: str) -> tuple[Point, ...]:
        """Return points as fractions of the page; raise InputError when they are none."""
        return page_fractions(parse_points(text, self.path), self.size)


def read_pages(
    root: str | Path,
    name: str,
    page: Callable[[str, Path, Element, PageImages], Page],
    *,
    splits: str | None,
    shares: Sequence[float],
    seed: int,
) -> list[Page]:
    """Return the pages of all files under `root` whose root element is `name`, in the order of their paths.

    `page` makes one of its id, path, root element, and the images of the folder; lines
    without outline get one: see `with_outlines`. `splits`, `shares` and
    `seed` determine writer and split of a page: see `assign_splits`. Raise InputError when there is no such
    file, when one is damaged, or when its image is missing or outside `root`.
    """
    root = existing_folder(root)
    images = PageImages(root)
    pages = [page(id_, path, tree, images) for id_, path, tree in xml_documents(root, name)]
    images.tell()
    pages = [replace(page, lines=tuple(with_outlines(page.lines, page.size))) for page in pages]
    return assign_splits(pages, root, splits=splits, shares=shares, seed=seed)


_FORMATS = {"alto": "alto", "PcGts": "pagexml", "form": "iam"}  # root element -> data source


def parse_xml(path: Path) -> Element:
    """Return the root element of an XML file; raise InputError when it is damaged or carries a DTD."""
    with _refusing(path):
        root: Element = SafeTree.fromstring(path.read_bytes(), forbid_dtd=True)
    return root


def local_name(element: Element) -> str:
    """Return the element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def xml_documents(folder: Path, name: str) -> Iterator[tuple[str, Path, Element]]:
    """Yield page id, path and root element of every XML file under `folder` whose root element is `name`.

    Other formats (METS, metadata) are passed over. The id is the file's stem, or its path from `folder`
    where two files share the stem. Raise InputError when `folder` holds no such file, or one that is damaged
    or leads outside.
    """
    paths = sorted(path for path in existing_folder(folder).rglob("*") if path.suffix.lower() == ".xml")
    names = {path: _root_name(path_inside(folder, path)) for path in paths}
    found = [path for path in paths if names[path] == name]
    if not found:
        raise InputError(_nothing_found(folder, name, set(names.values())))
    stems = Counter(path.stem for path in found)
    for path in found:
        unique = path.stem if stems[path.stem] == 1 else path.relative_to(folder).with_suffix("").as_posix()
        yield unique, path, parse_xml(path)


def parse_number(text: str, path: Path) -> float:
    """Return a finite number; raise InputError naming the file otherwise."""
    return _numbers([text], path)[0]


def parse_points(text: str, path: Path) -> tuple[Point, ...]:
    """Return the points of 'x,y x,y …' or 'x y x y …'; raise InputError for anything else."""
    values = _numbers(text.replace(",", " ").split(), path)
    if len(values) % 2:
        raise InputError(f"{path}: points {text[:40]!r} hold half a point; export it again")
    return tuple(zip(values[::2], values[1::2], strict=True))


def page_fractions(values: Iterable[Point], size: tuple[float, float]) -> tuple[Point, ...]:
    """Return points as fractions of a page of `size` (height, width), cut to the page."""
    height, width = size
    return tuple([(min(max(x / width, 0.0), 1.0), min(max(y / height, 0.0), 1.0)) for x, y in values])


def _numbers(parts: Sequence[str], path: Path) -> list[float]:
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = [math.nan]
    if not math.isfinite(sum(values)):  # one check for all: pages hold tens of thousands of coordinates
        raise InputError(f"{path}: {' '.join(parts)[:40]!r} is no coordinate; export it again")
    return values


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except DefusedXmlException:
        raise InputError(f"{path}: refused, it carries a DTD or entities; remove its <!DOCTYPE …>") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ParseError, LookupError, ValueError) as error:
        raise InputError(f"{path}: damaged XML ({error}); export it again") from None


def _root_name(path: Path) -> str:
    """Return the name of the root element without reading further than that."""
    with _refusing(path), path.open("rb") as file:
        _, root = next(SafeTree.iterparse(file, events=("start",), forbid_dtd=True), (None, Element("")))
    return local_name(root)


def _nothing_found(folder: Path, name: str, others: set[str]) -> str:
    known = sorted(_FORMATS[other] for other in others if other in _FORMATS)
    if known:
        return f"{folder} holds no <{name}> file, but files for data={known[0]}; use that source"
    held = f"only XML of <{'>, <'.join(sorted(others))}>" if others else "no XML file"
    return f"{folder} holds {held}; set data.root to a folder with <{name}> files"

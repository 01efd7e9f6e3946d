"""XML files read safely, whatever their namespace; use `{*}name` in paths.

Document type definitions are refused, and with them entity bombs and external entities: nothing is fetched.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree as SafeTree
from defusedxml import DefusedXmlException

from hwr.data.sources.files import existing_folder, inside
from hwr.errors import InputError
from hwr.images.boxes import Point

_FORMATS = {"alto": "alto", "PcGts": "pagexml", "form": "iam"}  # root element -> data source


def parse(path: Path) -> Element:
    """Return the root element of an XML file; raise InputError when it is damaged or carries a DTD."""
    with _refusing(path):
        root: Element = SafeTree.fromstring(path.read_bytes(), forbid_dtd=True)
    return root


def local_name(element: Element) -> str:
    """Return the element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def documents(folder: Path, name: str) -> Iterator[tuple[str, Path, Element]]:
    """Yield page id, path and root element of every XML file under `folder` whose root element is `name`.

    Other formats (METS, metadata) are passed over. The id is the file's stem, or its path from `folder`
    where two files share the stem. Raise InputError when `folder` holds no such file, or one that is damaged
    or leads outside.
    """
    paths = sorted(path for path in existing_folder(folder).rglob("*") if path.suffix.lower() == ".xml")
    names = {path: _root_name(inside(folder, path)) for path in paths}
    found = [path for path in paths if names[path] == name]
    if not found:
        raise InputError(_nothing_found(folder, name, set(names.values())))
    stems = Counter(path.stem for path in found)
    for path in found:
        unique = path.stem if stems[path.stem] == 1 else path.relative_to(folder).with_suffix("").as_posix()
        yield unique, path, parse(path)


def number(text: str, path: Path) -> float:
    """Return a finite number; raise InputError naming the file otherwise."""
    return _numbers([text], path)[0]


def points(text: str, path: Path) -> tuple[Point, ...]:
    """Return the points of 'x,y x,y …' or 'x y x y …'; raise InputError for anything else."""
    values = _numbers(text.replace(",", " ").split(), path)
    if len(values) % 2:
        raise InputError(f"{path}: points {text[:40]!r} hold half a point; export it again")
    return tuple(zip(values[::2], values[1::2], strict=True))


def fractions(values: Iterable[Point], size: tuple[float, float]) -> tuple[Point, ...]:
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

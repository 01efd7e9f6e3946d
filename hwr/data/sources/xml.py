"""XML that describes pages, read safely: files, coordinates, outlines, what ALTO and PAGE have in common.

XML is read in any namespace: use `{*}name` in paths. Document type definitions are refused, hence also
entity bombs and external entities; nothing is fetched. Lines of which a file holds the baseline alone, a
strip upon it, or an outline at another scale, get one from the distance to the lines around them.
"""

import codecs
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree as SafeTree
import numpy as np
from defusedxml import DefusedXmlException
from numpy.typing import NDArray

from hwr.data.records import NOWHERE, Dataset, Line, Page
from hwr.data.sources import (
    OF_MACOS,
    PageImages,
    existing_folder,
    images_beside,
    is_of_macos,
    path_inside,
    tried,
)
from hwr.data.sources.splits import assign_splits
from hwr.errors import InputError
from hwr.images.boxes import Point, around

T = TypeVar("T")

_DECLARED = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml[^>]*encoding=["']([\w.-]+)["']""")
_LARGEST = 1e9  # coordinate: no page has more px, nor tenths of a millimetre

# How far writing reaches from its baseline, as shares of the distance to the next one: medians of 2,109
# outlines of "Copiste d'un jour".
ABOVE, BELOW = 0.7, 0.3
_FLAT = 1.0  # px: an outline that leaves its baseline no further than that holds no writing
# Share of the distance between baselines. Transkribus lays strips of 12 to 22 px upon those drawn by hand, up
# to 0.38 of it.
_STRIP = 0.4
_ASTRAY = 0.2  # of that distance: an outline that ends this far from its baseline is not of its line
_FEWEST = 3  # such outlines on a page, and half of all: its outlines are at another scale than its baselines

_Points = NDArray[np.float64]  # (P, 2) px


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
    root: str | Path, name: str, page: Callable[[str, Path, Element, PageImages], Page], *,
    splits: str | None, shares: Sequence[float], seed: int,
) -> Dataset:  # fmt: skip
    """Return the pages of all files under `root` whose root element is `name`, in the order of their paths.

    `page` makes one of its id, path, root element, and the images of the folder; lines without outline get
    one: see `with_outlines`. `splits`, `shares` and `seed` determine writer and split of a page: see
    `assign_splits`. Images that no file describes are passed over, and told. Raise InputError as
    `read_documents` does.
    """
    root = existing_folder(root)
    images = PageImages(root)
    pages, findings = read_documents(root, name, lambda id_, path, tree: page(id_, path, tree, images))
    images.tell()
    unused = findings["unused_file"] | images_beside(root, pages, "an image that no file describes")
    pages = [replace(page, lines=tuple(with_outlines(page.lines, page.size))) for page in pages]
    pages = assign_splits(pages, root, splits=splits, shares=shares, seed=seed)
    return Dataset(tuple(pages), {**findings, "unused_file": unused})


def locate(line: Line, place: Callable[[], Line]) -> Line:
    """Return what `place` makes of a line, or `line` itself with what is wrong with its coordinates."""
    try:
        return place()
    except InputError as error:
        return replace(line, flaw=str(error))


_FORMATS = {"<alto>": "alto", "<PcGts>": "pagexml", "<form>": "iam"}  # root element -> data source


def parse_xml(path: Path) -> Element:
    """Return the root element of an XML file; raise InputError when it is damaged or carries a DTD."""
    with _refusing(path):
        root: Element = SafeTree.fromstring(_decoded(path.read_bytes()), forbid_dtd=True)
    return root


def _decoded(data: bytes) -> str | bytes:
    """Return XML as text where it is UTF-8, or UTF-16 with a mark, whatever it declares; else as it is."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data if b"\0" in data else data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data


def local_name(element: Element) -> str:
    """Return the element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def read_documents(
    folder: Path, name: str, read: Callable[[str, Path, Element], T]
) -> tuple[list[T], dict[str, dict[str, str]]]:
    """Return what `read` makes of the id, path and root element of XML files under `folder`, and findings.

    It reads those whose root element is `name`. The id is the page's name, `p` for p.xml, p.alto.xml and
    p.page.xml, or the file's path from `folder` where two have that name. Files that are damaged or refused,
    by `read` too, and those of other formats (METS, metadata, macOS) are passed over: the findings tell why.
    Raise InputError when no file is left.
    """
    paths = sorted(path for path in existing_folder(folder).rglob("*") if path.suffix.lower() == ".xml")
    roots, damaged = tried(paths, lambda path: _root(folder, path))
    found = {path: _page_name(path.stem) for path, root in roots.items() if root == f"<{name}>"}
    shared = Counter(found.values())

    def document(path: Path) -> T:
        stem = found[path]
        place = path.relative_to(folder).with_suffix("").as_posix()
        return read(stem if shared[stem] == 1 else place, path, parse_xml(path))

    documents, broken = tried(found, document)
    damaged = dict(sorted({**damaged, **broken}.items()))
    if not documents:
        raise InputError(_nothing_found(folder, name, set(roots.values()), list(damaged.values())))
    unused = {path: root for path, root in roots.items() if path not in found}
    passed_over = {"unused_file": unused, "damaged_file": damaged}
    return list(documents.values()), {
        finding: {path.relative_to(folder).as_posix(): note for path, note in notes.items()}
        for finding, notes in passed_over.items()
    }


def _page_name(stem: str) -> str:
    return stem.removesuffix(".alto").removesuffix(".page")


def parse_number(text: str, path: Path) -> float:
    """Return a number of at most 1e9 either way; raise InputError naming the file otherwise."""
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


def with_outlines(lines: Sequence[Line], size: tuple[int, int], *, trust: bool = False) -> list[Line]:
    """Return the lines of a page of `size` (height, width) px; those of which it has none get an outline.

    These are lines with a baseline alone and, without `trust`, those with a strip upon it that is too low for
    writing, and all of a page whose outlines are at another scale than its baselines; `mended` says which.
    An outline reaches to 0.7 of the distance to the baseline above and to 0.3 of that to the one below. Where
    one of the two is twice the other or more, that counts which is between half and twice the median of the
    page, and that median for the other. On a page without such distances the place of lines with a baseline
    alone is not known.
    """
    spans = [_span(line, size) for line in lines]
    if all(span is None or (span[0] >= 0 and span[1] > _FLAT) for span in spans):
        return list(lines)
    bases = [_base(line, size) for line in lines]
    ends = np.array([(base[0], base[-1]) for base in bases])  # (L, 2, 2)
    gaps = np.array([_gaps(base, ends) for base in bases])  # (L, 2)
    known = gaps[np.isfinite(gaps)]
    usual = float(np.median(known)) if len(known) else 0.0
    alike = gaps.max(axis=1) < 2 * gaps.min(axis=1)
    far = np.where(alike[:, None] | ((gaps > usual / 2) & (gaps < usual * 2)), gaps, usual)
    astray = not trust and _are_astray(lines, spans, size, usual)
    why = [
        _mended(span, 0.0 if trust else distance, astray=astray)
        for span, distance in zip(spans, far[:, 0], strict=True)
    ]
    if not len(known):
        flaw = "a baseline alone, and no line beside it that tells its height; draw its outline"
        return [
            replace(line, box=NOWHERE, polygon=(), baseline=(), flaw=flaw) if own else line
            for line, own in zip(lines, why, strict=True)
        ]
    return [
        replace(_outlined(line, base, own, size), mended=reason) if reason else line
        for line, base, own, reason in zip(lines, bases, far * (ABOVE, BELOW), why, strict=True)
    ]


def _numbers(parts: Sequence[str], path: Path) -> list[float]:
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = [math.nan]
    # All at once: pages hold tens of thousands of coordinates.
    if not math.isfinite(sum(values)) or max(map(abs, values), default=0.0) > _LARGEST:
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
        if misnamed := _misnamed(path.read_bytes()):
            remedy = "declare the encoding that it has, or save it as UTF-8"
            raise InputError(f"{path}: {misnamed}; {remedy}") from None
        raise InputError(f"{path}: damaged XML ({error}); export it again") from None


def _misnamed(data: bytes) -> str:
    """Return what is wrong with the encoding that an XML file declares; "" if it has that one."""
    declared = _DECLARED.match(data)
    name = declared[1].decode("ascii") if declared else "UTF-8"
    try:
        if b"\0" not in data:
            data.decode(name)
    except UnicodeError:
        return f"declared as {name}, and is not" if declared else "not UTF-8, and declares nothing else"
    except LookupError:
        pass
    return ""


def _root(folder: Path, path: Path) -> str:
    """Return <NAME> of the root element, without parsing further than that, or what else a file is."""
    if is_of_macos(path.relative_to(folder).as_posix()):
        return OF_MACOS
    path = path_inside(folder, path)
    with _refusing(path):
        data = _decoded(path.read_bytes())
        if not data:
            return "empty"
        file = io.StringIO(data) if isinstance(data, str) else io.BytesIO(data)
        _, root = next(SafeTree.iterparse(file, events=("start",), forbid_dtd=True), (None, Element("")))
    return f"<{local_name(root)}>"


def _nothing_found(folder: Path, name: str, others: set[str], damaged: Sequence[str]) -> str:
    known = sorted(_FORMATS[other] for other in others - {f"<{name}>"} if other in _FORMATS)
    if known:
        return f"{folder} holds no <{name}> file, but files for data={known[0]}; use that source"
    if damaged:
        return damaged[0] + (f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else "")
    held = f"only XML that is {', '.join(sorted(others))}" if others else "no XML file"
    return f"{folder} holds {held}; set data.root to a folder with <{name}> files"


def _span(line: Line, size: tuple[int, int]) -> tuple[float, float] | None:
    """Return how many px the outline of a line reaches above and below its baseline; None without one."""
    if len(line.baseline) < 2:
        return None
    base = _px(line.baseline, size)
    x, y = np.abs(base[-1] - base[0])
    if np.hypot(x, y) < 2:
        return None
    if line.polygon:
        below = _below(_turned(_px(line.polygon, size), base), base)
        return float(-below.min()), float(below.max())
    across = 1 if x >= y else 0
    (low, high), own = _px((line.box[:2], line.box[2:]), size)[:, across], base[:, across]
    return float(own.min() - low), float(high - own.max())


def _mended(span: tuple[float, float] | None, distance: float, *, astray: bool) -> str:
    """Return why a line needs another outline than the one of this `span`; "" where it does not."""
    if span is None:
        return ""
    above, below = span
    if abs(below) <= _FLAT and abs(above) <= _FLAT:
        return "a baseline alone"
    if abs(below) <= _FLAT and 0 <= above <= _STRIP * distance:
        return "a strip upon its baseline"
    return "outlines at another scale" if astray else ""


def _are_astray(
    lines: Sequence[Line], spans: Sequence[tuple[float, float] | None], size: tuple[int, int], usual: float
) -> bool:
    """Tell whether the outlines of a page are at another scale than its baselines, and those are right.

    Wrong are those that end at the page's edge, cut to it, else those that take up less of the page.
    """
    drawn = [(line, span) for line, span in zip(lines, spans, strict=True) if span and line.polygon]
    least = -_ASTRAY * usual
    away = [line for line, span in drawn if min(span) < least]
    if not usual or len(away) < max(_FEWEST, len(drawn) / 2):
        return False
    ends = np.array([[np.max(line.polygon, axis=0), np.max(line.baseline, axis=0)] for line in away])
    ends = ends.swapaxes(0, 1)  # (2, A, 2) fractions: the lower right ends of outlines, and of baselines
    cut = (ends > 1 - 2 / np.array(size[::-1])).any(axis=2).mean(axis=1)
    if cut.max() > 0.25:
        return bool(cut[0] > cut[1])
    farthest = ends.max(axis=1).sum(axis=1)
    return bool(farthest[0] < farthest[1])


def _base(line: Line, size: tuple[int, int]) -> _Points:
    """Return the baseline, or a level one where the line has none."""
    if len(line.baseline) > 1:
        return _px(line.baseline, size)
    x1, y1, x2, y2 = line.box
    level = y1 + ABOVE / (ABOVE + BELOW) * (y2 - y1)
    return _px(((x1, level), (x2, level)), size)


def _gaps(base: _Points, ends: _Points) -> tuple[float, float]:
    """Return how far the next baselines above and below are, those given by their `ends` (L, 2, 2)."""
    own = _turned(base, base)
    others = _turned(ends.reshape(-1, 2), base).reshape(ends.shape)
    (x1, y1), (x2, y2) = others[:, 0].T, others[:, 1].T
    low, high = (
        np.maximum(np.minimum(x1, x2), own[:, 0].min()),
        np.minimum(np.maximum(x1, x2), own[:, 0].max()),
    )
    beside = high > low
    middle = (low + high)[beside] / 2
    slope = (y2 - y1)[beside] / (x2 - x1)[beside]
    below = y1[beside] + (middle - x1[beside]) * slope  # from chord to chord: lines of a page bend alike
    return _nearest(-below), _nearest(below)


def _nearest(distances: NDArray[np.float64]) -> float:
    return float(min(distances[distances > _FLAT], default=np.inf))


def _outlined(line: Line, base: _Points, reach: _Points, size: tuple[int, int]) -> Line:
    down = _axes(base)[:, 1]
    edges = np.concatenate([base - reach[0] * down, (base + reach[1] * down)[::-1]]) / size[::-1]
    polygon: tuple[Point, ...] = tuple((float(x), float(y)) for x, y in np.clip(edges, 0, 1))
    return replace(line, polygon=polygon, box=around(polygon))


def _px(points: Sequence[Point], size: tuple[int, int]) -> _Points:
    return np.array(points, dtype=np.float64) * size[::-1]


def _axes(base: _Points) -> _Points:
    """Return the unit vectors along a baseline and down from it, as columns (2, 2).

    Right to left is how some scripts are drawn, and no page that stands on its head.
    """
    x, y = base[-1] - base[0]
    if abs(x) > abs(y) and x < 0:
        x, y = -x, -y
    return np.asarray(np.array([[x, -y], [y, x]]) / max(np.hypot(x, y), _FLAT))


def _turned(points: _Points, base: _Points) -> _Points:
    return np.asarray((points - base[0]) @ _axes(base))


def _below(turned: _Points, base: _Points) -> NDArray[np.float64]:
    """Return how far points (P, 2) on a baseline's axes lie below it."""
    own = _turned(base, base)
    own = own[np.argsort(own[:, 0], kind="stable")]
    return np.asarray(turned[:, 1] - np.interp(turned[:, 0], own[:, 0], own[:, 1]))

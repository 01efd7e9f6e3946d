"""PAGE XML, schemas of 2010 to 2019, one file a page, as Transkribus, eScriptorium and OCR-D export it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from hwr.data.records import NOWHERE, Dataset, Line, Page, Word
from hwr.data.sources import PageImages, number_in_file, size_or_flaw
from hwr.data.sources.xml import Sheet, locate, parse_number, read_pages
from hwr.errors import InputError
from hwr.images.boxes import Point, around
from hwr.text import nfc

# custom="readingOrder {index:NUMBER;} structure {type:NAME;}"
_STRUCTURE = re.compile(r"structure\s*\{[^}]*?type\s*:\s*([^;}]+)")
_POSITION = re.compile(r"readingOrder\s*\{[^}]*?index\s*:\s*(\d{1,9})")
_NUMBER = re.compile(r"\bimageFile\s*{[^}]*\bpage:\s*(\d+)")  # as hwr writes it: which page of its file


def read_pagexml(root: str | Path, *, splits: str | None, shares: Sequence[float], seed: int) -> Dataset:
    """Return the pages of all PAGE files under `root`: see `read_pages`."""
    return read_pages(root, "PcGts", _page, splits=splits, shares=shares, seed=seed)


def _page(name: str, path: Path, tree: Element, images: PageImages) -> Page:
    elements = tree.findall("{*}Page")
    if len(elements) != 1:
        raise InputError(f"{path}: holds {len(elements) or 'no'} <Page>; export one file a page")
    element = elements[0]
    image, flaw = images.find_or_flaw(path, element.get("imageFilename", "").strip())
    stated = _NUMBER.search(element.get("custom", ""))
    number = number_in_file(image, stated[1] if stated else None)
    height, width = (parse_number(element.get(key) or "0", path) for key in ("imageHeight", "imageWidth"))
    if height >= 1 and width >= 1:
        size = round(height), round(width)
    else:
        size, unread = size_or_flaw(image, number)
        flaw = flaw or unread
    sheet = Sheet(name, path, size)
    lines = (_line(line, position, sheet) for position, line in enumerate(_ordered_lines(element), start=1))
    return Page(
        id=name, writer="", split="", image=image, size=size, lines=tuple(lines), flaw=flaw,
        unlined=sum(map(_unlined, filter(_is_region, element.iter()))), number=number,
    )  # fmt: skip


def _ordered_lines(page: Element) -> list[Element]:
    """Return the lines: those of regions in <ReadingOrder> in its order, then the others, see `_in_order`.

    A region inside a region follows it, unless the order names it too.
    """
    outer = _in_order(list(page))
    regions = [element for part in outer for element in part.iter() if _is_region(element)]
    by_id = {region.get("id", ""): region for region in regions}
    named = dict.fromkeys(by_id[name] for name in _reading_order(page) if name in by_id)
    placed: dict[Element, None] = {}
    for region in (*named, *regions):
        for inner in region.iter():
            if _is_region(inner) and (inner is region or inner not in named):
                placed.setdefault(inner)
    lines = [line for region in placed for line in _in_order(region.findall("{*}TextLine"))]
    return list(dict.fromkeys((*lines, *page.iterfind(".//{*}TextLine"))))


def _in_order(elements: list[Element]) -> list[Element]:
    """Return elements by the position that `custom` gives them, or by the one where they stand."""
    given = [_POSITION.search(element.get("custom", "")) for element in elements]
    positions = [int(position[1]) if position else n for n, position in enumerate(given)]
    return [elements[n] for n in sorted(range(len(elements)), key=positions.__getitem__)]


def _unlined(region: Element) -> int:
    """Return how many characters a region holds itself, where no line or region inside holds any."""
    lined = any(map(_line_text, region.iterfind("{*}TextLine")))
    return 0 if lined or any(map(_is_region, region)) else len(_text(region))


def _is_region(element: Element) -> bool:
    return element.tag.endswith(("Region", "TableCell"))


def _reading_order(page: Element) -> Iterator[str]:
    """Yield region ids, nested groups in place: by `index` where there is one, else as they stand."""
    waiting = page.findall("{*}ReadingOrder")
    while waiting:
        entry = waiting.pop()
        yield entry.get("regionRef", "")
        waiting.extend(sorted(entry, key=_index)[::-1])


def _index(element: Element) -> int:
    index = element.get("index", "0")
    return int(index) if re.fullmatch(r"\d{1,9}", index) else 0


def _line(element: Element, position: int, sheet: Sheet) -> Line:
    name = f"{sheet.id}/{element.get('id') or f'line{position}'}"
    structure = _STRUCTURE.search(element.get("custom", ""))
    kind = structure[1].strip() if structure else element.get("type", "")
    line = Line(name, _line_text(element), NOWHERE, kind=kind)
    return locate(line, lambda: _placed(line, element, sheet))


def _placed(line: Line, element: Element, sheet: Sheet) -> Line:
    outline = _points(element, "{*}Coords", sheet)
    baseline = _points(element, "{*}Baseline", sheet)
    if not outline and not baseline:
        raise InputError("neither Coords nor Baseline; draw its outline")
    polygon, words = outline if len(outline) > 2 else (), tuple(_words(element, line.id, sheet))
    return replace(line, box=around(outline or baseline), polygon=polygon, baseline=baseline, words=words)


def _words(line: Element, line_id: str, sheet: Sheet) -> Iterator[Word]:
    for position, element in enumerate(line.iterfind("{*}Word"), start=1):
        outline = _points(element, "{*}Coords", sheet)
        if outline:
            name = f"{line_id}/{element.get('id') or f'word{position}'}"
            yield Word(name, _word_text(element), around(outline))


def _line_text(line: Element) -> str:
    return _text(line) or nfc(" ".join(map(_word_text, line.iterfind("{*}Word"))))


def _word_text(word: Element) -> str:
    return _text(word) or nfc("".join(map(_text, word.iterfind("{*}Glyph"))))


def _text(element: Element) -> str:
    """Return the element's own text: of several readings, the one of the lowest index."""
    readings = sorted(element.iterfind("{*}TextEquiv"), key=_index)
    found = (readings[0].findtext(name) for name in ("{*}Unicode", "{*}PlainText")) if readings else ()
    return nfc(next(filter(None, found), ""))


def _points(element: Element, path: str, sheet: Sheet) -> tuple[Point, ...]:
    found = element.find(path)
    if found is None:
        return ()
    points = (f"{point.get('x')},{point.get('y')}" for point in found.iterfind("{*}Point"))  # until 2010
    return sheet.points(found.get("points") or " ".join(points))

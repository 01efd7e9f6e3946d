"""ALTO XML, versions 2 to 4, one file a page, as eScriptorium, Transkribus and libraries export it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree.ElementTree import Element

from hwr.data.records import NOWHERE, Dataset, LeftOut, Line, Page, Word
from hwr.data.sources import PageImages, number_in_file, size_or_flaw
from hwr.data.sources.xml import Sheet, local_name, locate, parse_number, read_pages
from hwr.errors import InputError
from hwr.images.boxes import Box, Point, around, clip, union
from hwr.text import nfc

_HYPHENS = ("-", "=", "¬", "\u00ad", "\u2010", "\u2011", "\u2e17")


def read_alto(root: str | Path, *, splits: str | None, shares: Sequence[float], seed: int) -> Dataset:
    """Return the pages of all ALTO files under `root`: see `read_pages`.

    Where any line is called corrected (CS), only such lines are read: the others hold what a program read.
    """
    dataset = read_pages(root, "alto", alto_page, splits=splits, shares=shares, seed=seed)
    corrected = [
        replace(page, lines=tuple(line for line in page.lines if line.corrected)) for page in dataset.pages
    ]
    if not any(page.lines for page in corrected):
        return dataset
    rule = LeftOut.between("not corrected, as others are (CS)", dataset.pages, corrected)
    return replace(dataset, excluded=(rule,)) if rule else dataset


def alto_page(name: str, path: Path, tree: Element, images: PageImages) -> Page:
    """Return the page of a file's root element, called `name`; InputError where it has not one page."""
    elements = tree.findall("{*}Layout/{*}Page")
    if len(elements) != 1:
        raise InputError(f"{path}: holds {len(elements)} <Page> elements; export one file a page")
    named = _text(tree, "{*}Description/{*}sourceImageInformation/{*}fileName")
    image, flaw = images.find_or_flaw(path, named)
    number = number_in_file(image, elements[0].get("PHYSICAL_IMG_NR"))
    unit = _text(tree, "{*}Description/{*}MeasurementUnit") or "pixel"
    height, width = (parse_number(elements[0].get(key) or "0", path) for key in ("HEIGHT", "WIDTH"))
    own = (height, width) if height >= 1 and width >= 1 else None
    if own is None and unit != "pixel":
        raise InputError(f"{path}: <Page> lacks WIDTH and HEIGHT, the scale of its {unit}; export it again")
    if own is None or unit != "pixel":
        size_px, unread = size_or_flaw(image, number)
        flaw = flaw or unread
    else:
        size_px = round(own[0]), round(own[1])
    labels = {tag.get("ID", ""): tag.get("LABEL", "") for tag in tree.iterfind("{*}Tags/*")}
    sheet = _Sheet(name, path, own or size_px, labels)
    lines = (_line(line, n, sheet) for n, line in enumerate(_ordered_lines(tree, elements[0]), start=1))
    return Page(
        id=name, writer="", split="", image=image, size=size_px, lines=tuple(lines), flaw=flaw, number=number
    )


@dataclass(frozen=True)
class _Sheet(Sheet):
    labels: dict[str, str]


def _ordered_lines(tree: Element, page: Element) -> list[Element]:
    """Return the lines: those that <ReadingOrder> (version 4.3) names, then the others."""
    by_id = {element.get("ID"): element for element in page.iter()}
    named = (
        name
        for ref in tree.iterfind(".//{*}ReadingOrder//{*}ElementRef")
        for name in ref.get("REF", "").split()
    )
    within = (line for name in named if name in by_id for line in by_id[name].iter())
    lines = (line for line in within if local_name(line) == "TextLine")
    return list(dict.fromkeys((*lines, *page.iterfind(".//{*}TextLine"))))


def _line(element: Element, position: int, sheet: _Sheet) -> Line:
    name = f"{sheet.id}/{element.get('ID') or f'line{position}'}"
    kinds = (sheet.labels[tag] for tag in element.get("TAGREFS", "").split() if tag in sheet.labels)
    corrected = element.get("CS") in ("true", "1")
    line = Line(name, _line_text(element), NOWHERE, kind=next(kinds, ""), corrected=corrected)
    return locate(line, lambda: _placed(line, element, sheet))


def _placed(line: Line, element: Element, sheet: _Sheet) -> Line:
    words = _words(element, line.id, sheet)
    polygon = _polygon(element, sheet)
    baseline = _baseline(element, sheet)
    box = _box(element, sheet) or (around(polygon) if polygon else None)
    if box is None and not words and len(baseline) < 2:
        raise InputError("neither HPOS … nor a polygon or baseline; draw its outline")
    box = box or (union(word.box for word in words) if words else around(baseline))
    if len(baseline) == 1:  # before version 4 the height of a level line
        baseline = tuple((x, baseline[0][1]) for x in (box[0], box[2]))
    return replace(line, box=box, polygon=polygon, baseline=baseline, words=words)


def _line_text(line: Element) -> str:
    """Join what is written: SUBS_CONTENT, a hyphenated word put together, is not.

    Where a line has <SP> they are its spaces; files without any separate words by <String> alone. <HYP> is a
    hyphen that the last <String> may hold as well.
    """
    names = [local_name(element) for element in line]
    gap = "" if "SP" in names else " "
    text = ""
    for name, element in zip(names, line, strict=True):
        if name == "String":
            text += (gap if text else "") + element.get("CONTENT", "")
        elif name == "SP":
            text += " "
        elif name == "HYP" and not text.endswith(_HYPHENS):
            text += element.get("CONTENT") or "-"
    return nfc(text)


def _words(line: Element, line_id: str, sheet: _Sheet) -> tuple[Word, ...]:
    """Return the line's <String>s with their boxes; none when they hold whole lines, as of eScriptorium."""
    words = []
    for position, element in enumerate(line.iterfind("{*}String"), start=1):
        box = _box(element, sheet)
        text = nfc(element.get("CONTENT", ""))
        if " " in text:
            return ()
        if box is not None:
            words.append(Word(f"{line_id}/{element.get('ID') or f'word{position}'}", text, box))
    return tuple(words)


def _baseline(line: Element, sheet: _Sheet) -> tuple[Point, ...]:
    """Return BASELINE: points in version 4, in earlier ones one number, which gives one point."""
    text = line.get("BASELINE", "")
    numbers = text.replace(",", " ").split()
    return sheet.points(f"0 {text}" if len(numbers) == 1 else text)


def _polygon(line: Element, sheet: _Sheet) -> tuple[Point, ...]:
    shape = line.find("{*}Shape/{*}Polygon")
    if shape is None:
        return ()
    outline = sheet.points(shape.get("POINTS", ""))
    return outline if len(outline) > 2 else ()


def _box(element: Element, sheet: _Sheet) -> Box | None:
    given = [element.get(key) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")]
    values = [parse_number(value, sheet.path) for value in given if value is not None]
    if len(values) < len(given):
        return None
    x, y, width, height = values
    page_height, page_width = sheet.size
    return clip((x / page_width, y / page_height, (x + width) / page_width, (y + height) / page_height))


def _text(tree: Element, path: str) -> str:
    return (tree.findtext(path) or "").strip()

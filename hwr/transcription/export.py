"""Exports of read pages: ALTO 4.2 and PAGE of 2019-07-15 in pixels, plain text, JSON, and a drawn overlay.

ALTO has the area as print space, a block for each column and for what stands apart in one, and a `String` for
each word; box, polygon, baseline, words and texts are all kept, and the confidences of words (WC) and
characters (CC, 0 sure to 9 unsure), not of lines. A line with CS="true" was corrected by a person. Schema and
meaning: https://www.loc.gov/standards/alto/

PAGE has the same print space, and the blocks as regions. It keeps one outline for each line: `Coords` holds
the polygon, or the box if there is no polygon. The box of a line read back is therefore that of its polygon.
Schema: https://github.com/PRImA-Research-Lab/PAGE-XML
"""

import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from itertools import count
from pathlib import PurePath
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import hwr
from hwr.images.boxes import WHOLE, Box, Point, box_px, corners, points_px, union
from hwr.images.load import GreyImage
from hwr.pictures import font, picture_size
from hwr.transcription import ReadLine, ReadPage, ReadWord

OVERLAY = ".overlay.png"
SUFFIXES = {"alto": ".alto.xml", "page": ".page.xml", "txt": ".txt", "json": ".json", "overlay": OVERLAY}

_ALTO = "http://www.loc.gov/standards/alto/ns-v4#"
_ALTO_SCHEMA = "http://www.loc.gov/standards/alto/v4/alto-4-2.xsd"
UNSURE = 9  # the least sure level of CC
_PAGE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
_PAGE_SCHEMA = f"{_PAGE}/pagecontent.xsd"
# XML 1.0, section 2.2: these characters cannot stand in a document, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# Of the overlay.
AREA = (22, 163, 74)
LINES = ((37, 99, 235), (217, 119, 6))  # in turn: neighbours are told apart
TINT, EDGE, GROUND = 48, 200, 215  # how much a line's inside, its outline and its lettering cover, of 255
INK, WHITE = (31, 36, 48), (255, 255, 255)
LEGIBLE_PX, LARGEST_PX = 8, 22  # font sizes


def to_txt(read: ReadPage) -> str:
    """Return the lines in reading order, each with its line break; nothing for a page without lines."""
    return "".join(f"{line.text}\n" for line in read.lines)


def to_json(read: ReadPage) -> str:
    """Return a page as a JSON object, its keys always in the same order.

    A box is `[x1, y1, x2, y2]`, a point `[x, y]`, in fractions of the page, so that they fit its picture in
    any size; `width_px` and `height_px` turn them into pixels. They and confidences have six decimals; `area`
    is null where there is none. `blocks` are the numbers of lines in each block, in the order of the lines.
    `turn` are the degrees clockwise by which the page was turned to be read. Of the names of files, what
    UTF-8 or XML cannot hold becomes U+FFFD.
    """
    height, width = read.size
    page = {
        "name": clean_text(read.name),
        "image": clean_text(read.image),
        "number": read.number,
        "width_px": width,
        "height_px": height,
        "turn": read.turn,
        "area": None if read.area is None else _plain(read.area),
        "blocks": list(map(len, read.blocks)),
        "lines": [line_values(line) for line in read.lines],
    }
    return json.dumps(page, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def line_values(line: ReadLine) -> dict[str, Any]:
    """Return a line as plain values for JSON; `confidences` are those of the characters of its text."""
    described = _described(line, ("confidence", "confidences", "box", "polygon", "baseline"))
    return described | {"words": [_described(word, ("confidence", "box")) for word in line.words]}


def to_alto(read: ReadPage) -> str:
    """Return a page as an ALTO document; characters that XML forbids become U+FFFD.

    The print space of a page without area and lines is all of it, with no block.
    """
    root = xml_document("alto", _ALTO, _ALTO_SCHEMA)
    root.set("SCHEMAVERSION", "4.2")
    _alto_description(root, read)
    (height, width), positions = read.size, count(1)
    layout = add_child(root, "Layout")
    page = add_child(
        layout, "Page", ID=f"page_{read.number}", PHYSICAL_IMG_NR=read.number, WIDTH=width, HEIGHT=height
    )
    space = add_child(page, "PrintSpace", **_place(read.extent or WHOLE, read.size))
    for number, (place, lines) in enumerate(_placed_blocks(read), start=1):
        block = add_child(space, "TextBlock", ID=f"block_{number}", **_place(place, read.size))
        if read.turn:
            block.set("ROTATION", str(read.turn))  # of the text, counterclockwise
        for line in lines:
            _alto_line(block, f"line_{next(positions)}", line, read.size)
    return xml_text(root)


def to_pagexml(read: ReadPage, *, created: datetime | None = None) -> str:
    """Return a page as a PAGE document; characters that XML forbids become U+FFFD.

    `created` is the moment it is dated with, the present one by default, local where it has no time
    zone. A page without area and lines has neither region nor reading order.
    """
    root = xml_document("PcGts", _PAGE, _PAGE_SCHEMA)
    _date(root, created or datetime.now(timezone.utc))
    height, width = read.size
    image = PurePath(read.image).name
    page = add_child(root, "Page", imageFilename=image, imageWidth=width, imageHeight=height)
    if read.number > 1:  # PAGE knows no place for it
        page.set("custom", f"imageFile {{page:{read.number};}}")
    if read.turn:
        page.set("orientation", str(read.turn if read.turn <= 180 else read.turn - 360))
    place = read.extent
    if place is not None:
        _points(add_child(page, "PrintSpace"), "Coords", corners(place), read.size)
    blocks, positions = _placed_blocks(read), count(1)
    if blocks:
        order = add_child(add_child(page, "ReadingOrder"), "OrderedGroup", id="order")
        for index in range(len(blocks)):
            add_child(order, "RegionRefIndexed", index=index, regionRef=f"region_{index + 1}")
    for number, (place, lines) in enumerate(blocks, start=1):
        region = add_child(page, "TextRegion", id=f"region_{number}")
        _points(region, "Coords", corners(place), read.size)
        for line in lines:
            _page_line(region, f"line_{next(positions)}", line, read.size)
    return xml_text(root)


FORMATS: dict[str, Callable[[ReadPage], str]] = {
    "alto": to_alto,
    "page": to_pagexml,
    "txt": to_txt,
    "json": to_json,
}


def draw_overlay(page: GreyImage, read: ReadPage, width_px: int) -> NDArray[np.uint8]:
    """Return `page` (H, W) scaled to `width_px` as RGB (H', W', 3), with what was read drawn on it.

    The area is framed in green, and so are blocks where there are several. Lines are tinted in turn and
    numbered in reading order at their left end; the text read stands on a line's lower edge, and is left out
    where it would be too small to read. A page many times as high as wide is drawn narrower: see
    `picture_size`.
    """
    width_px, height = picture_size(page, width_px)
    scaled = Image.fromarray(page).resize((width_px, height), Image.Resampling.LANCZOS)
    picture = scaled.convert("RGB")
    pen = ImageDraw.Draw(picture, "RGBA")  # blends translucent colours into the picture
    blocks = [place for place, _ in _placed_blocks(read)]
    frames = [*([(read.area, 2)] if read.area else []), *((place, 1) for place in blocks if len(blocks) > 1)]
    for place, wide_px in frames:
        x1, y1, x2, y2 = box_px(place, (height, width_px))
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=AREA, width=wide_px)
    for position, line in enumerate(read.lines):
        colour = LINES[position % len(LINES)]
        outline = points_px(line.outline, (height, width_px))
        pen.polygon(outline, fill=(*colour, TINT), outline=(*colour, EDGE))
    for position, line in enumerate(read.lines):  # on top of every tint
        _letter(pen, line, position, (height, width_px))
    return np.asarray(picture)


def clean_text(text: str) -> str:
    """Return `text` with every character that XML forbids (control characters) replaced by U+FFFD."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def xml_document(name: str, namespace: str, schema: str) -> Element:
    """Return the root element of a document in `namespace` that points to its `schema`, a URL.

    The namespace is a plain attribute: the names of the elements inside need no prefix then.
    """
    root = Element(name, {"xmlns": namespace, "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance"})
    root.set("xsi:schemaLocation", f"{namespace} {schema}")
    return root


def add_child(parent: Element, name: str, text: str = "", /, **attributes: str | int) -> Element:
    """Append an element to `parent` and return it; its text and values are cleaned."""
    element = SubElement(parent, name, {key: clean_text(str(value)) for key, value in attributes.items()})
    if text:
        element.text = clean_text(text)
    return element


def points_text(values: Iterable[tuple[int, int]]) -> str:
    """Return points as both formats write them: `x,y x,y …`."""
    return " ".join(f"{x},{y}" for x, y in values)


def xml_text(root: Element) -> str:
    """Return the document as indented text, its declaration first; to be stored as UTF-8."""
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _described(part: ReadLine | ReadWord, keys: Iterable[str]) -> dict[str, Any]:
    return {"text": part.text, **{key: _plain(getattr(part, key)) for key in keys}}


def _plain(value: Any) -> Any:
    """Return a number with six decimals, or nested tuples of numbers as lists of such."""
    return [_plain(one) for one in value] if isinstance(value, tuple) else round(float(value), 6)


def _placed_blocks(read: ReadPage) -> list[tuple[Box, tuple[ReadLine, ...]]]:
    """Return the place and the lines of each block; an area without lines is an empty one."""
    if read.area is not None and not read.lines:
        return [(read.area, ())]
    return [(union(line.box for line in lines), lines) for lines in read.blocks]


def _alto_description(root: Element, read: ReadPage) -> None:
    description = add_child(root, "Description")
    add_child(description, "MeasurementUnit", "pixel")
    add_child(add_child(description, "sourceImageInformation"), "fileName", PurePath(read.image).name)
    step = add_child(description, "Processing", ID="processing_1")
    add_child(step, "processingCategory", "contentGeneration")
    software = add_child(step, "processingSoftware")
    add_child(software, "softwareName", "hwr")
    add_child(software, "softwareVersion", hwr.__version__)


def _alto_line(block: Element, name: str, line: ReadLine, size: tuple[int, int]) -> None:
    element = add_child(block, "TextLine", ID=name, **_place(line.box, size))
    if line.corrected:
        element.set("CS", "true")
    if len(line.baseline) >= 2:
        element.set("BASELINE", points_text(points_px(line.baseline, size)))
    if len(line.polygon) >= 3:
        outline = points_text(points_px(line.polygon, size))
        add_child(add_child(element, "Shape"), "Polygon", POINTS=outline)
    start = 0  # of the word in the text
    for position, word in enumerate(line.words, start=1):
        if position > 1:
            add_child(element, "SP")
        string = add_child(element, "String", ID=f"{name}_word_{position}", **_place(word.box, size))
        string.set("CONTENT", clean_text(word.text))
        string.set("WC", f"{word.confidence:.4f}")
        if levels := line.confidences[start : start + len(word.text)]:
            string.set("CC", " ".join(str(round(UNSURE * (1 - level))) for level in levels))
        start += len(word.text) + 1
    if not line.words:  # the schema asks for one
        add_child(element, "String", CONTENT="")


def _place(box: Box, size: tuple[int, int]) -> dict[str, int]:
    x1, y1, x2, y2 = box_px(box, size)
    return {"HPOS": x1, "VPOS": y1, "WIDTH": x2 - x1, "HEIGHT": y2 - y1}


def _date(root: Element, moment: datetime) -> None:
    stamp = moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = add_child(root, "Metadata")
    add_child(metadata, "Creator", f"hwr {hwr.__version__}")
    add_child(metadata, "Created", stamp)
    add_child(metadata, "LastChange", stamp)


def _page_line(region: Element, name: str, line: ReadLine, size: tuple[int, int]) -> None:
    element = add_child(region, "TextLine", id=name)
    _points(element, "Coords", line.outline, size)
    if len(line.baseline) >= 2:  # the schema allows no single point
        _points(element, "Baseline", line.baseline, size)
    for position, word in enumerate(line.words, start=1):
        _word(element, f"{name}_word_{position}", word, size)
    _text(element, line.text, line.confidence)


def _word(line: Element, name: str, word: ReadWord, size: tuple[int, int]) -> None:
    element = add_child(line, "Word", id=name)
    _points(element, "Coords", corners(word.box), size)
    _text(element, word.text, word.confidence)


def _text(element: Element, text: str, confidence: float) -> None:
    add_child(add_child(element, "TextEquiv", conf=f"{confidence:.4f}"), "Unicode", text)


def _points(element: Element, name: str, points: Iterable[Point], size: tuple[int, int]) -> None:
    add_child(element, name, points=points_text(points_px(points, size)))


def _letter(pen: ImageDraw.ImageDraw, line: ReadLine, position: int, size: tuple[int, int]) -> None:
    """Write a line's number before its left end, or on it at the page's edge, and its text below."""
    x1, y1, y2 = _left_end(line, size)
    number, number_size = str(position + 1), min(max((y2 - y1) // 2, LEGIBLE_PX), LARGEST_PX)
    left = max(0, x1 - 3 - round(font(number_size).getlength(number)))
    _write(pen, (left, (y1 + y2) // 2), number, (number_size, LINES[position % len(LINES)]))
    text_size = _fitting(line.text, (y2 - y1) // 3, size[1] - x1)
    if line.text and text_size >= LEGIBLE_PX:
        middle = min(y2, size[0] - text_size // 2 - 1)
        _write(pen, (x1, middle), line.text, (text_size, INK))


def _left_end(line: ReadLine, size: tuple[int, int]) -> tuple[int, int, int]:
    """Return the x, and the upper and lower y, of a line's left end; a sloped line's box reaches beyond."""
    x1, y1, _, y2 = box_px(line.box, size)
    ends = points_px(line.baseline, size) or [(0, 0)]
    fall, most = ends[-1][1] - ends[0][1], 3 * (y2 - y1) // 4
    return x1, y1 + min(most, max(0, -fall)), y2 - min(most, max(0, fall))


def _write(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, style: tuple[int, tuple[int, int, int]]
) -> None:
    """Write `text` on translucent white from the middle of its left end; `style` is font size and ink."""
    size, ink = style
    pen.rectangle(pen.textbbox(at, text, font(size), anchor="lm"), (*WHITE, GROUND))
    pen.text(at, text, ink, font(size), anchor="lm")


def _fitting(text: str, size: int, room: int) -> int:
    """Return the largest font size, at most `size`, in which `text` fits; below legible where none does."""
    size = min(size, LARGEST_PX)
    while size >= LEGIBLE_PX and font(size).getlength(text) > room:
        size -= 1
    return size

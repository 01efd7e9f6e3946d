"""ALTO 4.2, in pixels: one block, its lines in reading order, a `String` for each word.

Box, polygon, baseline, words and texts are all kept; ALTO holds confidences of words, not of lines.
Schema and meaning: https://www.loc.gov/standards/alto/
"""

from pathlib import PurePath
from xml.etree.ElementTree import Element

import hwr
from hwr.images.boxes import Box, box_px, points_px
from hwr.transcription.export.xml import (
    add_child,
    clean_text,
    confidence_text,
    points_text,
    xml_document,
    xml_text,
)
from hwr.transcription.transcript import ReadLine, ReadPage

_NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"
_SCHEMA = "http://www.loc.gov/standards/alto/v4/alto-4-2.xsd"


def to_alto(read: ReadPage) -> str:
    """Return a page as an ALTO document; characters that XML forbids become U+FFFD.

    A page without area and lines has an empty print space.
    """
    root = xml_document("alto", _NAMESPACE, _SCHEMA)
    root.set("SCHEMAVERSION", "4.2")
    _describe(root, read)
    height, width = read.size
    layout = add_child(root, "Layout")
    page = add_child(
        layout, "Page", ID=f"page_{read.number}", PHYSICAL_IMG_NR=read.number, WIDTH=width, HEIGHT=height
    )
    space = add_child(page, "PrintSpace", HPOS=0, VPOS=0, WIDTH=width, HEIGHT=height)
    place = read.extent
    if place is not None:
        block = add_child(space, "TextBlock", ID="block_1", **_place(place, read.size))
        if read.turn:
            block.set("ROTATION", str(read.turn))  # of the text, counterclockwise
        for position, line in enumerate(read.lines, start=1):
            _line(block, f"line_{position}", line, read.size)
    return xml_text(root)


def _describe(root: Element, read: ReadPage) -> None:
    description = add_child(root, "Description")
    add_child(description, "MeasurementUnit", "pixel")
    add_child(add_child(description, "sourceImageInformation"), "fileName", PurePath(read.image).name)
    step = add_child(description, "Processing", ID="processing_1")
    add_child(step, "processingCategory", "contentGeneration")
    software = add_child(step, "processingSoftware")
    add_child(software, "softwareName", "hwr")
    add_child(software, "softwareVersion", hwr.__version__)


def _line(block: Element, name: str, line: ReadLine, size: tuple[int, int]) -> None:
    element = add_child(block, "TextLine", ID=name, **_place(line.box, size))
    if len(line.baseline) >= 2:
        element.set("BASELINE", points_text(points_px(line.baseline, size)))
    if len(line.polygon) >= 3:
        outline = points_text(points_px(line.polygon, size))
        add_child(add_child(element, "Shape"), "Polygon", POINTS=outline)
    for position, word in enumerate(line.words, start=1):
        if position > 1:
            add_child(element, "SP")
        string = add_child(element, "String", ID=f"{name}_word_{position}", **_place(word.box, size))
        string.set("CONTENT", clean_text(word.text))
        string.set("WC", confidence_text(word.confidence))
    if not line.words:  # the schema asks for one
        add_child(element, "String", CONTENT="")


def _place(box: Box, size: tuple[int, int]) -> dict[str, int]:
    x1, y1, x2, y2 = box_px(box, size)
    return {"HPOS": x1, "VPOS": y1, "WIDTH": x2 - x1, "HEIGHT": y2 - y1}

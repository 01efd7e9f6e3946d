"""ALTO 4.2, in pixels: one block, its lines in reading order, a string a word.

Box, polygon, baseline, words and texts are all carried; a line's confidence has no place in ALTO, its words'
have. Schema and meaning: https://www.loc.gov/standards/alto/
"""

from pathlib import PurePath
from xml.etree.ElementTree import Element

import hwr
from hwr.images.boxes import Box
from hwr.transcription.export import pixels, xml
from hwr.transcription.export.xml import child
from hwr.transcription.transcript import ReadLine, ReadPage

_NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"
_SCHEMA = "http://www.loc.gov/standards/alto/v4/alto-4-2.xsd"


def to_xml(read: ReadPage) -> str:
    """Return a page as an ALTO document; characters that XML forbids become U+FFFD.

    A page without area and lines has an empty print space.
    """
    root = xml.document("alto", _NAMESPACE, _SCHEMA)
    root.set("SCHEMAVERSION", "4.2")
    _describe(root, read)
    height, width = read.size
    layout = child(root, "Layout")
    page = child(
        layout, "Page", ID=f"page_{read.number}", PHYSICAL_IMG_NR=read.number, WIDTH=width, HEIGHT=height
    )
    space = child(page, "PrintSpace", HPOS=0, VPOS=0, WIDTH=width, HEIGHT=height)
    place = pixels.block(read)
    if place is not None:
        block = child(space, "TextBlock", ID="block_1", **_place(place, read.size))
        for position, line in enumerate(read.lines, start=1):
            _line(block, f"line_{position}", line, read.size)
    return xml.written(root)


def _describe(root: Element, read: ReadPage) -> None:
    description = child(root, "Description")
    child(description, "MeasurementUnit", "pixel")
    child(child(description, "sourceImageInformation"), "fileName", PurePath(read.image).name)
    step = child(description, "Processing", ID="processing_1")
    child(step, "processingCategory", "contentGeneration")
    software = child(step, "processingSoftware")
    child(software, "softwareName", "hwr")
    child(software, "softwareVersion", hwr.__version__)


def _line(block: Element, name: str, line: ReadLine, size: tuple[int, int]) -> None:
    element = child(block, "TextLine", ID=name, **_place(line.box, size))
    if len(line.baseline) >= 2:
        element.set("BASELINE", xml.points(pixels.points_px(line.baseline, size)))
    if len(line.polygon) >= 3:
        outline = xml.points(pixels.points_px(line.polygon, size))
        child(child(element, "Shape"), "Polygon", POINTS=outline)
    for position, word in enumerate(line.words, start=1):
        if position > 1:
            child(element, "SP")
        string = child(element, "String", ID=f"{name}_word_{position}", **_place(word.box, size))
        string.set("CONTENT", xml.clean(word.text))
        string.set("WC", xml.confidence(word.confidence))
    if not line.words:  # the schema asks for one
        child(element, "String", CONTENT="")


def _place(box: Box, size: tuple[int, int]) -> dict[str, int]:
    x1, y1, x2, y2 = pixels.box_px(box, size)
    return {"HPOS": x1, "VPOS": y1, "WIDTH": x2 - x1, "HEIGHT": y2 - y1}

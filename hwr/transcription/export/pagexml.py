"""PAGE of 2019-07-15: one region, its lines in reading order, words with confidences.

PAGE keeps one outline for each line: `Coords` holds the polygon, or the box if there is no polygon. The box
of a line read back is therefore that of its polygon. Schema: https://github.com/PRImA-Research-Lab/PAGE-XML
"""

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import PurePath
from xml.etree.ElementTree import Element

import hwr
from hwr.images.boxes import Point, corners, points_px
from hwr.transcription.export.xml import add_child, confidence_text, points_text, xml_document, xml_text
from hwr.transcription.transcript import ReadLine, ReadPage, ReadWord

_NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
_SCHEMA = f"{_NAMESPACE}/pagecontent.xsd"


def to_pagexml(read: ReadPage, *, created: datetime | None = None) -> str:
    """Return a page as a PAGE document; characters that XML forbids become U+FFFD.

    `created` is the moment it is dated with, the present one by default, local where it has no time
    zone. A page without area and lines has neither region nor reading order.
    """
    root = xml_document("PcGts", _NAMESPACE, _SCHEMA)
    _date(root, created or datetime.now(timezone.utc))
    height, width = read.size
    page = add_child(
        root, "Page", imageFilename=PurePath(read.image).name, imageWidth=width, imageHeight=height
    )
    if read.turn:
        page.set("orientation", str(read.turn if read.turn <= 180 else read.turn - 360))
    place = read.extent
    if place is not None:
        order = add_child(add_child(page, "ReadingOrder"), "OrderedGroup", id="order")
        add_child(order, "RegionRefIndexed", index=0, regionRef="region_1")
        region = add_child(page, "TextRegion", id="region_1")
        _points(region, "Coords", corners(place), read.size)
        for position, line in enumerate(read.lines, start=1):
            _line(region, f"line_{position}", line, read.size)
    return xml_text(root)


def _date(root: Element, moment: datetime) -> None:
    stamp = moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = add_child(root, "Metadata")
    add_child(metadata, "Creator", f"hwr {hwr.__version__}")
    add_child(metadata, "Created", stamp)
    add_child(metadata, "LastChange", stamp)


def _line(region: Element, name: str, line: ReadLine, size: tuple[int, int]) -> None:
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
    add_child(add_child(element, "TextEquiv", conf=confidence_text(confidence)), "Unicode", text)


def _points(element: Element, name: str, points: Iterable[Point], size: tuple[int, int]) -> None:
    add_child(element, name, points=points_text(points_px(points, size)))

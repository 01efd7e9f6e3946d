"""PAGE of 2019-07-15: one region, its lines in reading order, words with confidences.

PAGE keeps one outline a line: `Coords` holds the polygon, or the box where there is no polygon. A line's box
read back is therefore the one around its polygon. Schema: https://github.com/PRImA-Research-Lab/PAGE-XML
"""

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import PurePath
from xml.etree.ElementTree import Element

import hwr
from hwr.images.boxes import Point
from hwr.transcription.export import pixels, xml
from hwr.transcription.export.xml import child
from hwr.transcription.transcript import ReadLine, ReadPage, ReadWord

_NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
_SCHEMA = f"{_NAMESPACE}/pagecontent.xsd"


def to_xml(read: ReadPage, *, created: datetime | None = None) -> str:
    """Return a page as a PAGE document; characters that XML forbids become U+FFFD.

    `created` is the moment it is dated with, the present one by default, local where it has no time
    zone. A page without area and lines has neither region nor reading order.
    """
    root = xml.document("PcGts", _NAMESPACE, _SCHEMA)
    _date(root, created or datetime.now(timezone.utc))
    height, width = read.size
    page = child(root, "Page", imageFilename=PurePath(read.image).name, imageWidth=width, imageHeight=height)
    place = pixels.block(read)
    if place is not None:
        order = child(child(page, "ReadingOrder"), "OrderedGroup", id="order")
        child(order, "RegionRefIndexed", index=0, regionRef="region_1")
        region = child(page, "TextRegion", id="region_1")
        _points(region, "Coords", pixels.corners(place), read.size)
        for position, line in enumerate(read.lines, start=1):
            _line(region, f"line_{position}", line, read.size)
    return xml.written(root)


def _date(root: Element, moment: datetime) -> None:
    stamp = moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = child(root, "Metadata")
    child(metadata, "Creator", f"hwr {hwr.__version__}")
    child(metadata, "Created", stamp)
    child(metadata, "LastChange", stamp)


def _line(region: Element, name: str, line: ReadLine, size: tuple[int, int]) -> None:
    element = child(region, "TextLine", id=name)
    _points(element, "Coords", pixels.outline(line), size)
    if len(line.baseline) >= 2:  # the schema allows no single point
        _points(element, "Baseline", line.baseline, size)
    for position, word in enumerate(line.words, start=1):
        _word(element, f"{name}_word_{position}", word, size)
    _text(element, line.text, line.confidence)


def _word(line: Element, name: str, word: ReadWord, size: tuple[int, int]) -> None:
    element = child(line, "Word", id=name)
    _points(element, "Coords", pixels.corners(word.box), size)
    _text(element, word.text, word.confidence)


def _text(element: Element, text: str, confidence: float) -> None:
    child(child(element, "TextEquiv", conf=xml.confidence(confidence)), "Unicode", text)


def _points(element: Element, name: str, points: Iterable[Point], size: tuple[int, int]) -> None:
    child(element, name, points=xml.points(pixels.points_px(points, size)))

"""Corrections of transcripts: pages opened from ALTO, lines that a person rewrites or adds."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from hwr.data.records import Line
from hwr.data.sources import PageImages
from hwr.data.sources.alto import alto_page
from hwr.data.sources.xml import parse_xml, with_outlines
from hwr.decoding import Reading, Span, mean_confidence, rewrite_reading
from hwr.errors import InputError
from hwr.images.boxes import Box, clip
from hwr.layout.reading_order import line_order
from hwr.text import nfc
from hwr.transcription import ReadLine, ReadPage, ReadWord
from hwr.transcription.export import UNSURE, clean_text

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def from_alto(path: Path, images: PageImages) -> ReadPage:
    """Return the page of an ALTO file, also of another program, with the image of `images` it names.

    Confidences that it lacks are 1. Raise InputError where it is damaged, or holds what would be lost when
    the page is written again: lines without a place.
    """
    tree = parse_xml(path)
    page = alto_page(path.stem, path, tree, images)
    flaw = page.flaw or next((f"{path}: {line.id}: {line.flaw}" for line in page.lines if line.flaw), "")
    if flaw:
        raise InputError(flaw)
    elements = {element.get("ID"): element for element in tree.iterfind(".//{*}TextLine")}
    blocks = {
        line.get("ID"): number
        for number, block in enumerate(tree.iterfind(".//{*}TextBlock"))
        for line in block.iterfind("{*}TextLine")
    }
    lines = tuple(
        replace(_read_line(line, elements.get(name)), block=blocks.get(name, 0))
        for line in with_outlines(page.lines, page.size, trust=True)
        for name in (line.id.rpartition("/")[2],)
    )
    turns = {round(_number(block.get("ROTATION"), 0.0)) % 360 for block in tree.iterfind(".//{*}TextBlock")}
    turn = turns.pop() if len(turns) == 1 else 0
    return ReadPage(path.stem, page.image.name, 1, page.size, _area(tree), lines, 0 if turn % 90 else turn)


def corrected(line: ReadLine, text: str) -> ReadLine:
    """Return a line as a person writes it: NFC, single spaces; words that stay keep their boxes."""
    text = nfc(clean_text(_CONTROL.sub(" ", text)))
    if line.text:
        spans = rewrite_reading(Reading(line.text, 1.0, _spans(line)), text).spans
    else:  # nothing tells where on the line its words stand
        spans = _even((line.box[0], line.box[2]), len(text))
    sure = (1.0,) * len(text)
    return replace(
        line, text=text, words=_words(text, spans, line), confidence=1.0, confidences=sure, corrected=True
    )


def spread_words(text: str, box: Box) -> tuple[ReadWord, ...]:
    """Return the words of a text that fills `box` evenly."""
    return _words(text, _even((box[0], box[2]), len(text)), ReadLine(text, box, (), (), 1.0, ()))


def with_line(page: ReadPage, line: ReadLine) -> tuple[ReadPage, int]:
    """Return a page with one more line at its place in the reading order, and which one it is, from 0."""
    boxes = np.array([own.box for own in (*page.lines, line)])
    order = list(line_order(boxes, aspect=page.size[0] / page.size[1]))
    before = order.index(len(page.lines))
    place = int(order[before - 1]) + 1 if before else 0
    if page.lines:  # in the block of the line before it, or of the first
        line = replace(line, block=page.lines[max(0, place - 1)].block)
    return replace(page, lines=(*page.lines[:place], line, *page.lines[place:])), place


def _spans(line: ReadLine) -> tuple[Span, ...]:
    """Return from where to where on the page each character of a line reaches, as its words tell."""
    if " ".join(word.text for word in line.words) != line.text:
        return _even((line.box[0], line.box[2]), len(line.text))
    spans: list[Span] = []
    for word in line.words:
        own = _even((word.box[0], word.box[2]), len(word.text))
        spans += [(spans[-1][1], own[0][0]), *own] if spans else own
    return tuple(spans)


def _even(place: Span, count: int) -> tuple[Span, ...]:
    edges = np.linspace(*place, count + 1).tolist()
    return tuple(pairwise(edges))


def _words(text: str, spans: Sequence[Span], line: ReadLine) -> tuple[ReadWord, ...]:
    """Return the words of a text on `line`, each as high as the words of the line that it covers."""
    words = text.split(" ") if text else []
    ends = accumulate(len(word) + 1 for word in words)
    return tuple(
        ReadWord(word, _box(spans[end - 1 - len(word)][0], spans[end - 2][1], line), 1.0)
        for word, end in zip(words, ends, strict=True)
        if word
    )


def _box(left: float, right: float, line: ReadLine) -> Box:
    covered = [word.box for word in line.words if word.box[0] < right and left < word.box[2]] or [line.box]
    return left, min(box[1] for box in covered), max(left, right), max(box[3] for box in covered)


def _area(tree: Element) -> Box | None:
    """Return the print space of a page with blocks, else its one block; None where neither has a place."""
    sheet, blocks = tree.find(".//{*}Page"), tree.findall(".//{*}TextBlock")
    if sheet is None or not blocks:
        return None
    places = [*tree.findall(".//{*}PrintSpace")[:1], *(blocks if len(blocks) == 1 else ())]
    return next(filter(None, (_placed(element, sheet) for element in places)), None)


def _placed(element: Element, sheet: Element) -> Box | None:
    """Return where an element lies on its page; None where it says so wrongly, or nothing."""
    try:
        x, y, width, height = (float(element.attrib[key]) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT"))
        across, down = float(sheet.attrib["WIDTH"]), float(sheet.attrib["HEIGHT"])
        box = clip((x / across, y / down, (x + width) / across, (y + height) / down))
    except (KeyError, ValueError, ZeroDivisionError):
        return None
    return box if box[0] < box[2] and box[1] < box[3] else None  # false for NaN, too


def _read_line(line: Line, element: Element | None) -> ReadLine:
    strings = [] if element is None else element.findall("{*}String")
    known = {string.get("ID"): _number(string.get("WC"), 1.0) for string in strings}
    words = tuple(
        ReadWord(word.text, word.box, known.get(word.id.rpartition("/")[2], 1.0)) for word in line.words
    )
    if " ".join(word.text for word in words) != line.text:  # a whole line in one String
        words = spread_words(line.text, line.box)
    levels = [
        [int(level) for level in string.get("CC", "").split() if level.isdecimal()] for string in strings
    ]
    confidences = tuple(1 - min(level, UNSURE) / UNSURE for word in levels for level in (*word, 0))[:-1]
    return ReadLine(
        line.text,
        line.box,
        line.polygon,
        line.baseline,
        mean_confidence([word.confidence for word in words]),
        words,
        confidences if len(confidences) == len(line.text) else (),
        corrected=line.corrected,
    )


def _number(text: str | None, default: float) -> float:
    """Return a number that another program may have written otherwise, or the default."""
    try:
        number = float(text or "")
    except ValueError:
        return default
    return number if math.isfinite(number) else default

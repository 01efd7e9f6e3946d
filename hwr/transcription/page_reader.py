"""The pipeline: find area and lines of a page image and read them, with boxes and confidences."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np

from hwr.decoding import Decoder, Probs, Reading, build_decoder, rewrite_reading
from hwr.decoding.greedy import GreedyDecoder
from hwr.errors import InputError
from hwr.images.boxes import WHOLE, Box, FloatArray, around, clip, union, widened
from hwr.images.canvas import PageFit, fit_to_canvas, grown
from hwr.images.line_crop import LineCrop, Outline, crop_line, stretches
from hwr.images.load import GreyImage
from hwr.images.tiles import section_count, tiles
from hwr.layout import orientation
from hwr.layout.cut import LineCut, along, cut_lines
from hwr.layout.ink import find_gutter, without_squares
from hwr.layout.orientation import Legibility, LevelPage, find_tilt, turned_image
from hwr.layout.reading_order import is_strip, line_blocks, lines_are_high, lines_of_strip, words_into_lines
from hwr.stages.build import alphabet_of, model_of
from hwr.stages.engine import Engine, EngineSettings
from hwr.stages.line import LineReader, line_crop, load_line_reader
from hwr.stages.paragraph import MODEL as PARAGRAPH
from hwr.stages.paragraph import AreaFinder, load_area_finder
from hwr.stages.recipe import device_context
from hwr.stages.segmentation import MODEL as SEGMENTATION
from hwr.stages.segmentation import BoxDetector, load_box_detector
from hwr.text import nfc
from hwr.transcription import ReadLine, ReadPage, ReadWord
from hwr.weights import Weights

STEPS = ("paragraph", "segmentation", "line")  # the stages of the pipeline, in their order

Orientation = Literal["auto", 0, 90, 180, 270]
T = TypeVar("T")
_LEAST_PX = 2.0  # sides of a box that is read: in less there is nothing to see
_LEAST_TILT = 0.03  # slope from which the lines of a page are looked for when it is level
_LEAST_SURE = 0.15  # confidence of the one line of a strip: noise is read with less than 0.1
_LEAST_ON_STRIP = 0.85  # share of a line's box that lies on its strip
_LEAST_PAGE_PX = 400  # height of pages side by side: in less their lines are illegible
_MOST_LEVELLED = 2  # times: on a steep page few lines are found at first, and their slope is not quite right


@dataclass(frozen=True, kw_only=True)
class AreaStep:
    """How the area is found: `growth` is the share of its sides it is grown by before it is handed on."""

    finder: AreaFinder
    fit: PageFit
    growth: float


@dataclass(frozen=True, kw_only=True)
class LineStep:
    """How lines are found: `unit` is what the detector finds, line or word.

    Boxes of lines are grown sideways by `widen`, a share of their height.
    """

    detector: BoxDetector
    unit: str
    widen: float


@dataclass(frozen=True, kw_only=True)
class TextStep:
    """How lines are read; `seams` cuts each out along seams of least ink, else along its box.

    The first look at lines upside down is `greedy`: a search with models takes long over them.
    """

    reader: LineReader
    crop: LineCrop
    decoder: Decoder
    greedy: Decoder
    seams: bool


@dataclass(frozen=True)
class Given:
    """What is given instead of found: the area, or the lines themselves."""

    area: Box | None = None
    lines: Sequence[Outline] | None = None


@dataclass(frozen=True)
class Found:
    """What was read, as `hwr.transcription` has it, less where the page came from."""

    area: Box | None
    lines: tuple[ReadLine, ...]

    def page(self, name: str, image: str, number: int, size: tuple[int, int]) -> ReadPage:
        """Return the page with its origin."""
        return ReadPage(name, image, number, size, self.area, self.lines)


class LineOnPage(NamedTuple):
    """A line that is to be read: its page (H, W) and its outline there."""

    page: GreyImage
    outline: Outline


# Reads something by handing out lines and being sent what is written in each: see `finished`.
Steps = Generator[Sequence[LineOnPage], Sequence[ReadLine], T]


def finished(steps: Steps[T], read: Callable[[Sequence[LineOnPage]], Sequence[ReadLine]]) -> T:
    """Return what `steps` make of the lines that they hand out, each as `read` reads it."""
    try:
        lines = next(steps)
        while True:
            lines = steps.send(read(lines))
    except StopIteration as end:
        result: T = end.value
        return result


@dataclass(frozen=True)
class PageReader:
    """Reads pages: the three steps of the pipeline."""

    area: AreaStep
    lines: LineStep
    text: TextStep

    def __call__(self, page: GreyImage, given: Given = Given()) -> Found:
        """Read a page (H, W): its lines in reading order; no area and no lines on an empty one."""
        return finished(self.steps(page, given), self.read_lines)

    def steps(self, page: GreyImage, given: Given = Given()) -> Steps[Found]:
        """Read a page whose lines are read by whoever drives this, together with those of other pages."""
        page = without_squares(page)
        area, found = given.area, list[LineCut]()
        if given.lines is None:
            area, found = self.find_all(page) if area is None else self._find_in(page, area)
        outlines = found if given.lines is None else given.lines
        read = yield [LineOnPage(page, outline) for outline in outlines]
        if found:
            read = [replace(line, block=own.block) for line, own in zip(read, found, strict=True)]
        guessed = given.area is None and len(found) == 1 and is_strip(_size(page))
        least = _LEAST_SURE if guessed else 0.0
        lines = tuple(line for line in read if line.text and line.confidence >= least)
        return Found((area or union(line.box for line in lines)) if lines else None, lines)

    def find_all(self, page: GreyImage, *, levelled: int = 0) -> tuple[Box, list[LineCut]]:
        """Return the area and the outlines of the lines, of pages side by side those of the left one first.

        Of a tilted page they are those that are found when it is level; `levelled` says how often it was.
        """
        gutter = find_gutter(page)
        if is_strip(_size(page)):
            boxes = _joined(self.find_boxes(page, WHOLE))
            if gutter is None or page.shape[0] < _LEAST_PAGE_PX or lines_are_high(boxes):
                return WHOLE, self._find_in_strip(page, boxes)
        if gutter is None:
            return self._find_in(page, levelled=levelled)
        areas, lines, width = [], list[LineCut](), page.shape[1]
        for left, right in pairwise((0, round(gutter * width), width)):
            part = page[:, left:right]
            (x1, y1, x2, y2), own = self.find_all(part, levelled=levelled)
            strip = (left / width, right / width)
            if own:
                areas.append((along(x1, strip), y1, along(x2, strip), y2))
                first = lines[-1].block + 1 if lines else 0
                lines += [replace(line.in_strip(strip), block=first + line.block) for line in own]
        return union(areas) if areas else WHOLE, lines

    def _find_in(
        self, page: GreyImage, given: Box | None = None, *, levelled: int = 0
    ) -> tuple[Box, list[LineCut]]:
        area = given or self.find_area(page)
        blocks = self.find_boxes(page, area)
        tilt = find_tilt(page, _joined(blocks)) if levelled < _MOST_LEVELLED else 0.0
        if abs(tilt) < _LEAST_TILT:
            return area, self._cut_blocks(page, blocks)
        level, levelled = LevelPage.of(page, tilt), levelled + 1
        if given:
            _, lines = self._find_in(level.image, level.box_of_page(given), levelled=levelled)
        else:
            area, lines = self.find_all(level.image, levelled=levelled)  # it may be a double page
            area = level.box_to_page(area)
        return area, [line.turned_back(level) for line in lines]

    def _find_in_strip(self, page: GreyImage, boxes: FloatArray) -> list[LineCut]:
        """Return the outlines of the lines of a strip, on which `boxes` (N, 4) are found as it is."""
        lines, tilt = lines_of_strip(boxes), find_tilt(page, boxes)
        if abs(tilt) >= _LEAST_TILT:
            level = LevelPage.of(page, tilt)
            strip = level.box_of_page(WHOLE)
            found = _joined(self.find_boxes(level.image, strip))
            found = found[level.shares_on_page(found) > _LEAST_ON_STRIP]  # others are pieces of more lines
            straight = lines_of_strip(found, strip)
            if len(found) and max(len(lines), len(straight)) > 1:
                return [line.turned_back(level) for line in self._cut_blocks(level.image, [straight])]
        return self._cut_blocks(page, [lines])

    def _cut_blocks(self, page: GreyImage, blocks: Sequence[FloatArray]) -> list[LineCut]:
        """Return the lines cut out of the page for the boxes of each block."""
        aspect = page.shape[0] / page.shape[1]
        lines = self.cut(page, widened(_joined(blocks), self.lines.widen, aspect=aspect))
        numbers = np.repeat(np.arange(len(blocks)), [len(own) for own in blocks]).tolist()
        return [replace(line, block=number) for line, number in zip(lines, numbers, strict=True)]

    def find_turn(self, page: GreyImage, found: Found) -> int:
        """Return by how many degrees clockwise a page, read as `found`, is to be turned to stand upright.

        It costs nothing where the page was read surely; else some lines are read once more.
        """
        if _legibility(found.lines).score >= orientation.SURE:
            return 0
        page = without_squares(page)
        lines = sorted(found.lines, key=lambda line: -len(line.text))[: orientation.LINES]
        few, rest = lines[: orientation.LINES_FIRST], lines[orientation.LINES_FIRST :]
        seen = self._flipped(page, few)
        if orientation.is_upright(_legibility(few), _legibility(self.text.greedy.read(seen))):
            return 0
        given, flipped = _legibility(lines), self._legible(page, seen)
        if orientation.is_upright(_legibility(few), flipped):
            return 0
        flipped = flipped.with_lines(self._legible(page, self._flipped(page, rest)))
        if orientation.may_lie_aside(given, flipped):
            aside = turned_image(page, 90)
            longest = self.read(aside, self._longest(aside, orientation.LINES_ASIDE))
            ways = {90: _legibility(longest), 270: self._legible(aside, self._flipped(aside, longest))}
            turn = max(ways, key=lambda way: ways[way].score)
            if orientation.lies_aside(max(given, flipped, key=lambda read: read.score), ways[turn]):
                return turn
        return 180 if orientation.is_upside_down(given, flipped) else 0

    def find_area(self, page: GreyImage) -> Box:
        """Return the box around the handwriting, grown as configured."""
        sections = tiles(WHOLE, section_count(_size(page), self.area.fit.size), 1)
        fitted = [fit_to_canvas(page, part, self.area.fit) for row in sections for part in row]
        found = self.area.finder.boxes([canvas for canvas, _ in fitted])
        ends = np.array([spot.to_page(box[None]) for (_, spot), box in zip(fitted, found, strict=True)])
        proper = ends[(ends[:, 0, 2:] > ends[:, 0, :2]).all(axis=1)]  # blank parts have inverted boxes
        boxes = proper if len(proper) else ends
        return grown(clip(around(boxes.reshape(-1, 2).tolist())), self.area.growth)

    def find_boxes(self, page: GreyImage, area: Box) -> list[FloatArray]:
        """Return the boxes (N, 4) of the lines of each block in `area`, in reading order."""
        boxes = np.clip(self.lines.detector.find(page, area), 0.0, 1.0)
        sides_px = (boxes[:, 2:] - boxes[:, :2]) * page.shape[::-1]
        boxes = boxes[(sides_px >= _LEAST_PX).all(axis=1)]
        aspect = page.shape[0] / page.shape[1]
        if self.lines.unit == "word":
            rows = words_into_lines(boxes, aspect=aspect)
            boxes = np.array([union(map(tuple, boxes[row])) for row in rows]).reshape(-1, 4)
        return [boxes[block] for block in line_blocks(boxes, aspect=aspect)]

    def cut(self, page: GreyImage, boxes: FloatArray) -> list[LineCut]:
        """Return the lines cut out of the page for line boxes (N, 4), in their order."""
        if self.text.seams:
            return cut_lines(page, boxes)
        return [LineCut((x1, y1, x2, y2), (), ()) for x1, y1, x2, y2 in boxes.tolist()]

    def read(self, page: GreyImage, outlines: Sequence[Outline]) -> tuple[ReadLine, ...]:
        """Return what is written in each outline, but for those without text and those without area."""
        lines = self.read_lines([LineOnPage(page, outline) for outline in outlines])
        return tuple(line for line in lines if line.text)

    def read_lines(self, lines: Sequence[LineOnPage]) -> list[ReadLine]:
        """Return what is written in each line, of one page or several; no text in those without area."""
        cut: dict[int, GreyImage] = {}
        for position, line in enumerate(lines):
            with suppress(InputError):
                cut[position] = crop_line(line.page, line.outline, self.text.crop)
        pages = [id(lines[position].page) for position in cut]
        readings = self.text.decoder.read(self.text.reader.probs(list(cut.values())), pages)
        read = dict(zip(cut, readings, strict=True))
        return [
            self._line(line.outline, _size(line.page), cut[position].shape[1], read[position])
            if position in cut
            else ReadLine("", line.outline.box, line.outline.polygon, line.outline.baseline, 0.0, ())
            for position, line in enumerate(lines)
        ]

    def _longest(self, page: GreyImage, count: int) -> list[LineCut]:
        """Return the outlines of the lines that are longest for their height."""
        _, lines = self.find_all(page)
        x1, y1, x2, y2 = np.array([line.box for line in lines]).reshape(-1, 4).T
        return [lines[i] for i in np.argsort((y2 - y1) / (x2 - x1), kind="stable")[:count]]

    def _flipped(self, page: GreyImage, lines: Sequence[Outline]) -> list[Probs]:
        """Return the class probabilities of lines upside down."""
        images = [np.ascontiguousarray(crop_line(page, line, self.text.crop)[::-1, ::-1]) for line in lines]
        return self.text.reader.probs(images)

    def _legible(self, page: GreyImage, lines: Sequence[Probs]) -> Legibility:
        """Tell how surely lines of a page are read."""
        return _legibility(self.text.decoder.read(lines, [id(page)] * len(lines)))

    def _line(self, outline: Outline, size: tuple[int, int], width: int, reading: Reading) -> ReadLine:
        spans = _word_spans(reading, self.text.reader.padded_width(width) / width)
        boxes = stretches(outline, size, self.text.crop, [span for _, span, _ in spans])
        words = tuple(
            ReadWord(text, box, confidence) for (text, _, confidence), box in zip(spans, boxes, strict=True)
        )
        text = nfc(reading.text)
        confidences = rewrite_reading(reading, text).confidences
        return ReadLine(
            text, outline.box, outline.polygon, outline.baseline, reading.confidence, words, confidences
        )


def upright_steps(reader: PageReader, page: GreyImage, orientation: Orientation) -> Steps[tuple[int, Found]]:
    """Read a page turned clockwise as it stands upright; return by how many degrees, and what was read."""
    if orientation != "auto":
        return orientation, (yield from reader.steps(turned_image(page, orientation)))
    found = yield from reader.steps(page)
    turn = reader.find_turn(page, found)
    return turn, (yield from reader.steps(turned_image(page, turn))) if turn else found


class PipelineSettings(EngineSettings, Protocol):
    """What the pipeline is made with besides weights, as configurations hold it."""

    decoder: dict[str, Any]
    widen: float
    seams: bool
    batch_size: int


def build_page_reader(loaded: Mapping[str, Weights], config: PipelineSettings) -> PageReader:
    """Return the pipeline with the weights of its STEPS, by stage."""
    context, engine, size = device_context(config.device), Engine.of(config), config.batch_size
    area, lines, text = (loaded[step] for step in STEPS)
    area_settings, line_settings = model_of(area, PARAGRAPH).settings, model_of(lines, SEGMENTATION).settings
    alphabet = alphabet_of(text)
    return PageReader(
        AreaStep(
            finder=load_area_finder(area, batch_size=size, context=context, engine=engine),
            fit=area_settings.fit,
            growth=area_settings.growth,
        ),
        LineStep(
            detector=load_box_detector(lines, batch_size=size, context=context, engine=engine),
            unit=line_settings.unit,
            widen=config.widen,
        ),
        TextStep(
            reader=load_line_reader(text, batch_size=size, context=context, engine=engine),
            crop=line_crop(text),
            decoder=build_decoder(config.decoder, alphabet),
            greedy=GreedyDecoder(alphabet),
            seams=config.seams,
        ),
    )


def _joined(blocks: Sequence[FloatArray]) -> FloatArray:
    """Return the boxes (N, 4) of all blocks."""
    return np.concatenate([np.empty((0, 4)), *blocks])


def _size(page: GreyImage) -> tuple[int, int]:
    return page.shape[0], page.shape[1]


def _legibility(lines: Sequence[ReadLine] | Sequence[Reading]) -> Legibility:
    return Legibility(np.array([line.confidence for line in lines]), [line.text for line in lines])


def _word_spans(reading: Reading, padded: float) -> list[tuple[str, tuple[float, float], float]]:
    """Return each word of a reading, from where to where it reaches, and its confidence.

    CTC tells where a character is surest, in its middle: a word reaches half a character farther at its ends.
    What was read was `padded` times as wide as the line image, whose shares are returned.
    """
    words, start = [], 0
    for text in reading.text.split(" "):
        end = start + len(text)
        if text:
            (first, _), (_, last) = reading.spans[start], reading.spans[end - 1]
            half = 0.5 * (last - first) / len(text)
            peaks = np.maximum(reading.confidences[start:end], 1e-30)
            span = (min(1.0, max(0.0, first - half) * padded), min(1.0, (last + half) * padded))
            words.append((nfc(text), span, float(np.exp(np.log(peaks).mean()))))
        start = end + 1
    return words

"""The pipeline on pages of shaded strips: what stands in for a network tells, or asks, where they lie."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwr.decoding import Reading
from hwr.images.boxes import Box
from hwr.images.canvas import PageFit, fit_to_canvas
from hwr.images.line_crop import LineCrop
from hwr.images.load import GreyImage
from hwr.layout.cut import LineCut
from hwr.layout.orientation import turned_image
from hwr.transcription import ReadLine, ReadPage, page_reader
from hwr.transcription.page_reader import AreaStep, Found, Given, LineStep, PageReader, TextStep

SIZE = (100, 200)  # height, width px
WHOLE = (0.0, 0.0, 1.0, 1.0)
UPPER, LOWER = (0.1, 0.1, 0.6, 0.3), (0.1, 0.5, 0.6, 0.7)  # 100 x 20 px
CROP = LineCrop(height=20, max_width=2000, margin=0.0, mask=False, deskew=False, normalise=False)
CANVAS = PageFit(size=SIZE, normalise=False)  # the whole page as it is


def page(*strips: tuple[Box, int]) -> GreyImage:
    """Return a white page with boxes filled in a shade each."""
    image = np.full(SIZE, 255, np.uint8)
    for (x1, y1, x2, y2), shade in strips:
        image[round(y1 * 100) : round(y2 * 100), round(x1 * 200) : round(x2 * 200)] = shade
    return image


TWO = page((UPPER, 10), (LOWER, 20))


class Nobody:
    """Finds nothing: asking it is an error."""

    def boxes(self, images: list[GreyImage]) -> Any:
        raise AssertionError("what is given was looked for")


@dataclass
class Finder:
    """Finds one box on any canvas."""

    box: Box = WHOLE

    def boxes(self, images: list[GreyImage]) -> NDArray[np.float64]:
        return np.array([self.box for _ in images])


class Detector:
    """Finds the same boxes in any area, fractions of it, and keeps its canvas."""

    def __init__(self, *boxes: Box) -> None:
        self.found, self.seen = np.array(boxes, np.float64).reshape(-1, 4), list[GreyImage]()
        self.fit = CANVAS

    def find(self, page: GreyImage, area: Box) -> NDArray[np.float64]:
        canvas, spot = fit_to_canvas(page, area, self.fit)
        self.seen.append(canvas)
        return spot.to_page(self.found)


class Shades:
    """Reads the shade in the middle of each image."""

    def probs(self, images: list[GreyImage]) -> list[NDArray[np.float32]]:
        middles = [image[image.shape[0] // 2, image.shape[1] // 2] for image in images]
        return [np.array([[middle]], np.float32) for middle in middles]

    def padded_width(self, width: int) -> int:
        return -(-width // 32) * 32


def named(probs: NDArray[np.float32]) -> Reading:
    """Return a shade as a text, and none for white."""
    text = "" if probs[0, 0] == 255 else str(round(float(probs[0, 0])))
    spans = tuple((n / len(text), (n + 1) / len(text)) for n in range(len(text)))
    return Reading(text, 0.5, spans, (0.5,) * len(text))


@dataclass(frozen=True)
class OneByOne:
    """A decoder that reads each line with a function."""

    decode: Callable[[NDArray[np.float32]], Reading]

    def read(self, lines: Sequence[NDArray[np.float32]], pages: Sequence[Hashable] = ()) -> list[Reading]:
        return [self.decode(probs) for probs in lines]


def reader(
    detector: Any,
    *,
    finder: Any = None,
    unit: str = "line",
    decoder: Any = named,
    fit: PageFit = CANVAS,
    widen: float = 0.0,
    **text: Any,
) -> PageReader:
    settings = {"crop": CROP, "seams": False, **text}
    detector.fit = fit
    return PageReader(
        AreaStep(finder=finder or Finder(), fit=fit, growth=0.0),
        LineStep(detector=detector, unit=unit, widen=widen),
        TextStep(reader=Shades(), decoder=OneByOne(decoder), greedy=OneByOne(decoder), **settings),
    )


def texts(found: Found) -> list[str]:
    return [line.text for line in found.lines]


def read_as(reading: Reading, box: Box = UPPER, **text: Any) -> ReadLine:
    """Return the one line of a page that reads so."""
    (line,) = reader(Detector(box), decoder=lambda probs: reading, **text)(TWO).lines
    return line


def evenly(text: str) -> Reading:
    """Return a reading whose characters take a step each, one after the other."""
    steps = tuple((n / len(text), (n + 1) / len(text)) for n in range(len(text)))
    return Reading(text, 0.5, steps, (0.5,) * len(text))


# The order of lines


@pytest.mark.parametrize("boxes", [(UPPER, LOWER), (LOWER, UPPER)])
def test_lines_are_in_reading_order_whatever_the_detectors(boxes: tuple[Box, Box]) -> None:
    found = reader(Detector(*boxes))(TWO)
    assert texts(found) == ["10", "20"]
    assert [line.box for line in found.lines] == [pytest.approx(UPPER), pytest.approx(LOWER)]


def test_words_side_by_side_are_one_line() -> None:
    left, right = (0.1, 0.1, 0.3, 0.3), (0.35, 0.12, 0.6, 0.32)
    found = reader(Detector(LOWER, right, left), unit="word")(TWO)
    assert [line.box for line in found.lines] == [
        pytest.approx((0.1, 0.1, 0.6, 0.32)),
        pytest.approx(LOWER),
    ]


def test_left_page_of_a_double_page_is_read_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_reader, "find_gutter", lambda image: 0.5 if image.shape == SIZE else None)
    strips = [((x, y, x + 0.4, y + 0.1), shade) for shade, (x, y) in enumerate(
        [(0.05, 0.2), (0.05, 0.6), (0.55, 0.2), (0.55, 0.6)], start=1
    )]  # fmt: skip
    half = Detector((0.1, 0.2, 0.9, 0.3), (0.1, 0.6, 0.9, 0.7))
    found = reader(half, fit=PageFit(size=(100, 100), normalise=False), seams=True)(page(*strips))
    assert texts(found) == ["1", "2", "3", "4"]
    for line, (box, _) in zip(found.lines, strips, strict=True):
        assert line.box == pytest.approx(box)
        assert all(box[0] - 0.02 <= x <= box[2] + 0.02 for x, _ in (*line.polygon, *line.baseline))
    assert found.area == pytest.approx(WHOLE)


def test_pages_side_by_side_are_read_from_left_to_right(monkeypatch: pytest.MonkeyPatch) -> None:
    gutters = {SIZE: 0.5, (100, 100): 0.5}  # of the whole page, of its halves
    monkeypatch.setattr(page_reader, "find_gutter", lambda image: gutters.get(image.shape))
    strips = [((x, y, x + 0.2, y + 0.1), 10 * n) for n, (x, y) in enumerate(
        [(x, y) for x in (0.025, 0.275, 0.525, 0.775) for y in (0.2, 0.6)], start=1
    )]  # fmt: skip
    quarter = Detector((0.1, 0.2, 0.9, 0.3), (0.1, 0.6, 0.9, 0.7))
    found = reader(quarter, fit=PageFit(size=(100, 50), normalise=False))(page(*strips))
    assert texts(found) == [str(10 * n) for n in range(1, 9)]
    assert [line.box for line in found.lines] == [pytest.approx(box) for box, _ in strips]


def test_area_of_a_page_far_higher_than_the_canvas_holds_that_of_each_part() -> None:
    made = reader(
        Detector(), finder=Finder((0.4, 0.4, 0.6, 0.9)), fit=PageFit(size=(54, 54), normalise=False)
    )
    area = made.find_area(np.full((200, 50), 255, np.uint8))  # two parts of 108 px
    assert area == pytest.approx((0.304, 0.4 * 108 / 200, 0.736, (92 + 0.9 * 108) / 200), abs=0.01)


def test_blank_parts_of_a_high_page_do_not_count_for_its_area() -> None:
    class Lower:
        def boxes(self, images: list[GreyImage]) -> NDArray[np.float64]:
            return np.array([(0.9, 0.9, 0.1, 0.1), (0.4, 0.4, 0.6, 0.9)])  # blank above

    made = reader(Detector(), finder=Lower(), fit=PageFit(size=(54, 54), normalise=False))
    area = made.find_area(np.full((200, 50), 255, np.uint8))
    assert area == pytest.approx((0.304, (92 + 0.4 * 108) / 200, 0.736, (92 + 0.9 * 108) / 200), abs=0.01)


# Strips: lines cut out of a page

STRIP = np.full((20, 200), 7, np.uint8)


def strip_reader(*boxes: Box, decoder: Any = named) -> PageReader:
    """Return what finds these boxes on a strip, whose area is all of it."""
    fit = PageFit(size=(20, 200), normalise=False)
    return reader(Detector(*boxes), finder=Nobody(), fit=fit, decoder=decoder)


@pytest.mark.parametrize("boxes", [(), ((0.2, 0.2, 0.8, 0.8),)], ids=["nothing found", "a line found"])
def test_image_of_one_line_is_read_to_its_edges(boxes: tuple[Box, ...]) -> None:
    found = strip_reader(*boxes)(STRIP)
    assert [(line.text, line.box) for line in found.lines] == [("7", pytest.approx(WHOLE))]
    assert found.area == WHOLE


def test_lines_of_a_strip_of_two_are_read_where_they_are_found() -> None:
    image = STRIP.copy()
    image[10:] = 8
    found = strip_reader((0.0, 0.0, 0.9, 0.5), (0.0, 0.5, 1.0, 1.0))(image)
    assert texts(found) == ["7", "8"]


def test_words_far_apart_are_no_pages_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_reader, "find_gutter", lambda image: 0.5 if image.shape[1] >= 200 else None)
    large = np.full((420, 4200), 7, np.uint8)
    for image, boxes in ((STRIP, ()), (large, ((0.2, 0.2, 0.8, 0.8),))):
        found = strip_reader(*boxes)(image)
        assert [line.box for line in found.lines] == [pytest.approx(WHOLE)]


def test_pages_side_by_side_in_a_long_strip_are_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_reader, "find_gutter", lambda image: 0.5 if image.shape[1] == 1200 else None)
    low = Detector((0.1, 0.3, 0.9, 0.36), (0.1, 0.5, 0.9, 0.56))
    found = reader(low, fit=PageFit(size=(400, 600), normalise=False))(np.full((400, 1200), 7, np.uint8))
    assert texts(found) == ["7"] * 4
    assert [line.block for line in found.lines] == [0, 0, 1, 1]


def test_lines_of_a_tilted_strip_are_found_when_it_is_level(monkeypatch: pytest.MonkeyPatch) -> None:
    tilts = iter([0.1, 0.0])
    monkeypatch.setattr(page_reader, "find_tilt", lambda image, boxes: next(tilts))
    detector = Detector((0.1, 0.1, 0.9, 0.4), (0.1, 0.6, 0.9, 0.9))
    fit = PageFit(size=(60, 200), normalise=False)
    made = reader(detector, finder=Nobody(), decoder=lambda probs: evenly("a"), fit=fit)
    found = made(np.full((60, 200), 7, np.uint8))
    assert (len(detector.seen), len(found.lines), found.area) == (2, 2, WHOLE)
    for line in found.lines:
        (x1, y1), (x2, y2) = line.baseline[0], line.baseline[-1]
        assert (y2 - y1) * 60 / ((x2 - x1) * 200) == pytest.approx(0.1, abs=0.01)


def test_pieces_of_other_lines_at_the_corners_of_a_tilted_strip_are_no_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page_reader, "find_tilt", lambda image, boxes: 0.1)

    class Corners(Detector):
        def find(self, page: GreyImage, area: Box) -> NDArray[np.float64]:
            self.found = np.array([(0.0, 0.1, 1.0, 0.9)] if not self.seen else [(0.0, 0.3, 1.0, 0.7), corner])
            return super().find(page, area)

    corner = (0.0, 0.0, 0.3, 0.3)  # of the level image, most of it beside the strip
    detector = Corners()
    fit = PageFit(size=(20, 200), normalise=False)
    found = reader(detector, finder=Nobody(), fit=fit)(STRIP)
    assert len(detector.seen) == 2
    assert [line.box for line in found.lines] == [pytest.approx(WHOLE)]


def test_strip_of_noise_has_no_text_and_a_page_keeps_what_is_found() -> None:
    def unsure(probs: NDArray[np.float32]) -> Reading:
        return replace(evenly("son as"), confidence=0.06)

    assert strip_reader(decoder=unsure)(STRIP).lines == ()
    assert texts(reader(Detector(UPPER), decoder=unsure)(TWO)) == ["son as"]
    assert texts(strip_reader(decoder=unsure)(STRIP, Given(lines=[LineCut(WHOLE, (), ())]))) == ["son as"]


# Tilted pages


def tilted(slope: float) -> GreyImage:
    """Return a page of four rows of strokes that fall by `slope`, in shades 10 to 40."""
    image = np.full((400, 400), 255, np.uint8)
    for row in range(4):
        for x in range(60, 340, 8):
            y = round(80 + 80 * row + slope * (x - 200))
            image[y - 20 : y, x : x + 4] = 10 * (row + 1)
    return image


@pytest.mark.parametrize("seams", [False, True])
@pytest.mark.parametrize("slope", [-0.12, 0.05])
def test_lines_of_a_tilted_page_are_found_on_a_level_one_and_cut_out_along_their_slope(
    slope: float, seams: bool
) -> None:
    rows = [(0.15, 0.13 + 0.2 * row, 0.85, 0.23 + 0.2 * row) for row in range(4)]
    detector = Detector(*rows)
    canvas = PageFit(size=(400, 400), normalise=False)
    found = reader(detector, decoder=lambda probs: evenly("a"), fit=canvas, seams=seams)(tilted(slope))
    assert len(detector.seen) == 2
    darkest = detector.seen[1].min(axis=1)  # of the level page: rows of strokes with paper between them
    assert np.count_nonzero(np.diff((darkest < 100).astype(int)) == 1) == 4
    assert len(found.lines) == 4
    for line in found.lines:
        (x1, y1), (x2, y2) = line.baseline[0], line.baseline[-1]
        assert (y2 - y1) / (x2 - x1) == pytest.approx(slope, abs=0.02)
        left, top, right, bottom = line.box
        assert bottom - top > abs(slope) * (right - left)
        middle = np.mean(line.polygon, axis=0)
        assert left < middle[0] < right
        assert top < middle[1] < bottom


def test_lines_of_a_tilted_page_are_found_in_a_given_area_on_a_level_one() -> None:
    detector, area = Detector((0.05, 0.1, 0.95, 0.2)), (0.1, 0.1, 0.9, 0.95)
    canvas = PageFit(size=(400, 400), normalise=False)
    made = reader(detector, finder=Nobody(), decoder=lambda probs: evenly("a"), fit=canvas)
    found = made(tilted(0.1), Given(area=area))
    assert found.area == area
    assert len(detector.seen) == 2
    (x1, y1), (x2, y2) = found.lines[0].baseline[0], found.lines[0].baseline[-1]
    assert (y2 - y1) / (x2 - x1) == pytest.approx(0.1, abs=0.02)


def test_level_page_is_looked_at_once() -> None:
    detector = Detector((0.15, 0.13, 0.85, 0.23))
    reader(detector, fit=PageFit(size=(400, 400), normalise=False))(tilted(0.01))
    assert len(detector.seen) == 1


def test_gutter_of_a_tilted_double_page_is_found_on_the_level_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tilts, gutters = iter([0.1, 0.0, 0.0]), iter([None, 0.5, None, None])
    monkeypatch.setattr(page_reader, "find_tilt", lambda image, boxes: next(tilts))
    monkeypatch.setattr(page_reader, "find_gutter", lambda image: next(gutters))
    detector = Detector((0.1, 0.4, 0.9, 0.6))
    made = reader(detector, decoder=lambda probs: evenly("a"), fit=PageFit(size=(100, 100), normalise=False))
    left, right = made(tilted(0.1)).lines
    assert len(detector.seen) == 3
    assert left.box[2] < right.box[2]
    for line in (left, right):  # along the tilt
        (x1, y1), (x2, y2) = line.baseline[0], line.baseline[-1]
        assert (y2 - y1) / (x2 - x1) == pytest.approx(0.1, abs=0.01)


def test_lines_whose_slope_is_not_found_are_not_looked_for_endlessly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_reader, "find_tilt", lambda image, boxes: 0.2)
    detector = Detector((0.15, 0.13, 0.85, 0.23))
    reader(detector, fit=PageFit(size=(400, 400), normalise=False))(tilted(0.0))
    assert len(detector.seen) == 3


# Which way a page stands

ROWS = tuple((0.1, y, 0.9, y + 0.1) for y in (0.05, 0.3, 0.6, 0.85))  # alike when turned


class Starts(Shades):
    """Reads the shade at the beginning of each image."""

    def probs(self, images: list[GreyImage]) -> list[NDArray[np.float32]]:
        self.read = getattr(self, "read", 0) + len(images)
        return [np.array([[image[image.shape[0] // 2, 4]]], np.float32) for image in images]


def surely_where_dark(probs: NDArray[np.float32]) -> Reading:
    return Reading("word", 0.9 if probs[0, 0] < 100 else 0.3, ((0.0, 0.25),) * 4, (0.5,) * 4)


@pytest.mark.parametrize(("turn", "lines"), [(0, 4), (90, 16), (180, 8), (270, 16)])
def test_page_is_turned_to_where_it_is_read_surely_and_an_upright_one_read_once(
    turn: int, lines: int
) -> None:
    image = np.full((200, 200), 200, np.uint8)
    for _, y1, _, y2 in ROWS:  # lines begin dark
        image[round(y1 * 200) : round(y2 * 200), 20:60] = 10
    own = Starts()
    made = reader(Detector(*ROWS), decoder=surely_where_dark, fit=PageFit(size=(200, 200), normalise=False))
    made = replace(made, text=replace(made.text, reader=own))
    given = turned_image(image, -turn)
    assert made.find_turn(given, made(given)) == turn
    assert own.read == lines


def test_upright_page_that_is_read_unsurely_upside_down_costs_no_search_with_models() -> None:
    image = np.full((200, 200), 200, np.uint8)
    for _, y1, _, y2 in ROWS:
        image[round(y1 * 200) : round(y2 * 200), 20:60] = 10
    searched = list[NDArray[np.float32]]()

    def search(probs: NDArray[np.float32]) -> Reading:
        searched.append(probs)
        return Reading("word", 0.7, ((0.0, 0.25),) * 4, (0.5,) * 4)

    made = reader(Detector(*ROWS), decoder=search, fit=PageFit(size=(200, 200), normalise=False))
    made = replace(made, text=replace(made.text, reader=Starts(), greedy=OneByOne(surely_where_dark)))
    assert made.find_turn(image, made(image)) == 0
    assert len(searched) == len(ROWS)
    made = replace(made, text=replace(made.text, greedy=OneByOne(search)))  # as surely upside down
    assert made.find_turn(image, made(image)) == 0
    assert len(searched) > 3 * len(ROWS)


def test_page_on_which_no_line_is_found_is_looked_at_aside() -> None:
    image = np.full((200, 200), 200, np.uint8)
    for _, y1, _, y2 in ROWS:
        image[round(y1 * 200) : round(y2 * 200), 20:60] = 10

    class Upright(Detector):
        """Finds lines only where one begins dark."""

        def find(self, page: GreyImage, area: Box) -> NDArray[np.float64]:
            return super().find(page, area) if page[20, 30] < 100 else np.zeros((0, 4))

    made = reader(Upright(*ROWS), decoder=surely_where_dark, fit=PageFit(size=(200, 200), normalise=False))
    made = replace(made, text=replace(made.text, reader=Starts()))
    for turn in (0, 90):
        given = turned_image(image, -turn)
        assert made.find_turn(given, made(given)) == turn
    empty = np.full((200, 200), 200, np.uint8)
    assert made.find_turn(empty, made(empty)) == 0


# The area


def test_lines_are_looked_for_in_the_area_alone() -> None:
    detector = Detector((0.0, 0.0, 1.0, 0.2))
    area = (0.25, 0.5, 0.75, 1.0)  # half of the page each way: twice as large on the canvas
    found = reader(detector, finder=Finder(area))(page((area, 30)))
    assert detector.seen[0].shape == SIZE
    assert (detector.seen[0] == 30).all()
    assert found.lines[0].box == pytest.approx((0.25, 0.5, 0.75, 0.6))
    assert found.area == pytest.approx(area)


def test_area_is_grown_before_it_is_handed_on() -> None:
    made = reader(Detector(UPPER), finder=Finder((0.2, 0.2, 0.6, 0.6)))
    grown = replace(made, area=replace(made.area, growth=0.25))
    assert grown.find_area(TWO) == pytest.approx((0.1, 0.1, 0.7, 0.7))


@pytest.mark.parametrize("box", [(0.8, 0.6, 0.2, 0.1), (0.2, 0.6, 0.8, 0.1)])
def test_area_is_put_right_when_it_is_turned_inside_out(box: Box) -> None:
    assert reader(Detector(), finder=Finder(box)).find_area(TWO) == pytest.approx((0.2, 0.1, 0.8, 0.6))


def test_area_ends_where_the_page_does() -> None:
    assert reader(Detector(), finder=Finder((-0.5, 0.5, 1.5, 2.0))).find_area(TWO) == (0.0, 0.5, 1.0, 1.0)


# What is given


def test_area_is_not_looked_for_when_it_is_given() -> None:
    area = (0.0, 0.5, 1.0, 1.0)  # in the middle of the canvas, a quarter above and below
    found = reader(Detector((0.1, 0.25, 0.6, 0.45)), finder=Nobody())(TWO, Given(area=area))
    assert found.area == area
    assert [line.box for line in found.lines] == [pytest.approx(LOWER)]
    assert texts(found) == ["20"]


def test_lines_are_read_as_they_are_given_in_their_order() -> None:
    given_lines = reader(Detector()).cut(TWO, np.array([LOWER, UPPER]))
    assert texts(reader(Nobody())(TWO, Given(lines=given_lines))) == ["20", "10"]


# What is no line


def test_empty_page_has_neither_lines_nor_area() -> None:
    assert reader(Detector())(page()) == Found(None, ())


def test_no_words_are_no_lines() -> None:
    assert reader(Detector(), unit="word")(page()) == Found(None, ())


def test_page_without_text_has_neither_lines_nor_area() -> None:
    assert reader(Detector(UPPER, LOWER))(page()) == Found(None, ())


def test_lines_without_text_are_left_out() -> None:
    assert texts(reader(Detector(UPPER, LOWER))(page((LOWER, 20)))) == ["20"]


def test_boxes_turned_inside_out_are_dropped() -> None:
    turned = [(0.6, 0.1, 0.1, 0.3), (0.1, 0.3, 0.6, 0.1)]
    assert texts(reader(Detector(*turned, LOWER))(TWO)) == ["20"]


def test_boxes_without_a_number_are_dropped() -> None:
    assert texts(reader(Detector((0.1, float("nan"), 0.6, 0.3), LOWER))(TWO)) == ["20"]


def test_boxes_thinner_than_a_pixel_are_dropped() -> None:
    assert texts(reader(Detector((0.1, 0.1, 0.6, 0.101), LOWER))(TWO)) == ["20"]


def test_boxes_are_cut_to_the_page() -> None:
    found = reader(Detector((-0.2, 0.1, 0.6, 0.3)))(TWO)
    assert found.lines[0].box == pytest.approx((0.0, 0.1, 0.6, 0.3))


# Words


def test_words_are_the_lines_text() -> None:
    line = read_as(evenly("tea  and toast"))
    assert line.text == "tea and toast"
    assert [word.text for word in line.words] == ["tea", "and", "toast"]


def test_text_and_words_are_composed() -> None:
    line = read_as(evenly("the\u0301"))
    assert (line.text, line.words[0].text) == ("thé", "thé")


def test_confidence_of_a_word_is_the_geometric_mean_of_its_characters() -> None:
    reading = replace(evenly("ab c"), confidences=(0.9, 0.4, 0.01, 0.7))  # sqrt(0.9 * 0.4) = 0.6
    assert [word.confidence for word in read_as(reading).words] == pytest.approx([0.6, 0.7])


def test_confidence_of_a_line_is_the_readings() -> None:
    assert read_as(replace(evenly("ab"), confidence=0.25)).confidence == 0.25


def test_word_reaches_half_a_character_beyond_where_it_was_read() -> None:
    reading = Reading("ab", 0.5, ((0.3, 0.35), (0.65, 0.7)), (0.5, 0.5))  # 0.4 wide: a character is 0.2
    narrow = (0.1, 0.1, 0.58, 0.3)  # 96 px: as wide as what is read, a multiple of 32
    (word,) = read_as(reading, narrow).words
    x1, x2 = 0.1 + 0.2 * 0.48, 0.1 + 0.8 * 0.48
    assert word.box == pytest.approx((x1, 0.1, x2, 0.3))


def test_word_lies_on_the_line_and_not_on_what_pads_it() -> None:
    reading = Reading("a", 0.5, ((0.0, 0.5),), (0.5,))  # and half a character more: 3 / 4 of what was read
    box = (0.1, 0.1, 0.5, 0.3)  # 80 px, padded to 96: 72 of the 80 are 0.9
    (word,) = read_as(reading, box).words
    assert word.box == pytest.approx((0.1, 0.1, 0.1 + 0.9 * 0.4, 0.3))


@given(st.data(), st.sampled_from([0.0, 0.05, 0.5]))
def test_words_lie_inside_their_line(data: st.DataObject, margin: float) -> None:
    text = data.draw(st.text("ab ", min_size=1, max_size=12).filter(str.strip))
    ends = sorted(data.draw(st.lists(st.floats(0, 1), min_size=2 * len(text), max_size=2 * len(text))))
    spans = tuple(zip(ends[::2], ends[1::2], strict=True))
    line = read_as(Reading(text, 0.5, spans, (0.5,) * len(text)), crop=replace(CROP, margin=margin))
    x1, y1, x2, y2 = line.box
    for word in line.words:
        left, top, right, bottom = word.box
        assert x1 - 1e-6 <= left <= right <= x2 + 1e-6
        assert (top, bottom) == pytest.approx((y1, y2))


# What is cut out


def test_lines_are_cut_along_their_boxes_without_seams() -> None:
    (line,) = reader(Detector(UPPER))(TWO).lines
    assert (line.polygon, line.baseline) == ((), ())


def test_boxes_of_lines_are_grown_sideways_by_a_share_of_their_height() -> None:
    box = (0.25, 0.25, 0.75, 0.5)
    (line,) = reader(Detector(box), decoder=lambda probs: evenly("a"), widen=0.5)(TWO).lines
    assert line.box == pytest.approx(
        (0.1875, 0.25, 0.8125, 0.5), abs=0.01
    )  # the page is twice as wide as high


def test_lines_are_cut_along_seams_where_asked() -> None:
    strokes = page(((0.15, 0.18, 0.55, 0.22), 10))
    (line,) = reader(Detector(UPPER), seams=True, decoder=lambda probs: evenly("a"))(strokes).lines
    assert line.box == pytest.approx(UPPER)
    assert len(line.polygon) >= 3
    assert len(line.baseline) >= 2


def test_page_keeps_where_it_came_from() -> None:
    found = reader(Detector(UPPER))(TWO)
    expected = ReadPage("a-002", "a.tif", 2, SIZE, found.area, found.lines)
    assert found.page("a-002", "a.tif", 2, SIZE) == expected

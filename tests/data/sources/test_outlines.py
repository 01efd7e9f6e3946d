from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwr.data import load_pages
from hwr.data.records import NOWHERE, Line
from hwr.data.sources.xml import with_outlines
from hwr.images.boxes import Point, around

SIZE = (1000, 500)  # height, width px


def bare(name: str, *points: Point) -> Line:
    """Return a line of which the baseline is known, in px, and the box of that."""
    baseline = tuple((x / SIZE[1], y / SIZE[0]) for x, y in points)
    return Line(name, "text", around(baseline), baseline=baseline)


def polygons(*lines: Line) -> list[list[tuple[int, int]]]:
    return [
        [(round(x * SIZE[1]), round(y * SIZE[0])) for x, y in line.polygon]
        for line in with_outlines(lines, SIZE)
    ]


def level(name: str, y: float, x1: float = 50, x2: float = 450) -> Line:
    return bare(name, (x1, y), (x2, y))


def box(y: int, above: int, below: int, x1: int = 50, x2: int = 450) -> list[tuple[int, int]]:
    return [(x1, y - above), (x2, y - above), (x2, y + below), (x1, y + below)]


def test_outline_reaches_towards_the_lines_above_and_below() -> None:
    lines = level("a", 200), level("b", 300), level("c", 440)
    # Distances 100, 100, 140, 140: their median, 120, stands for those of the outer lines.
    assert polygons(*lines) == [box(200, 84, 30), box(300, 70, 42), box(440, 98, 36)]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # An insertion between lines, and a line far below them: neither is the usual distance.
        (
            [level("a", 200), level("b", 210), *(level(str(y), y) for y in (310, 410, 510, 610))],
            box(200, 70, 30),
        ),
        ([*(level(str(y), y) for y in (100, 200, 300)), level("far", 900)], box(100, 70, 30)),
        # The other column does not count, nor the second half of the same line.
        (
            [level("a", 200, 50, 200), level("b", 300, 50, 200), level("c", 250, 250, 450)],
            box(200, 70, 30, 50, 200),
        ),
        ([level("a", 200, 50, 200), level("a2", 202, 220, 450), level("b", 300)], box(200, 69, 30, 50, 200)),
    ],
)
def test_outline_is_as_high_as_usual_where_distances_are_not(
    lines: list[Line], expected: list[tuple[int, int]]
) -> None:
    assert polygons(*lines)[0] == expected


def test_outline_follows_a_baseline_that_rises_or_was_drawn_from_right_to_left() -> None:
    points = (50, 200), (250, 190), (450, 200)
    shifted = [bare(name, *((x, y + down) for x, y in points)) for name, down in (("a", 0), ("b", 100))]
    expected = [(50, 130), (250, 120), (450, 130), (450, 230), (250, 220), (50, 230)]
    assert polygons(*shifted)[0] == expected
    mirrored = [replace(line, baseline=line.baseline[::-1]) for line in shifted]
    assert set(polygons(*mirrored)[0]) == set(expected)


def test_outline_of_a_turned_line_stands_across_it() -> None:
    lines = [bare(str(x), (x, 100), (x, 900)) for x in (300, 200, 100)]  # written downwards
    assert polygons(*lines)[1] == [(270, 100), (270, 900), (170, 900), (170, 100)]


def test_outline_takes_its_distance_from_lines_with_boxes_too() -> None:
    other = Line("b", "text", (0.1, 0.23, 0.9, 0.33))  # 230 to 330 px: its baseline is taken to be at 300
    assert polygons(level("a", 200), other)[0] == box(200, 70, 30)


def test_outline_is_cut_to_the_page() -> None:
    assert polygons(level("a", 20), level("b", 120))[0] == [(50, 0), (450, 0), (450, 50), (50, 50)]


@pytest.mark.parametrize(
    "line",
    [
        bare("point", (50, 200), (50, 200)),
        Line("box", "text", (0.1, 0.2, 0.9, 0.2)),
    ],
)
def test_a_line_stays_as_it_is_where_nothing_tells_its_height(line: Line) -> None:
    assert with_outlines([line], SIZE) == [line]


def test_a_line_alone_has_no_place_that_is_known() -> None:
    other = Line("box", "text", (0.1, 0.2, 0.9, 0.3))
    assert with_outlines([level("a", 250)], SIZE)[0].box == NOWHERE
    assert "draw its outline" in with_outlines([level("a", 250)], SIZE)[0].flaw
    assert with_outlines([level("a", 350), other], SIZE)[1] == other


@pytest.mark.parametrize("flat", [False, True])
def test_an_outline_that_is_one_is_kept(flat: bool) -> None:
    low, high = (0.2, 0.2005) if flat else (0.13, 0.23)
    polygon = ((0.1, low), (0.9, low), (0.9, high), (0.1, high))
    line = replace(level("a", 200), polygon=polygon, box=around(polygon))
    kept = with_outlines([line, level("b", 300)], SIZE)[0]
    assert (kept == line) is not flat
    boxed = replace(line, polygon=())
    assert (with_outlines([boxed, level("b", 300)], SIZE)[0] == boxed) is not flat


def outlined(name: str, y: int, outline: list[tuple[int, int]], *, boxed: bool = False) -> Line:
    polygon = tuple((x / SIZE[1], y / SIZE[0]) for x, y in outline)
    return replace(level(name, y), polygon=() if boxed else polygon, box=around(polygon))


@pytest.mark.parametrize(
    ("above", "below", "kept"),
    [(15, 0, False), (39, 1, False), (42, 0, True), (39, 5, True), (-20, 30, True), (30, -20, True)],
    ids=["strip", "high strip", "capitals", "below the line as well", "below it", "above it"],
)
@pytest.mark.parametrize("boxed", [False, True])
def test_a_strip_upon_a_baseline_is_no_outline(above: int, below: int, kept: bool, boxed: bool) -> None:
    strip = outlined("a", 200, box(200, above, below), boxed=boxed)
    found = with_outlines([strip, level("b", 300)], SIZE)[0]
    assert (found == strip) is kept
    assert kept or polygons(strip, level("b", 300))[0] == box(200, 70, 30)
    assert found.mended == ("" if kept else "a strip upon its baseline")
    assert with_outlines([strip, level("b", 300)], SIZE, trust=True)[0] == strip
    assert with_outlines([strip], SIZE) == [strip]  # nothing tells how high its line is


def test_a_strip_is_low_for_the_lines_beside_it_not_for_the_page() -> None:
    notes = [outlined(str(y), y, box(y, 20, 0, 300, 450)) for y in (200, 230, 260)]
    text = [level(str(y), y, 50, 250) for y in range(100, 900, 100)]
    assert with_outlines([*notes, *text], SIZE)[1] == notes[1]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("lines", "baselines", "kept"),
    [(1.0, 1.0, True), (0.5, 1.0, False), (1.6, 1.0, False), (1.0, 0.5, True), (1.0, 1.6, True)],
    ids=["right", "outlines halved", "outlines enlarged", "baselines halved", "baselines enlarged"],
)
def test_outlines_of_a_page_at_another_scale_are_made_anew(
    lines: float, baselines: float, kept: bool, reverse: bool
) -> None:
    drawn = []
    for y in range(100, 1000, 100):
        polygon = tuple((min(x * lines / 500, 1), min(v * lines / 1000, 1)) for x, v in box(y, 70, 30))
        ends = tuple((min(x * baselines / 500, 1), min(y * baselines / 1000, 1)) for x in (50, 450))
        line = Line(str(y), "text", around(polygon), polygon, ends[::-1] if reverse else ends)
        drawn.append(line)
    found = with_outlines(drawn, SIZE)
    assert found == drawn if kept else {line.mended for line in found} == {"outlines at another scale"}
    assert kept or found[4].box == pytest.approx((0.1, 0.43, 0.9, 0.53), abs=0.002)
    assert with_outlines(drawn, SIZE, trust=True) == drawn
    assert with_outlines(drawn[:2], SIZE) == drawn[:2]  # two lines may be wrong by themselves


@pytest.mark.parametrize(("off", "mended"), [(45, ""), (60, "outlines at another scale")])
def test_outlines_count_as_off_their_baselines_from_a_fifth_of_the_distance_on(off: int, mended: str) -> None:
    # 30 px high and `off` below their baselines, 15 or 30 px clear of them; cut to the page at its foot.
    drawn = [outlined(str(y), y, box(y, 30 - off, off)) for y in range(100, 1000, 100)]
    drawn = [replace(line, baseline=tuple((x * 1.1, y) for x, y in line.baseline)) for line in drawn]
    assert {line.mended for line in with_outlines(drawn, SIZE)} == {mended}


def test_boxes_without_outline_say_nothing_of_a_page_s_scale() -> None:
    boxes = [outlined(str(y), y, box(y // 2, 35, 15), boxed=True) for y in range(200, 1000, 100)]
    assert with_outlines(boxes, SIZE) == boxes


def test_the_box_of_an_upright_line_reaches_across_it() -> None:
    lines = [bare(str(x), (x, 100), (x, 900)) for x in (300, 200, 100)]
    boxes = [
        replace(
            line, box=around(tuple((x / SIZE[1], y / SIZE[0]) for x, y in ((at - 30, 100), (at + 70, 900))))
        )
        for line, at in zip(lines, (300, 200, 100), strict=True)
    ]
    assert with_outlines(boxes, SIZE) == boxes


def test_a_strip_above_a_baseline_that_rises_is_no_outline() -> None:
    low, high = ([(50, y), (250, y - 10), (450, y - 30)] for y in (200, 185))
    polygon = tuple((x / SIZE[1], y / SIZE[0]) for x, y in (*low, *high[::-1]))
    strip = replace(bare("a", *low), polygon=polygon, box=around(polygon))
    others = [bare(str(down), *((x, y + down) for x, y in low)) for down in (100, 200)]
    assert polygons(strip, *others)[0] == polygons(bare("a", *low), *others)[0]


def test_outlines_of_a_page_that_lies_at_another_scale_in_real_data_are_made_anew(shared: Path) -> None:
    root = shared / "cases" / "outline_off_page"
    if not root.is_dir():
        pytest.skip(f"no folder {root}: outlines beside their lines are not made anew")
    (page,) = load_pages("pagexml", root=root, splits=None, shares=(1, 0, 0), seed=0).pages
    assert {line.mended for line in page.lines} == {"outlines at another scale"}
    for line in page.lines:
        base = np.array(line.baseline)
        assert line.box[0] <= base[:, 0].min() + 0.01 and line.box[2] >= base[:, 0].max() - 0.01
        assert line.box[1] < np.median(base[:, 1]) < line.box[3]


def test_outlines_are_about_those_drawn_by_hand(shared: Path) -> None:
    root = shared / "data" / "letters_fr"
    if not root.is_dir():
        pytest.skip(f"no folder {root}: outlines are not compared with drawn ones")
    heights = []
    for page in load_pages("alto", root=root, splits=None, shares=(1, 0, 0), seed=0).pages:
        drawn = [line for line in page.lines if len(line.baseline) > 1 and line.polygon]
        stripped = [replace(line, polygon=(), box=around(line.baseline)) for line in drawn]
        made = with_outlines(stripped, page.size)
        heights += [
            _height(found) / _height(line) for found, line in zip(made, drawn, strict=True) if found.polygon
        ]
    assert len(heights) > 1000
    assert np.quantile(heights, (0.25, 0.5, 0.75)) == pytest.approx((0.8, 1.0, 1.2), abs=0.2)


def _height(line: Line) -> float:
    return line.box[3] - line.box[1]

"""Lines come out of a page straight, level, unscathed and on white paper."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from hwr.errors import InputError
from hwr.images.line_crop import LineCrop, _third_quarter, crop_line, image_width, stretches
from hwr.images.load import GreyImage

PLAIN = LineCrop(height=48, max_width=2000, margin=0.0, mask=False, deskew=False, normalise=False)
FULL = LineCrop(height=48, max_width=2000, margin=0.1, mask=True, deskew=True, normalise=True)


@dataclass(frozen=True)
class Outlined:
    box: tuple[float, float, float, float]
    polygon: tuple[tuple[float, float], ...] = ()
    baseline: tuple[tuple[float, float], ...] = ()


def page_with_bar(angle: float = 0.0) -> tuple[GreyImage, Outlined]:
    """Return a page 400 x 800 with a dark bar 600 x 8 px turned by `angle`, and its outline 20 px around."""
    page = np.full((400, 800), 200, dtype=np.uint8)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def corners(x: float, y: float) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
        points: np.ndarray[tuple[int, int], np.dtype[np.float64]] = np.array(
            [[-x, -y], [x, -y], [x, y], [-x, y]]
        ) @ turn.T + [400, 200]
        return points

    cv2.fillPoly(page, [np.round(corners(300, 4) * 16).astype(np.int32)], (40,), cv2.LINE_AA, 4)
    outline = corners(320, 24) / [800, 400]
    ends = (np.array([[-300, 4], [300, 4]]) @ turn.T + [400, 200]) / [800, 400]
    x1, y1, x2, y2 = *outline.min(axis=0), *outline.max(axis=0)
    return page, Outlined((x1, y1, x2, y2), tuple(map(tuple, outline)), tuple(map(tuple, ends)))


def dark_rows(image: GreyImage, columns: slice) -> list[int]:
    return np.flatnonzero(image[:, columns].mean(axis=1) < 128).tolist()


def test_crop_line_of_a_box_at_its_own_scale_is_the_page_itself() -> None:
    page = np.random.default_rng(0).integers(0, 255, (100, 200), dtype=np.uint8)
    crop = crop_line(page, Outlined((0.1, 0.2, 0.6, 0.68)), PLAIN)
    assert np.array_equal(crop, page[20:68, 20:120])


def test_crop_line_keeps_the_aspect() -> None:
    page = np.full((400, 800), 255, dtype=np.uint8)
    crop = crop_line(page, Outlined((0.0, 0.0, 1.0, 0.25)), PLAIN)  # 800 x 100 px
    assert crop.shape == (48, 384)


def test_crop_line_adds_the_margin_on_every_side() -> None:
    page = np.full((400, 800), 255, dtype=np.uint8)
    crop = crop_line(
        page, Outlined((0.25, 0.25, 0.75, 0.5)), replace(PLAIN, margin=0.5)
    )  # 500 x 200 px in all
    assert crop.shape == (48, 120)


def test_crop_line_squeezes_a_line_wider_than_the_bound() -> None:
    page = np.full((100, 1000), 255, dtype=np.uint8)
    assert crop_line(page, Outlined((0, 0, 1, 0.1)), replace(PLAIN, max_width=300)).shape == (48, 300)


def test_crop_line_is_never_narrower_than_eight() -> None:
    page = np.full((1000, 100), 255, dtype=np.uint8)
    assert crop_line(page, Outlined((0, 0, 0.02, 1)), PLAIN).shape == (48, 8)


@pytest.mark.parametrize("angle", [-0.2, 0.1, 0.3])
def test_crop_line_levels_a_sloping_baseline(angle: float) -> None:
    page, line = page_with_bar(angle)
    crop = crop_line(page, line, replace(PLAIN, deskew=True))
    assert crop.shape == (48, 640)  # the turned outline is 640 x 48 px
    ends = [np.mean(dark_rows(crop, part)) for part in (slice(30, 90), slice(550, 610))]
    assert ends == pytest.approx([23.5, 23.5], abs=1)  # rows 20 to 27; drawing rounds by a pixel


def test_crop_line_leaves_the_slope_without_deskew() -> None:
    page, line = page_with_bar(0.1)
    crop = crop_line(page, line, PLAIN)
    assert max(dark_rows(crop, slice(20, 40))) < min(dark_rows(crop, slice(-40, -20)))


def test_crop_line_reads_a_baseline_drawn_from_right_to_left_upright() -> None:
    page, line = page_with_bar(0.1)
    backwards = replace(line, baseline=line.baseline[::-1])
    assert np.abs(crop_line(page, backwards, FULL).astype(int) - crop_line(page, line, FULL)).max() <= 1


def test_crop_line_straightens_a_curved_baseline() -> None:
    page = np.full((400, 800), 200, dtype=np.uint8)
    xs = np.arange(100, 701, 50)
    ys = 200 + 25 * np.sin((xs - 100) / 600 * np.pi)
    cv2.polylines(page, [np.stack([xs, ys - 4], axis=1).astype(np.int32)], False, (40,), 5)
    baseline = tuple(zip((xs / 800).tolist(), (ys / 400).tolist(), strict=True))
    band = np.concatenate([np.stack([xs, ys - 24], 1), np.stack([xs, ys + 20], 1)[::-1]]) / [800, 400]
    line = Outlined((0.1, 0.4, 0.9, 0.7), tuple(map(tuple, band)), baseline)
    crop = crop_line(page, line, replace(PLAIN, deskew=True))
    middle = [np.mean(dark_rows(crop, slice(x, x + 20))) for x in range(20, crop.shape[1] - 40, 40)]
    assert np.ptp(middle) <= 3  # the curve itself is 25 px deep


def test_crop_line_replaces_neighbours_outside_the_polygon_by_paper() -> None:
    page, line = page_with_bar()
    page[160:170] = 0  # a neighbouring line, 6 px above the outline and reaching into the margin
    settings = replace(PLAIN, mask=True, margin=0.5)
    crop = crop_line(page, line, settings)
    assert crop[:10].min() >= 198
    assert crop_line(page, line, replace(settings, mask=False))[:10].min() < 50


def test_crop_line_keeps_what_is_nearer_to_the_polygon_than_the_mask_grows() -> None:
    page, line = page_with_bar()
    page[168:172] = 0  # 4 px above the outline, which is 48 px high
    crops = [
        crop_line(page, line, replace(PLAIN, mask=True, margin=0.5, mask_grow=share)) for share in (0.03, 0.2)
    ]
    assert [bool(crop[:12].min() < 50) for crop in crops] == [False, True]


def test_crop_line_keeps_strokes_that_touch_the_polygon() -> None:
    page = np.full((200, 400), 200, dtype=np.uint8)
    page[60:140, 100:104] = 20  # an upright stroke as high as the outline
    line = Outlined((0.2, 0.3, 0.8, 0.7), ((0.2, 0.3), (0.8, 0.3), (0.8, 0.7), (0.2, 0.7)))
    crop = crop_line(page, line, replace(PLAIN, height=80, mask=True))
    assert crop[:, 20:24].max() <= 30


def test_crop_line_normalises_uneven_paper_and_pale_ink() -> None:
    page, line = page_with_bar()
    shaded = (page * np.linspace(0.5, 1.0, 800)).astype(np.uint8)
    crop = crop_line(shaded, line, FULL)
    assert np.median(crop) == 255
    assert crop[24, 60] < 20 and crop[24, -60] < 20  # ink at both ends alike


def test_crop_line_of_an_empty_line_stays_white() -> None:
    noise = np.random.default_rng(0).normal(200, 4, (100, 800)).clip(0, 255).astype(np.uint8)
    crop = crop_line(noise, Outlined((0.1, 0.2, 0.9, 0.7)), FULL)
    assert crop.min() > 220


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 65, 4097])
def test_paper_is_the_percentile_that_numpy_has(length: int) -> None:
    for values in np.random.default_rng(length).integers(0, 256, (20, length)).astype(np.uint8):
        assert _third_quarter(values) == np.percentile(values, 75)


def test_crop_line_fills_what_lies_beyond_the_page_with_paper() -> None:
    page = np.full((100, 200), 180, dtype=np.uint8)
    page[0] = 0  # were the page's edge repeated, the margin would be black
    crop = crop_line(page, Outlined((0.0, 0.0, 0.5, 0.48)), replace(PLAIN, margin=0.5, height=96))
    assert crop[:20].min() >= 178


def test_crop_line_does_not_alias_when_shrinking() -> None:
    page = np.zeros((480, 960), dtype=np.uint8)
    page[:, ::2] = 255  # stripes one pixel wide, ten times shrunk
    crop = crop_line(page, Outlined((0, 0, 1, 1)), PLAIN)
    assert np.abs(crop[4:-4, 4:-4].astype(int) - 127).max() <= 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (Outlined((0.5, 0.5, 0.5, 0.8)), "box has no area"),
        (Outlined((1.2, 0.1, 1.4, 0.3)), "box lies outside the page"),
        (Outlined((0, 0, 1, 1), ((0.1, 0.1), (0.5, 0.5), (0.9, 0.9))), "polygon has no area"),
        (Outlined((0, 0, 1, 1), ((-0.3, 0.1), (-0.1, 0.5), (-0.3, 0.9))), "polygon lies outside the page"),
        (Outlined((0, 0, 1, float("nan"))), "not finite"),
    ],
)
def test_crop_line_refuses_a_degenerate_outline(line: Outlined, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        crop_line(np.zeros((50, 50), dtype=np.uint8), line, FULL)


@pytest.mark.parametrize("baseline", [((0.5, 0.5),), ((0.5, 0.5), (0.5, 0.5))])
def test_crop_line_ignores_a_baseline_without_direction(baseline: tuple[tuple[float, float], ...]) -> None:
    page, line = page_with_bar()
    expected = crop_line(page, replace(line, baseline=()), FULL)
    assert np.array_equal(crop_line(page, replace(line, baseline=baseline), FULL), expected)


@pytest.mark.parametrize("settings", [PLAIN, FULL, replace(FULL, max_width=60), replace(FULL, canvas=True)])
def test_image_width_is_that_of_the_crop_or_refused_like_it(settings: LineCrop) -> None:
    random = np.random.default_rng(0)
    outcomes = set()
    for number in range(300):
        size = (int(random.integers(1, 40)), int(random.integers(1, 90)))
        corners = (
            np.sort(random.uniform(-0.2, 1.2, (2, 2)), axis=0) if number % 4 else np.array([[0, 0], [1, 1]])
        )
        line = Outlined(tuple(corners.ravel().tolist()))
        try:
            expected: int | str = crop_line(np.full(size, 200, dtype=np.uint8), line, settings).shape[1]
        except InputError as error:
            expected = str(error)
        try:
            width: int | str = image_width(line, size, settings)
        except InputError as error:
            width = str(error)
        assert width == expected, (size, line.box)
        outcomes.add(type(width))
    assert outcomes == {int, str}


def test_crop_line_leaves_the_page_alone() -> None:
    page, line = page_with_bar(0.1)
    before = page.copy()
    crop_line(page, line, FULL)
    assert np.array_equal(page, before)


@pytest.mark.parametrize(
    "change", [{"height": 0}, {"max_width": 4}, {"margin": -0.1}, {"mask_grow": -0.1}, {"mask_grow": 0.3}]
)
def test_line_crop_refuses_values_out_of_range(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        replace(PLAIN, **change)  # type: ignore[arg-type]


# stretches


BAND = Outlined((0.1, 0.2, 0.6, 0.7))  # 20 to 120 and 20 to 70 px
PAGE_SIZE = (100, 200)  # height, width px


def test_stretches_are_parts_of_the_box_when_the_line_is_upright() -> None:
    halves = stretches(BAND, PAGE_SIZE, PLAIN, [(0.0, 0.5), (0.5, 1.0)])
    assert halves == [pytest.approx((0.1, 0.2, 0.35, 0.7)), pytest.approx((0.35, 0.2, 0.6, 0.7))]


def test_stretches_begin_after_the_margin() -> None:
    settings = replace(PLAIN, margin=0.1)  # 5 px on every side: the image shows 110 px
    (half,) = stretches(BAND, PAGE_SIZE, settings, [(5 / 110, 55 / 110)])
    assert half == pytest.approx((0.1, 0.2, 0.35, 0.7))


def test_stretches_hold_nothing_of_the_margin() -> None:
    (whole,) = stretches(BAND, PAGE_SIZE, replace(PLAIN, margin=0.5), [(0.0, 1.0)])
    assert whole == pytest.approx(BAND.box)


def test_stretches_of_a_squeezed_line_are_parts_of_the_box() -> None:
    settings = replace(PLAIN, max_width=20)
    (quarter,) = stretches(BAND, PAGE_SIZE, settings, [(0.75, 1.0)])
    assert quarter == pytest.approx((0.475, 0.2, 0.6, 0.7))


def test_stretch_of_a_polygon_is_as_high_as_the_polygon() -> None:
    line = replace(BAND, polygon=((0.1, 0.3), (0.6, 0.3), (0.6, 0.5), (0.1, 0.5)))
    assert stretches(line, PAGE_SIZE, PLAIN, [(0.0, 1.0)]) == [pytest.approx((0.1, 0.3, 0.6, 0.5))]


@pytest.mark.parametrize("angle", [-0.2, 0.1, 0.3])
def test_stretches_follow_a_sloping_line(angle: float) -> None:
    _, line = page_with_bar(angle)
    settings = replace(PLAIN, deskew=True)
    whole, left, right = stretches(line, (400, 800), settings, [(0.0, 1.0), (0.0, 0.5), (0.5, 1.0)])
    assert whole == pytest.approx(line.box, abs=1e-4)
    assert left[0] == pytest.approx(line.box[0], abs=1e-4)
    assert right[2] == pytest.approx(line.box[2], abs=1e-4)
    fall = (right[1] + right[3] - left[1] - left[3]) / 2 * 400  # px, between their middles
    assert fall == pytest.approx(320 * np.sin(angle), abs=0.1)


def test_stretches_follow_a_curved_line() -> None:
    xs = np.linspace(0.1, 0.9, 33)
    ys = 0.5 + 0.2 * np.sin((xs - 0.1) / 0.8 * np.pi)  # 0.7 in the middle: y runs down
    band = [*zip(xs, ys - 0.05, strict=True), *zip(xs[::-1], ys[::-1] + 0.05, strict=True)]
    line = Outlined((0.1, 0.45, 0.9, 0.75), tuple(band), tuple(zip(xs, ys, strict=True)))
    spans = [(0.0, 0.1), (0.45, 0.55), (0.9, 1.0)]
    first, middle, last = stretches(line, (400, 800), replace(PLAIN, deskew=True), spans)
    assert middle[1] - 0.1 > max(first[1], last[1])
    assert middle[3] == pytest.approx(0.75, abs=0.03)


def test_stretches_stay_on_the_page() -> None:
    (whole,) = stretches(Outlined((-0.5, 0.2, 1.5, 0.7)), PAGE_SIZE, FULL, [(0.0, 1.0)])
    assert whole == pytest.approx((0.0, 0.2, 1.0, 0.7))


def test_stretches_refuse_a_degenerate_outline() -> None:
    with pytest.raises(InputError, match="box has no area"):
        stretches(Outlined((0.5, 0.5, 0.5, 0.8)), PAGE_SIZE, PLAIN, [(0.0, 1.0)])


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((0.1, 0.1, 0.9, 0.3), (20, 40), (0, 80)),  # 80 x 20 px of the page: as wide as the canvas
        ((0.4, 0.1, 0.5, 0.3), (0, 60), (25, 55)),  # 10 x 20 px: as high as it
    ],
)
def test_line_lies_in_the_middle_of_a_canvas(
    box: tuple[float, float, float, float], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    page = np.full((100, 100), 255, dtype=np.uint8)
    page[:, ::2] = 0  # half of it ink, beside the line too
    settings = replace(PLAIN, height=60, max_width=80, mask=True, canvas=True)
    crop = crop_line(page, Outlined(box), settings)
    assert crop.shape == (60, 80)
    written = np.ptp(crop[:, columns[0] + 4 : columns[1] - 4], axis=1) > 50
    assert abs(np.flatnonzero(written)[[0, -1]] - (rows[0], rows[1] - 1)).max() <= 5  # the outline is grown
    around = np.r_[0 : max(0, columns[0] - 6), columns[1] + 6 : 80]
    assert len(np.unique(crop[:, around])) <= 1  # even paper
    ((x1, _, x2, _),) = stretches(Outlined(box), (100, 100), settings, [(0.0, 1.0)])
    assert (x1, x2) == pytest.approx((box[0], box[2]))

"""Images load safely, and lines come out straight, level, unscathed and on white paper."""

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hwr.errors import InputError
from hwr.images import GreyImage, LineCrop, crop_line, load, pad

PLAIN = LineCrop(height=48, max_width=2000, margin=0.0, mask=False, deskew=False, normalise=False)
FULL = LineCrop(height=48, max_width=2000, margin=0.1, mask=True, deskew=True, normalise=True)
MANY = 10**8


@dataclass(frozen=True)
class Outlined:
    box: tuple[float, float, float, float]
    polygon: tuple[tuple[float, float], ...] = ()
    baseline: tuple[tuple[float, float], ...] = ()


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def ramp(dtype: type, top: int) -> "np.ndarray[tuple[int, int], np.dtype[np.generic]]":
    return np.array([[0, top // 2, top]], dtype=dtype).repeat(2, axis=0)


# load


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp"])
def test_load_returns_the_pixels_of_a_lossless_grey_image(tmp_path: Path, suffix: str) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(
        load(saved(Image.fromarray(pixels), tmp_path / f"a.{suffix}"), max_pixels=12), pixels
    )


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_load_weighs_colours_by_luma(tmp_path: Path, suffix: str) -> None:
    path = saved(Image.new("RGB", (32, 32), (255, 0, 0)), tmp_path / f"red.{suffix}")
    assert load(path, max_pixels=MANY)[16, 16] == pytest.approx(76, abs=3)  # 0.299 * 255


def test_load_cuts_sixteen_bits_to_eight(tmp_path: Path) -> None:
    path = saved(Image.fromarray(ramp(np.uint16, 65535)), tmp_path / "deep.png")
    assert load(path, max_pixels=MANY)[0].tolist() == [0, 127, 255]


def test_load_lays_transparent_pixels_on_white(tmp_path: Path) -> None:
    clear_and_black = np.array([[[0, 0, 0, 0], [0, 0, 0, 255]]], dtype=np.uint8)
    path = saved(Image.fromarray(clear_and_black), tmp_path / "alpha.png")
    assert load(path, max_pixels=MANY).tolist() == [[255, 0]]


def test_load_looks_up_palette_colours_and_their_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 200, 200, 200, 10, 10, 10])
    path = saved(image, tmp_path / "palette.png", transparency=2)
    assert load(path, max_pixels=MANY).tolist() == [[0, 200, 255]]


def test_load_reads_two_level_images(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1"), tmp_path / "fax.tiff")
    assert load(path, max_pixels=MANY).tolist() == [[0, 255]]


# The stored picture [[1, 2], [3, 4]] as seen under each EXIF orientation (Exif 2.32, tag 0x0112).
@pytest.mark.parametrize(
    ("orientation", "seen"),
    [
        (1, [[10, 20], [30, 40]]),
        (2, [[20, 10], [40, 30]]),
        (3, [[40, 30], [20, 10]]),
        (4, [[30, 40], [10, 20]]),
        (5, [[10, 30], [20, 40]]),
        (6, [[30, 10], [40, 20]]),
        (7, [[40, 20], [30, 10]]),
        (8, [[20, 40], [10, 30]]),
    ],
)
def test_load_turns_an_image_upright(tmp_path: Path, orientation: int, seen: list[list[int]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.array([[10, 20], [30, 40]], dtype=np.uint8))
    assert load(saved(stored, tmp_path / "a.png", exif=exif), max_pixels=MANY).tolist() == seen


def test_load_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png: no such image"):
        load(tmp_path / "none.png", max_pixels=MANY)


def test_load_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path, max_pixels=MANY)


@pytest.mark.parametrize("content", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_load_refuses_what_is_not_an_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"not a PNG, JPEG, TIFF, WebP or BMP image"):
        load(path, max_pixels=MANY)


@pytest.mark.parametrize(
    ("suffix", "kind"), [("jpg", "JPEG"), ("png", "PNG"), ("tiff", "TIFF"), ("bmp", "BMP")]
)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_load_refuses_a_truncated_image(tmp_path: Path, suffix: str, kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    path = saved(Image.fromarray(noise), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=rf"a\.{suffix}: (truncated or damaged {kind}|damaged image|not a)"):
        load(path, max_pixels=MANY)


def test_load_names_a_truncated_jpeg(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.eye(64, dtype=np.uint8) * 255), tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match=r"a\.jpg: truncated or damaged JPEG; restore the file"):
        load(path, max_pixels=MANY)


def test_load_refuses_an_image_over_the_limit_without_decoding_it(tmp_path: Path) -> None:
    path = saved(Image.new("L", (11, 10)), tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:45])  # up to the pixels: decoding them would report damage instead
    with pytest.raises(InputError, match="11 x 10 pixels are more than max_pixels=109"):
        load(path, max_pixels=109)


def test_load_refuses_a_gigapixel_header(tmp_path: Path) -> None:
    path = saved(Image.new("L", (1, 1)), tmp_path / "a.png")
    content = bytearray(path.read_bytes())
    content[16:24] = (40_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"too large to decode safely|more than max_pixels"):
        load(path, max_pixels=MANY)


# crop_line


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


def test_crop_line_leaves_the_page_alone() -> None:
    page, line = page_with_bar(0.1)
    before = page.copy()
    crop_line(page, line, FULL)
    assert np.array_equal(page, before)


@pytest.mark.parametrize("change", [{"height": 0}, {"max_width": 4}, {"margin": -0.1}])
def test_line_crop_refuses_values_out_of_range(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        replace(PLAIN, **change)  # type: ignore[arg-type]


# pad


def test_pad_adds_paper_on_the_right() -> None:
    assert pad(np.zeros((1, 2), dtype=np.uint8), 4).tolist() == [[0, 0, 255, 255]]


def test_pad_refuses_to_cut() -> None:
    with pytest.raises(ValueError, match="3 px wide cannot be padded to 2"):
        pad(np.zeros((1, 3), dtype=np.uint8), 2)

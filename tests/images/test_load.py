"""Images load safely, upright and in grey."""

import base64
import os
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hwr.errors import InputError
from hwr.images import load as images
from hwr.images.load import GreyImage, check_size, decode_image, open_image

MANY = 10**8
# 64 x 64 px, light left and dark right; deflated.
HEIC = (
    "eNpjYGCQSSupLMhIzaxgAILczDRDEDs3MzGNgYHRLze1JJEBAhQzUnKKoGyGgszkEgY0oJSZk58MYrg4MDACIRAwFkFoIJAGYuXMzLw0MA8kKgrkpDJB"
    "eRllyYYgJl9BZkkuXMm5zIKiAiC9PrMgOR9IFwGVOTOycACZ83+AFMl9YPjz5weQyc+cANQh7sDIw/j/P0gBM1gFM1DJLiaHRKCcmhMjI6rEgSYWseiVKst2"
    "blAACjCDCAbFJKBSdhfGg0UblByAFggn5+cU5SXnVACFeRnYGoBCIpnFBalQXzlAMdDZFZlgV4PcJp5ZkAsLNmBIsDQyMbOAvJ+bkggKNXENxnXqh79ofuW/"
    "Li8Y///a80ah///Z7n8AAEG4TZ4="
)  # fmt: skip


def load_image(path: Path, *, max_pixels: int) -> GreyImage:
    with open_image(path) as image:
        check_size(path, image.size, max_pixels)
        return decode_image(path, image, least=None)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


# load


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp"])
def test_load_returns_the_pixels_of_a_lossless_grey_image(tmp_path: Path, suffix: str) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(
        load_image(saved(Image.fromarray(pixels), tmp_path / f"a.{suffix}"), max_pixels=12), pixels
    )


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_load_weighs_colours_by_luma(tmp_path: Path, suffix: str) -> None:
    path = saved(Image.new("RGB", (32, 32), (255, 0, 0)), tmp_path / f"red.{suffix}")
    assert load_image(path, max_pixels=MANY)[16, 16] == pytest.approx(76, abs=3)  # 0.299 * 255


# name of the file, type of its numbers, the largest of them, grey of 0, half of it, and of it
DEPTHS = [
    ("sixteen_bits.png", np.uint16, 65535, [0, 127, 255]),
    ("sixteen_bits.tiff", np.uint16, 65535, [0, 127, 255]),
    ("sixteen_bits.jp2", np.uint16, 65535, [0, 127, 255]),
    ("ten_bits.png", np.uint16, 1023, [0, 127, 255]),
    ("twelve_bits.tiff", np.uint16, 4095, [0, 127, 255]),
    ("light_grey_of_ten_bits.png", np.uint16, 900, [0, 112, 224]),
    ("eight_bits_in_sixteen.png", np.uint16, 255, [0, 127, 255]),
    ("eight_bits_in_thirty_two.tiff", np.int32, 255, [0, 127, 255]),
    ("sixteen_bits_in_thirty_two.tiff", np.int32, 65535, [0, 127, 255]),
    ("four_bits_in_sixteen.tiff", np.uint16, 15, [0, 119, 255]),
    ("one_bit_in_sixteen.png", np.uint16, 1, [0, 0, 255]),
    ("mask.png", np.uint8, 1, [0, 0, 255]),
    ("one.tiff", np.float32, 1, [0, 128, 255]),
    ("eight_bits_as_fractions.tiff", np.float32, 255, [0, 128, 255]),
    ("sixteen_bits_as_fractions.tiff", np.float32, 65535, [0, 128, 255]),
]


@pytest.mark.parametrize(("name", "kind", "top", "seen"), DEPTHS, ids=[row[0] for row in DEPTHS])
def test_load_scales_by_what_an_image_holds(
    tmp_path: Path, name: str, kind: type, top: int, seen: list[int]
) -> None:
    half = top / 2 if kind is np.float32 else top // 2
    pixels = np.array([[0, half, top]] * 2, dtype=kind).repeat(8, axis=0).repeat(8, axis=1)
    page = load_image(saved(Image.fromarray(pixels), tmp_path / name), max_pixels=MANY)
    assert page[0, 4::8].tolist() == seen


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("top", [1023, 65535])
def test_load_scales_deep_colour_by_what_it_holds(tmp_path: Path, suffix: str, top: int) -> None:
    colours = np.array([[[0] * 3, [top // 2] * 3, [top] * 3]], dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), colours)
    assert load_image(tmp_path / f"a.{suffix}", max_pixels=MANY).tolist() == [[0, 127, 255]]


def test_load_lays_deep_colour_that_is_transparent_on_white(tmp_path: Path) -> None:
    cv2.imwrite(
        str(tmp_path / "a.png"),
        np.array([[[0, 0, 0, 0], [1023, 1023, 1023, 65535], [0, 0, 0, 65535]]], dtype=np.uint16),
    )
    assert load_image(tmp_path / "a.png", max_pixels=MANY).tolist() == [[255, 255, 0]]


def test_load_moves_negative_numbers_up_and_shows_no_number_as_white(tmp_path: Path) -> None:
    pixels = np.array([[-1, 0, 1, np.nan, np.inf]], dtype=np.float32)
    path = saved(Image.fromarray(pixels), tmp_path / "a.tiff")
    assert load_image(path, max_pixels=MANY).tolist() == [[0, 85, 170, 170, 170]]


def test_load_refuses_an_image_without_a_number(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.full((2, 2), np.nan, dtype=np.float32)), tmp_path / "a.tiff")
    with pytest.raises(InputError, match=r"a\.tiff: the image holds no number; save it with 8 or 16 bits"):
        load_image(path, max_pixels=MANY)


@pytest.mark.parametrize("key", ["zTXt", "iTXt"])
def test_load_reads_a_png_with_megabytes_of_metadata(tmp_path: Path, key: str) -> None:
    about = PngInfo()
    text = "<x:xmpmeta>" + "0" * 3_000_000
    about.add_itxt("XML:com.adobe.xmp", text, zip=True) if key == "iTXt" else about.add_text(
        "a", text, zip=True
    )
    path = saved(Image.new("L", (3, 2), 200), tmp_path / "a.png", pnginfo=about)
    assert load_image(path, max_pixels=MANY).tolist() == [[200] * 3] * 2


KINDS = ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "JPEG2000", "PPM", "AVIF", "HEIF"]


@pytest.mark.parametrize("kind", KINDS)
def test_load_reads_every_kind_whatever_its_suffix(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.scan"
    if kind == "HEIF":
        pytest.importorskip("pi_heif")  # the extra heic
        path.write_bytes(zlib.decompress(base64.b64decode(HEIC)))
    else:
        page = np.full((64, 64), 230, dtype=np.uint8)
        page[:, 32:] = 40
        saved(Image.fromarray(page).convert("RGB"), path, format=kind)
    seen = load_image(path, max_pixels=MANY)
    assert abs(int(seen[32, 16]) - 230) <= 6 and abs(int(seen[32, 48]) - 40) <= 6


def test_load_lays_transparent_pixels_on_white(tmp_path: Path) -> None:
    clear_and_black = np.array([[[0, 0, 0, 0], [0, 0, 0, 255]]], dtype=np.uint8)
    path = saved(Image.fromarray(clear_and_black), tmp_path / "alpha.png")
    assert load_image(path, max_pixels=MANY).tolist() == [[255, 0]]


def test_load_looks_up_palette_colours_and_their_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 200, 200, 200, 10, 10, 10])
    path = saved(image, tmp_path / "palette.png", transparency=2)
    assert load_image(path, max_pixels=MANY).tolist() == [[0, 200, 255]]


def test_load_reads_two_level_images(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1"), tmp_path / "fax.tiff")
    assert load_image(path, max_pixels=MANY).tolist() == [[0, 255]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1"])
def test_load_sees_no_seam_where_strips_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (7, 5, 4), dtype=np.uint8)
    path = saved(Image.fromarray(noise).convert("RGB").convert(mode), tmp_path / "a.png")
    whole = load_image(path, max_pixels=MANY)
    monkeypatch.setattr(images, "_STRIP_PX", 10)  # two rows, and at last one
    assert np.array_equal(load_image(path, max_pixels=MANY), whole)


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
    assert load_image(saved(stored, tmp_path / "a.png", exif=exif), max_pixels=MANY).tolist() == seen


def test_load_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png: no such image"):
        load_image(tmp_path / "none.png", max_pixels=MANY)


def test_load_refuses_a_folder_and_a_pipe_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path, tmp_path / "pipe.png"):
        with pytest.raises(InputError, match="not a file; give an image"):
            load_image(path, max_pixels=MANY)


def test_load_refuses_links_in_a_circle_and_names_that_are_too_long(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "a.png")
    for path in (tmp_path / "a.png", tmp_path / ("a" * 300 + ".png")):
        with pytest.raises(InputError, match=r"\.png: cannot be read \(.*; allow it or leave its page out"):
            load_image(path, max_pixels=MANY)


def test_load_says_what_reads_heic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    (tmp_path / "a.HEIC").write_bytes(zlib.decompress(base64.b64decode(HEIC)))
    with pytest.raises(InputError, match=r"a\.HEIC: reading HEIC needs pi-heif; pip install pi-heif"):
        load_image(tmp_path / "a.HEIC", max_pixels=MANY)


@pytest.mark.parametrize("content", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_load_refuses_what_is_not_an_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.jpg: damaged, or no image of a kind that is read \(PNG, JPEG"):
        load_image(path, max_pixels=MANY)


@pytest.mark.parametrize(
    ("suffix", "kind"), [("jpg", "JPEG"), ("png", "PNG"), ("tiff", "TIFF"), ("bmp", "BMP")]
)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_load_refuses_a_truncated_image(tmp_path: Path, suffix: str, kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    path = saved(Image.fromarray(noise), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=rf"a\.{suffix}: (truncated or damaged {kind}|damaged)"):
        load_image(path, max_pixels=MANY)


def test_load_names_a_truncated_jpeg(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.eye(64, dtype=np.uint8) * 255), tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match=r"a\.jpg: truncated or damaged JPEG; restore the file"):
        load_image(path, max_pixels=MANY)


def test_load_refuses_an_image_over_the_limit_without_decoding_it(tmp_path: Path) -> None:
    path = saved(Image.new("L", (11, 10)), tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:45])  # up to the pixels: decoding them would report damage instead
    with pytest.raises(InputError, match="11 x 10 pixels are more than max_pixels=109"):
        load_image(path, max_pixels=109)


def test_load_refuses_a_gigapixel_header(tmp_path: Path) -> None:
    path = saved(Image.new("L", (1, 1)), tmp_path / "a.png")
    content = bytearray(path.read_bytes())
    content[16:24] = (40_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"too large to decode safely|more than max_pixels"):
        load_image(path, max_pixels=MANY)


# decoded


@pytest.mark.parametrize(("least", "side"), [(None, 64), ((10, 10), 16), ((10, 40), 64), ((8, 8), 8)])
def test_decoded_shrinks_a_jpeg_to_no_less_than_asked(
    tmp_path: Path, least: tuple[int, int] | None, side: int
) -> None:
    path = saved(Image.new("RGB", (64, 64), (255, 0, 0)), tmp_path / "a.jpg")
    with open_image(path) as image:
        grey = decode_image(path, image, least=least)
    assert grey.shape == (side, side)
    assert grey[4, 4] == pytest.approx(76, abs=3)

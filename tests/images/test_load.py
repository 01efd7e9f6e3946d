"""Images load safely, upright and in grey."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwr.errors import InputError
from hwr.images import load as images
from hwr.images.load import decode_image, load_image, open_image

MANY = 10**8


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
        load_image(saved(Image.fromarray(pixels), tmp_path / f"a.{suffix}"), max_pixels=12), pixels
    )


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_load_weighs_colours_by_luma(tmp_path: Path, suffix: str) -> None:
    path = saved(Image.new("RGB", (32, 32), (255, 0, 0)), tmp_path / f"red.{suffix}")
    assert load_image(path, max_pixels=MANY)[16, 16] == pytest.approx(76, abs=3)  # 0.299 * 255


def test_load_cuts_sixteen_bits_to_eight(tmp_path: Path) -> None:
    path = saved(Image.fromarray(ramp(np.uint16, 65535)), tmp_path / "deep.png")
    assert load_image(path, max_pixels=MANY)[0].tolist() == [0, 127, 255]


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


def test_load_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_image(tmp_path, max_pixels=MANY)


@pytest.mark.parametrize("content", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_load_refuses_what_is_not_an_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"not a PNG, JPEG, TIFF, WebP or BMP image"):
        load_image(path, max_pixels=MANY)


@pytest.mark.parametrize(
    ("suffix", "kind"), [("jpg", "JPEG"), ("png", "PNG"), ("tiff", "TIFF"), ("bmp", "BMP")]
)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_load_refuses_a_truncated_image(tmp_path: Path, suffix: str, kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    path = saved(Image.fromarray(noise), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=rf"a\.{suffix}: (truncated or damaged {kind}|damaged image|not a)"):
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

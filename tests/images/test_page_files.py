"""Pages come out of every kind of file upright, dark on light, and no larger than asked for."""

import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pypdfium2
import pytest
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from hwr.errors import InputError
from hwr.images.load import GreyImage
from hwr.images.page_files import (
    Loading,
    count_pages,
    load_page,
    orientation_doubt,
    unread_pictures,
    upright_size,
)

MANY = 10**8
PAPER, INK = 220, 40


def read(path: Path, number: int = 1, *, max_pixels: int = MANY, working: int = MANY) -> GreyImage:
    return load_page(path, Loading(max_pixels=max_pixels, working_pixels=working, pdf_dpi=72), number)


def written(height: int = 64, width: int = 96) -> GreyImage:
    """Return light paper with a dark stroke 2 px high every 16 px."""
    page = np.full((height, width), PAPER, dtype=np.uint8)
    for row in range(8, height - 8, 16):
        page[row : row + 2, 8:-8] = INK
    return page


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def grey(height: int, width: int, shade: int = PAPER) -> Image.Image:
    return Image.fromarray(np.full((height, width), shade, dtype=np.uint8))


def tiff(path: Path, *frames: tuple[GreyImage, dict[int, int]]) -> Path:
    """Save pictures with tags of their own as one TIFF."""
    with AppendingTiffWriter(str(path), new=True) as file:
        for pixels, tags in frames:
            Image.fromarray(pixels).save(file, format="TIFF", tiffinfo=tags)
            file.newFrame()
    return path


def several(path: Path, *pages: Image.Image, **options: object) -> Path:
    return saved(pages[0], path, save_all=True, append_images=pages[1:], **options)


def pdf(path: Path, *bodies: bytes, trailer: bytes = b"") -> Path:
    """Write objects 1, 2 ... as a PDF whose catalogue is the first."""
    content = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(bodies, start=1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    content += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(bodies) + 1, table)
    start = content.index(b"xref\n")
    content += b"trailer\n<< /Size %d /Root 1 0 R %s >>\n" % (len(bodies) + 1, trailer)
    path.write_bytes(content + b"startxref\n%d\n%%%%EOF\n" % start)
    return path


CATALOGUE = b"<< /Type /Catalog /Pages 2 0 R >>"
ONE_PAGE = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
PAGE = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 80 60] >>"


# count


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp", "bmp"])
def test_count_is_one_for_an_image(tmp_path: Path, suffix: str) -> None:
    assert count_pages(saved(grey(8, 8), tmp_path / f"a.{suffix}")) == 1


@pytest.mark.parametrize("name", ["a.tiff", "a.pdf"])
def test_count_tells_the_pages_of_a_file_that_has_several(tmp_path: Path, name: str) -> None:
    assert count_pages(several(tmp_path / name, grey(8, 8), grey(8, 9), grey(9, 8))) == 3


@pytest.mark.parametrize("kind", ["MPO", "WEBP"])  # what phones call JPEG, and an animation
def test_count_is_one_when_further_pictures_are_no_pages(tmp_path: Path, kind: str) -> None:
    pages = [grey(8, 8, shade).convert("RGB") for shade in (0, 128, 255)]
    path = several(tmp_path / "a.jpg", *pages, format=kind)
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert count_pages(path) == 1


@pytest.mark.parametrize(
    ("kind", "unread"), [("GIF", 2), ("WEBP", 2), ("PNG", 2), ("MPO", 0), ("TIFF", 0), ("PDF", 0)]
)
def test_pictures_that_are_no_pages_are_counted_as_unread(tmp_path: Path, kind: str, unread: int) -> None:
    pages = [grey(8, 8, shade) for shade in (0, 128, 255)]
    assert unread_pictures(several(tmp_path / "a", *pages, format=kind)) == unread


def test_count_leaves_out_the_thumbnails_and_masks_of_a_tiff(tmp_path: Path) -> None:
    page = written()
    path = tiff(tmp_path / "a.tiff", (page[:8], {254: 1}), (page, {}), (page, {254: 4}), (page, {254: 2}))
    assert count_pages(path) == 2
    assert read(path, 1).shape == page.shape


def test_count_keeps_the_only_picture_of_a_tiff(tmp_path: Path) -> None:
    assert count_pages(tiff(tmp_path / "a.tiff", (written(), {254: 1}))) == 1


# load_page: what a file holds


def deep(page: GreyImage) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint16]]":
    return page.astype(np.uint16) * 257


def clear(page: GreyImage) -> Image.Image:
    """Return black ink on nothing: as dark as the page where it is written."""
    return Image.merge("LA", [Image.new("L", page.shape[::-1]), Image.fromarray(255 - page)])


KINDS: dict[str, Callable[[GreyImage, Path], object]] = {
    "grey.png": lambda page, path: saved(Image.fromarray(page), path),
    "colour.png": lambda page, path: saved(Image.fromarray(page).convert("RGB"), path),
    "palette.png": lambda page, path: saved(Image.fromarray(page).convert("P"), path),
    "deep.png": lambda page, path: saved(Image.fromarray(deep(page)), path),
    "deep.tiff": lambda page, path: saved(Image.fromarray(deep(page)), path),
    "deep_colour.png": lambda page, path: cv2.imwrite(str(path), np.dstack([deep(page)] * 3)),
    "clear.png": lambda page, path: saved(clear(page), path),
    "clear_colour.webp": lambda page, path: saved(clear(page).convert("RGBA"), path, lossless=True),
    "print.tiff": lambda page, path: saved(Image.fromarray(page).convert("RGB").convert("CMYK"), path),
    "print.jpg": lambda page, path: saved(Image.fromarray(page).convert("CMYK"), path, quality=95),
    "colour.jpg": lambda page, path: saved(Image.fromarray(page).convert("RGB"), path, quality=95),
    "packed.tiff": lambda page, path: saved(Image.fromarray(page), path, compression="tiff_lzw"),
    "a.pdf": lambda page, path: saved(Image.fromarray(page), path, resolution=72, quality=95),
}


@pytest.mark.parametrize("name", KINDS)
def test_load_page_reads_a_page_of_every_kind(tmp_path: Path, name: str) -> None:
    KINDS[name](written(), tmp_path / name)
    page = read(tmp_path / name)
    assert page.shape == (64, 96) and page.dtype == np.uint8
    assert np.abs(page.astype(int) - written()).mean() <= 3
    assert page[8:10, 20:60].max() <= INK + 12 and page[30, 20:60].min() >= PAPER - 12


def test_load_page_reads_two_levels(tmp_path: Path) -> None:
    fax = Image.fromarray(written() > 128)
    path = saved(fax, tmp_path / "fax.tiff", compression="group4")
    assert np.array_equal(read(path), np.where(written() > 128, 255, 0))


@pytest.mark.parametrize("name", ["a.tiff", "a.pdf"])
def test_load_page_finds_the_page_asked_for(tmp_path: Path, name: str) -> None:
    pages = [grey(32, 32 + 8 * number, 200 + 10 * number) for number in range(4)]
    path = several(tmp_path / name, *pages, resolution=72)
    page = read(path, 3)
    assert page.shape == (32, 48)
    assert np.abs(page.astype(int) - 220).max() <= 2


@pytest.mark.parametrize(("orientation", "size"), [(1, (60, 40)), (6, (40, 60))])
def test_upright_size_is_that_of_the_page_as_shown(
    tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("L", (40, 60)).save(tmp_path / "a.jpg", exif=exif)
    assert upright_size(tmp_path / "a.jpg", 1, pdf_dpi=72) == size


def test_upright_size_of_a_pdf_page_is_drawn_at_so_many_dots(tmp_path: Path) -> None:
    Image.new("L", (72, 144)).save(tmp_path / "a.pdf", resolution=72)
    assert upright_size(tmp_path / "a.pdf", 1, pdf_dpi=144) == (288, 144)


def test_load_page_turns_a_jpeg_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    path = saved(Image.fromarray(written()), tmp_path / "a.jpg", exif=exif, quality=95)
    page = read(path)
    assert page.shape == (96, 64)
    assert page[20:60, -10:-8].max() < 80  # the first line, at the right now


@pytest.mark.parametrize(
    ("orientation", "doubt"),
    [
        (1, ""),
        (2, "EXIF orientation 2 mirrors it"),
        (3, "EXIF orientation 3 turns it by 180 degrees"),
        (6, ""),
    ],
)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff"])
def test_orientation_that_is_often_written_wrongly_is_told(
    tmp_path: Path, name: str, orientation: int, doubt: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey(40, 60).save(tmp_path / name, exif=exif)
    assert orientation_doubt(tmp_path / name) == doubt


def test_load_page_turns_every_page_of_a_tiff_by_itself(tmp_path: Path) -> None:
    small = np.array([[210, 220], [230, 240]], dtype=np.uint8)
    path = tiff(tmp_path / "a.tiff", (small, {274: 3}), (small, {}), (small, {274: 6}))
    expected = [[[240, 230], [220, 210]], small.tolist(), [[230, 210], [240, 220]]]
    assert [read(path, number).tolist() for number in (1, 2, 3)] == expected
    assert [bool(orientation_doubt(path, number)) for number in (1, 2, 3)] == [True, False, False]


def test_load_page_turns_a_pdf_upright(tmp_path: Path) -> None:
    document = pypdfium2.PdfDocument.new()
    document.new_page(100, 50).set_rotation(90)
    document.save(tmp_path / "a.pdf")
    assert read(tmp_path / "a.pdf").shape == (100, 50)


def test_load_page_draws_a_pdf_at_its_dpi(tmp_path: Path) -> None:
    path = pdf(tmp_path / "a.pdf", CATALOGUE, ONE_PAGE, PAGE)  # 80 x 60 points, 72 to the inch
    page = load_page(path, Loading(max_pixels=MANY, working_pixels=MANY, pdf_dpi=300))
    assert page.shape == (250, 334)  # 333.3 rounded up
    assert page.min() == 255


# load_page: how large


@pytest.mark.parametrize(
    ("shape", "reduced"),
    [
        ((40, 25), (40, 25)),
        ((80, 50), (40, 25)),
        ((41, 25), (40, 24)),
        ((1, 5000), (1, 1000)),
        ((5000, 1), (1000, 1)),
    ],
)
def test_load_page_holds_at_most_the_working_pixels(
    tmp_path: Path, shape: tuple[int, int], reduced: tuple[int, int]
) -> None:
    assert read(saved(grey(*shape), tmp_path / "a.png"), working=1000).shape == reduced


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tiff", "a.pdf"])
def test_load_page_averages_what_it_reduces(tmp_path: Path, name: str) -> None:
    stripes = np.full((400, 400), 255, dtype=np.uint8)
    stripes[:, 0::4] = stripes[:, 1::4] = 155
    path = saved(Image.fromarray(stripes), tmp_path / name, resolution=72)
    page = read(path, working=10_000)
    assert page.shape == (100, 100)
    assert np.abs(page[2:-2, 2:-2].astype(int) - 205).max() <= 12


def test_load_page_refuses_a_page_over_the_limit_without_decoding_it(tmp_path: Path) -> None:
    path = several(tmp_path / "a.tiff", grey(2, 2), grey(10, 11))
    path.write_bytes(path.read_bytes()[:-20])  # decoding the second would report damage instead
    assert read(path, 1, max_pixels=109).shape == (2, 2)
    with pytest.raises(InputError, match="11 x 10 pixels are more than max_pixels=109"):
        read(path, 2, max_pixels=109)


def test_load_page_refuses_a_gigapixel_header(tmp_path: Path) -> None:
    path = saved(grey(1, 1), tmp_path / "a.png")
    content = bytearray(path.read_bytes())
    content[16:24] = (40_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"too large to decode safely"):
        read(path)


def test_load_page_refuses_a_pdf_page_over_the_limit(tmp_path: Path) -> None:
    path = pdf(tmp_path / "a.pdf", CATALOGUE, ONE_PAGE, PAGE.replace(b"80 60", b"14400 14400"))
    with pytest.raises(InputError, match="at pdf_dpi=72 the page has 14400 x 14400 pixels, more than max"):
        read(path, working=1000)


# load_page: dark on light


def photograph(paper: int) -> GreyImage:
    """Return a written page of 96 x 128 px on a dark, grained table of 400 x 400."""
    table = np.random.default_rng(0).integers(30, 60, (400, 400), dtype=np.uint8)
    table[150:246, 150:278] = np.where(written(96, 128) == PAPER, paper, INK)
    return table


@pytest.mark.parametrize(
    "page",
    [written(), written() // 2, photograph(PAPER), np.full((64, 64), 200, dtype=np.uint8)],
    ids=["page", "underexposed", "on a dark table", "blank"],
)
def test_load_page_leaves_dark_ink_on_light_paper(tmp_path: Path, page: GreyImage) -> None:
    assert np.array_equal(read(saved(Image.fromarray(page), tmp_path / "a.png")), page)


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_load_page_inverts_light_ink_on_dark_paper(tmp_path: Path, name: str) -> None:
    assert np.array_equal(read(saved(Image.fromarray(255 - written()), tmp_path / name)), written())


def test_load_page_inverts_a_negative_drawn_from_a_pdf(tmp_path: Path) -> None:
    path = saved(Image.fromarray(255 - written()), tmp_path / "a.pdf", resolution=72, quality=95)
    assert np.abs(read(path).astype(int) - written()).mean() <= 3


def test_load_page_makes_a_black_page_blank(tmp_path: Path) -> None:
    assert read(saved(grey(64, 64, 0), tmp_path / "a.png")).min() == 255


# what cannot be read


@pytest.mark.parametrize("number", [-1, 0, 3])
@pytest.mark.parametrize("name", ["a.tiff", "a.pdf"])
def test_load_page_refuses_a_number_the_file_has_not(tmp_path: Path, name: str, number: int) -> None:
    path = several(tmp_path / name, grey(8, 8), grey(8, 8))
    with pytest.raises(InputError, match=rf"there is no page {number}; its pages run from 1 to 2"):
        read(path, number)


def refused(path: Path, reason: str) -> None:
    for act in (count_pages, read):
        with pytest.raises(InputError, match=reason) as caught:
            act(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["pipe.png", "pipe.pdf"])
def test_pipe_is_refused_without_waiting(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    refused(tmp_path / name, "not a file; give an image")


@pytest.mark.parametrize("name", ["none.png", "none.pdf"])
def test_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    refused(tmp_path / name, "no such image")


def test_pdf_is_refused_where_pages_are_a_data_set(tmp_path: Path) -> None:
    path = pdf(tmp_path / "a.pdf", CATALOGUE, ONE_PAGE, PAGE)
    with pytest.raises(InputError, match=r"a\.pdf: a PDF is no image of a data set; save its pages as PNG"):
        load_page(path, Loading(max_pixels=MANY, working_pixels=MANY))
    with pytest.raises(InputError, match="a PDF is no image of a data set"):
        upright_size(path)


def test_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "not a file; give an image")


@pytest.mark.parametrize("name", ["a.txt", "a.pdf"])
def test_other_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("neither")
    refused(tmp_path / name, "damaged, or no image of a kind that is read")


def test_tiff_cut_off_among_its_pages_is_refused(tmp_path: Path) -> None:
    path = several(tmp_path / "a.tiff", grey(64, 64), grey(64, 64))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 64 * 64 - 60])  # into the tags of the second page
    refused(path, "damaged image")


def test_load_page_refuses_a_tiff_cut_off_in_its_pixels(tmp_path: Path) -> None:
    path = several(tmp_path / "a.tiff", grey(64, 64), grey(64, 64))
    path.write_bytes(path.read_bytes()[:-64])
    assert read(path, 1).shape == (64, 64)
    with pytest.raises(InputError, match=r"a\.tiff: truncated or damaged TIFF"):
        read(path, 2)


def test_pdf_with_a_password_is_refused(tmp_path: Path) -> None:
    lock = b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (b"0a" * 32, b"0b" * 32)
    said = b"/Encrypt 4 0 R /ID [<00> <00>]"
    refused(pdf(tmp_path / "a.pdf", CATALOGUE, ONE_PAGE, PAGE, lock, trailer=said), "asks for a password")


def test_damaged_pdf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4\nand no more")
    refused(tmp_path / "a.pdf", r"a PDF that is damaged or has no pages .*; save it anew")


def test_pdf_without_pages_is_refused(tmp_path: Path) -> None:
    nothing = b"<< /Type /Pages /Kids [] /Count 0 >>"
    refused(pdf(tmp_path / "a.pdf", CATALOGUE, nothing), "damaged or has no pages")


def test_load_page_refuses_a_pdf_page_that_is_missing(tmp_path: Path) -> None:
    path = pdf(tmp_path / "a.pdf", CATALOGUE, b"<< /Type /Pages /Kids [9 0 R] /Count 1 >>")
    with pytest.raises(InputError, match="a PDF that is damaged"):
        read(path)


def test_pdf_is_refused_when_its_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pdf(tmp_path / "a.pdf", CATALOGUE, ONE_PAGE, PAGE)
    monkeypatch.setitem(sys.modules, "pypdfium2", None)  # importing it then fails
    refused(path, r"reading PDF needs pypdfium2; pip install pypdfium2")

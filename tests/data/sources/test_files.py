import os
import re
import struct
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hwr.data.sources import PageImages, existing_folder, images_beside, path_inside
from hwr.errors import InputError
from hwr.images.page_files import upright_size


def picture(path: Path, size: tuple[int, int] = (30, 20), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, 255).save(path, **options)
    return path.resolve()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_existing_folder_refuses_what_is_missing_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data folder .*/nowhere does not exist; set data.root"):
        existing_folder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"is a file"):
        existing_folder(tmp_path / "file")


def test_inside_resolves_a_name_below_the_root(root: Path) -> None:
    assert path_inside(root, "a/../b.png") == root.resolve() / "b.png"


@pytest.mark.parametrize("name", ["../b.png", "a/../../b.png", "/etc/hostname"])
def test_inside_refuses_a_name_that_leads_out(root: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"leads outside the data folder"):
        path_inside(root, name)


def test_inside_refuses_a_link_that_leads_out(root: Path, tmp_path: Path) -> None:
    (root / "b.png").symlink_to(picture(tmp_path / "outside.png"))
    with pytest.raises(InputError, match=r"leads outside"):
        path_inside(root, "b.png")


@pytest.mark.parametrize("name", ["loop.png", "a" * 300, "a\0b"])
def test_inside_refuses_a_name_that_cannot_be_followed(root: Path, name: str) -> None:
    (root / "loop.png").symlink_to(root / "loop.png")
    with pytest.raises(InputError, match=r"cannot be followed"):
        path_inside(root, name)


def test_inside_refuses_a_pipe(root: Path) -> None:
    os.mkfifo(root / "a.xml")
    with pytest.raises(InputError, match=r"'a\.xml' is a pipe or device; remove it"):
        path_inside(root, "a.xml")


def test_inside_accepts_a_root_that_is_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert path_inside(tmp_path / "link", "b.png") == root.resolve() / "b.png"


NFD = unicodedata.normalize("NFD", "é")


@pytest.mark.parametrize(
    ("description", "stated", "images", "told"),  # the first of the images is found
    [
        ("p.xml", "", "p.png", False),
        ("p.xml", "", "p.PNG", False),
        ("p.xml", "", "p.tiff", False),
        ("p.jpg.xml", "", "p.jpg", False),
        ("p.alto.xml", "", "p.jpg", False),
        ("p.xml", "scan 1.tif", "scan\xa01.tif p.png", False),
        ("p.xml", "./leaf.png", "leaf.png p.png", False),
        ("book/page/0001.xml", "0001.jpg", "book/0001.jpg", False),  # as Transkribus exports it
        ("xml/p.xml", "../images/0001.jpg", "images/0001.jpg 0001.jpg", False),
        ("ws/GT/p.xml", "IMG/0001.jpg", "ws/IMG/0001.jpg 0001.jpg", False),  # from an OCR-D workspace's root
        ("p.xml", "{root}/a/leaf.png", "a/leaf.png leaf.png", False),
        ("p.xml", "/srv/a/leaf.png", "leaf.png", True),
        ("p.xml", "/srv/a/leaf.png", "a/leaf.png leaf.png", True),  # the longest end counts
        ("xml/p.xml", "/srv/leaf.png", "a/b/leaf.png", True),  # anywhere
        ("xml/a/p.xml", "/srv/a/leaf.png", "img/a/leaf.png img/b/leaf.png", True),
        ("a/xml/p.xml", "/srv/leaf.png", "a/img/leaf.png b/img/leaf.png", True),  # the nearest
        ("p.xml", "//server/share/leaf.png", "leaf.png", True),
        ("p.xml", r"\\server\share\leaf.png", "leaf.png", True),
        ("p.xml", r"C:\scans\leaf.png", "leaf.png", True),
        ("p.xml", r"scans\leaf.png", "scans/leaf.png", False),
        ("p.xml", "c:/scans/leaf.png", "leaf.png", True),
        ("p.xml", "../../leaf.png", "leaf.png", True),
        ("p.xml", "file:///srv/my%20leaf.png", "my\xa0leaf.png", True),
        ("p.xml", "file:leaf.png", "leaf.png", True),
        ("p.xml", "https://example.org/iiif/leaf.png", "leaf.png", True),
        ("p.xml", r"D:\scans\00000001.tif", "p.png", True),
        ("p.xml", "scan.tif", "scan.jpg p.png", True),
        ("p.xml", "scan", "scan.jpg p.png", False),
        ("p.xml", "a/scan", "a/scan.jpg scan.jpg", False),
        ("p.xml", "/srv/scan.0", "scan.0.jpg scan.jpg", True),
        ("p.xml", "", "p.nrm.png p.bin.png", False),
        ("p.xml", "Leaf.JPG", "leaf.jpg", True),
        ("p.xml", "\u00e9t\u00e9.png", f"{NFD}t{NFD}.png", True),
        ("p.xml", f"a/{NFD}.png", "a/\u00e9.png", True),
        ("p.xml", "a" * 300 + ".png", "p.png", True),
        ("p.xml", "a\0b.png", "p.png", True),
    ],
)
def test_an_image_is_found_as_stated_or_by_name(
    root: Path, caplog: pytest.LogCaptureFixture, description: str, stated: str, images: str, told: bool
) -> None:
    first, *_ = [picture(root / name.replace("\xa0", " ")) for name in images.split(" ")]
    found = PageImages(root)
    stated = stated.format(root=root).replace("\xa0", " ")
    assert found.find_or_flaw(root / description, stated) == (first, "")
    found.tell()
    assert ("1 image(s) found by name" in caplog.text) == told


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("", r"p.xml: its image p\.\* is missing; add it, or set data.root higher"),
        ("gone.png", "p.xml: its image gone.png is missing"),
        ("leaf.png", "p.xml: its image may be any of a/leaf.png, b/leaf.png; say which, or leave one"),
        ("../secret.png", "p.xml: path .* leads outside the data folder"),
        ("{out}/secret.png", "p.xml: its image .*/secret.png is missing"),
        ("link.png", "p.xml: path .* leads outside the data folder"),
        ("a/../../secret.png", "p.xml: path .* leads outside the data folder"),
        ("folder/secret.png", "p.xml: path .* leads outside the data folder"),
        ("loop.png", "p.xml: path .* cannot be followed"),
    ],
)
def test_an_image_is_never_one_outside_the_folder_nor_guessed(
    root: Path, tmp_path: Path, stated: str, message: str
) -> None:
    for name in ("p.png", "secret.png", "data/a/leaf.png", "data/b/leaf.png"):
        picture(tmp_path / name)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "folder").symlink_to(tmp_path)
    image, flaw = PageImages(root).find_or_flaw(root / "p.xml", stated.format(out=tmp_path))
    assert image == root / "p.xml"
    assert re.search(message, flaw)


def test_an_image_is_found_where_its_links_lead(root: Path, tmp_path: Path) -> None:
    image = picture(root / "a" / "leaf.png")
    (root / "link.png").symlink_to(image)
    (root / "b").symlink_to(root / "a")
    (tmp_path / "link").symlink_to(root)
    for folder in (root, tmp_path / "link"):
        images = PageImages(folder)
        for stated in ("a/leaf.png", "a//./leaf.png", "a/../a/leaf.png", "b/leaf.png", "link.png"):
            assert images.find(folder, stated) == image
        assert images.inside(folder / "b" / "leaf.png") == image
        assert images.name(image) == "a/leaf.png"


def test_image_size_refuses_what_is_no_image(root: Path) -> None:
    with pytest.raises(InputError, match=r"no such image"):
        upright_size(root / "p.png")
    (root / "p.png").write_text("text")
    with pytest.raises(InputError, match=r"no image of a kind that is read"):
        upright_size(root / "p.png")


def test_image_size_needs_no_pixels(root: Path) -> None:
    path = picture(root / "p.png", (300, 200))
    path.write_bytes(path.read_bytes()[:60])
    assert upright_size(path) == (200, 300)


def test_image_size_refuses_a_gigapixel_header(root: Path) -> None:
    path = picture(root / "p.bmp", (30, 20))
    header = bytearray(path.read_bytes())
    header[18:26] = struct.pack("<ii", 50_000, 50_000)
    path.write_bytes(header)
    with pytest.raises(InputError, match=r"too large"):
        upright_size(path)


def test_links_that_lead_nowhere_are_images_that_no_page_has(root: Path) -> None:
    (root / "loop.png").symlink_to("loop.png")
    (root / "dead.png").symlink_to("none.png")
    (root / "folder").symlink_to(root)
    assert images_beside(root, [], "unused") == {"dead.png": "unused", "loop.png": "unused"}

import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hwr.data.sources.files import existing_folder, find_image, image_size, path_inside, table_rows
from hwr.errors import InputError


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


def test_inside_accepts_a_root_that_is_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert path_inside(tmp_path / "link", "b.png") == root.resolve() / "b.png"


def test_find_image_prefers_the_file_that_is_named(root: Path) -> None:
    picture(root / "p.png")
    named = picture(root / "scan 1.tif")
    assert find_image(root / "p.xml", root, "scan 1.tif") == named


def test_find_image_looks_in_the_folder_above_as_transkribus_exports_it(root: Path) -> None:
    image = picture(root / "book" / "0001.jpg")
    assert find_image(root / "book" / "page" / "0001.xml", root, "0001.jpg") == image


def test_find_image_follows_a_relative_name_within_the_root(root: Path) -> None:
    image = picture(root / "images" / "0001.jpg")
    assert find_image(root / "xml" / "p.xml", root, "../images/0001.jpg") == image


@pytest.mark.parametrize("suffix", [".jpg", ".PNG", ".tiff"])
def test_find_image_takes_the_stem_when_the_named_file_is_not_there(root: Path, suffix: str) -> None:
    image = picture(root / f"p{suffix}")
    assert find_image(root / "p.xml", root, r"D:\scans\00000001.tif") == image


def test_find_image_does_not_look_above_the_root(root: Path, tmp_path: Path) -> None:
    picture(tmp_path / "p.png")
    with pytest.raises(InputError, match=r"p.xml: its image p\{.jpg,.*\} is missing; put it beside the XML"):
        find_image(root / "p.xml", root)


@pytest.mark.parametrize("name", ["../secret.png", "{}/secret.png"])
def test_find_image_refuses_a_name_that_leads_out(root: Path, tmp_path: Path, name: str) -> None:
    picture(tmp_path / "secret.png")
    picture(root / "p.png")
    with pytest.raises(InputError, match=r"p.xml: path .* leads outside the data folder"):
        find_image(root / "p.xml", root, name.format(tmp_path))


def test_image_size_is_height_and_width(root: Path) -> None:
    assert image_size(picture(root / "p.png", (30, 20))) == (20, 30)


def test_image_size_is_that_of_the_upright_picture(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    assert image_size(picture(root / "p.jpg", (30, 20), exif=exif)) == (30, 20)


def test_image_size_refuses_what_is_no_image(root: Path) -> None:
    with pytest.raises(InputError, match=r"no such image"):
        image_size(root / "p.png")
    (root / "p.png").write_text("text")
    with pytest.raises(InputError, match=r"not an image"):
        image_size(root / "p.png")


def test_image_size_needs_no_pixels(root: Path) -> None:
    path = picture(root / "p.png", (300, 200))
    path.write_bytes(path.read_bytes()[:60])
    assert image_size(path) == (200, 300)


def test_image_size_refuses_a_gigapixel_header(root: Path) -> None:
    path = picture(root / "p.bmp", (30, 20))
    header = bytearray(path.read_bytes())
    header[18:26] = struct.pack("<ii", 50_000, 50_000)
    path.write_bytes(header)
    with pytest.raises(InputError, match=r"too large"):
        image_size(path)


COLUMNS = ("file", "text", "writer")


def read(path: Path, text: str) -> list[dict[str, str]]:
    path.write_text(text, encoding="utf-8")
    return [row for _, row in table_rows(path, COLUMNS, COLUMNS[:2])]


def test_rows_take_a_header_in_any_order_and_beside_other_columns(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", "Text,note,File\nhi,x,a.png\n") == [
        {"text": "hi", "note": "x", "file": "a.png"}
    ]


def test_rows_without_header_stand_in_the_order_of_the_columns(tmp_path: Path) -> None:
    assert read(tmp_path / "t.tsv", "a.png\thi\n") == [{"file": "a.png", "text": "hi"}]


def test_rows_of_a_csv_may_be_quoted(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", 'a.png,"say ""a, b"""\n')[0]["text"] == 'say "a, b"'


def test_rows_of_a_tsv_hold_quotation_marks_as_they_stand(tmp_path: Path) -> None:
    assert read(tmp_path / "t.tsv", 'a.png\t"Yes\nb.png\tNo"\n')[1]["text"] == 'No"'


def test_rows_of_a_csv_keep_semicolons_beside_commas(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", "a.png,b; c; d\n")[0]["text"] == "b; c; d"


def test_rows_pass_over_blank_lines_and_count_them(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a.png\thi\n\n \nb.png\tho\n")
    places = [place for place, _ in table_rows(tmp_path / "t.tsv", COLUMNS, COLUMNS[:2])]
    assert places == [f"{tmp_path}/t.tsv, line 1", f"{tmp_path}/t.tsv, line 4"]


def test_rows_may_hold_an_empty_text(tmp_path: Path) -> None:
    assert read(tmp_path / "t.tsv", "a.png\t\n")[0]["text"] == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no row; write TSV with file, text, writer"),
        ("a.png\n", r"line 1: expected file, text, writer; found 1 field\(s\)"),
        ("a.png\thi\tanna\tmore\n", "found 4 field"),
    ],
)
def test_rows_refuse_what_is_no_such_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path / "t.tsv", text)


def test_rows_refuse_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t.csv: cannot be read"):
        table_rows(tmp_path / "t.csv", COLUMNS, COLUMNS[:2])

import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hwr.data.sources import files
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


BOMB = """<?xml version="1.0"?>
<!DOCTYPE alto [
 <!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
]>
<alto>&c;</alto>"""
EXTERNAL = """<?xml version="1.0"?>
<!DOCTYPE alto [<!ENTITY secret SYSTEM "file://{}">]>
<alto>&secret;</alto>"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "read", [files.parse_xml, lambda path: list(files.xml_documents(path.parent, "alto"))]
)
@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        EXTERNAL.format("/etc/hostname"),
        '<!DOCTYPE alto SYSTEM "http://127.0.0.1:9/alto.dtd"><alto/>',
        "<!DOCTYPE alto><alto/>",
    ],
)
def test_a_document_type_is_refused(tmp_path: Path, text: str, read: object) -> None:
    path = write(tmp_path / "p.xml", text)
    with pytest.raises(
        InputError, match=r"p.xml: refused, it carries a DTD or entities; remove its <!DOCTYPE"
    ) as error:
        read(path)  # type: ignore[operator]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<alto><Layout>",
        b"<alto>&nbsp;</alto>",
        b"\x00\x01",
        b'<?xml version="1.0" encoding="klingon"?><alto/>',
    ],
)
def test_damaged_xml_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "p.xml"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"p.xml: damaged XML \(.*\); export it again") as error:
        files.parse_xml(path)
    assert "\n" not in str(error.value)


def test_parse_reads_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "p.xml"
    path.write_bytes('<?xml version="1.0" encoding="ISO-8859-1"?><a t="é"/>'.encode("latin-1"))
    assert files.parse_xml(path).get("t") == "é"


def test_documents_pass_over_other_formats(tmp_path: Path) -> None:
    write(tmp_path / "mets.xml", '<mets xmlns="http://www.loc.gov/METS/"/>')
    write(tmp_path / "page" / "p1.xml", "<PcGts/>")
    write(tmp_path / "alto" / "p1.xml", '<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"/>')
    assert [name for name, _, _ in files.xml_documents(tmp_path, "alto")] == ["p1"]


def test_documents_of_one_stem_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("book1/p1", "book2/p1", "book2/p2"):
        write(tmp_path / f"{name}.xml", "<alto/>")
    assert [name for name, _, _ in files.xml_documents(tmp_path, "alto")] == ["book1/p1", "book2/p1", "p2"]


def test_documents_refuse_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path} holds no XML file; set data.root"):
        list(files.xml_documents(tmp_path, "alto"))


def test_documents_name_the_source_for_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "p.xml", "<PcGts/>")
    with pytest.raises(InputError, match=r"holds no <alto> file, but files for data=pagexml"):
        list(files.xml_documents(tmp_path, "alto"))


def test_documents_refuse_a_link_that_leads_out(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside.xml", "<alto/>")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "p.xml").symlink_to(outside)
    with pytest.raises(InputError, match=r"leads outside"):
        list(files.xml_documents(tmp_path / "data", "alto"))


@pytest.mark.parametrize("text", ["1,2 3.5,4", "1 2 3.5 4", " 1,2\n3.5,4 ", "1, 2, 3.5, 4"])
def test_points_are_read_in_either_style(text: str) -> None:
    assert files.parse_points(text, Path("p.xml")) == ((1.0, 2.0), (3.5, 4.0))


@pytest.mark.parametrize("text", ["1,2 3", "1,2 x,4", "1,nan", "1,inf"])
def test_points_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"p.xml: "):
        files.parse_points(text, Path("p.xml"))


def test_fractions_are_cut_to_the_page() -> None:
    assert files.page_fractions([(50, 50), (-10, 300)], (200, 100)) == ((0.5, 0.25), (0.0, 1.0))

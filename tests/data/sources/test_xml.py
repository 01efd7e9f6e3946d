from pathlib import Path

import pytest

from hwr.data.sources import xml
from hwr.errors import InputError

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


@pytest.mark.parametrize("read", [xml.parse_xml, lambda path: list(xml.xml_documents(path.parent, "alto"))])
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
        xml.parse_xml(path)
    assert "\n" not in str(error.value)


def test_parse_reads_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "p.xml"
    path.write_bytes('<?xml version="1.0" encoding="ISO-8859-1"?><a t="é"/>'.encode("latin-1"))
    assert xml.parse_xml(path).get("t") == "é"


def test_documents_pass_over_other_formats(tmp_path: Path) -> None:
    write(tmp_path / "mets.xml", '<mets xmlns="http://www.loc.gov/METS/"/>')
    write(tmp_path / "page" / "p1.xml", "<PcGts/>")
    write(tmp_path / "alto" / "p1.xml", '<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"/>')
    assert [name for name, _, _ in xml.xml_documents(tmp_path, "alto")] == ["p1"]


def test_documents_of_one_stem_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("book1/p1", "book2/p1", "book2/p2"):
        write(tmp_path / f"{name}.xml", "<alto/>")
    assert [name for name, _, _ in xml.xml_documents(tmp_path, "alto")] == ["book1/p1", "book2/p1", "p2"]


def test_documents_refuse_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path} holds no XML file; set data.root"):
        list(xml.xml_documents(tmp_path, "alto"))


def test_documents_name_the_source_for_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "p.xml", "<PcGts/>")
    with pytest.raises(InputError, match=r"holds no <alto> file, but files for data=pagexml"):
        list(xml.xml_documents(tmp_path, "alto"))


def test_documents_refuse_a_link_that_leads_out(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside.xml", "<alto/>")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "p.xml").symlink_to(outside)
    with pytest.raises(InputError, match=r"leads outside"):
        list(xml.xml_documents(tmp_path / "data", "alto"))


@pytest.mark.parametrize("text", ["1,2 3.5,4", "1 2 3.5 4", " 1,2\n3.5,4 ", "1, 2, 3.5, 4"])
def test_points_are_read_in_either_style(text: str) -> None:
    assert xml.parse_points(text, Path("p.xml")) == ((1.0, 2.0), (3.5, 4.0))


@pytest.mark.parametrize("text", ["1,2 3", "1,2 x,4", "1,nan", "1,inf"])
def test_points_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"p.xml: "):
        xml.parse_points(text, Path("p.xml"))


def test_fractions_are_cut_to_the_page() -> None:
    assert xml.page_fractions([(50, 50), (-10, 300)], (200, 100)) == ((0.5, 0.25), (0.0, 1.0))

from pathlib import Path
from xml.etree.ElementTree import Element

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


def documents(root: Path) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Return the ids of the <alto> documents, which are refused where they say so, and what else is found."""

    def read(name: str, path: Path, tree: Element) -> str:
        if tree.get("refuse"):
            raise InputError(f"{path}: no page")
        return name

    return xml.read_documents(root, "alto", read)


@pytest.mark.parametrize("read", [xml.parse_xml, lambda path: documents(path.parent)])
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
        b'<?xml version="1.0" encoding="klingon"?><alto t="\xe9"/>',
        b'<?xml version="1.0" encoding="Shift_JIS"?><alto t="\x82\xa0"/>',
    ],
)
def test_damaged_xml_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "p.xml"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"p.xml: damaged XML \(.*\); export it again") as error:
        xml.parse_xml(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"", "not UTF-8, and declares nothing else"),
        (b'<?xml version="1.0" encoding="UTF-8"?>', "declared as UTF-8, and is not"),
        (b"<?xml version='1.0' encoding='ascii'?>", "declared as ascii, and is not"),
    ],
)
def test_document_that_is_not_in_its_encoding_is_told_what_to_do(
    tmp_path: Path, start: bytes, said: str
) -> None:
    path = tmp_path / "p.xml"
    path.write_bytes(start + b'<alto t="\xe9"/>')
    with pytest.raises(InputError, match=f"p.xml: {said}; declare the encoding that it has, or save"):
        xml.parse_xml(path)


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("UTF-8", "utf-8"),
        ("UTF-8", "utf-8-sig"),
        ("ISO-8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        ("UTF-16", "utf-16"),
        ("UTF-16LE", "utf-16-le"),
        # These declare another one than they have, as some libraries write.
        ("UTF-16", "utf-8"),
        ("UTF-8", "utf-16"),
        ("ISO-8859-1", "utf-8"),
        ("ISO-8859-1", "utf-8-sig"),
    ],
)
def test_documents_are_read_in_the_encoding_that_they_have(
    tmp_path: Path, declared: str, encoding: str
) -> None:
    text = f'<?xml version="1.0" encoding="{declared}"?><a t="é"/>'
    (tmp_path / "p.xml").write_bytes(text.encode(encoding))
    found, _ = xml.read_documents(tmp_path, "a", lambda name, path, root: root.get("t"))
    assert found == ["é"]


def test_documents_pass_over_other_files_and_tell(tmp_path: Path) -> None:
    write(tmp_path / "mets.xml", '<mets xmlns="http://www.loc.gov/METS/"/>')
    write(tmp_path / "page" / "p1.xml", "<PcGts/>")
    write(tmp_path / "alto" / "p1.xml", '<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"/>')
    write(tmp_path / "alto" / "._p1.xml", "\x00\x05\x16\x07")
    write(tmp_path / "__MACOSX" / "p1.xml", "\x00\x05\x16\x07")
    write(tmp_path / "empty.xml", "")
    ids, findings = documents(tmp_path)
    assert ids == ["p1"]
    assert findings == {
        "unused_file": {
            "__MACOSX/p1.xml": "of macOS",
            "alto/._p1.xml": "of macOS",
            "empty.xml": "empty",
            "mets.xml": "<mets>",
            "page/p1.xml": "<PcGts>",
        },
        "damaged_file": {},
    }


def test_documents_that_are_damaged_are_all_told_and_the_others_read(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside.xml", "<alto/>")
    root = tmp_path / "data"
    write(root / "good.xml", "<alto/>")
    (root / "link.xml").symlink_to(outside)
    write(root / "cut.xml", "<alto><Layout>")
    write(root / "bomb.xml", BOMB)
    write(root / "refused.xml", '<alto refuse="yes"/>')
    write(root / "garbage.xml", "p")
    ids, findings = documents(root)
    assert ids == ["good"]
    notes = findings["damaged_file"]
    assert list(notes) == ["bomb.xml", "cut.xml", "garbage.xml", "link.xml", "refused.xml"]
    for note, said in zip(notes.values(), ("DTD", "damaged", "damaged", "outside", "no page"), strict=True):
        assert said in note


def test_documents_of_one_stem_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("book1/p1", "book2/p1", "book2/p2"):
        write(tmp_path / f"{name}.xml", "<alto/>")
    write(tmp_path / "book2/._p2.xml", "")  # tells nothing apart
    assert documents(tmp_path)[0] == ["book1/p1", "book2/p1", "p2"]


def test_documents_have_the_name_of_their_page(tmp_path: Path) -> None:
    for name in ("p1.alto", "p2.page", "p3", "both", "both.alto"):
        write(tmp_path / f"{name}.xml", "<alto/>")
    assert documents(tmp_path)[0] == ["both.alto", "both", "p1", "p2", "p3"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no XML file; set data.root"),
        ({"mets.xml": "<mets/>", "empty.xml": ""}, "holds only XML that is <mets>, empty; set data.root"),
        ({"p.xml": "<PcGts/>", "q.xml": "x"}, "holds no <alto> file, but files for data=pagexml"),
        (
            {"p.xml": "<alto>", "q.xml": "<alto>"},
            r"p.xml: damaged XML \(.*\); export it again \(and 1 more\)",
        ),
    ],
)
def test_documents_refuse_a_folder_without_any(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        write(tmp_path / name, text)
    with pytest.raises(InputError, match=message):
        documents(tmp_path)


@pytest.mark.parametrize("text", ["1,2 3.5,4", "1 2 3.5 4", " 1,2\n3.5,4 ", "1, 2, 3.5, 4"])
def test_points_are_read_in_either_style(text: str) -> None:
    assert xml.parse_points(text, Path("p.xml")) == ((1.0, 2.0), (3.5, 4.0))


@pytest.mark.parametrize("text", ["1,2 3", "1,2 x,4", "1,nan", "1,inf"])
def test_points_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"p.xml: "):
        xml.parse_points(text, Path("p.xml"))


def test_fractions_are_cut_to_the_page() -> None:
    assert xml.page_fractions([(50, 50), (-10, 300)], (200, 100)) == ((0.5, 0.25), (0.0, 1.0))

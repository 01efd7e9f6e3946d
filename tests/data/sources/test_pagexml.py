from pathlib import Path

import pytest
from PIL import Image

from hwr.data.records import NOWHERE, Line, Page
from hwr.data.sources import pagexml
from hwr.errors import InputError

SCHEMAS = ["2010-03-19", "2013-07-15", "2017-07-15", "2018-07-15", "2019-07-15"]
COORDS = '<Coords points="20,10 120,10 120,35 20,35"/>'


def line_xml(name: str, text: str, inner: str = "", attributes: str = "") -> str:
    return (
        f'<TextLine id="{name}" {attributes}>{COORDS}<Baseline points="20,30 120,30"/>{inner}'
        f"<TextEquiv><Unicode>{text}</Unicode></TextEquiv></TextLine>"
    )


def region(name: str, *inner: str, kind: str = "TextRegion") -> str:
    return f'<{kind} id="{name}"><Coords points="0,0 200,0 200,100 0,100"/>{"".join(inner)}</{kind}>'


def write(
    root: Path, body: str, schema: str = SCHEMAS[-1], size: str = 'imageWidth="200" imageHeight="100"'
) -> None:
    """Write p.png, 200 x 100 pixels, and page/p.xml as Transkribus lays them out."""
    Image.new("L", (200, 100), 255).save(root / "p.png")
    (root / "page").mkdir(exist_ok=True)
    (root / "page" / "p.xml").write_text(
        f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/{schema}">
  <Metadata><Creator>test</Creator><Created>2020-01-01T00:00:00</Created></Metadata>
  <Page imageFilename="p.png" {size}>{body}</Page>
</PcGts>""",
        encoding="utf-8",
    )


def read_page(root: Path) -> Page:
    (page,) = pagexml.read_pagexml(root, splits=None, shares=(0.8, 0.1, 0.1), seed=0).pages
    return page


def read_line(root: Path, body: str) -> Line:
    write(root, region("r", body))
    (line,) = read_page(root).lines
    return line


def order(root: Path, body: str) -> list[str]:
    write(root, body)
    return [line.text for line in read_page(root).lines]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_read_takes_every_schema(tmp_path: Path, schema: str) -> None:
    write(tmp_path, region("r", line_xml("l1", "Hello")), schema)
    page = read_page(tmp_path)
    (line,) = page.lines
    assert (page.id, page.image, page.size) == ("p", (tmp_path / "p.png").resolve(), (100, 200))
    assert (line.id, line.text, line.box) == ("p/l1", "Hello", (0.1, 0.1, 0.6, 0.35))
    assert line.polygon == ((0.1, 0.1), (0.6, 0.1), (0.6, 0.35), (0.1, 0.35))
    assert line.baseline == ((0.1, 0.3), (0.6, 0.3))


def test_read_takes_the_size_of_the_image_when_the_page_gives_none(tmp_path: Path) -> None:
    write(tmp_path, region("r", line_xml("l1", "Hello")), size="")
    assert read_page(tmp_path).lines[0].box == (0.1, 0.1, 0.6, 0.35)


def test_read_takes_the_reading_of_the_lowest_index(tmp_path: Path) -> None:
    readings = "".join(
        f'<TextEquiv index="{n}"><Unicode>{text}</Unicode></TextEquiv>'
        for n, text in ((2, "c"), (10, "d"), (1, "b"))
    )
    assert read_line(tmp_path, f'<TextLine id="l1">{COORDS}{readings}</TextLine>').text == "b"


def test_read_takes_plain_text_where_unicode_is_empty(tmp_path: Path) -> None:
    reading = "<TextEquiv><PlainText>a</PlainText><Unicode/></TextEquiv>"
    assert read_line(tmp_path, f'<TextLine id="l1">{COORDS}{reading}</TextLine>').text == "a"


def test_read_takes_points_as_elements(tmp_path: Path) -> None:
    points = "".join(f'<Point x="{x}" y="{y}"/>' for x, y in ((20, 10), (120, 10), (120, 35), (20, 35)))
    line = read_line(tmp_path, f'<TextLine id="l1"><Coords>{points}</Coords></TextLine>')
    assert line.polygon == ((0.1, 0.1), (0.6, 0.1), (0.6, 0.35), (0.1, 0.35))


def test_read_keeps_a_line_without_text(tmp_path: Path) -> None:
    assert read_line(tmp_path, f'<TextLine id="l1">{COORDS}</TextLine>').text == ""


def test_read_takes_words_with_boxes(tmp_path: Path) -> None:
    coords = '<Coords points="20,10 60,10 60,35 20,35"/>'
    word = f'<Word id="w1">{coords}<TextEquiv><Unicode>two</Unicode></TextEquiv></Word>'
    line = read_line(tmp_path, line_xml("l1", "two words", word))
    assert line.text == "two words"
    assert [(w.id, w.text, w.box) for w in line.words] == [("p/l1/w1", "two", (0.1, 0.1, 0.3, 0.35))]


@pytest.mark.parametrize("glyphs", [False, True])
def test_read_joins_words_when_the_line_has_no_text(tmp_path: Path, glyphs: bool) -> None:
    def reading(text: str) -> str:
        return f"<TextEquiv><Unicode>{text}</Unicode></TextEquiv>"

    inner = [
        "".join(f"<Glyph>{reading(letter)}</Glyph>" for letter in text) if glyphs else reading(text)
        for text in ("two", "words")
    ]
    words = "".join(f"<Word>{COORDS}{text}</Word>" for text in inner)
    assert read_line(tmp_path, f'<TextLine id="l1">{COORDS}{words}</TextLine>').text == "two words"


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ('custom="readingOrder {index:0;} structure {type:marginalia;}"', "marginalia"),
        ('custom="structure {score:1.0; type:heading;}"', "heading"),
        ('custom="readingOrder {index:0;} textStyle {type:bold;}"', ""),
        ('type="footnote"', "footnote"),
        ("", ""),
    ],
)
def test_read_names_the_line_type(tmp_path: Path, attributes: str, kind: str) -> None:
    assert read_line(tmp_path, line_xml("l1", "x", attributes=attributes)).kind == kind


ORDER = """<ReadingOrder><OrderedGroup id="g">
  <RegionRefIndexed index="2" regionRef="a"/>
  <OrderedGroupIndexed id="h" index="10"><RegionRefIndexed index="0" regionRef="b"/></OrderedGroupIndexed>
  <RegionRefIndexed index="0" regionRef="c"/>
</OrderedGroup></ReadingOrder>"""


def test_read_follows_the_reading_order_and_then_the_file(tmp_path: Path) -> None:
    regions = [region(name, line_xml(f"l{name}", name)) for name in "dabc"]
    assert order(tmp_path, ORDER + "".join(regions)) == ["c", "a", "b", "d"]


def test_read_puts_a_nested_region_after_its_own_unless_the_order_names_it(tmp_path: Path) -> None:
    inner = region("b", line_xml("lb", "b")), region("x", line_xml("lx", "x"))
    regions = region("a", line_xml("la", "a"), *inner), region("c", line_xml("lc", "c"))
    assert order(tmp_path, ORDER + "".join(regions)) == ["c", "a", "x", "b"]


def at(index: int) -> str:
    return f'custom="readingOrder {{index:{index};}} structure {{type:x;}}"'


def test_read_follows_the_positions_in_custom_where_there_is_no_reading_order(tmp_path: Path) -> None:
    lines = [line_xml(f"l{n}", f"a{n}", attributes=at(n)) for n in (2, 0, 1)]
    regions = region("a", *lines), region("b", line_xml("lb", "b"))
    body = "".join(r.replace(" id", f" {at(n)} id", 1) for n, r in zip((1, 0), regions, strict=True))
    assert order(tmp_path, body) == ["b", "a0", "a1", "a2"]
    assert order(tmp_path, ORDER + body) == ["a0", "a1", "a2", "b"]


def test_read_finds_lines_outside_of_regions(tmp_path: Path) -> None:
    assert order(tmp_path, line_xml("l1", "1") + region("r", line_xml("l2", "2"))) == ["2", "1"]


def test_read_finds_lines_in_table_cells(tmp_path: Path) -> None:
    cells = (
        region("cell1", line_xml("l1", "1"), kind="TableCell"),
        region("cell2", line_xml("l2", "2"), kind="TableCell"),
    )
    assert order(tmp_path, region("t", *cells, kind="TableRegion")) == ["1", "2"]


def test_read_keeps_regions_without_ids_apart(tmp_path: Path) -> None:
    body = "".join(f"<TextRegion>{line_xml(name, name)}</TextRegion>" for name in "ab")
    assert order(tmp_path, body) == ["a", "b"]


@pytest.mark.parametrize(
    ("inner", "flaw"),
    [
        ("", "neither Coords nor Baseline"),
        ('<Coords points=""/>', "neither Coords nor Baseline"),
        ('<Coords points="1,2 3"/>', "half a point"),
        ('<Baseline points="1,2 nan,4"/>', "is no coordinate"),
        ('<Baseline points="1,2 3,99999999999999999999"/>', "is no coordinate"),
    ],
)
def test_read_keeps_a_line_whose_place_is_not_known(tmp_path: Path, inner: str, flaw: str) -> None:
    text = "<TextEquiv><Unicode>lost</Unicode></TextEquiv>"
    line = read_line(tmp_path, f'<TextLine id="l1">{inner}{text}</TextLine>')
    assert (line.id, line.text, line.box) == ("p/l1", "lost", NOWHERE)
    assert flaw in line.flaw


@pytest.mark.parametrize("width", ["99999999999999999999", "1e400", "wide"])
def test_page_whose_size_is_none_is_refused(tmp_path: Path, width: str) -> None:
    write(tmp_path, line_xml("l1", "x"), size=f'imageWidth="{width}" imageHeight="60"')
    with pytest.raises(InputError, match=r"p\.xml: .* is no coordinate"):
        read_page(tmp_path)


def test_page_smaller_than_a_pixel_is_measured_by_its_image(tmp_path: Path) -> None:
    write(tmp_path, line_xml("l1", "x"), size='imageWidth="0.4" imageHeight="60"')
    assert read_page(tmp_path).size[1] > 1


def test_read_counts_the_text_of_regions_without_lines(tmp_path: Path) -> None:
    text = "<TextEquiv><Unicode>one\ntwo</Unicode></TextEquiv>"
    lined, unlined = line_xml("l1", "x"), line_xml("l2", "")
    regions = region("a", lined, text), region("b", text), region("c", region("d", text), text)
    write(tmp_path, "".join(regions) + region("e", unlined, text))
    assert read_page(tmp_path).unlined == 3 * len("one two")


@pytest.mark.parametrize(("pages", "number"), [("", "no"), ("<Page/><Page/>", "2")])
def test_read_refuses_a_file_without_a_page_of_its_own(tmp_path: Path, pages: str, number: str) -> None:
    (tmp_path / "p.xml").write_text(f"<PcGts>{pages}</PcGts>")
    with pytest.raises(InputError, match=f"p.xml: holds {number} <Page>; export one file a page"):
        read_page(tmp_path)


def test_read_keeps_a_page_without_image(tmp_path: Path) -> None:
    write(tmp_path, region("r", line_xml("l1", "Hello")))
    (tmp_path / "p.png").unlink()
    page = read_page(tmp_path)
    assert (page.image, page.lines[0].text) == (tmp_path / "page" / "p.xml", "Hello")
    assert "its image p.png is missing" in page.flaw

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hwr.data import exclude_lines, load_pages
from hwr.data.records import NOWHERE, Line, Page
from hwr.data.sources import alto
from hwr.errors import InputError

SPLITTING: dict[str, Any] = {"splits": None, "shares": (0.8, 0.1, 0.1), "seed": 0}
VERSIONS = {
    "v2": "http://www.loc.gov/standards/alto/ns-v2#",
    "v3": "http://www.loc.gov/standards/alto/ns-v3#",
    "v4": "http://www.loc.gov/standards/alto/ns-v4#",
    "bnf": "http://bibnum.bnf.fr/ns/alto_prod",
    "none": "",
}
LINE = '<TextLine ID="l1" HPOS="20" VPOS="10" WIDTH="100" HEIGHT="25"><String CONTENT="Hello"/></TextLine>'
PAGE = 'WIDTH="200" HEIGHT="100"'


def write(
    root: Path,
    body: str = LINE,
    *,
    page: str = PAGE,
    unit: str = "pixel",
    ns: str = VERSIONS["v4"],
    tags: str = "",
) -> None:
    """Write p.png, 200 x 100 pixels, and its ALTO file."""
    Image.new("L", (200, 100), 255).save(root / "p.png")
    (root / "p.xml").write_text(
        f"""<?xml version="1.0" encoding="UTF-8"?>
<alto{f' xmlns="{ns}"' if ns else ""}>
  <Description>
    <MeasurementUnit>{unit}</MeasurementUnit>
    <sourceImageInformation><fileName>p.png</fileName></sourceImageInformation>
  </Description>
  <Tags>{tags}</Tags>
  <Layout><Page ID="page_1" PHYSICAL_IMG_NR="1" {page}>
    <PrintSpace HPOS="0" VPOS="0" WIDTH="200" HEIGHT="100"><ComposedBlock ID="c"><TextBlock ID="b">
      {body}
    </TextBlock></ComposedBlock></PrintSpace>
  </Page></Layout>
</alto>""",
        encoding="utf-8",
    )


def read_page(root: Path) -> Page:
    (page,) = alto.read_alto(root, **SPLITTING).pages
    return page


def read_line(root: Path, body: str, tags: str = "") -> Line:
    write(root, body, tags=tags)
    (line,) = read_page(root).lines
    return line


@pytest.mark.parametrize("version", VERSIONS)
def test_read_takes_every_namespace(tmp_path: Path, version: str) -> None:
    write(tmp_path, ns=VERSIONS[version])
    page = read_page(tmp_path)
    (line,) = page.lines
    assert (page.id, page.image, page.size) == ("p", (tmp_path / "p.png").resolve(), (100, 200))
    assert (line.id, line.text, line.box) == ("p/l1", "Hello", (0.1, 0.1, 0.6, 0.35))


@pytest.mark.parametrize("unit", ["mm10", "inch1200"])
def test_read_takes_lengths_as_parts_of_the_page_whatever_their_unit(tmp_path: Path, unit: str) -> None:
    body = '<TextLine ID="l1" HPOS="200" VPOS="100" WIDTH="1000" HEIGHT="250"/>'
    write(tmp_path, body, page='WIDTH="2000" HEIGHT="1000"', unit=unit)
    page = read_page(tmp_path)
    assert page.size == (100, 200)  # of the image: the page's own is no number of pixels
    assert page.lines[0].box == (0.1, 0.1, 0.6, 0.35)


def test_read_takes_the_image_for_the_scale_of_pixels_when_the_page_gives_none(tmp_path: Path) -> None:
    write(tmp_path, page="")
    assert (read_page(tmp_path).size, read_page(tmp_path).lines[0].box) == ((100, 200), (0.1, 0.1, 0.6, 0.35))


def test_read_refuses_another_unit_without_scale(tmp_path: Path) -> None:
    write(tmp_path, page="", unit="mm10")
    with pytest.raises(InputError, match=r"p.xml: <Page> lacks WIDTH and HEIGHT, the scale of its mm10"):
        read_page(tmp_path)


@pytest.mark.parametrize("points", ["20,10 120,10 120,35 20,35", "20 10 120 10 120 35 20 35"])
def test_read_takes_polygons_in_either_style_and_their_box(tmp_path: Path, points: str) -> None:
    shape = f'<Shape><Polygon POINTS="{points}"/></Shape>'
    line = read_line(tmp_path, f'<TextLine ID="l1">{shape}<String CONTENT="Hello"/></TextLine>')
    assert line.polygon == ((0.1, 0.1), (0.6, 0.1), (0.6, 0.35), (0.1, 0.35))
    assert line.box == (0.1, 0.1, 0.6, 0.35)


def test_read_takes_lines_with_a_baseline_alone(tmp_path: Path) -> None:
    lines = [f'<TextLine BASELINE="20 {y} 120 {y}"><String CONTENT="x"/></TextLine>' for y in (40, 80)]
    write(tmp_path, "".join(lines))
    boxes = [line.box for line in read_page(tmp_path).lines]
    assert boxes == [pytest.approx(box) for box in ((0.1, 0.12, 0.6, 0.52), (0.1, 0.52, 0.6, 0.92))]


@pytest.mark.parametrize("baseline", ["30", "20 30 120 30", "20,30 120,30"])
def test_read_takes_a_baseline_as_height_or_points(tmp_path: Path, baseline: str) -> None:
    line = read_line(tmp_path, LINE.replace("<TextLine", f'<TextLine BASELINE="{baseline}"'))
    assert line.baseline == ((0.1, 0.3), (0.6, 0.3))


@pytest.mark.parametrize(("stated", "number"), [(1, 1), (2, 2), (3, 1), (40, 1)])
def test_read_takes_the_page_of_a_file_whose_number_is_stated(
    tmp_path: Path, stated: int, number: int
) -> None:
    write(tmp_path, page='WIDTH="" HEIGHT=""')
    first, second = (Image.new("L", size, 255) for size in ((200, 100), (60, 90)))
    first.save(tmp_path / "p.tif", save_all=True, append_images=[second])
    (tmp_path / "p.png").unlink()
    file = tmp_path / "p.xml"
    text = file.read_text(encoding="utf-8").replace('IMG_NR="1"', f'IMG_NR="{stated}"')
    file.write_text(text, encoding="utf-8")
    page = read_page(tmp_path)
    assert (page.image.name, page.number) == ("p.tif", number)
    assert page.size == ((90, 60) if number == 2 else (100, 200))


def test_number_of_a_page_in_its_volume_is_none_in_its_file(tmp_path: Path) -> None:
    write(tmp_path)
    file = tmp_path / "p.xml"
    text = file.read_text(encoding="utf-8").replace('IMG_NR="1"', 'IMG_NR="117"')
    file.write_text(text, encoding="utf-8")
    assert read_page(tmp_path).number == 1


def test_read_names_the_line_type_by_the_label_of_its_tag(tmp_path: Path) -> None:
    tags = '<LayoutTag ID="X1" LABEL="Main"/><OtherTag ID="LT7" LABEL="consent" DESCRIPTION="line type"/>'
    assert (
        read_line(tmp_path, LINE.replace("<TextLine", '<TextLine TAGREFS="gone LT7"'), tags).kind == "consent"
    )


def line_of(*elements: str) -> str:
    return f'<TextLine ID="l1" HPOS="20" VPOS="10" WIDTH="100" HEIGHT="25">{"".join(elements)}</TextLine>'


@pytest.mark.parametrize(
    ("elements", "text"),
    [
        (('<String CONTENT="two"/>', '<SP WIDTH="3"/>', '<String CONTENT="words"/>'), "two words"),
        (('<String CONTENT="two"/>', '<String CONTENT="words"/>'), "two words"),
        (
            ('<String CONTENT="one"/>', "<SP/>", '<String CONTENT="end"/>', '<String CONTENT="."/>'),
            "one end.",
        ),
        (
            ('<String CONTENT="exem" SUBS_TYPE="HypPart1" SUBS_CONTENT="exemple"/>', '<HYP CONTENT="-"/>'),
            "exem-",
        ),
        (('<String CONTENT="ple" SUBS_TYPE="HypPart2" SUBS_CONTENT="exemple"/>',), "ple"),
        (('<String CONTENT="exem"/>', '<HYP CONTENT="¬"/>'), "exem¬"),
        (('<String CONTENT="exem"/>', '<HYP CONTENT="\u00ad"/>'), "exem\u00ad"),
        (('<String CONTENT="exem-"/>', '<HYP CONTENT="-"/>'), "exem-"),
        (('<String CONTENT="exem¬"/>', '<HYP CONTENT="-"/>'), "exem¬"),
        (('<String CONTENT="exem-"/>', '<HYP CONTENT="\u00ad"/>'), "exem-"),
        (('<String CONTENT="exem-"/>', '<HYP CONTENT=""/>'), "exem-"),
        (('<String CONTENT="exem"/>', "<HYP/>"), "exem-"),
        (('<String CONTENT=""/>',), ""),
        ((), ""),
    ],
)
def test_read_keeps_what_is_written(tmp_path: Path, elements: tuple[str, ...], text: str) -> None:
    assert read_line(tmp_path, line_of(*elements)).text == text


@pytest.mark.parametrize(
    ("order", "texts"),
    [
        ("", "abc"),
        ('<ElementRef REF="l2"/><ElementRef REF="gone l0"/>', "cab"),
        ('<OrderedGroup><ElementRef REF="t"/></OrderedGroup><ElementRef REF="b"/>', "cab"),
    ],
)
def test_read_follows_the_reading_order_of_version_4_3(tmp_path: Path, order: str, texts: str) -> None:
    lines = [LINE.replace("l1", f"l{n}").replace("Hello", text) for n, text in enumerate("abc")]
    write(tmp_path, f'{lines[0]}{lines[1]}</TextBlock><TextBlock ID="t">{lines[2]}')
    path = tmp_path / "p.xml"
    ordered = f"<ReadingOrder><OrderedGroup>{order}</OrderedGroup></ReadingOrder><Layout>"
    path.write_text(path.read_text().replace("<Layout>", ordered))
    assert "".join(line.text for line in read_page(tmp_path).lines) == texts


def test_read_normalises_text_to_nfc(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "été")
    assert read_line(tmp_path, line_of(f'<String CONTENT="{decomposed}"/>')).text == "été"


def test_read_takes_strings_as_words_with_boxes(tmp_path: Path) -> None:
    words = (
        '<String ID="s1" CONTENT="two" HPOS="20" VPOS="10" WIDTH="40" HEIGHT="25"/>',
        '<String CONTENT="words" HPOS="70" VPOS="10" WIDTH="50" HEIGHT="25"/>',
    )
    found = read_line(tmp_path, line_of(*words)).words
    assert [(word.id, word.text, word.box) for word in found] == [
        ("p/l1/s1", "two", (0.1, 0.1, 0.3, 0.35)),
        ("p/l1/word2", "words", (0.35, 0.1, 0.6, 0.35)),
    ]


def test_read_takes_a_string_of_a_whole_line_for_no_word(tmp_path: Path) -> None:
    line = read_line(
        tmp_path, line_of('<String CONTENT="two words" HPOS="20" VPOS="10" WIDTH="100" HEIGHT="25"/>')
    )
    assert (line.text, line.words) == ("two words", ())


@pytest.mark.parametrize(
    ("line", "flaw"),
    [
        ('<TextLine ID="l2"><String CONTENT="lost"/></TextLine>', "neither HPOS"),
        (
            LINE.replace("l1", "l2").replace("Hello", "lost").replace('"100"', '"wide"'),
            "'wide' is no coordinate",
        ),
        (
            '<TextLine ID="l2"><Shape><Polygon POINTS="1,2 3"/></Shape><String CONTENT="lost"/></TextLine>',
            "half a point",
        ),
    ],
)
def test_read_keeps_a_line_whose_place_is_not_known(tmp_path: Path, line: str, flaw: str) -> None:
    write(tmp_path, LINE + line)
    good, bad = read_page(tmp_path).lines
    assert (good.id, good.flaw) == ("p/l1", "")
    assert (bad.id, bad.text, bad.box) == ("p/l2", "lost", NOWHERE)
    assert flaw in bad.flaw


def test_read_refuses_a_file_without_page(tmp_path: Path) -> None:
    (tmp_path / "p.xml").write_text("<alto><Layout/></alto>")
    with pytest.raises(InputError, match=r"p.xml: holds 0 <Page> elements"):
        read_page(tmp_path)


def test_read_keeps_a_page_without_image(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "p.png").unlink()
    page = read_page(tmp_path)
    assert (page.image, page.lines[0].text) == (tmp_path / "p.xml", "Hello")
    assert "its image p.png is missing" in page.flaw


def test_read_keeps_a_page_whose_size_nothing_tells(tmp_path: Path) -> None:
    write(tmp_path, page="")
    (tmp_path / "p.png").write_bytes(b"none")
    page = read_page(tmp_path)
    assert "p.png: damaged" in page.flaw
    assert page.lines[0].text == "Hello"


def test_read_takes_no_image_outside_the_root(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    (tmp_path / "data" / "p.png").rename(tmp_path / "p.png")
    path = tmp_path / "data" / "p.xml"
    path.write_text(path.read_text().replace("p.png", "../p.png"))
    page = read_page(tmp_path / "data")
    assert page.image == path
    assert "leads outside the data folder" in page.flaw


def test_read_splits_any_folder_by_page_without_a_table(tmp_path: Path) -> None:
    write(tmp_path)
    for name in "abcdefghi":
        (tmp_path / f"{name}.xml").write_text((tmp_path / "p.xml").read_text())
        (tmp_path / f"{name}.png").write_bytes((tmp_path / "p.png").read_bytes())
    pages = alto.read_alto(tmp_path, **SPLITTING).pages
    assert sorted(page.split for page in pages) == ["test", *["train"] * 8, "valid"]
    assert {page.writer for page in pages} == {page.id for page in pages}


def test_copiste_is_read_as_its_description_counts_it(shared: Path) -> None:
    root = shared / "data" / "copiste"
    if not root.is_dir():
        pytest.skip(f"no folder {root}: its counts are not tested")
    everything = load_pages("alto", root=root, **SPLITTING).pages
    assert sum(len(page.lines) for page in everything) == 4694
    pages, _ = exclude_lines(everything, types=["consent"], pattern="[<>]")
    assert (len(pages), len({page.writer for page in pages})) == (245, 198)
    for split, count, lines in (("train", 186, 2980), ("valid", 32, 506), ("test", 27, 431)):
        own = [page for page in pages if page.split == split]
        assert (len(own), sum(len(page.lines) for page in own)) == (count, lines)

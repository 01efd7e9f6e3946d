"""`hwr.data.load_pages`: a source by name, its settings and its exclusions."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hwr.data import exclude_lines, load_pages
from hwr.data.records import Line, Page
from hwr.errors import InputError

SHARES: dict[str, Any] = {"table": None, "shares": (0.8, 0.1, 0.1), "seed": 0}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of two line images with a table."""
    for name in ("a.png", "b.png", "b.jpg"):
        Image.new("L", (60, 20), 255).save(tmp_path / name)
    (tmp_path / "lines.tsv").write_text("a.png\tgood\nb.png\t>bad<\n")
    return tmp_path


def test_load_reads_a_source_without_excluded_lines(root: Path) -> None:
    pages = load_pages("line_list", {"types": [], "pattern": "[<>]"}, root=root, **SHARES)
    assert [[line.text for line in page.lines] for page in pages] == [["good"], []]


def test_load_refuses_an_unknown_source() -> None:
    with pytest.raises(
        InputError, match=r"data source 'altoo' is unknown; use one of .*alto, pagexml, iam, line_list"
    ):
        load_pages("altoo")


def test_load_refuses_unknown_and_missing_settings(root: Path) -> None:
    with pytest.raises(
        InputError, match=r"data=line_list: got an unexpected keyword argument 'rot'.*its settings are"
    ):
        load_pages("line_list", root=root, rot=1, **SHARES)
    with pytest.raises(InputError, match=r"data=line_list: missing a required argument: 'root'"):
        load_pages("line_list", **SHARES)
    with pytest.raises(InputError, match=r"data.exclude: got an unexpected keyword argument 'typ'"):
        load_pages("line_list", {"typ": []}, root=root, **SHARES)


def test_load_refuses_an_id_that_occurs_twice(root: Path) -> None:
    (root / "lines.tsv").write_text("b.png\tone\nb.jpg\ttwo\n")
    with pytest.raises(InputError, match=r"page id b occurs twice"):
        load_pages("line_list", root=root, **SHARES)


BOX = (0.0, 0.0, 1.0, 1.0)


def page(*lines: tuple[str, str]) -> Page:
    records = tuple(Line(f"p/{n}", text, BOX, kind=kind) for n, (kind, text) in enumerate(lines))
    return Page("p", "w", "train", Path("p.png"), (10, 10), records)


def texts(pages: list[Page]) -> list[str]:
    return [line.text for page in pages for line in page.lines]


def test_exclude_drops_lines_of_a_type() -> None:
    assert texts(exclude_lines([page(("consent", "a"), ("default", "b"))], types=["consent"])) == ["b"]


def test_exclude_drops_lines_that_hold_the_pattern_anywhere() -> None:
    assert texts(exclude_lines([page(("", "a >b<"), ("", "b"))], pattern="[<>]")) == ["b"]


def test_exclude_keeps_a_page_whose_lines_all_go() -> None:
    (kept,) = exclude_lines([page(("consent", "a"))], types=["consent"])
    assert (kept.id, kept.lines) == ("p", ())


def test_exclude_keeps_everything_without_rules() -> None:
    pages = [page(("consent", "<"))]
    assert exclude_lines(pages, types=[], pattern="") == pages


def test_exclude_refuses_a_broken_pattern() -> None:
    with pytest.raises(InputError, match=r"pattern='\[' is not a regular expression"):
        exclude_lines([page(("", "a"))], pattern="[")

from pathlib import Path

import pytest

from hwr.data.records import Line, Page
from hwr.data.selection import exclude
from hwr.errors import InputError

BOX = (0.0, 0.0, 1.0, 1.0)


def page(*lines: tuple[str, str]) -> Page:
    records = tuple(Line(f"p/{n}", text, BOX, kind=kind) for n, (kind, text) in enumerate(lines))
    return Page("p", "w", "train", Path("p.png"), (10, 10), records)


def texts(pages: list[Page]) -> list[str]:
    return [line.text for page in pages for line in page.lines]


def test_exclude_drops_lines_of_a_type() -> None:
    assert texts(exclude([page(("consent", "a"), ("default", "b"))], types=["consent"])) == ["b"]


def test_exclude_drops_lines_that_hold_the_pattern_anywhere() -> None:
    assert texts(exclude([page(("", "a >b<"), ("", "b"))], pattern="[<>]")) == ["b"]


def test_exclude_keeps_a_page_whose_lines_all_go() -> None:
    (kept,) = exclude([page(("consent", "a"))], types=["consent"])
    assert (kept.id, kept.lines) == ("p", ())


def test_exclude_keeps_everything_without_rules() -> None:
    pages = [page(("consent", "<"))]
    assert exclude(pages, types=[], pattern="") == pages


def test_exclude_refuses_a_broken_pattern() -> None:
    with pytest.raises(InputError, match=r"pattern='\[' is not a regular expression"):
        exclude([page(("", "a"))], pattern="[")

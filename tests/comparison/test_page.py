"""The report is one page that needs nothing else."""

import html.parser
import re
from pathlib import Path

import numpy as np
import pytest

from hwr.comparison import page, paired
from hwr.comparison.tables import Comparison
from hwr.pictures import cards
from tests.comparison.logged import HOW, IN_PROCESS, Logged, misread, recorded

VOID = {"meta", "img"}


class Elements(html.parser.HTMLParser):
    """Collects tags, addresses and text, and what is left open or closed wrongly."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open += [] if tag in VOID else [tag]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    made = [
        Logged("old <&>", misread(16), parameters={"note": "<b>"}),
        Logged("new", misread(0), parameters={"note": "x"}),
    ]
    runs = [recorded(run, label, tmp_path / label) for run, label in zip(made, "AB", strict=True)]
    return Comparison(runs, [paired.results(*runs, HOW, IN_PROCESS, level=0.05)], "test", 0.05)


def elements(text: str) -> Elements:
    found = Elements()
    found.feed(text)
    assert found.open == []
    return found


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    cards.save(tmp_path / "lines.png", np.zeros((4, 4, 3), np.uint8))
    return tmp_path / "lines.png"


def test_page_needs_nothing_from_elsewhere(comparison: Comparison, picture: Path) -> None:
    text = page.page(comparison, picture)
    found = elements(text)
    assert [address[:22] for address in found.addresses] == ["data:image/png;base64,"]
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert not re.search(r"https?:|@import|url\(", text)


def test_page_says_who_is_better(comparison: Comparison) -> None:
    found = elements(page.page(comparison, None))
    assert "CER: B is significantly better than A" in found.text
    assert found.tags.count("img") == 0


def test_page_shows_names_as_they_are(comparison: Comparison) -> None:
    found = elements(page.page(comparison, None))
    assert "old <&>" in found.text
    assert "<b>" in found.text
    assert "b" not in found.tags


def test_page_draws_every_interval(comparison: Comparison) -> None:
    drawn = sum(result.interval is not None for result in comparison.results[0])
    assert drawn == 4  # CER and WER, by lines and by writers
    assert elements(page.page(comparison, None)).tags.count("circle") == drawn


def test_page_without_intervals_has_no_drawing(comparison: Comparison) -> None:
    alone = Comparison(comparison.runs, [comparison.results[0][-1:]], "test", 0.05)
    assert "svg" not in elements(page.page(alone, None)).tags

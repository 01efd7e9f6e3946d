"""The README and the documentation: short enough, and their links hold."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "experiments").rglob("*.md")])


def test_readme_is_skimmed_in_a_minute() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    """As they are read in the repository; the strict build of the site checks them there."""
    assert [link for link in _links(page) if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_anchors_of_a_page_lead_to_headings(page: Path) -> None:
    linked = re.findall(r"\]\(([^)\s:#]*)#([^)\s]+)\)", page.read_text(encoding="utf-8"))
    assert [(link, anchor) for link, anchor in linked if anchor not in _anchors(page, link)] == []


def test_every_picture_is_shown() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in _links(page)}
    assert [path.name for path in (ROOT / "docs/pictures").iterdir() if path.resolve() not in shown] == []


def _links(page: Path) -> Iterator[str]:
    """Yield the relative links of a page without their anchors."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path = link.partition("#")[0]
        if path and "://" not in path:
            yield path


def _anchors(page: Path, link: str) -> set[str]:
    """Return the anchors of the headings of a page that is linked, "" being the page itself."""
    text = (page.parent / link if link else page).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}

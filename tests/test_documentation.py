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
    missing = [
        link for link in _links(page) if not (page.parent / link).exists() and not _generated(page, link)
    ]
    assert missing == []


def test_every_picture_is_shown() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in _links(page)}
    assert [path.name for path in (ROOT / "docs/pictures").iterdir() if path.resolve() not in shown] == []


def _links(page: Path) -> Iterator[str]:
    """Yield the relative links of a page without their anchors."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path = link.partition("#")[0]
        if path and "://" not in path:
            yield path


def _generated(page: Path, link: str) -> bool:
    """Tell whether a link leads to a page that docs/hooks.py makes; the strict build checks these."""
    target = (page.parent / link).resolve()
    path = target.relative_to(ROOT).as_posix()
    of_notebook = path.startswith("docs/notebooks/") and target.with_suffix(".py").exists()
    return (
        of_notebook
        or path.startswith("docs/reference/")
        or path in ("docs/contributing.md", "docs/changelog.md")
    )

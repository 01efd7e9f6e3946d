"""`hwr.data.load`: a source by name, its settings and its exclusions."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hwr.data import load
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
    pages = load("line_list", {"types": [], "pattern": "[<>]"}, root=root, **SHARES)
    assert [[line.text for line in page.lines] for page in pages] == [["good"], []]


def test_load_refuses_an_unknown_source() -> None:
    with pytest.raises(
        InputError, match=r"data source 'altoo' is unknown; use one of .*alto, pagexml, iam, line_list"
    ):
        load("altoo")


def test_load_refuses_unknown_and_missing_settings(root: Path) -> None:
    with pytest.raises(
        InputError, match=r"data=line_list: got an unexpected keyword argument 'rot'.*its settings are"
    ):
        load("line_list", root=root, rot=1, **SHARES)
    with pytest.raises(InputError, match=r"data=line_list: missing a required argument: 'root'"):
        load("line_list", **SHARES)
    with pytest.raises(InputError, match=r"data.exclude: got an unexpected keyword argument 'typ'"):
        load("line_list", {"typ": []}, root=root, **SHARES)


def test_load_refuses_an_id_that_occurs_twice(root: Path) -> None:
    (root / "lines.tsv").write_text("b.png\tone\nb.jpg\ttwo\n")
    with pytest.raises(InputError, match=r"page id b occurs twice"):
        load("line_list", root=root, **SHARES)

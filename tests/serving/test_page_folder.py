"""The folder of pages: names, what is kept of other programs' files, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwr.errors import InputError
from hwr.images.page_files import Loading
from hwr.serving.page_folder import PageFolder, safe_name
from hwr.transcription import ReadPage
from hwr.transcription.correction import corrected
from tests.evaluation.tiny import TEXTS, write_pages

LOADING = Loading(max_pixels=1_000_000, working_pixels=1_000_000, pdf_dpi=72)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\scans\\a.png", "a.png"),
        (".hidden.png", "hidden.png"),
        ("a<b>&\x00\n.png", "a_b____.png"),
        ("lettre à Zoë (1).jpg", "lettre à Zoë (1).jpg"),
        ("x" * 300 + ".png", "x" * 116 + ".png"),
        ("..", ""),
    ],
)
def test_name_that_was_sent_leads_nowhere_else(given: str, name: str) -> None:
    assert safe_name(given) == name


def test_pages_with_one_stem_are_told_apart_and_find_their_own_text(tmp_path: Path) -> None:
    folder = PageFolder(write_pages(tmp_path / "data"), LOADING)
    assert list(folder.pages()) == ["p0", "p1"]
    image = folder.image("p0")
    Image.fromarray(np.full((10, 10), 255, np.uint8)).save(image.with_suffix(".tif"))
    assert list(folder.pages()) == ["p0.png", "p0.tif", "p1"]
    assert [folder.alto(*own) is not None for own in folder.pages().items()] == [True, False, True]


def test_file_of_another_program_is_kept_as_it_was(tmp_path: Path) -> None:
    folder = PageFolder(write_pages(tmp_path / "data"), LOADING)
    before = (folder.root / "p0.xml").read_bytes()

    def change(page: ReadPage) -> ReadPage:
        return ReadPage(
            page.name, page.image, 1, page.size, page.area, (corrected(page.lines[0], "new text"),)
        )

    assert folder.load("p0").upright.lines[0].text == TEXTS[0]  # type: ignore[union-attr]
    for _ in range(2):
        folder.change("p0", change)
    assert folder.load("p0").upright.lines[0].text == "new text"  # type: ignore[union-attr]
    assert (folder.root / "p0.xml.before").read_bytes() == before
    assert sorted(path.name for path in folder.root.glob("p0*")) == ["p0.png", "p0.xml", "p0.xml.before"]


def test_file_that_would_lose_a_line_is_refused_and_stays(tmp_path: Path) -> None:
    folder = PageFolder(write_pages(tmp_path / "data"), LOADING)
    path = folder.root / "p0.xml"
    broken = path.read_text(encoding="utf-8").replace('HPOS="20" VPOS="60"', 'HPOS="x" VPOS="60"')
    path.write_text(broken, encoding="utf-8")
    with pytest.raises(InputError, match="'x' is no coordinate"):
        folder.change("p0", lambda page: page)
    assert path.read_text(encoding="utf-8") == broken

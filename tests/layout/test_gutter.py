"""A double page is parted at its gutter, and no other page is."""

from pathlib import Path

import numpy as np
import pytest

from hwr.images.load import GreyImage
from hwr.images.page_files import Loading, load_page
from hwr.layout.ink import find_gutter

LOADING = Loading(max_pixels=10**8, working_pixels=10**8)


def written(width: int = 1200, height: int = 800, *columns: tuple[float, float]) -> GreyImage:
    """Return a page with lines of short strokes in columns, from and to a fraction of its width."""
    page = np.full((height, width), 240, np.uint8)
    for top in range(80, height - 80, 40):
        for start, end in columns:
            for x in range(round(start * width), round(end * width), 9):
                page[top : top + 14, x : x + 3] = 40
    return page


def with_fold(page: GreyImage) -> GreyImage:
    page[:, 598:602] = 90
    return page


def with_shadow(page: GreyImage) -> GreyImage:
    shade = 1 - 0.5 * np.exp(-(((np.arange(page.shape[1]) - 600) / 60) ** 2))
    return (page * shade).astype(np.uint8)


TWO = ((0.05, 0.45), (0.55, 0.95))


@pytest.mark.parametrize(
    "page",
    [
        written(1200, 800, *TWO),
        with_fold(written(1200, 800, *TWO)),
        with_shadow(written(1200, 800, *TWO)),
    ],
    ids=["paper", "fold", "shadow"],
)
def test_double_page_is_parted_in_its_middle(page: GreyImage) -> None:
    assert find_gutter(page) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    "page",
    [
        written(1200, 800, (0.05, 0.95)),
        written(800, 1200, *TWO),
        written(1200, 800, (0.05, 0.45)),
        written(1200, 800, (0.05, 0.15), (0.4, 0.95)),
        written(1200, 800, *TWO, (0.45, 0.55))[:, :],
        written(1200, 200, *TWO),
        np.full((800, 1200), 255, np.uint8),
        np.zeros((1, 3), np.uint8),
    ],
    ids=["one column", "upright", "one side", "margin notes", "across", "two words", "blank", "tiny"],
)
def test_other_page_is_not_parted(page: GreyImage) -> None:
    assert find_gutter(page) is None


def test_single_pages_of_real_handwriting_are_not_parted(shared: Path) -> None:
    pages = sorted((shared / "data" / "csafe_en" / "pages").glob("*.jpg"))[::6]
    assert [path.name for path in pages if find_gutter(load_page(path, LOADING)) is not None] == []


def test_double_pages_of_real_handwriting_are_parted(shared: Path) -> None:
    pages = sorted((shared / "data" / "letters_fr" / "pages").glob("doniau-danest_[19]*.jpg"))
    found = [find_gutter(load_page(path, LOADING)) for path in pages]
    assert found == [pytest.approx(0.53, abs=0.03)] * 2

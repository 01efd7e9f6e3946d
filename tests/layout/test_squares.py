"""Squared paper becomes plain, under writing too; ruled paper, and tables, stay as they are."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hwr.images.load import GreyImage
from hwr.layout.ink import without_squares

HEIGHT, WIDTH, PAPER = 1600, 1200, 235


def written() -> GreyImage:
    """Return a page of strokes that stand aslant, as a pen writes: 3 px wide, 24 px high."""
    page = np.full((HEIGHT, WIDTH), PAPER, np.uint8)
    for y in range(150, 1450, 60):
        for x in range(100, 1100, 13):
            cv2.line(page, (x, y), (x + 6, y - 24), (50,), 3)
    return page


def printed(page: GreyImage, *, across: int = 0, down: int = 0, share: float = 0.8) -> GreyImage:
    """Return a page whose light rules, every `across` and `down` px, take some light away."""
    light: NDArray[np.float64] = np.ones(page.shape)
    for axis, pitch in enumerate((down, across)):
        places = np.arange(0, page.shape[axis] - 2, pitch) if pitch else np.zeros(0, int)
        for place in places:
            light[(slice(None),) * axis + (slice(place, place + 2),)] = share
    return (page * light).round().astype(np.uint8)


@pytest.mark.parametrize("share", [0.7, 0.9])
@pytest.mark.parametrize("pitch", [20, 40])
def test_squares_go_and_the_writing_stays(share: float, pitch: int) -> None:
    page = written()
    found = without_squares(printed(page, across=pitch, down=pitch, share=share))
    paper, ink = page > 200, page < 60
    middle = (slice(40, -40), slice(40, -40))
    assert (found[middle][paper[middle]] >= PAPER - 12).mean() > 0.99
    assert (found[middle][ink[middle]] < 110).mean() > 0.97


@pytest.mark.parametrize("degrees", [-1.5, 1.0])
def test_squares_of_a_page_that_lies_a_little_askew_go(degrees: float) -> None:
    squared = printed(written(), across=30, down=30)
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), degrees, 1.0)
    askew, truth = (
        cv2.warpAffine(page, turn, (WIDTH, HEIGHT), borderValue=(PAPER,)) for page in (squared, written())
    )
    found = without_squares(np.asarray(askew, np.uint8))
    paper = (np.asarray(truth) > 225)[100:-100, 100:-100]
    before, after = ((page[100:-100, 100:-100][paper] < PAPER - 15).mean() for page in (askew, found))
    assert before > 0.08
    assert after < 0.02


@pytest.mark.parametrize("page", [
    written(),
    printed(written(), down=30),  # ruled
    printed(written(), across=30),
    printed(written(), across=120, down=40, share=0.3),  # a table
    np.full((700, 500), PAPER, np.uint8),
    np.zeros((1, 1), np.uint8),
    np.zeros((3, 2000), np.uint8),
    *(np.random.default_rng(0).integers(low, 256, (900, 700), dtype=np.uint8) for low in (150, 220)),
])  # fmt: skip
def test_other_pages_stay_as_they_are(page: GreyImage) -> None:
    assert without_squares(page) is page


def test_page_that_was_squared_is_not_changed_twice() -> None:
    once = without_squares(printed(written(), across=30, down=30))
    assert without_squares(once) is once

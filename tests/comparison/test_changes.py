from pathlib import Path

import numpy as np
import pytest

from hwr.comparison import changes
from hwr.comparison.recorded import Recorded
from hwr.comparison.tables import Comparison
from tests.comparison.logged import TRUTH, Logged, misread, recorded


def pair(folder: Path, *, pictures: bool = True) -> list[Recorded]:
    """Return a run that misreads lines 0 and 1, and one that misreads line 15 whole."""
    other = {**misread(0), "p7/l1": "no"}
    runs = [
        Logged("a", {**misread(2), "p0/l1": "XXXX"}, pictures=pictures),
        Logged("b", other, pictures=pictures),
    ]
    return [recorded(run, label, folder / label) for run, label in zip(runs, "AB", strict=True)]


def test_lines_that_changed_most_come_first(tmp_path: Path) -> None:
    better, worse = changes.most_changed(*pair(tmp_path), 5)
    assert [line.id for line in better] == ["p0/l1", "p0/l0"]
    assert [(line.id, line.number) for line in worse] == [("p7/l1", 15)]


def test_no_more_lines_are_shown_than_asked_for(tmp_path: Path) -> None:
    better, _ = changes.most_changed(*pair(tmp_path), 1)
    assert [line.id for line in better] == ["p0/l1"]


@pytest.mark.parametrize("pictures", [True, False])
def test_picture_has_a_card_for_each_line(tmp_path: Path, pictures: bool) -> None:
    comparison = Comparison(pair(tmp_path, pictures=pictures), [[]], "test", 0.05)
    one, all_of_them = changes.picture(comparison, 1), changes.picture(comparison, 9)
    assert one is not None and all_of_them is not None
    assert one.shape[0] < all_of_them.shape[0]
    assert one.dtype == np.uint8


def test_picture_shows_the_kept_line(tmp_path: Path) -> None:
    with_line, without = (
        changes.picture(Comparison(pair(tmp_path / str(kept), pictures=kept), [[]], "test", 0.05), 1)
        for kept in (True, False)
    )
    assert with_line is not None and without is not None
    assert with_line.shape[0] == without.shape[0] + 2 * 23  # two lines of 24 px in place of 1 px


def test_nothing_is_drawn_where_nothing_changed(tmp_path: Path) -> None:
    same = [recorded(Logged("a", misread(2)), label, tmp_path / label) for label in "AB"]
    assert changes.picture(Comparison(same, [[]], "test", 0.05), 9) is None
    assert len(TRUTH) == len(same[0].lines)

"""Target line: what is kept of an evaluation besides its scores."""

import numpy as np

from hwr import pictures, runtime
from hwr.scoring import report
from tests.evaluation.tiny import Place

LINES = ["p0/l0", "p0/l1", "p1/l0", "p1/l1"]


def test_every_line_is_kept_as_a_small_picture_in_the_order_of_the_table(place: Place) -> None:
    place.evaluate("line", "kept_height=8")
    assert [line.id for line in report.read_lines(place.output / "lines.tsv")] == LINES
    kept = pictures.load_lines(place.output / pictures.LINE_ARCHIVE, range(4))
    assert [image.shape[0] for image in kept] == [8] * 4
    assert not np.array_equal(kept[0], kept[2])  # the bar on the second page is shorter


def test_no_line_is_kept_where_that_is_switched_off(place: Place) -> None:
    place.evaluate("line", "kept_height=0")
    assert not (place.output / pictures.LINE_ARCHIVE).exists()


def test_table_names_the_writers(place: Place) -> None:
    place.evaluate("line")
    assert {line.writer for line in report.read_lines(place.output / "lines.tsv")} == {"ann"}


def test_scores_tell_how_they_were_made(place: Place) -> None:
    place.evaluate("line", "batch_size=3")
    assert place.scores["settings"]["batch_size"] == 3
    assert place.scores["settings"]["decoder"]["_target_"].startswith("hwr.decoding")
    assert place.scores["settings"]["data"]["root"] == str(place.folder / "data")
    assert place.scores["environment"] == runtime.describe()

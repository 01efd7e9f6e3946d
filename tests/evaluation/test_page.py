"""Target page: whole pages are read, scored, and scored again with more and more of them given."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from hwr.decoding.greedy import GreedyDecoder
from hwr.evaluation import page as page_target
from hwr.images.line_crop import LineCrop
from hwr.images.load import GreyImage
from hwr.layout.cut import LineCut
from hwr.tracking import Store
from hwr.transcription import ReadLine
from hwr.transcription.page_reader import Found, Given
from tests.evaluation.tiny import ALPHABET, LOWER, SIZE, UPPER, Place, move_into_tiff, write_pages
from tests.refusal import refused

BELOW = (20, 120, 100, 140)  # px; where nothing is written
GIVEN = ["nothing", "area", "line boxes", "line outlines"]


def at(text: str, box: tuple[int, int, int, int]) -> ReadLine:
    """Return a line that was read, its box in px."""
    x1, y1, x2, y2 = (edge / side for edge, side in zip(box, (*SIZE[::-1], *SIZE[::-1]), strict=True))
    return ReadLine(text, (x1, y1, x2, y2), (), (), 0.5, ())


CROP = LineCrop(height=16, max_width=500, margin=0.0, mask=False, deskew=False, normalise=False)


class Reader:
    """Reads the pages of `tiny`, better the more it is given."""

    text = SimpleNamespace(decoder=GreedyDecoder(ALPHABET), crop=CROP)

    def __init__(self) -> None:
        self.pages: list[GreyImage] = []

    def __call__(self, page: GreyImage, given: Given | None = None) -> Found:
        self.pages.append(page)
        if given is None:  # one wrong character, a line missed, one too much
            return Found(None, (at("ab bb", UPPER), at("a", BELOW)))
        if given.area is not None:
            return Found(given.area, (at("ab bb", UPPER), at("ba", LOWER)))
        return Found(None, (at("ab ba", UPPER), at("ba", LOWER)))

    def cut(self, page: GreyImage, boxes: NDArray[np.float64]) -> list[LineCut]:
        return [LineCut((x1, y1, x2, y2), (), ()) for x1, y1, x2, y2 in boxes.tolist()]


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Return what reads the pages in place of networks."""
    made = Reader()
    monkeypatch.setattr(page_target, "build_page_reader", lambda config, load: made)
    return made


def test_pages_are_read_with_the_weights_of_three_steps(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    cer = place.evaluate("page")
    scores = place.scores
    assert cer == scores["cer"]
    assert (scores["target"], scores["pages"], scores["lines"]) == ("page", 2, 4)
    assert list(scores["budget"]) == GIVEN
    assert len(scores["weights"]) == len(scores["weights_sha256"]) == 3
    assert scores["seconds_a_page"] > 0
    said = capsys.readouterr().out
    assert "test: 4 lines, scored by edit_distance" in said
    assert f"written to {place.output}" in said


def test_boxes_are_cut_plainly_where_asked(place: Place) -> None:
    place.evaluate("page", "seams=false")
    assert place.scores["pages"] == 2


def test_page_of_a_file_with_several_is_read(place: Place, reader: Reader) -> None:
    move_into_tiff(write_pages(place.folder / "data"), "p1")
    place.evaluate("page")
    assert [page.min() for page in reader.pages] == [0] * 8  # the first page of the TIFF is blank


def test_errors_are_those_of_the_automatic_reading(place: Place, reader: Reader) -> None:
    assert place.evaluate("page") == pytest.approx(8 / 14)  # a page: 1 wrong, 2 missed, 1 too much, of 7
    scores = place.scores
    assert scores["characters"] == {"reference": 14, "substitutions": 2, "deletions": 4, "insertions": 2}
    assert (scores["lines"], scores["missed_lines"], scores["extra_lines"], scores["ignored_lines"]) == (
        4,
        2,
        2,
        0,
    )


def test_budget_tells_what_each_step_costs(place: Place, reader: Reader) -> None:
    place.evaluate("page")
    budget = place.scores["budget"]
    assert [budget[name]["cer"] for name in GIVEN] == pytest.approx([8 / 14, 2 / 14, 0, 0])
    assert [budget[name]["missed_lines"] for name in GIVEN] == [2, 0, 0, 0]
    assert [budget[name]["extra_lines"] for name in GIVEN] == [2, 0, 0, 0]


def test_figures_of_whole_pages_stand_beside(place: Place, reader: Reader) -> None:
    place.evaluate("page")
    scores = place.scores
    assert scores["bag_of_words_wer"] == pytest.approx(2 / 3)  # ab ba ba read as ab bb a
    assert scores["page_text_cer"] == pytest.approx(2 / 8)  # ab ba|ba read as ab bb|a
    assert scores["line_boxes"]["recall_50"] == scores["line_boxes"]["precision_50"] == 0.5


def test_lines_left_out_of_reading_take_their_readings_with_them(place: Place, reader: Reader) -> None:
    write_pages(place.folder / "data", ("ab ba", "&gt;ba&lt;"))
    place.evaluate("page")
    scores = place.scores
    assert (scores["lines"], scores["missed_lines"]) == (1, 0)
    assert scores["budget"]["line boxes"]["cer"] == 0
    assert scores["budget"]["area"]["cer"] == pytest.approx(1 / 5)


def test_page_that_cannot_be_read_counts_as_missed(
    place: Place, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_pages(place.folder / "data") / "p1.png"
    image.write_bytes(image.read_bytes()[:60])
    place.evaluate("page")
    scores = place.scores
    # p0: one character of seven wrong, one line missed, one too much; all seven of p1 are missed.
    assert scores["characters"] == {"reference": 14, "substitutions": 1, "deletions": 9, "insertions": 1}
    assert scores["budget"]["line outlines"]["deletions"] == 7
    assert (scores["pages"], scores["lines"], scores["missed_lines"]) == (2, 4, 3)
    assert list(scores["unread"]) == ["p1/l0", "p1/l1"]
    assert "p1.png: truncated or damaged PNG" in scores["unread"]["p1/l0"]
    assert "could not be read, count as missed: 2 lines: p1/l0 (" in capsys.readouterr().out


def test_line_without_a_place_counts_as_missed(place: Place, reader: Reader) -> None:
    path = write_pages(place.folder / "data", ("ab ba", "ba")) / "p0.xml"
    path.write_text(path.read_text(encoding="utf-8").replace('HPOS="20" VPOS="60"', ""), encoding="utf-8")
    place.evaluate("page")
    scores = place.scores
    assert scores["unread"] == {"p0/l1": "neither HPOS … nor a polygon or baseline; draw its outline"}
    assert (scores["lines"], scores["missed_lines"], scores["line_boxes"]["true"]) == (2, 1, 1)


def test_pages_are_scored_one_by_one(place: Place, reader: Reader) -> None:
    place.evaluate("page")
    pages = json.loads((place.output / "pages.json").read_text(encoding="utf-8"))
    assert set(pages) == {"p0", "p1"}
    assert pages["p0"]["area"]["cer"] == pytest.approx(1 / 7)
    assert set(pages["p0"]) == {"seconds", *GIVEN}


def test_every_line_is_in_the_table_extra_ones_too(place: Place, reader: Reader) -> None:
    place.evaluate("page")
    rows = [
        row.split("\t")[:3] for row in (place.output / "lines.tsv").read_text(encoding="utf-8").splitlines()
    ]
    assert rows[1:4] == [["p0/l0", "ab ba", "ab bb"], ["p0/l1", "ba", ""], ["p0/extra1", "", "a"]]


def test_scores_are_metrics_of_a_run_of_their_own(place: Place, reader: Reader) -> None:
    place.evaluate("page")
    logged = Store(f"sqlite:///{place.folder}/mlflow.db", "0").client.get_run(place.scores["run"])
    assert logged.data.metrics["test/cer"] == pytest.approx(8 / 14)
    assert logged.data.metrics["test/given/line_boxes/cer"] == 0
    assert logged.data.metrics["test/boxes/recall_50"] == 0.5
    assert logged.data.tags["weights_sha256"].split() == place.scores["weights_sha256"]
    assert logged.data.params["target"] == "page"


def test_pages_with_most_errors_are_drawn(place: Place, reader: Reader) -> None:
    place.evaluate("page", "pictures=1")
    one = place.picture
    place.evaluate("page", "pictures=2")
    assert place.picture[0] > one[0]


def test_table_tells_of_every_given_part(
    place: Place, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    place.evaluate("page")
    said = capsys.readouterr().out
    assert "lines missed 2, extra 2; boxes F1 0.5000 at IoU 0.5" in said
    assert "order-free: bag of words WER 66.67 %; in reading order: page CER 25.00 %" in said
    assert [row.split() for row in said.splitlines() if row.startswith("area ")] == [
        ["area", "14.29", "%", "0", "0"]
    ]


def test_split_without_lines_to_score_is_refused(
    place: Place, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pages(place.folder / "data", ("&gt;a&lt;", ""))
    said = refused(capsys, lambda: place.evaluate("page"))
    assert said == (
        "the split test has no lines left; left out: 1 line (test 1) by data.exclude.pattern=[<>]; "
        "1 line (test 1) by empty_text, nothing to compare with; change that, or the data"
    )
    assert not list(place.output.glob("*"))


def test_scores_of_weights_that_are_not_published_are_not_published(
    place: Place, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, lambda: place.evaluate("page", "publish=page/nothing"))
    assert said.endswith("/paragraph is not published itself; publish these weights first")

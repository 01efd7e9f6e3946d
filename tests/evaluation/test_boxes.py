"""Targets paragraph and segmentation: boxes are compared with the true ones, page by page."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hwr.evaluation import boxes as targets_boxes
from hwr.images.boxes import Box
from hwr.tracking import Store
from tests.evaluation.tiny import Place, move_into_tiff, write_pages
from tests.refusal import refused

AREA = np.array([20 / 120, 20 / 160, 100 / 120, 80 / 160])  # of a page, which fills its canvas
LEFT_HALF = np.array([20 / 120, 20 / 160, 60 / 120, 80 / 160])
UPPER = [0.0, 0.0, 1.0, 1 / 3]  # of the area, 80 x 60 px, which fills its canvas
ABOUT = {
    "target", "split", "data_fingerprint", "weights", "weights_sha256", "run", "pages",
    "environment", "settings", "left_out", "replacements", "unread",
}  # fmt: skip


class Finds:
    """Finds the given boxes, those of one image, or in one area, after the other."""

    def __init__(self, *found: Any) -> None:
        self.found, self.next = found, iter(found)

    def find(self, page: NDArray[np.uint8], area: Box) -> Any:
        return on_page(next(self.next), area)

    def boxes(self, images: list[NDArray[np.uint8]]) -> Any:
        return list(self.found)


def on_page(boxes: NDArray[np.float64], area: Box) -> NDArray[np.float64]:
    """Take boxes (N, 4) from an area to its page."""
    x1, y1, x2, y2 = area
    return boxes * np.tile((x2 - x1, y2 - y1), 2) + np.tile((x1, y1), 2)


def found_areas(monkeypatch: pytest.MonkeyPatch, *boxes: NDArray[np.float64]) -> None:
    monkeypatch.setattr(targets_boxes, "load_area_finder", lambda weights, **settings: Finds(*boxes))


def found_lines(monkeypatch: pytest.MonkeyPatch, *boxes: list[list[float]]) -> None:
    own = [np.array(one).reshape(-1, 4) for one in boxes]
    monkeypatch.setattr(targets_boxes, "load_box_detector", lambda weights, **settings: Finds(*own))


def logged(place: Place) -> dict[str, float]:
    store = Store(f"sqlite:///{place.folder}/mlflow.db", "0")
    metrics: dict[str, float] = store.client.get_run(place.scores["run"]).data.metrics
    return metrics


def test_areas_of_untrained_weights_are_scored(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    error = place.evaluate("paragraph")
    scores = place.scores
    assert set(scores) == ABOUT | {"mean_iou", "median_iou", "worst_iou", "iou_by_page"}
    assert set(scores["iou_by_page"]) == {"p0", "p1"}
    assert error == 1 - scores["mean_iou"]
    assert 0 <= scores["worst_iou"] <= scores["mean_iou"] <= 1
    assert "test: 2 pages, target paragraph" in capsys.readouterr().out


def test_lines_of_untrained_weights_are_scored(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    error = place.evaluate("segmentation")
    scores = place.scores
    assert set(scores) > ABOUT | {"unit", "by_page", "f1_50", "f1_75", "mean_iou"}
    assert (scores["unit"], scores["true"], scores["pages"]) == ("line", 4, 2)
    assert error == 1 - scores["mean_iou"]
    assert "test: 2 pages, target segmentation" in capsys.readouterr().out


def test_area_scores_are_those_of_the_pages(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found_areas(monkeypatch, AREA, LEFT_HALF)
    assert place.evaluate("paragraph") == pytest.approx(0.25)
    scores = place.scores
    assert scores["mean_iou"] == pytest.approx(0.75)
    assert scores["median_iou"] == pytest.approx(0.75)
    assert scores["worst_iou"] == pytest.approx(0.5)
    assert scores["iou_by_page"] == {"p0": 1.0, "p1": 0.5}


def test_lines_are_looked_for_in_the_true_areas_of_the_pages(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Looks(Finds):
        def find(self, page: NDArray[np.uint8], area: Box) -> Any:
            assert page.shape == (160, 120)
            assert page.min() == 0  # not the blank first page of the TIFF
            assert area == pytest.approx(tuple(AREA))
            return super().find(page, area)

    move_into_tiff(write_pages(place.folder / "data"), "p1")
    finder = Looks(np.array([UPPER]), np.array([UPPER]))
    monkeypatch.setattr(targets_boxes, "load_box_detector", lambda weights, **settings: finder)
    place.evaluate("segmentation")
    assert place.scores["recall_50"] == 0.5  # one of two lines


def test_pages_that_cannot_be_read_count_as_missed(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_pages(place.folder / "data") / "p1.png"
    image.write_bytes(image.read_bytes()[:60])
    found_areas(monkeypatch, AREA)
    assert place.evaluate("paragraph") == pytest.approx(0.5)
    assert place.scores["iou_by_page"] == {"p0": 1.0, "p1": 0.0}
    found_lines(monkeypatch, [UPPER])  # one of four
    assert place.evaluate("segmentation") == pytest.approx(0.75)
    scores = place.scores
    assert (scores["pages"], scores["true"], scores["recall_50"]) == (2, 4, 0.25)
    assert list(scores["unread"]) == ["p1"]
    assert "truncated" in scores["unread"]["p1"]
    assert "could not be read, count as missed: 1 page: p1 (" in capsys.readouterr().out


def test_what_has_no_box_to_find_is_left_out_and_told(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_pages(place.folder / "data")
    for name, lines in (("p0", ["l1"]), ("p1", ["l0", "l1"])):
        text = (root / f"{name}.xml").read_text(encoding="utf-8")
        for line in lines:
            text = text.replace(f'<TextLine ID="{line}" HPOS="20"', f'<TextLine ID="{line}"')
        (root / f"{name}.xml").write_text(text, encoding="utf-8")
    found_lines(monkeypatch, [[0.0, 0.0, 1.0, 1.0]])  # the line is the area
    place.evaluate("segmentation")
    scores = place.scores
    assert (scores["true"], scores["recall_50"], scores["unread"]) == (1, 1.0, {})
    assert scores["left_out"] == [
        {"rule": "no_area, nothing to find", "files": 0, "pages": {}, "lines": {"test": 3}}
    ]
    assert logged(place)["test/left_out_lines"] == 3
    assert "left out by no_area, nothing to find: 3 lines (test 3)" in capsys.readouterr().out


def test_line_scores_are_those_of_the_pages(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found_lines(monkeypatch, [UPPER], [])  # one of four
    assert place.evaluate("segmentation") == pytest.approx(0.75)
    scores = place.scores
    assert (scores["precision_50"], scores["recall_50"]) == (1.0, 0.25)
    assert (scores["f1_50"], scores["f1_75"]) == pytest.approx((0.4, 0.4))  # 2 * 1 / (4 + 1)
    assert scores["by_page"]["p0"]["recall_50"] == 0.5
    assert scores["by_page"]["p1"]["predicted"] == 0


def test_scores_are_metrics_of_a_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found_areas(monkeypatch, AREA, LEFT_HALF)
    place.evaluate("paragraph")
    assert logged(place) == {
        "test/mean_iou": pytest.approx(0.75),
        "test/median_iou": pytest.approx(0.75),
        "test/worst_iou": pytest.approx(0.5),
        "test/left_out_lines": 0,
        "test/unread": 0,
    }


def test_scores_of_another_split_are_other_metrics(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found_areas(monkeypatch, AREA)
    write_pages(place.folder / "data", ("ab", "ba"), split="valid")
    place.evaluate("paragraph", "split=valid")
    assert logged(place)["evaluation/valid/mean_iou"] == pytest.approx(1.0)


def test_worst_pages_are_drawn(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found_areas(monkeypatch, AREA, LEFT_HALF)
    place.evaluate("paragraph", "pictures=1")
    one = place.picture
    place.evaluate("paragraph", "pictures=2")
    assert place.picture[0] > one[0]


def test_lines_left_out_of_reading_are_found_all_the_same(place: Place) -> None:
    write_pages(place.folder / "data", ("ab", "&gt;ba&lt;"))
    place.evaluate("segmentation")
    assert place.scores["true"] == 2


def test_area_holds_lines_left_out_of_reading(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found_areas(monkeypatch, AREA)
    write_pages(place.folder / "data", ("ab", "&gt;ba&lt;"))
    place.evaluate("paragraph")
    assert place.scores["mean_iou"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["split=valid"], "the split valid has no pages; see data.splits and data.shares"),
        (["weights.paragraph=nowhere"], "weights nowhere: no such folder"),
        (["device=tpu"], "device=tpu: use cpu, gpu or gpu:N"),
    ],
)
def test_setting_is_refused_and_nothing_is_scored(
    place: Place, capsys: pytest.CaptureFixture[str], overrides: list[str], said: str
) -> None:
    assert refused(capsys, lambda: place.evaluate("paragraph", *overrides)).startswith(said)
    assert not list(place.output.glob("*"))


def test_weights_of_another_stage_are_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    line = next(name for name in place.weights if name.startswith("weights.line=")).partition("=")[2]
    said = refused(capsys, lambda: place.evaluate("paragraph", f"weights.paragraph={line}"))
    assert said == f"weights {line}: of stage line, not paragraph; choose weights of that stage"


def test_earlier_files_of_the_output_folder_stay(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found_areas(monkeypatch, AREA, LEFT_HALF)
    place.output.mkdir()
    (place.output / "notes.txt").write_text("mine", encoding="utf-8")
    place.evaluate("paragraph")
    assert {path.name for path in place.output.iterdir()} == {"notes.txt", "scores.json", "pages.png"}
    artifacts = place.folder / "artifacts" / place.scores["run"] / "artifacts" / "evaluation" / "test"
    assert {path.name for path in artifacts.iterdir()} == {"scores.json", "pages.png"}
    assert json.loads((artifacts / "scores.json").read_text(encoding="utf-8")) == place.scores

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwr.images.boxes import Box, FloatArray, around, iou
from hwr.scoring.detection import Detection, count_boxes, match_boxes

QUICK = settings(max_examples=50, deadline=None)
POINTS = st.tuples(*[st.integers(0, 6).map(lambda value: value / 6)] * 2)
BOXES = st.lists(st.tuples(POINTS, POINTS).map(around), max_size=6).map(lambda b: np.array(b).reshape(-1, 4))
NONE = np.empty((0, 4))


def _tall(*heights: float) -> FloatArray:
    """Boxes of one width from the top: two of them have the IoU lower / higher."""
    return np.array([(0.0, 0.0, 0.5, height) for height in heights])


def test_match_takes_the_highest_iou_first() -> None:
    # IoU with 0.8: 0.625, 1.0; with 0.4: 0.8, 0.5
    assert match_boxes(_tall(0.5, 0.8), _tall(0.8, 0.4), 0.5) == [(1, 0), (0, 1)]


def test_match_is_one_to_one() -> None:
    assert match_boxes(_tall(0.8, 0.8, 0.7), _tall(0.8), 0.5) == [(0, 0)]  # equal IoUs: the first box
    assert match_boxes(_tall(0.8), _tall(0.7, 0.8, 0.8), 0.5) == [(0, 1)]


@pytest.mark.parametrize(("threshold", "pairs"), [(0.5, [(0, 0)]), (0.51, [])])
def test_match_includes_the_threshold(threshold: float, pairs: list[tuple[int, int]]) -> None:
    assert match_boxes(_tall(0.25), _tall(0.5), threshold) == pairs


@pytest.mark.parametrize(("predicted", "true"), [(NONE, _tall(0.5)), (_tall(0.5), NONE), (NONE, NONE)])
def test_match_is_empty_when_a_side_is(predicted: FloatArray, true: FloatArray) -> None:
    assert match_boxes(predicted, true, 0.5) == []


@QUICK
@given(BOXES, BOXES)
def test_no_pair_can_be_added_to_a_match(predicted: FloatArray, true: FloatArray) -> None:
    pairs = match_boxes(predicted, true, 0.5)
    overlap = iou(predicted, true)
    assert all(overlap[pair] >= 0.5 for pair in pairs)
    rows, columns = [row for row, _ in pairs], [column for _, column in pairs]
    assert len(set(rows)) == len(set(columns)) == len(pairs)
    overlap[rows] = 0
    overlap[:, columns] = 0
    assert not (overlap >= 0.5).any()


@QUICK
@given(BOXES, BOXES)
def test_match_of_a_higher_threshold_is_part_of_that_of_a_lower(
    predicted: FloatArray, true: FloatArray
) -> None:
    assert set(match_boxes(predicted, true, 0.75)) <= set(match_boxes(predicted, true, 0.5))


def test_rates_are_of_matched_boxes() -> None:
    detection = Detection(true=4, predicted=5, matched_50=3, matched_75=1, iou_sum=2.2)
    rates = detection.as_dict()
    assert (rates["precision_50"], rates["recall_50"]) == (3 / 5, 3 / 4)
    assert (rates["precision_75"], rates["recall_75"]) == (1 / 5, 1 / 4)
    assert (detection.f1_50, detection.f1_75) == (6 / 9, 2 / 9)
    assert detection.mean_iou == pytest.approx(0.55)  # the missed box counts 0


@pytest.mark.parametrize(
    ("true", "predicted", "rate"),
    [
        (0, 0, 1.0),  # nothing to find, nothing found
        (3, 0, 0.0),
        (0, 3, 0.0),
    ],
)
def test_rates_without_boxes_are_one_only_when_both_are_none(true: int, predicted: int, rate: float) -> None:
    values = Detection(true=true, predicted=predicted).as_dict()
    rates = {
        value for name, value in values.items() if name.startswith(("precision", "recall", "f1", "mean"))
    }
    assert rates == {rate}


def test_total_adds_up_pages() -> None:
    pages = [Detection(4, 5, 3, 1, 2.25), Detection(1, 1, 1, 1, 1.0)]
    assert Detection.total(pages) == Detection(5, 6, 4, 2, 3.25)
    assert Detection.total([]) == Detection()


def test_as_dict_has_numbers_and_rates() -> None:
    assert Detection(2, 4, 2, 1, 1.5).as_dict() == {
        "true": 2,
        "predicted": 4,
        "matched_50": 2,
        "matched_75": 1,
        "precision_50": 0.5,
        "recall_50": 1.0,
        "f1_50": 2 / 3,
        "precision_75": 0.25,
        "recall_75": 0.5,
        "f1_75": 1 / 3,
        "mean_iou": 0.75,
    }


def test_count_holds_both_thresholds() -> None:
    true = np.array([(0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 0.5), (0.0, 0.5, 0.5, 1.0)])
    predicted = np.array([(0.0, 0.0, 0.5, 0.25), (0.5, 0.0, 1.0, 0.5)])  # IoU 0.5 and 1
    assert count_boxes(predicted, true, NONE) == Detection(3, 2, 2, 1, 1.5)


def test_count_is_empty_without_boxes() -> None:
    assert count_boxes(NONE, NONE, NONE) == Detection()
    assert count_boxes(NONE, NONE, _tall(0.5)) == Detection()


@pytest.mark.parametrize(
    ("box", "predicted"),
    [
        ((0.0, 0.0, 0.5, 0.5), 1),  # the true box
        ((0.5, 0.0, 1.0, 0.5), 0),  # the ignored box
        ((0.5, 0.25, 1.0, 0.75), 0),  # half in the ignored box
        ((0.5, 0.375, 1.0, 0.875), 1),  # a quarter in the ignored box
        ((0.25, 0.0, 0.75, 0.5), 1),  # half in either: not more in the ignored box
        ((0.375, 0.0, 0.875, 0.5), 0),  # a quarter in the true, three in the ignored box
        ((0.75, 0.25, 0.75, 0.25), 1),  # empty
    ],
)
def test_count_leaves_out_what_lies_mostly_in_an_ignored_box(box: Box, predicted: int) -> None:
    true, ignored = np.array([(0.0, 0.0, 0.5, 0.5)]), np.array([(0.5, 0.0, 1.0, 0.5)])
    assert count_boxes(np.array([box]), true, ignored).predicted == predicted


def test_count_ignores_nothing_that_lies_in_a_true_box() -> None:
    page = np.array([(0.0, 0.0, 1.0, 1.0)])
    assert count_boxes(_tall(0.5), _tall(0.5), page) == Detection(1, 1, 1, 1, 1.0)

"""Figures of results are held to what is recorded."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest

from hwr.published.reproduce import (
    ERROR_TOLERANCE,
    LOSS_TOLERANCE,
    Figure,
    Reproduction,
    compare_curves,
    compare_scores,
    compare_training,
)

CURVE: dict[str, Any] = {
    "command": "python -m hwr reproduce line/smoke --train", "environment": {"processor": "A", "mxnet": "1"},
    "data_fingerprint": "f0", "weights_sha256": "a1", "train/loss": [60.0, 2.0], "valid/cer": [1.0, 0.25],
    "test": {"lines": 11, "cer": 0.125},
}  # fmt: skip
SCORES: dict[str, Any] = {
    "target": "line", "data_fingerprint": "f0", "weights_sha256": "a1", "lines": 3,
    "characters": {"reference": 8, "substitutions": 1, "deletions": 0, "insertions": 2},
    "words": {"reference": 4, "substitutions": 1, "deletions": 0, "insertions": 0},
}  # fmt: skip


def differing(figures: Sequence[Figure]) -> list[str]:
    return [figure.name for figure in figures if not figure.same]


# trainings


def test_training_is_held_to_every_bit_in_the_recorded_environment() -> None:
    other = copy.deepcopy(CURVE)
    other["train/loss"][-1] *= 1 + 1e-15
    assert differing(compare_curves(CURVE, CURVE)) == []
    assert differing(compare_curves(CURVE, other)) == ["train/loss"]


@pytest.mark.parametrize("key", [key for key in CURVE if key not in ("command", "environment")])
def test_training_is_held_to_all_that_is_recorded(key: str) -> None:
    assert differing(compare_curves(CURVE, {**CURVE, key: None})) == [key]


def test_rounding_is_no_difference_elsewhere() -> None:
    other = elsewhere()
    other["weights_sha256"] = "0" * 64
    other["train/loss"] = [value * (1 + LOSS_TOLERANCE / 2) for value in other["train/loss"]]
    other["test"]["cer"] += ERROR_TOLERANCE / 2
    assert differing(compare_curves(CURVE, other)) == []


@pytest.mark.parametrize(
    ("key", "named"),
    [("train/loss", "first epoch's loss"), ("valid/cer", "lowest valid/cer"), ("test", "test error")],
)
def test_more_than_rounding_is_a_difference_elsewhere(key: str, named: str) -> None:
    other = elsewhere()
    if key == "test":
        other["test"]["cer"] += 2 * ERROR_TOLERANCE
    else:
        other[key] = [value + 2 * ERROR_TOLERANCE + LOSS_TOLERANCE * value for value in other[key]]
    assert differing(compare_curves(CURVE, other)) == [named]


def test_training_that_learnt_little_is_a_difference_elsewhere() -> None:
    record = {**CURVE, "valid/cer": [0.13, 0.05], "test": {}}
    other = {**record, "environment": {}, "valid/cer": [0.13, 0.1]}
    assert differing(compare_curves(record, other)) == ["lowest valid/cer"]
    other["valid/cer"] = [0.13, 0.08]
    assert differing(compare_curves(record, other)) == []


def test_environment_that_knows_more_is_another() -> None:
    outcome = compare_training(CURVE, {**CURVE, "environment": {**CURVE["environment"], "pillow": "1"}})
    assert outcome.demand.endswith("recorded with other pillow")


def test_areas_are_held_to_their_overlap_elsewhere() -> None:
    record = {**CURVE, "valid/iou_error": [0.5, 0.2], "test": {"pages": 4, "mean_iou": 0.8}}
    del record["valid/cer"]
    other = {**record, "environment": {}, "test": {"pages": 4, "mean_iou": 0.6}}
    (test,) = (own for own in compare_curves(record, other) if own.name == "test error")
    assert (test.recorded, test.got, test.same) == (pytest.approx(0.2), pytest.approx(0.4), False)


def elsewhere() -> dict[str, Any]:
    other = copy.deepcopy(CURVE)
    other["environment"]["processor"] = "B"
    return other


# evaluations


def test_counts_are_exact() -> None:
    other = copy.deepcopy(SCORES)
    other["characters"]["insertions"] = 3
    assert differing(compare_scores(SCORES, SCORES)) == []
    assert differing(compare_scores(SCORES, other)) == ["characters.insertions"]


@pytest.mark.parametrize(("change", "same"), [(0.00004, True), (0.0001, False)])
def test_rates_are_held_to_four_decimals(change: float, same: bool) -> None:
    area = {"target": "paragraph", "pages": 2, "mean_iou": 0.95, "median_iou": 0.9, "worst_iou": 0.5}
    other = {**area, "mean_iou": area["mean_iou"] + change}
    assert (differing(compare_scores(area, other)) == []) is same


def test_counts_of_every_part_of_pages_are_exact() -> None:
    page = {**SCORES, "target": "page", "pages": 1}
    page["budget"] = {given: {**SCORES["words"], "missed_lines": 1} for given in ("nothing", "area")}
    page["page_text"] = dict(SCORES["characters"])
    other = copy.deepcopy(page)
    other["budget"]["area"]["missed_lines"] = 0
    other["page_text"]["substitutions"] = 2
    assert differing(compare_scores(page, other)) == [
        "page_text.substitutions",
        "budget.area.missed_lines",
    ]


def test_counts_of_every_decoder_are_exact() -> None:
    board = {"target": "decoders", "lines": 3, "decoders": {"greedy": SCORES, "beam": copy.deepcopy(SCORES)}}
    other = copy.deepcopy(board)
    other["decoders"]["beam"]["words"]["insertions"] += 1
    assert differing(compare_scores(board, other)) == ["decoders.beam.words.insertions"]


@pytest.mark.parametrize("key", ["data_fingerprint", "weights_sha256", "lines"])
def test_other_data_or_weights_are_a_difference(key: str) -> None:
    assert differing(compare_scores(SCORES, {**SCORES, key: "other"})) == [key]


def test_table_shows_both_values_and_what_differs() -> None:
    figures = compare_scores(SCORES, {**SCORES, "lines": 4})
    rows = [row.split() for row in Reproduction("the recorded counts", figures).table().splitlines()]
    assert ["lines", "3", "4", "differs"] in rows
    assert ["characters.reference", "8", "8"] in rows
    assert rows[-1] == ["not", "reproduced:", "1", "of", "11", "differ"]


def test_table_shows_the_first_epoch_that_differs() -> None:
    figures = compare_curves(CURVE, {**CURVE, "train/loss": [60.0, 2.5]})
    said = Reproduction("every bit", figures).table()
    assert "epoch 2 of 2: 2" in said
    assert "epoch 2 of 2: 2.5" in said


def test_table_shows_the_beginnings_of_several_digests() -> None:
    page = {**SCORES, "target": "page", "weights_sha256": ["a" * 64, "b" * 64]}
    figures = compare_scores(page, {**page, "weights_sha256": ["a" * 64, "c" * 64]})
    said = Reproduction("the recorded counts", figures).table()
    assert f"{'a' * 12} {'b' * 12}  {'a' * 12} {'c' * 12}  differs" in said

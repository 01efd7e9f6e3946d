"""The smoke experiment gives the numbers recorded beside it; HWR_RECORD=1 records them anew."""

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.smoke import CER_TOLERANCE, LOSS_TOLERANCE, RESULT, Smoke, differences, evaluate, result


@pytest.fixture(scope="module")
def found(smoke: Smoke, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("evaluation")
    evaluate(smoke, output)
    values = result(smoke, json.loads((output / "scores.json").read_text(encoding="utf-8")))
    if os.environ.get("HWR_RECORD"):
        RESULT.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return values


@pytest.fixture
def recorded() -> dict[str, Any]:
    values: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    return values


def test_smoke_gives_what_is_recorded(found: dict[str, Any], recorded: dict[str, Any]) -> None:
    assert not differences(recorded, found)


def test_smoke_learns(found: dict[str, Any]) -> None:
    assert found["train/loss"][-1] < 0.2 * found["train/loss"][0]
    assert found["valid/cer"][0] > 0.9
    assert min(found["valid/cer"]) < 0.2


def test_one_bit_is_a_difference_where_it_was_recorded(recorded: dict[str, Any]) -> None:
    other = copy.deepcopy(recorded)
    other["train/loss"][-1] *= 1 + 1e-15
    assert differences(recorded, recorded) == []
    assert [text.partition(":")[0] for text in differences(recorded, other)] == ["train/loss"]


def test_rounding_is_no_difference_elsewhere(recorded: dict[str, Any]) -> None:
    other = _elsewhere(recorded)
    other["weights_sha256"] = "0" * 64
    other["train/loss"] = [value * (1 + LOSS_TOLERANCE / 2) for value in other["train/loss"]]
    other["test"]["cer"] += CER_TOLERANCE / 2
    assert differences(recorded, other) == []


@pytest.mark.parametrize("key", ["train/loss", "valid/cer", "test"])
def test_more_than_rounding_is_a_difference_elsewhere(recorded: dict[str, Any], key: str) -> None:
    other = _elsewhere(recorded)
    if key == "test":
        other["test"]["cer"] += 2 * CER_TOLERANCE
    else:
        other[key] = [value + 2 * CER_TOLERANCE + LOSS_TOLERANCE * value for value in other[key]]
    assert len(differences(recorded, other)) == 1


def test_record_is_beside_its_experiment() -> None:
    assert RESULT.is_relative_to(Path(__file__).parents[1] / "experiments" / "line" / "smoke")


def _elsewhere(recorded: dict[str, Any]) -> dict[str, Any]:
    other = copy.deepcopy(recorded)
    other["environment"]["processor"] = "another"
    return other

"""The smoke experiments of the stages that find boxes learn what they are for, in seconds."""

from pathlib import Path

import pytest

from hwr import training
from hwr.config import TrainConfig, composed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("paragraph/smoke", 0.35),  # one minus the mean IoU; it begins at 0.55
        ("segmentation/smoke", 0.5),  # one minus F1 at IoU 0.75
    ],
)
def test_smoke_learns(name: str, most: float, tmp_path: Path) -> None:
    assert training.run(composed("train", [f"experiments={name}", f"folder={tmp_path}"], TrainConfig)) < most

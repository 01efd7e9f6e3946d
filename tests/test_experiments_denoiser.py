"""The smoke experiment of stage denoiser learns what it is for, in seconds."""

from pathlib import Path

import pytest

from hwr import training
from hwr.config import TrainConfig, composed


@pytest.mark.slow
def test_smoke_mends_half_of_the_errors(tmp_path: Path) -> None:
    made = composed("train", ["experiments=denoiser/smoke", f"folder={tmp_path}"], TrainConfig)
    assert training.run(made) < 0.065  # of 0.13 that are misread

"""Every stage is checked, inspected and built by its own module."""

from pathlib import Path

import pytest

from hwr.config.compose import TrainConfig, composed
from hwr.errors import InputError
from hwr.images.line_crop import LineCrop
from hwr.stages import kind, parts
from hwr.tracking import Store
from tests.alto_folder import write_folder

NOWHERE = Store("sqlite:////nowhere/mlflow.db", "0")


def config(*overrides: str) -> TrainConfig:
    made: TrainConfig = composed("train", list(overrides), TrainConfig).root
    return made


@pytest.mark.parametrize("stage", kind.STAGES)
def test_stage_is_checked_as_its_file_gives_it(stage: str) -> None:
    kind.check(config(f"stage={stage}"))


@pytest.mark.parametrize(
    ("stage", "metrics"),
    [
        ("line", "valid/cer, valid/wer"),
        ("paragraph", "valid/iou_error"),
        ("segmentation", "valid/f1_error, valid/f1_75_error, valid/iou_error"),
        ("denoiser", "valid/cer, valid/noised_cer"),
    ],
)
def test_metric_that_a_stage_does_not_give_is_refused(stage: str, metrics: str) -> None:
    with pytest.raises(InputError, match=f"monitor=train/loss: no such metric; use one of {metrics}$"):
        kind.check(config(f"stage={stage}", "monitor=train/loss"))


def test_unknown_stage_is_refused_whatever_is_asked_of_it() -> None:
    said = "stage.kind=paragraf: unknown; use one of paragraph, segmentation, line"
    made = config("stage.kind=paragraf")
    with pytest.raises(InputError, match=said):
        kind.check(made)
    with pytest.raises(InputError, match=said):
        kind.training(made, NOWHERE, progress=False)
    with pytest.raises(InputError, match=said):
        kind.inspected([], made)


def test_configuration_without_a_stage_is_refused() -> None:
    with pytest.raises(InputError, match=r"stage\.kind=None: unknown; use one of"):
        kind.check(config("~stage.kind"))


def test_inspection_sees_the_crop_of_the_training(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train": "tea"})
    made = config("data=alto", f"data.root={root}", "stage.crop.height=64")
    report = kind.inspected(parts.load_pages(made.data, tmp_path), made)
    assert report.height == 64
    assert 0 < report.widths["max"] <= LineCrop(**made.stage["crop"]).max_width


@pytest.mark.parametrize(("stage", "found"), [("line", {"p-train/l"}), ("segmentation", set())])
def test_only_a_training_that_reads_holds_texts_to_their_width(
    tmp_path: Path, stage: str, found: set[str]
) -> None:
    root = write_folder(tmp_path, {"train": "tea" * 400})
    made = config(f"stage={stage}", "data=alto", f"data.root={root}")
    report = kind.inspected(parts.load_pages(made.data, tmp_path), made)
    assert set(report.findings["too_long_for_ctc"]) == found

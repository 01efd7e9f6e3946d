"""From pages to the training of a finder of handwritten areas."""

from pathlib import Path

import numpy as np
import pytest
from hwr.stages.parts import Training

from hwr import weights
from hwr.config.compose import Composed, TrainConfig, composed
from hwr.errors import InputError
from hwr.losses import IouLoss, MseLoss
from hwr.stages import kind, parts
from hwr.stages.paragraph import training as paragraph
from hwr.tracking import Store
from hwr.training.checkpoint import arrays
from tests.alto_folder import write_folder

NOWHERE = Store("sqlite:////nowhere/mlflow.db", "0")
SMALL = ["stage.size=[32,64]", "network=paragraph_resnet34", "network.hidden=4", "batch_size=2"]


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    root = write_folder(tmp_path / "data", {"train": "tea", "valid": "toast"})
    return ["stage=paragraph", "data=alto", f"data.root={root}", f"folder={tmp_path / 'outputs'}", *SMALL]


def made(*overrides: str) -> Composed:
    return composed("train", overrides, TrainConfig)


def built(*overrides: str) -> Training:
    return kind.training(made(*overrides).root, NOWHERE, progress=False)


def test_training_tells_what_it_trains_on_and_shows_it(data: list[str]) -> None:
    training = built(*data)
    assert (training.size, training.alphabet) == ("1 training and 1 validation pages", None)
    assert [phase.name for phase in training.plan.phases] == ["mse", "iou"]
    assert [type(own) for own in training.stage.task.losses.values()] == [MseLoss, IouLoss]
    for picture in (training.augmented(0), training.predicted(12)):
        assert picture.shape[2] == 3
        assert np.ptp(picture) > 100


def test_area_is_never_wiped_out_of_a_sample(data: list[str]) -> None:
    training = built(*data, "augmentation.probability=1", "augmentation.erase=1")
    phase, _ = training.plan.phases
    (batch,) = training.stage.batches(phase, 0)
    assert batch.boxes.shape == (1, 1, 4)
    assert (batch.boxes[0, 0, 2:] > batch.boxes[0, 0, :2]).all()


def test_sample_is_the_page_in_the_middle_with_the_box_around_its_lines(data: list[str]) -> None:
    config = made(*data).root  # pages of 60 x 400 px at a scale of 0.16: 10 of the 32 rows, from the 11th on
    pages = parts.load_pages(config.data, Path(config.folder))
    found = paragraph.samples(pages, config, "train", progress=False)
    assert found.ids == ["p-train"]
    assert found.images[0].shape == (32, 64)
    assert (found.images[0][[0, 10, 21, 31]] == 255).all()
    box = [10 / 400, (11 + 10 * 10 / 60) / 32, 390 / 400, (11 + 10 * 50 / 60) / 32]
    assert found.boxes[0].tolist() == [pytest.approx(box)]


def test_split_without_pages_is_refused(data: list[str]) -> None:
    config = made(*data).root
    pages = parts.load_pages(config.data, Path(config.folder))
    with pytest.raises(InputError, match="the split test has no page with lines"):
        paragraph.samples(pages, config, "test", progress=False)


def test_training_starts_from_weights(data: list[str], tmp_path: Path) -> None:
    before = built(*data, "seed=1").stage.network
    place = weights.save(tmp_path / "weights", before, made(*data).yaml, None, about={}).folder
    training = built(*data, "seed=2", f"init={place}")
    after = arrays(training.stage.network)
    assert all(np.array_equal(values, after[name]) for name, values in arrays(before).items())
    assert training.took.startswith("took ")
    assert "not taken" not in training.took

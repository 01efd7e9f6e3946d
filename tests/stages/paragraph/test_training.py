"""From pages to the training of a finder of handwritten areas."""

from pathlib import Path

import pytest

from hwr.data.batches.boxes import BoxSet
from hwr.errors import InputError
from hwr.losses import IouLoss, MseLoss
from hwr.stages.boxes import recipe_samples
from tests.alto_folder import write_folder
from tests.stages.small import recipe_of, training_of


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    root = write_folder(tmp_path / "data", {"train": "tea", "valid": "toast"})
    return ["data=alto", f"data.root={root}", f"folder={tmp_path / 'outputs'}", "batch_size=2"]


def samples(data: list[str], split: str) -> BoxSet:
    recipe = recipe_of("paragraph", *data)
    return recipe_samples(recipe, recipe.data.read(whole=True).pages, split, progress=False)


def test_phases_train_with_mse_then_iou(data: list[str]) -> None:
    recipe, built = recipe_of("paragraph", *data), training_of("paragraph", *data).built
    assert [phase.name for phase in recipe.plan.phases] == ["mse", "iou"]
    assert [type(own) for own in built.stage.losses.values()] == [MseLoss, IouLoss]


def test_area_is_never_wiped_out_of_a_sample(data: list[str]) -> None:
    always = ["augmentation.probability=1", "augmentation.erase=1"]
    phase, _ = recipe_of("paragraph", *data).plan.phases
    (batch,) = training_of("paragraph", *data, *always).built.stage.batches(phase, 0)
    assert batch.boxes.shape == (1, 1, 4)
    assert (batch.boxes[0, 0, 2:] > batch.boxes[0, 0, :2]).all()


def test_sample_is_the_page_in_the_middle_with_the_box_around_its_lines(data: list[str]) -> None:
    made = samples(data, "train")  # pages of 60 x 400 px, scaled by 0.16: 10 of the 32 rows, from the 11th on
    assert made.ids == ["p-train"]
    assert made.images[0].shape == (32, 64)
    assert (made.images[0][[0, 10, 21, 31]] == 255).all()
    box = [10 / 400, (11 + 10 * 10 / 60) / 32, 390 / 400, (11 + 10 * 50 / 60) / 32]
    assert made.boxes[0].tolist() == [pytest.approx(box)]


def test_split_without_pages_is_refused(data: list[str]) -> None:
    with pytest.raises(InputError, match="the split test has no page with lines"):
        samples(data, "test")

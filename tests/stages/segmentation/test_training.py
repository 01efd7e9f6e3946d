"""From pages to the training of a detector of lines or words."""

from pathlib import Path

import numpy as np
import pytest
from hwr.stages.parts import Training

from hwr import weights
from hwr.config.compose import Composed, TrainConfig, composed
from hwr.errors import InputError
from hwr.stages import kind, parts
from hwr.stages.segmentation import training as segmentation
from hwr.tracking import Store
from hwr.training.checkpoint import arrays
from tests.alto_folder import write_folder

NOWHERE = Store("sqlite:////nowhere/mlflow.db", "0")
# One column of eight cells, each with one anchor as wide as the lines of these pages.
SMALL = [
    "stage.size=[16,32]", "network.stem=4", "network.channels=[4,4,4,4]", "batch_size=2",
    "network.strides=[[1,2],[1,2],[1,2],[1,2]]", "network.anchors=[[[0.95,0.25]]]",
]  # fmt: skip
# Areas of 44 x 400 px, grown at their rims, at a scale of 0.08: 4 of the 16 rows, from the 6th on.
LINE = [10 / 400, (6 + 4 * 2 / 44) / 16, 390 / 400, (6 + 4 * 42 / 44) / 16]


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    root = write_folder(tmp_path / "data", {"train": "tea", "valid": "toast"})
    return ["stage=segmentation", "data=alto", f"data.root={root}", f"folder={tmp_path / 'outputs'}", *SMALL]


def made(*overrides: str) -> Composed:
    return composed("train", overrides, TrainConfig)


def built(*overrides: str) -> Training:
    return kind.training(made(*overrides).root, NOWHERE, progress=False)


def test_training_tells_what_it_trains_on_and_shows_it(data: list[str]) -> None:
    training = built(*data)
    assert training.size == "1 training and 1 validation areas, 1 and 1 lines"
    assert training.alphabet is None
    assert set(training.stage.validate()) == set(segmentation.METRICS)
    for picture in (training.augmented(0), training.predicted(12)):
        assert picture.shape[2] == 3
        assert np.ptp(picture) > 100


def test_sample_is_the_grown_area_in_the_middle_with_the_boxes_of_its_lines(data: list[str]) -> None:
    config = made(*data).root
    pages = parts.load_pages(config.data, Path(config.folder))
    found = segmentation.samples(pages, config, "train", progress=False)
    assert found.ids == ["p-train"]
    assert found.images[0].shape == (16, 32)
    assert (found.images[0][[0, 5, 10, 15]] == 255).all()
    assert found.boxes[0].tolist() == [pytest.approx(LINE)]


def test_words_are_refused_where_lines_have_none(data: list[str]) -> None:
    config = made(*data, "stage.unit=word").root
    pages = parts.load_pages(config.data, Path(config.folder))
    with pytest.raises(InputError, match=r"^page p-train: line p-train/l has no words with boxes; add them"):
        segmentation.samples(pages, config, "train", progress=False)


def test_split_without_pages_is_refused(data: list[str]) -> None:
    config = made(*data).root
    pages = parts.load_pages(config.data, Path(config.folder))
    with pytest.raises(InputError, match="the split test has no page with lines"):
        segmentation.samples(pages, config, "test", progress=False)


def test_anchor_table_tells_which_boxes_an_anchor_covers(data: list[str]) -> None:
    head, train, valid, foot = segmentation.anchor_table(made(*data).root).splitlines()
    assert head.split() == ["split", "boxes", "IoU", "0.4", "0.5", "0.6", "0.7", "mean"]
    height = LINE[3] - LINE[1]  # the line lies between two cells, half a cell of 1/8 from either
    shared = height / 2 + 0.25 / 2 - 1 / 16
    mean = f"{shared / (height + 0.25 - shared):.3f}"
    assert mean == "0.585"
    for name, row in (("train", train), ("valid", valid)):
        assert row.replace(" %", "%").split() == [name, "1", "100.0%", "100.0%", "0.0%", "0.0%", mean]
    assert foot == "8 anchors; share of boxes whose best anchor has that IoU or more"


def test_training_starts_from_weights(data: list[str], tmp_path: Path) -> None:
    before = built(*data, "seed=1").stage.network
    place = weights.save(tmp_path / "weights", before, made(*data).yaml, None, about={}).folder
    training = built(*data, "seed=2", f"init={place}")
    after = arrays(training.stage.network)
    assert all(np.array_equal(values, after[name]) for name, values in arrays(before).items())
    assert training.took.startswith("took ")
    assert "not taken" not in training.took

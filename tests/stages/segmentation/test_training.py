"""From pages to the training of a detector of lines or words."""

from pathlib import Path

import pytest

from hwr.data.batches.boxes import BoxSet
from hwr.errors import InputError
from hwr.stages.boxes import recipe_samples
from hwr.stages.segmentation.training import anchor_table
from tests.alto_folder import write_folder
from tests.stages.small import recipe_of

# One column of eight cells, each with one anchor as wide as the lines of these pages.
SMALL = [
    "stage.size=[16,32]", "batch_size=2",
    "network.strides=[[1,2],[1,2],[1,2],[1,2]]", "network.anchors=[[[0.95,0.25]]]",
]  # fmt: skip
# Areas of 44 x 400 px, grown at their rims, at a scale of 0.08: 4 of the 16 rows, from the 6th on.
LINE = [10 / 400, (6 + 4 * 2 / 44) / 16, 390 / 400, (6 + 4 * 42 / 44) / 16]


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    root = write_folder(tmp_path / "data", {"train": "tea", "valid": "toast"})
    return ["data=alto", f"data.root={root}", f"folder={tmp_path / 'outputs'}", *SMALL]


def samples(data: list[str], split: str) -> BoxSet:
    recipe = recipe_of("segmentation", *data)
    return recipe_samples(recipe, recipe.data.read(whole=True).pages, split, progress=False)


def test_sample_is_the_grown_area_in_the_middle_with_the_boxes_of_its_lines(data: list[str]) -> None:
    made = samples(data, "train")
    assert made.ids == ["p-train"]
    assert made.images[0].shape == (16, 32)
    assert (made.images[0][[0, 5, 10, 15]] == 255).all()
    assert made.boxes[0].tolist() == [pytest.approx(LINE)]


def test_words_are_refused_where_lines_have_none(data: list[str]) -> None:
    with pytest.raises(
        InputError,
        match=r"^the split train has no page left: page p-train: line p-train/l has no words with boxes",
    ):
        samples([*data, "stage.unit=word"], "train")


def test_split_without_pages_is_refused(data: list[str]) -> None:
    with pytest.raises(InputError, match="the split test has no page with lines"):
        samples(data, "test")


def test_anchor_table_tells_which_boxes_an_anchor_covers(data: list[str]) -> None:
    head, train, valid, foot = anchor_table(recipe_of("segmentation", *data)).splitlines()
    assert head.split() == ["split", "boxes", "IoU", "0.4", "0.5", "0.6", "0.7", "mean"]
    height = LINE[3] - LINE[1]  # the line lies between two cells, half a cell of 1/8 from either
    shared = height / 2 + 0.25 / 2 - 1 / 16
    mean = f"{shared / (height + 0.25 - shared):.3f}"
    assert mean == "0.585"
    for name, row in (("train", train), ("valid", valid)):
        assert row.replace(" %", "%").split() == [name, "1", "100.0%", "100.0%", "0.0%", "0.0%", mean]
    assert foot == "8 anchors; share of boxes whose best anchor has that IoU or more"


def test_stage_without_anchors_is_refused(data: list[str]) -> None:
    with pytest.raises(InputError, match="stage paragraph has no anchors; use stage=segmentation"):
        anchor_table(recipe_of("paragraph"))

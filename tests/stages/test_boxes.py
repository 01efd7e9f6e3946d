"""What is shared by the trainings that find boxes: pages with all their lines, samples, pictures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageColor

from hwr.config.compose import composed
from hwr.config.roots import TrainConfig
from hwr.data.batches.boxes import BoxSet
from hwr.data.records import Page
from hwr.errors import InputError
from hwr.images.canvas import Placement
from hwr.stages import boxes as box_parts
from hwr.stages.boxes import PageSettings
from hwr.stages.build import inspected_pages
from hwr.stages.kind import Built
from hwr.stages.paragraph.training import area_stage
from hwr.stages.recipe import parse_recipe
from tests.alto_folder import write_folder

WHOLE = (0.0, 0.0, 1.0, 1.0)
PLACE = Placement((40, 60), (40, 60), WHOLE, WHOLE)
LEFT, RIGHT = np.array([[0.1, 0.2, 0.4, 0.8]]), np.array([[0.6, 0.2, 0.9, 0.8]])


def samples(count: int, **changed: Any) -> BoxSet:
    """Return white images (40, 60), each with a box in its left half; the last pixel holds its number."""
    images = [np.full((40, 60), 255, np.uint8) for _ in range(count)]
    for number, image in enumerate(images):
        image[-1, -1] = number
    made = {"boxes": [LEFT] * count, "placements": [PLACE] * count, **changed}
    return BoxSet([f"p{number}" for number in range(count)], images, **made)


class Drawn(PageSettings):
    """Settings that make these samples of any pages."""

    def __init__(self, samples: BoxSet) -> None:
        object.__setattr__(self, "drawn", samples)

    def samples(self, pages: Sequence[Page], **reading: Any) -> BoxSet:
        drawn: BoxSet = vars(self)["drawn"]
        return drawn


def shows(picture: NDArray[np.uint8], colour: str) -> bool:
    return bool((picture == ImageColor.getrgb(colour)).all(axis=2).any())


def built(train: BoxSet, valid: BoxSet, *, augment: Any = None, find: Any = None) -> Built:
    """Return what a stage built whose first phase augments so, and which finds these boxes."""
    config: TrainConfig = composed("train", ["stage=paragraph"], TrainConfig).root
    recipe = replace(parse_recipe(config), augmentations={"mse": augment, "iou": None})
    finder = SimpleNamespace(network=None, boxes=find)
    return box_parts.built(area_stage, finder, recipe, (train, valid), "so many")


def test_lines_that_cannot_be_read_are_boxes_all_the_same(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", {"train": "tea" * 400, "valid": "", "test": "toast"})
    overrides = ["stage=paragraph", "data=alto", f"data.root={root}", "data.exclude.pattern=toast"]
    config: TrainConfig = composed("train", [*overrides, f"folder={tmp_path}"], TrainConfig).root
    pages, report = inspected_pages(parse_recipe(config))
    assert {page.split: len(page.lines) for page in pages} == {"train": 1, "valid": 1, "test": 1}
    assert set(report.findings["empty_text"]) == {"p-valid/l"}


def test_limits_are_those_of_the_configuration() -> None:
    config: TrainConfig = composed("train", ["stage=segmentation", "max_pixels=7"], TrainConfig).root
    assert box_parts.limits(parse_recipe(config)).loading.max_pixels == 7


def test_pages_that_cannot_be_samples_are_left_out_unless_none_is_left() -> None:
    torn = [("p9", "page p9: torn"), ("p8", "page p8: burnt")]
    assert box_parts.box_samples([], Drawn(samples(1, problems=torn)), "train").ids == ["p0"]
    made = built(samples(1, problems=torn[:1]), samples(1, problems=torn[1:]))
    assert made.unusable == dict(torn)
    with pytest.raises(InputError, match=r"^the split train has no page left: page p9: torn \(and 1 more\)$"):
        box_parts.box_samples([], Drawn(samples(0, problems=torn)), "train")


def test_split_without_samples_is_refused() -> None:
    with pytest.raises(InputError, match="the split valid has no page with lines"):
        box_parts.box_samples([], Drawn(samples(0)), "valid")


def test_stage_of_boxes_has_no_alphabet() -> None:
    made = built(samples(1), samples(1))
    assert (made.alphabet, made.size) == (None, "so many")


@pytest.mark.parametrize("stage", ["paragraph", "segmentation"])
def test_inspection_finds_pages_that_make_no_sample(tmp_path: Path, stage: str) -> None:
    root = write_folder(tmp_path, {"train": "tea", "valid": "tea"})
    page = root / "p-valid.xml"
    page.write_text(page.read_text().replace('HPOS="10"', 'HPOS="399.5"'))  # half a pixel of its box is left
    overrides = [f"stage={stage}", "data=alto", f"data.root={root}", "inspect.policy.no_area=keep"]
    pages, report = inspected_pages(parse_recipe(composed("train", overrides, TrainConfig).root))
    assert list(report.findings["no_sample"]) == ["p-valid"]
    assert [own.id for own in pages] == ["p-train"]
    assert report.told() == ["left out by inspect.policy.no_sample=drop: 1 page (valid 1) with 1 line"]


@pytest.mark.parametrize(("count", "drawn"), [(3, 3), (14, box_parts.SAMPLES)])
def test_augmented_samples_are_drawn_with_the_boxes_they_have_then(count: int, drawn: int) -> None:
    asked: list[tuple[int, int, int]] = []

    def moved(image: Any, boxes: Any, *, seed: int, epoch: int, index: int) -> Any:
        assert image[-1, -1] == index
        asked.append((seed, epoch, index))
        return image, RIGHT, np.arange(1)

    picture = built(samples(count), samples(1), augment=moved).augmented(7)
    assert {(seed, epoch) for seed, epoch, _ in asked} == {(7, 0)}
    assert len({index for _, _, index in asked}) == len(asked) == drawn
    assert shows(picture, box_parts.TRUE)


def test_predicted_samples_are_taken_from_all_over_with_true_and_found_boxes() -> None:
    asked: list[int] = []

    def find(images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
        asked.extend(int(image[-1, -1]) for image in images)
        return [RIGHT] * len(images)

    picture = built(samples(1), samples(5), find=find).predicted(3)
    assert asked == [0, 2, 4]
    assert shows(picture, box_parts.TRUE)
    assert shows(picture, box_parts.PREDICTED)


def test_predicted_samples_may_have_no_box_found() -> None:
    made = built(samples(1), samples(2), find=lambda images: [np.zeros((0, 4))] * len(images))
    picture = made.predicted(12)
    assert shows(picture, box_parts.TRUE)
    assert not shows(picture, box_parts.PREDICTED)

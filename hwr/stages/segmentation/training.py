"""The training of stage `segmentation`: MultiBox loss, F1."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from hwr.config.compose import Composed
from hwr.data.augment import PageAugmentation
from hwr.data.records import SPLITS, Page
from hwr.errors import InputError
from hwr.images.boxes import FloatArray
from hwr.losses import MultiBoxLoss
from hwr.networks.ssd import best_overlaps
from hwr.scoring.detection import Detection, count_boxes
from hwr.stages import boxes
from hwr.stages.boxes import BoxStage
from hwr.stages.build import inspected_pages
from hwr.stages.kind import Built, Kind, Recipe
from hwr.stages.recipe import parse_recipe
from hwr.stages.segmentation import MODEL, DetectionSettings, box_detector
from hwr.tables import text_table

METRICS = ("valid/f1_error", "valid/f1_75_error", "valid/iou_error")


def detection_errors(found: Sequence[FloatArray], true: Sequence[FloatArray]) -> dict[str, float]:
    """Return one minus F1 at IoU 0.5 and 0.75, and one minus the mean IoU, over the boxes of all images."""
    pairs = zip(found, true, strict=True)
    total = Detection.total(count_boxes(*pair, np.zeros((0, 4))) for pair in pairs)
    rates = (total.f1_50, total.f1_75, total.mean_iou)
    return {name: 1.0 - rate for name, rate in zip(METRICS, rates, strict=True)}


detection_stage = partial(
    BoxStage,
    lone=False,
    metrics=METRICS,
    arguments=lambda detector, predicted, true: (
        detector.anchors.as_in_context(true.context),
        *predicted,
        true,
    ),
    errors=detection_errors,
)


def build_segmentation(recipe: Recipe[DetectionSettings], pages: Sequence[Page], progress: bool) -> Built:
    """Cut the areas out of the pages, and build the stage that is trained on them."""
    train, valid = (boxes.recipe_samples(recipe, pages, s, progress=progress) for s in ("train", "valid"))
    detector = box_detector(recipe.model, batch_size=recipe.batch_size, context=recipe.context)
    counts = [sum(map(len, samples.boxes)) for samples in (train, valid)]
    size = (
        f"{len(train.ids)} training and {len(valid.ids)} validation areas, "
        f"{counts[0]} and {counts[1]} {recipe.settings.unit}s"
    )
    return boxes.built(detection_stage, detector, recipe, (train, valid), size)


def print_anchor_table(composed: Composed) -> None:
    """Print how many boxes of each split the anchors of a detector cover."""
    print(anchor_table(parse_recipe(composed.root)))


def anchor_table(recipe: Recipe[Any]) -> str:
    """Return how many boxes of each split the detector's anchors match, by IoU, as a text table."""
    if recipe.kind is not KIND:
        raise InputError(f"stage {recipe.kind.name} has no anchors; use stage=segmentation")
    grid = box_detector(recipe.model, batch_size=recipe.batch_size, context=recipe.context).grid
    pages, report = inspected_pages(recipe)
    rows = []
    for split in SPLITS:
        if any(page.split == split and page.lines for page in pages):
            own = np.concatenate(boxes.recipe_samples(recipe, pages, split, progress=True).boxes)
            best = best_overlaps(own, grid)
            shares = [f"{100 * (best >= least).mean():.1f} %" for least in (0.4, 0.5, 0.6, 0.7)]
            rows.append([split, str(len(own)), *shares, f"{best.mean():.3f}"])
    table = text_table(("split", "boxes", "IoU 0.4", "0.5", "0.6", "0.7", "mean"), rows)
    said = f"{len(grid)} anchors; share of boxes whose best anchor has that IoU or more"
    return "\n".join([*report.told(), table, said])


KIND = Kind(
    model=MODEL,
    losses=(MultiBoxLoss,),
    augmentation=PageAugmentation,
    metrics=METRICS,
    heads=(),
    learns_text=False,
    limits=boxes.sample_limits,
    build=build_segmentation,
)

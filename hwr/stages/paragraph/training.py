"""The training of stage `paragraph`: MSE, then IoU."""

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hwr.data.augment import PageAugmentation
from hwr.data.records import Page
from hwr.images.boxes import FloatArray, iou
from hwr.losses import IouLoss, MseLoss
from hwr.stages import boxes
from hwr.stages.boxes import BoxStage, PageSettings
from hwr.stages.kind import Built, Kind, Recipe
from hwr.stages.paragraph import MODEL, area_finder


def overlaps(found: Iterable[FloatArray], true: Sequence[FloatArray]) -> NDArray[np.float64]:
    """Return the IoU of every found box (N, 4) with the true one of its image, (1, 4) each: (N,)."""
    pairs = zip(found, true, strict=True)
    return np.array([iou(box[None], own)[0, 0] for box, own in pairs], dtype=np.float64)


area_stage = partial(
    BoxStage,
    lone=True,
    metrics=("valid/iou_error",),
    arguments=lambda finder, predicted, true: (predicted, true[:, 0]),
    errors=lambda found, true: {"valid/iou_error": 1.0 - float(overlaps(found, true).mean())},
)


def build_paragraph(recipe: Recipe[PageSettings], pages: Sequence[Page], progress: bool) -> Built:
    """Fit the pages to the canvas, and build the stage that is trained on them."""
    train, valid = (boxes.recipe_samples(recipe, pages, s, progress=progress) for s in ("train", "valid"))
    finder = area_finder(recipe.model, batch_size=recipe.batch_size, context=recipe.context)
    size = f"{len(train.ids)} training and {len(valid.ids)} validation pages"
    return boxes.built(area_stage, finder, recipe, (train, valid), size)


KIND = Kind(
    model=MODEL,
    losses=(MseLoss, IouLoss),
    augmentation=PageAugmentation,
    metrics=area_stage.keywords["metrics"],
    heads=(),
    learns_text=False,
    limits=boxes.sample_limits,
    build=build_paragraph,
)

"""The training of stage `segmentation`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwr.data.augment.pages import PageAugmentation
from hwr.data.batches.boxes import BoxSet, area_crops
from hwr.data.records import SPLITS, Page
from hwr.errors import InputError
from hwr.images.page_files import Loading
from hwr.losses import MultiBoxLoss
from hwr.networks.ssd import best_overlaps
from hwr.stages import boxes
from hwr.stages.boxes import BoxTask
from hwr.stages.build import inspected_pages
from hwr.stages.kind import Built, Kind, Recipe
from hwr.stages.segmentation.model import MODEL, DetectionSettings, box_detector
from hwr.stages.segmentation.stage import METRICS, SegmentationStage
from hwr.tables import text_table


def build_segmentation(recipe: Recipe[DetectionSettings], pages: Sequence[Page], progress: bool) -> Built:
    """Cut the areas out of the pages, and build the stage that is trained on them."""
    train, valid = (_samples(recipe, pages, split, progress=progress) for split in ("train", "valid"))
    task = BoxTask(train, valid, recipe.losses, recipe.augmentations, lone=False)
    detector = box_detector(recipe.model, batch_size=recipe.batch_size, context=recipe.context)
    stage = SegmentationStage(detector, task, batch_size=recipe.batch_size, seed=recipe.seed)
    counts = [sum(map(len, samples.boxes)) for samples in (train, valid)]
    size = (
        f"{len(train.ids)} training and {len(valid.ids)} validation areas, "
        f"{counts[0]} and {counts[1]} {recipe.settings.unit}s"
    )
    return boxes.built(stage, task, recipe, detector.boxes, size)


def area_samples(
    pages: Sequence[Page],
    settings: DetectionSettings,
    split: str,
    *,
    cache: Path,
    loading: Loading,
    progress: bool,
) -> BoxSet:
    """Return the areas of a split with the boxes of their lines or words; InputError where there are none."""
    own = [page for page in pages if page.split == split]
    samples = area_crops(
        own,
        settings.fit,
        settings.growth,
        settings.unit,
        folder=cache,
        loading=loading,
        progress=progress,
    )
    return boxes.ready(samples, split)


def anchor_table(recipe: Recipe[Any]) -> str:
    """Return how many boxes of each split the detector's anchors match, by IoU, as a text table."""
    if recipe.kind is not KIND:
        raise InputError(f"stage {recipe.kind.name} has no anchors; use stage=segmentation")
    grid = box_detector(recipe.model, batch_size=recipe.batch_size, context=recipe.context).grid
    pages, _ = inspected_pages(recipe)
    rows = []
    for split in SPLITS:
        if any(page.split == split and page.lines for page in pages):
            own = np.concatenate(_samples(recipe, pages, split, progress=True).boxes)
            best = best_overlaps(own, grid)
            shares = [f"{100 * (best >= least).mean():.1f} %" for least in (0.4, 0.5, 0.6, 0.7)]
            rows.append([split, str(len(own)), *shares, f"{best.mean():.3f}"])
    table = text_table(("split", "boxes", "IoU 0.4", "0.5", "0.6", "0.7", "mean"), rows)
    return f"{table}\n{len(grid)} anchors; share of boxes whose best anchor has that IoU or more"


def _samples(
    recipe: Recipe[DetectionSettings], pages: Sequence[Page], split: str, *, progress: bool
) -> BoxSet:
    cache, loading = recipe.data.cache, recipe.loading
    return area_samples(pages, recipe.settings, split, cache=cache, loading=loading, progress=progress)


KIND = Kind(
    model=MODEL,
    losses=(MultiBoxLoss,),
    augmentation=PageAugmentation,
    metrics=METRICS,
    heads=(),
    learns_text=False,
    limits=boxes.limits,
    build=build_segmentation,
)

"""The training of stage `paragraph`."""

from collections.abc import Sequence
from pathlib import Path

from hwr.data.augment.pages import PageAugmentation
from hwr.data.batches.boxes import BoxSet, whole_pages
from hwr.data.records import Page
from hwr.images.page_files import Loading
from hwr.losses import IouLoss, MseLoss
from hwr.stages import boxes
from hwr.stages.boxes import BoxTask, PageSettings
from hwr.stages.kind import Built, Kind, Recipe
from hwr.stages.paragraph.model import MODEL, area_finder
from hwr.stages.paragraph.stage import METRICS, ParagraphStage


def build_paragraph(recipe: Recipe[PageSettings], pages: Sequence[Page], progress: bool) -> Built:
    """Fit the pages to the canvas, and build the stage that is trained on them."""
    settings, cache, loading = recipe.settings, recipe.data.cache, recipe.loading
    train, valid = (
        page_samples(pages, settings, split, cache=cache, loading=loading, progress=progress)
        for split in ("train", "valid")
    )
    task = BoxTask(train, valid, recipe.losses, recipe.augmentations, lone=True)
    finder = area_finder(recipe.model, batch_size=recipe.batch_size, context=recipe.context)
    stage = ParagraphStage(finder, task, batch_size=recipe.batch_size, seed=recipe.seed)
    size = f"{len(train.ids)} training and {len(valid.ids)} validation pages"
    return boxes.built(stage, task, recipe, lambda images: [box[None] for box in finder.boxes(images)], size)


def page_samples(
    pages: Sequence[Page],
    settings: PageSettings,
    split: str,
    *,
    cache: Path,
    loading: Loading,
    progress: bool,
) -> BoxSet:
    """Return the pages of a split with the box around their handwriting; InputError where there are none."""
    own = [page for page in pages if page.split == split]
    samples = whole_pages(own, settings.fit, 0.0, folder=cache, loading=loading, progress=progress)
    return boxes.ready(samples, split)


KIND = Kind(
    model=MODEL,
    losses=(MseLoss, IouLoss),
    augmentation=PageAugmentation,
    metrics=METRICS,
    heads=(),
    learns_text=False,
    limits=boxes.limits,
    build=build_paragraph,
)

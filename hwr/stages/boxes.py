"""Shared parts of the two stages that find boxes: settings, samples, batches, pictures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwr.data import inspection
from hwr.data.batches.boxes import BoxBatch, BoxSet, page_training_batches
from hwr.data.records import Page
from hwr.errors import InputError
from hwr.images.boxes import FloatArray
from hwr.images.canvas import PageFit
from hwr.images.line_crop import LineCrop
from hwr.images.load import GreyImage
from hwr.images.page_files import Loading
from hwr.pictures import cards
from hwr.stages.build import in_memory, refuse_problems
from hwr.stages.kind import Built, Picture, Recipe
from hwr.training.loop import Stage
from hwr.training.plan import Phase

SAMPLES = 12  # augmented images in a run's picture
TRUE, PREDICTED = "#2f9e44", "#e03131"  # colours of true and of predicted boxes

# Lines are looked at, not cut: their widths are told at one height, and no text is too long.
_CROP = LineCrop(height=48, max_width=100_000, margin=0.0, mask=False, deskew=False, normalise=False)

FindBoxes = Callable[[Sequence[GreyImage]], Sequence[FloatArray]]  # images (H, W) -> boxes (K, 4) of each


@dataclass(frozen=True, kw_only=True)
class PageSettings:
    """How pages are fitted to the network; the area is grown by `growth`, a share of its sides."""

    size: Sequence[int]
    normalise: bool
    growth: float

    def __post_init__(self) -> None:
        if not 0 <= self.growth <= 1:
            raise InputError(
                f"stage.growth={self.growth} is not between 0 and 1; it is a share of the box's sides"
            )
        _ = self.fit  # refuses a size that no canvas has

    @property
    def fit(self) -> PageFit:
        """How a page, or a part of it, is brought to the canvas."""
        return PageFit(size=(*self.size,), normalise=self.normalise)  # type: ignore[arg-type]  # of length 2


@dataclass(frozen=True)
class BoxTask:
    """What is trained: images with boxes to train and validate on, losses and augmentations by phase name.

    `lone` boxes are never moved off their image: a sample whose box would leave it stays as it is.
    """

    train: BoxSet
    valid: BoxSet
    losses: Mapping[str, Any]
    augmentations: Mapping[str, Any]
    lone: bool

    def steps(self, batch_size: int) -> int:
        """Return the number of batches an epoch has."""
        return -(-len(self.train.ids) // batch_size)

    def batches(
        self, phase: Phase, epoch: int, *, batch_size: int, seed: int, start: int = 0
    ) -> Iterator[BoxBatch]:
        """Yield the augmented training batches of `epoch`, from batch `start` on."""
        augmentation = self.augmentations[phase.name]

        def change(image: GreyImage, boxes: FloatArray, index: int) -> tuple[GreyImage, FloatArray]:
            moved, places, _ = augmentation(image, boxes, seed=seed, epoch=epoch, index=index)
            return (moved, places) if len(places) or not self.lone else (image, boxes)

        return page_training_batches(
            self.train, batch_size=batch_size, seed=(seed, epoch), change=change, start=start
        )


def built(stage: Stage[Any], task: BoxTask, recipe: Recipe[Any], find: FindBoxes, size: str) -> Built:
    """Return what a stage of boxes built, with the pictures that its run gets."""
    augmentation = recipe.augmentations[recipe.plan.phases[0].name]
    return Built(
        stage=stage,
        alphabet=None,
        size=size,
        augmented=lambda seed: _augmented(task.train, augmentation, seed),
        predicted=lambda count: _predicted(task.valid, find, count),
    )


def limits(recipe: Recipe[Any]) -> inspection.Limits:
    """Return the limits of inspection for stages that do not cut lines."""
    return page_limits(recipe.loading)


def page_limits(loading: Loading) -> inspection.Limits:
    """Return the limits of inspection for pages without line crops."""
    return inspection.Limits(crop=_CROP, steps=lambda width: 1 << 30, loading=loading)


def usable_pages(pages: Sequence[Page], policy: Mapping[str, str], loading: Loading) -> list[Page]:
    """Return pages as the policy of a training leaves them; raise InputError for findings that it refuses."""
    return inspection.apply_policy(pages, inspection.inspect_pages(pages, page_limits(loading)), policy)


def ready(samples: BoxSet, split: str) -> BoxSet:
    """Return samples held in memory where they fit; raise InputError where any is lacking."""
    refuse_problems(samples.problems, "page")
    if not samples.ids:
        raise InputError(f"the split {split} has no page with lines; see data.splits and data.shares")
    return replace(samples, images=in_memory(samples.images))


def _augmented(samples: BoxSet, augment: Any, seed: int) -> Picture:
    """Draw augmented samples with their boxes."""
    count = len(samples.ids)
    chosen = np.random.default_rng(seed).choice(count, min(SAMPLES, count), replace=False)
    drawn = []
    for i in chosen:
        image, boxes, _ = augment(samples.images[i], samples.boxes[i], seed=seed, epoch=0, index=int(i))
        drawn.append(cards.boxed(image, {TRUE: boxes}))
    return cards.sheet(drawn, [samples.ids[i] for i in chosen], columns=4)


def _predicted(samples: BoxSet, find: FindBoxes, count: int) -> Picture:
    """Draw samples with their true boxes (green) and those predicted (red)."""
    chosen = np.linspace(0, len(samples.ids) - 1, min(count, len(samples.ids))).astype(int)
    drawn = [
        cards.boxed(samples.images[i], {TRUE: samples.boxes[i], PREDICTED: boxes})
        for i, boxes in zip(chosen, find([samples.images[i] for i in chosen]), strict=True)
    ]
    return cards.sheet(drawn, [samples.ids[i] for i in chosen], columns=4)

"""Shared parts of the two stages that find boxes: settings, samples, batches, pictures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import mxnet as mx
import numpy as np

from hwr import pictures
from hwr.config.roots import LinesConfig, Probability
from hwr.data import inspection
from hwr.data.batches import Drawing, Draws
from hwr.data.batches.boxes import BoxBatch, BoxSet, page_samples, page_training_batches, sample_flaw
from hwr.data.records import Page
from hwr.errors import InputError
from hwr.images.boxes import FloatArray
from hwr.images.canvas import PageFit
from hwr.images.line_crop import LineCrop
from hwr.images.load import GreyImage
from hwr.stages.build import first_reason
from hwr.stages.kind import Built, Picture, Recipe
from hwr.training.loop import Phase

SAMPLES = 12  # augmented images in a run's picture
TRUE, PREDICTED = "#2f9e44", "#e03131"  # colours of true and of predicted boxes

# Lines are looked at, not cut: their widths are told at one height, and no text is too long.
_CROP = LineCrop(height=48, max_width=100_000, margin=0.0, mask=False, deskew=False, normalise=False)


@dataclass(frozen=True, kw_only=True)
class PageSettings:
    """How pages are fitted to the network; the area is grown by `growth`, a share of its sides."""

    size: Sequence[int]
    normalise: bool
    growth: Probability

    def __post_init__(self) -> None:
        _ = self.fit  # refuses a size that no canvas has

    @property
    def fit(self) -> PageFit:
        """How a page, or a part of it, is brought to the canvas."""
        return PageFit(size=(*self.size,), normalise=self.normalise)  # type: ignore[arg-type]  # of length 2

    def samples(self, pages: Sequence[Page], **reading: Any) -> BoxSet:
        """Return whole pages, each with the box around its handwriting."""
        return page_samples(pages, self.fit, 0.0, None, **reading)

    def sample_flaw(self, page: Page) -> str:
        """Return why a page makes no sample; "" where it makes one."""
        return sample_flaw(page, self.fit, 0.0, None)


@dataclass(kw_only=True)
class BoxStage:
    """Train and validate a network that finds boxes; `phase.name` picks loss and augmentation.

    `arguments` of a loss are made of the finder, the output of its network and the true boxes (N, K, 4);
    `errors` of what was found and what is true. `lone` boxes are never moved off their image: a sample whose
    box would leave it stays as it is.
    """

    finder: Any  # its network, context, and boxes of images
    network: Any
    train: BoxSet
    valid: BoxSet
    losses: Mapping[str, Any]
    augmentations: Mapping[str, Any]
    batch_size: int
    seed: int
    drawing: Mapping[str, Drawing] = field(default_factory=dict)
    lone: bool
    metrics: Sequence[str]
    arguments: Callable[[Any, Any, Any], tuple[Any, ...]]
    errors: Callable[[Any, Sequence[FloatArray]], dict[str, float]]

    @cached_property
    def draws(self) -> Draws:
        """Which pages every epoch draws."""
        return Draws(self.train.datasets, self.train.ids, self.drawing, seed=self.seed)

    def steps(self) -> int:
        """Return the number of batches an epoch has."""
        return -(-len(self.draws) // self.batch_size)

    def batches(self, phase: Phase, epoch: int, *, start: int = 0) -> Iterator[BoxBatch]:
        """Yield the augmented training batches of `epoch`, from batch `start` on."""
        augmentation, seed = self.augmentations[phase.name], self.seed

        def change(image: GreyImage, boxes: FloatArray, index: int) -> tuple[GreyImage, FloatArray]:
            moved, places, _ = augmentation(image, boxes, seed=seed, epoch=epoch, index=index)
            return (moved, places) if len(places) or not self.lone else (image, boxes)

        train = self.train.taken(self.draws.of_epoch(epoch))
        return page_training_batches(
            train, batch_size=self.batch_size, seed=(seed, epoch), change=change, start=start
        )

    def loss(self, phase: Phase, batch: BoxBatch) -> Any:
        """Return the loss of every image, (N,)."""
        images, boxes = mx.nd.array(batch.images), mx.nd.array(batch.boxes)
        return self.losses[phase.name](*self.arguments(self.finder, self.network(images), boxes))

    def validate(self) -> dict[str, float]:
        """Return the errors over the validation images."""
        return self.errors(self.finder.boxes(self.valid.images), self.valid.boxes)


def built(
    stage: Callable[..., BoxStage], finder: Any, recipe: Recipe[Any], samples: Sequence[BoxSet], size: str
) -> Built:
    """Return what a stage of boxes built from training and validation samples, with its run's pictures."""
    train, valid = samples
    augmentation = recipe.augmentations[recipe.plan.phases[0].name]
    made = stage(
        finder=finder, network=finder.network, train=train, valid=valid, losses=recipe.losses,
        augmentations=recipe.augmentations, batch_size=recipe.batch_size, seed=recipe.seed,
        drawing=recipe.data.drawing,
    )  # fmt: skip
    return Built(
        stage=made,
        alphabet=None,
        size=size + made.draws.note,
        augmented=lambda seed: _augmented(train, augmentation, seed),
        predicted=lambda count: _predicted(valid, finder.boxes, count),
        unusable=dict((*train.problems, *valid.problems)),
    )


def limits(held: Recipe[Any] | LinesConfig) -> inspection.Limits:
    """Return the limits of inspection where lines are not cut out of their pages."""
    return inspection.Limits(crop=_CROP, steps=lambda width: 1 << 30, loading=held.loading)


def sample_limits(recipe: Recipe[Any]) -> inspection.Limits:
    """Return the limits of inspection for a training on such samples."""
    return replace(limits(recipe), sample_flaw=recipe.settings.sample_flaw)


def box_samples(pages: Sequence[Page], settings: PageSettings, split: str, **reading: Any) -> BoxSet:
    """Return the samples of a split; raise InputError where there are none.

    `reading` holds folder of the cache, loading, and progress.
    """
    samples = settings.samples([page for page in pages if page.split == split], **reading)
    if not samples.ids and samples.problems:
        raise InputError(f"the split {split} has no page left: {first_reason(samples.problems)}")
    if not samples.ids:
        raise InputError(f"the split {split} has no page with lines; hwr inspect tells what is there")
    return samples


def recipe_samples(recipe: Recipe[Any], pages: Sequence[Page], split: str, *, progress: bool) -> BoxSet:
    """Return the samples of a split as a recipe has them."""
    reading = {"folder": recipe.data.cache, "loading": recipe.loading, "progress": progress}
    return box_samples(pages, recipe.settings, split, **reading)


def _augmented(samples: BoxSet, augment: Any, seed: int) -> Picture:
    """Draw augmented samples with their boxes."""
    count = len(samples.ids)
    chosen = np.random.default_rng(seed).choice(count, min(SAMPLES, count), replace=False)
    drawn = []
    for i in chosen:
        image, boxes, _ = augment(samples.images[i], samples.boxes[i], seed=seed, epoch=0, index=int(i))
        drawn.append(pictures.boxed(image, {TRUE: boxes}))
    return pictures.sheet(drawn, [samples.ids[i] for i in chosen], columns=4)


def _predicted(samples: BoxSet, find: Callable[[Sequence[GreyImage]], Any], count: int) -> Picture:
    """Draw samples with their true boxes (green) and those predicted (red)."""
    chosen = np.linspace(0, len(samples.ids) - 1, min(count, len(samples.ids))).astype(int)
    drawn = [
        pictures.boxed(samples.images[i], {TRUE: samples.boxes[i], PREDICTED: boxes.reshape(-1, 4)})
        for i, boxes in zip(chosen, find([samples.images[i] for i in chosen]), strict=True)
    ]
    return pictures.sheet(drawn, [samples.ids[i] for i in chosen], columns=4)

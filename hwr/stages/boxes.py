"""What the trainings of the two stages that find boxes on pages share."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hwr.config.compose import TrainConfig
from hwr.data import inspection
from hwr.data.batches.boxes import BoxSet
from hwr.data.records import Page
from hwr.data.report import Report
from hwr.errors import InputError
from hwr.images.boxes import FloatArray
from hwr.images.line_crop import LineCrop
from hwr.images.load import GreyImage
from hwr.pictures import cards
from hwr.stages import parts

SAMPLES = 12  # augmented images in a run's picture
TRUE, FOUND = "#2f9e44", "#e03131"  # colours of true and of found boxes

# Lines are looked at, not cut: their widths are told at one height, and no text is too long.
_CROP = LineCrop(height=48, max_width=100_000, margin=0.0, mask=False, deskew=False, normalise=False)


def limits(config: TrainConfig) -> inspection.Limits:
    """Return what pages are held to before they are trained on."""
    return inspection.Limits(crop=_CROP, steps=_any_text, max_pixels=config.max_pixels)


def inspected_pages(config: TrainConfig) -> tuple[list[Page], Report]:
    """Return the pages, with all their lines, as the policy leaves them, and the report on them."""
    pages = parts.load_pages(config.data, Path(config.folder) / "cache", whole=True)
    report = inspection.inspect(pages, limits(config))
    return inspection.apply(pages, report, config.inspect.policy), report


def without_problems(pages: Sequence[Page], trained: TrainConfig, max_pixels: int) -> list[Page]:
    """Return pages as the policy of a training leaves them, which refuses those that it cannot use."""
    seen = inspection.inspect(pages, inspection.Limits(crop=_CROP, steps=_any_text, max_pixels=max_pixels))
    return inspection.apply(pages, seen, trained.inspect.policy)


def ready(found: BoxSet, split: str) -> BoxSet:
    """Return samples held in memory where they fit; raise InputError where any is lacking."""
    parts.refuse_problems(found.problems, "page")
    if not found.ids:
        raise InputError(f"the split {split} has no page with lines; see data.splits and data.shares")
    return replace(found, images=parts.in_memory(found.images))


def augmented(samples: BoxSet, augment: Any, seed: int) -> parts.Picture:
    """Draw augmented samples with their boxes."""
    count = len(samples.ids)
    chosen = np.random.default_rng(seed).choice(count, min(SAMPLES, count), replace=False)
    drawn = []
    for i in chosen:
        image, boxes, _ = augment(samples.images[i], samples.boxes[i], seed=seed, epoch=0, index=int(i))
        drawn.append(cards.boxed(image, {TRUE: boxes}))
    return cards.sheet(drawn, [samples.ids[i] for i in chosen], columns=4)


def predicted(
    samples: BoxSet, find: Callable[[Sequence[GreyImage]], Sequence[FloatArray]], count: int
) -> parts.Picture:
    """Draw samples with their true boxes (green) and those found (red)."""
    chosen = np.linspace(0, len(samples.ids) - 1, min(count, len(samples.ids))).astype(int)
    found = find([samples.images[i] for i in chosen])
    drawn = [
        cards.boxed(samples.images[i], {TRUE: samples.boxes[i], FOUND: boxes})
        for i, boxes in zip(chosen, found, strict=True)
    ]
    return cards.sheet(drawn, [samples.ids[i] for i in chosen], columns=4)


def _any_text(width: int) -> int:
    """Return time steps enough for any text: none is read."""
    return 1 << 30

"""Targets `paragraph` and `segmentation`: score found boxes against true ones."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwr.config.roots import EvaluateConfig
from hwr.data.batches.boxes import BoxSet
from hwr.data.records import Page, fingerprint
from hwr.evaluation import task as common
from hwr.evaluation.task import Outcome, Target, Task
from hwr.images.boxes import FloatArray
from hwr.pictures import cards
from hwr.scoring import detection
from hwr.stages.boxes import PREDICTED, TRUE, usable_pages
from hwr.stages.build import config_of, model_of
from hwr.stages.paragraph.model import MODEL as PARAGRAPH_MODEL
from hwr.stages.paragraph.model import load_area_finder
from hwr.stages.paragraph.stage import overlaps
from hwr.stages.paragraph.training import page_samples
from hwr.stages.recipe import device_context
from hwr.stages.segmentation.model import MODEL as SEGMENTATION_MODEL
from hwr.stages.segmentation.model import load_box_detector
from hwr.stages.segmentation.training import area_samples
from hwr.tables import text_table
from hwr.tracking import Run
from hwr.weights import Weights

NO_BOXES = np.zeros((0, 4))


@dataclass(frozen=True)
class _Scored:
    """Samples with the boxes found on each, the figures, and how good the boxes of each sample are."""

    samples: BoxSet
    boxes: Sequence[FloatArray]
    values: dict[str, Any]
    quality: Sequence[float]


def score_areas(task: Task[EvaluateConfig], loaded: Sequence[Weights], current: Run, output: Path) -> Outcome:
    """Find the handwritten areas, and write scores and a picture of the worst to `output`."""
    config, (own,), pages = task.config, loaded, _pages(task, loaded)
    settings, cache = model_of(own, PARAGRAPH_MODEL).settings, task.data.cache
    samples = page_samples(pages, settings, config.split, cache=cache, loading=config.loading, progress=True)
    context = device_context(config.device)
    boxes = load_area_finder(own, batch_size=config.batch_size, context=context).boxes(samples.images)
    ious = overlaps(boxes, samples.boxes)
    values = {
        "mean_iou": float(ious.mean()),
        "median_iou": float(np.median(ious)),
        "worst_iou": float(ious.min()),
        "iou_by_page": dict(zip(samples.ids, ious.round(4).tolist(), strict=True)),
    }
    scored = _Scored(samples, [box[None] for box in boxes], values, ious.tolist())
    return _outcome(task, loaded, current, output, (pages, scored))


def score_boxes(task: Task[EvaluateConfig], loaded: Sequence[Weights], current: Run, output: Path) -> Outcome:
    """Find lines or words in the true areas, and write scores and a picture of the worst to `output`."""
    config, (own,), pages = task.config, loaded, _pages(task, loaded)
    settings, cache = model_of(own, SEGMENTATION_MODEL).settings, task.data.cache
    samples = area_samples(pages, settings, config.split, cache=cache, loading=config.loading, progress=True)
    context = device_context(config.device)
    boxes = load_box_detector(own, batch_size=config.batch_size, context=context).boxes(samples.images)
    pairs = zip(boxes, samples.boxes, strict=True)
    counts = [detection.count_boxes(found, true, NO_BOXES) for found, true in pairs]
    values = {
        **detection.Detection.total(counts).as_dict(),
        "unit": settings.unit,
        "by_page": {name: count.as_dict() for name, count in zip(samples.ids, counts, strict=True)},
    }
    scored = _Scored(samples, boxes, values, [count.mean_iou for count in counts])
    return _outcome(task, loaded, current, output, (pages, scored))


def _check(config: EvaluateConfig) -> None:
    """Take all settings: no part of its own has any."""


PARAGRAPH = Target(
    name="paragraph", check=_check, load=lambda task: [task.weights("paragraph")], score=score_areas
)
SEGMENTATION = Target(
    name="segmentation", check=_check, load=lambda task: [task.weights("segmentation")], score=score_boxes
)


def _pages(task: Task[EvaluateConfig], loaded: Sequence[Weights]) -> list[Page]:
    policy = config_of(loaded[0]).inspect.policy
    return usable_pages(task.pages(whole=True), policy, task.config.loading)


def _outcome(
    task: Task[EvaluateConfig],
    loaded: Sequence[Weights],
    current: Run,
    output: Path,
    scored: tuple[Sequence[Page], _Scored],
) -> Outcome:
    config, (pages, own) = task.config, scored
    about = common.about(config, config.target, loaded, fingerprint(pages), current)
    summary = {**own.values, "pages": len(own.samples.ids), **about}
    text = json.dumps(summary, ensure_ascii=False, indent=1) + "\n"
    (output / "scores.json").write_text(text, encoding="utf-8")
    cards.save_picture(output / "pages.png", _picture(own, config.pictures))
    rates = {name: value for name, value in summary.items() if isinstance(value, float)}
    current.metrics(common.metrics(config.split, rates), 0)
    rows = [(name, f"{value:.4f}") for name, value in rates.items()]
    title = f"{config.split}: {len(own.samples.ids)} pages, target {config.target}"
    return Outcome(summary, f"{title}\n{text_table(('score', 'value'), rows)}", 1.0 - summary["mean_iou"])


def _picture(own: _Scored, count: int) -> cards.Picture:
    """Draw the pages with the worst boxes: true ones green, found ones red."""
    samples = own.samples
    worst = np.argsort(own.quality, kind="stable")[:count]
    drawn = [cards.boxed(samples.images[i], {TRUE: samples.boxes[i], PREDICTED: own.boxes[i]}) for i in worst]
    return cards.sheet(drawn, [f"{samples.ids[i]}: IoU {own.quality[i]:.3f}" for i in worst], columns=4)

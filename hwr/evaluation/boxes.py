"""Targets `paragraph` and `segmentation`: boxes found on pages against true ones."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwr.config.compose import EvaluateConfig, TrainConfig
from hwr.data.batches.boxes import BoxSet
from hwr.data.fingerprint import fingerprint
from hwr.evaluation import task as common
from hwr.evaluation.task import Outcome, Task
from hwr.images.boxes import FloatArray
from hwr.pictures import cards
from hwr.scoring import detection
from hwr.stages import boxes as box_parts
from hwr.stages import build
from hwr.stages.paragraph.stage import overlaps
from hwr.stages.paragraph.training import samples as page_samples
from hwr.stages.segmentation.training import samples as area_samples
from hwr.tables import text_table
from hwr.tracking import Run
from hwr.weights import Weights

NO_BOXES = np.zeros((0, 4))


def check(config: EvaluateConfig) -> None:
    """Take all settings: no part of its own has any."""


def prepare(task: Task[EvaluateConfig]) -> list[Weights]:
    """Return the weights that are evaluated."""
    kind = task.config.target
    return [task.weights(getattr(task.config.weights, kind), kind=kind)]


def run(task: Task[EvaluateConfig], found: Sequence[Weights], current: Run, output: Path) -> Outcome:
    """Find the boxes, compare them with the true ones, and write scores and pictures to `output`."""
    config, (own,) = task.config, found
    trained = build.config_of(own)
    trained.folder, trained.max_pixels = config.folder, config.max_pixels
    pages = box_parts.without_problems(task.pages(whole=True), trained, config.max_pixels)
    find = _area if config.target == "paragraph" else _boxes
    samples, boxes, values, quality = find(config, trained, own, pages)
    summary = {
        **values,
        "pages": len(samples.ids),
        **common.about(config, config.target, found, fingerprint(pages), current),
    }
    said = json.dumps(summary, ensure_ascii=False, indent=1) + "\n"
    (output / "scores.json").write_text(said, encoding="utf-8")
    cards.save(output / "pages.png", _picture(config, samples, boxes, quality))
    rates = {name: value for name, value in values.items() if isinstance(value, float)}
    current.metrics(common.metrics(config.split, rates), 0)
    rows = [(name, f"{value:.4f}") for name, value in rates.items()]
    title = f"{config.split}: {len(samples.ids)} pages, target {config.target}"
    return Outcome(summary, f"{title}\n{text_table(('score', 'value'), rows)}", 1.0 - summary["mean_iou"])


def _area(
    config: EvaluateConfig, trained: TrainConfig, found: Weights, pages: Any
) -> tuple[BoxSet, list[FloatArray], dict[str, Any], list[float]]:
    samples = page_samples(pages, trained, config.split, progress=True)
    context = build.device(config.device)
    finder = build.area_finder(found, batch_size=config.batch_size, context=context)
    boxes = finder.boxes(samples.images)
    ious = overlaps(boxes, samples.boxes)
    values = {
        "mean_iou": float(ious.mean()),
        "median_iou": float(np.median(ious)),
        "worst_iou": float(ious.min()),
        "iou_by_page": dict(zip(samples.ids, ious.round(4).tolist(), strict=True)),
    }
    return samples, [box[None] for box in boxes], values, ious.tolist()


def _boxes(
    config: EvaluateConfig, trained: TrainConfig, found: Weights, pages: Any
) -> tuple[BoxSet, list[FloatArray], dict[str, Any], list[float]]:
    samples = area_samples(pages, trained, config.split, progress=True)
    context = build.device(config.device)
    detector = build.box_detector(found, batch_size=config.batch_size, context=context)
    boxes = detector.boxes(samples.images)
    counts = [
        detection.count_boxes(own, true, NO_BOXES) for own, true in zip(boxes, samples.boxes, strict=True)
    ]
    values = detection.Detection.total(counts).as_dict()
    by_page = {name: count.as_dict() for name, count in zip(samples.ids, counts, strict=True)}
    quality = [count.mean_iou for count in counts]
    return samples, boxes, {**values, "unit": trained.stage["unit"], "by_page": by_page}, quality


def _picture(
    config: EvaluateConfig, samples: BoxSet, found: Sequence[FloatArray], quality: Sequence[float]
) -> cards.Picture:
    """Draw the pages with the worst boxes: true ones green, found ones red."""
    worst = np.argsort(quality, kind="stable")[: config.pictures]
    drawn = [
        cards.boxed(samples.images[i], {box_parts.TRUE: samples.boxes[i], box_parts.FOUND: found[i]})
        for i in worst
    ]
    return cards.sheet(drawn, [f"{samples.ids[i]}: IoU {quality[i]:.3f}" for i in worst], columns=4)

"""Targets `paragraph` and `segmentation`: score found boxes against true ones."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from tqdm import tqdm

from hwr import pictures
from hwr.data import inspection
from hwr.data.batches.boxes import BoxSet, area_of
from hwr.data.records import LeftOut, Page, fingerprint, page_image
from hwr.errors import optional
from hwr.evaluation.task import Evaluation, Outcome, Record, Result, Scored, Target
from hwr.images.boxes import Box, FloatArray, clip
from hwr.images.load import GreyImage
from hwr.scoring.detection import Detection, count_boxes
from hwr.stages import boxes as box_stages
from hwr.stages.boxes import PREDICTED, TRUE, PageSettings
from hwr.stages.build import model_of
from hwr.stages.engine import Engine
from hwr.stages.paragraph import MODEL as PARAGRAPH_MODEL
from hwr.stages.paragraph import AreaFinder, load_area_finder
from hwr.stages.paragraph.training import overlaps
from hwr.stages.recipe import device_context
from hwr.stages.segmentation import MODEL as SEGMENTATION_MODEL
from hwr.stages.segmentation import BoxDetector, load_box_detector

NO_BOXES = np.zeros((0, 4))


@dataclass(frozen=True)
class _Found:
    """Samples, the boxes found on each, and what is told of them."""

    samples: BoxSet
    boxes: Sequence[FloatArray]
    scored: Scored


def score_areas(evaluation: Evaluation) -> Outcome:
    """Find the handwritten areas, and write scores and a picture of the worst."""
    settings = model_of(evaluation.loaded[0], PARAGRAPH_MODEL).settings
    found = _found(evaluation, settings, load_area_finder, _areas)
    quality = overlaps(found.boxes, found.samples.boxes)
    ious = np.concatenate([quality, np.zeros(len(found.samples.missed))])
    ids = [*found.samples.ids, *found.samples.missed]
    values = {
        "mean_iou": float(ious.mean()),
        "median_iou": float(np.median(ious)),
        "worst_iou": float(ious.min()),
        "iou_by_page": dict(zip(ids, ious.round(4).tolist(), strict=True)),
    }
    return _outcome(evaluation, found, values, quality.tolist())


def score_boxes(evaluation: Evaluation) -> Outcome:
    """Find lines or words in the true areas, and write scores and a picture of the worst."""
    settings = model_of(evaluation.loaded[0], SEGMENTATION_MODEL).settings
    found = _found(evaluation, replace(settings, least_px=0.0), load_box_detector, _lines)
    samples = found.samples
    pairs = zip(found.boxes, samples.boxes, strict=True)
    counts = [count_boxes(*pair, NO_BOXES) for pair in pairs]
    missed = [count_boxes(NO_BOXES, true, NO_BOXES) for true in samples.missed.values()]
    by_page = dict(zip([*samples.ids, *samples.missed], [*counts, *missed], strict=True))
    values = {
        **Detection.total(by_page.values()).as_dict(),
        "unit": settings.unit,
        "by_page": {name: own.as_dict() for name, own in by_page.items()},
    }
    return _outcome(evaluation, found, values, [own.mean_iou for own in counts])


def _areas(finder: AreaFinder, samples: BoxSet, images: Iterable[tuple[Page, GreyImage]]) -> FloatArray:
    return finder.boxes(samples.images)


def _lines(
    finder: BoxDetector, samples: BoxSet, images: Iterable[tuple[Page, GreyImage]]
) -> list[FloatArray]:
    """Find lines or words in the true area of each page, which a sample has, as when the page is read."""
    bar = tqdm(images, desc="pages", unit="page", disable=None, total=len(samples.ids))
    found = (finder.find(image, clip(cast(Box, area_of(page)))) for page, image in bar)
    placed = (spot.to_canvas(boxes) for spot, boxes in zip(samples.placements, found, strict=True))
    return [np.clip(boxes, 0.0, 1.0) for boxes in placed]


def _found(
    evaluation: Evaluation, settings: PageSettings, load: Callable[..., Any], find: Callable[..., Any]
) -> _Found:
    """Return what `find` finds with loaded weights: in samples, or in the images of their pages."""
    (own,), task, config = evaluation.loaded, evaluation.task, evaluation.config
    dataset = task.dataset(whole=True)
    findings = inspection.inspect_pages(dataset, box_stages.limits(config)).findings
    # Lines without area are not there to be found.
    pages, no_area = inspection.apply_policy(dataset.pages, findings, {"no_area": "drop"})
    reading = {"folder": task.data.cache, "loading": config.loading, "progress": True}
    samples = box_stages.box_samples(pages, settings, config.split, **reading)
    context, engine = device_context(config.device), Engine.of(config)
    finder = load(own, batch_size=config.batch_size, context=context, engine=engine)
    by_id = {page.id: page for page in pages}
    images = ((by_id[name], page_image(by_id[name], config.loading)) for name in samples.ids)
    boxes = find(finder, samples, images)
    reasons = dict(samples.problems)
    unread = {name: reasons[name] for name in samples.missed}
    useless = LeftOut.of("no_sample", pages=[(config.split, name) for name in reasons if name not in unread])
    told = (replace(rule, rule="no_area, nothing to find") for rule in no_area)
    rules = (*dataset.left_out, *told, *filter(None, [useless]))
    return _Found(samples, boxes, Scored(fingerprint(pages), rules, unread))


def _outcome(evaluation: Evaluation, found: _Found, values: Result, quality: Sequence[float]) -> Outcome:
    """Write scores, and draw the pages with the worst boxes: true ones green, found ones red."""
    samples, worst = found.samples, np.argsort(quality, kind="stable")[: evaluation.config.pictures]
    with optional("pages.png"):
        drawn = [
            pictures.boxed(
                samples.images[i], {TRUE: samples.boxes[i], PREDICTED: found.boxes[i].reshape(-1, 4)}
            )
            for i in worst
        ]
        names = [f"{samples.ids[i]}: IoU {quality[i]:.3f}" for i in worst]
        pictures.save_picture(evaluation.output / "pages.png", pictures.sheet(drawn, names, columns=4))
    count = len(samples.ids) + len(samples.missed)
    return evaluation.outcome(values, found.scored, count, error=1.0 - values["mean_iou"])


def _cells(link: str, result: Result, *rates: str) -> list[str]:
    """Return the row of the table of published results."""
    boxes = [f"{result['true']} {result['unit']}s"] if "unit" in result else []
    return [link, str(result["pages"]), *boxes, *(f"{result[name]:.4f}" for name in rates)]


_AREAS = ("pages", "mean_iou", "median_iou", "worst_iou")
_BOXES = ("pages", "mean_iou", "true", "predicted", "matched_50", "matched_75", "f1_50", "f1_75")
PARAGRAPH = Target(
    name="paragraph",
    load=lambda task: [task.weights("paragraph")],
    score=score_areas,
    record=Record(
        figures=_AREAS, kept=_AREAS, head=["weights", "test pages", "mean IoU of the area", "worst"],
        rows=lambda link, result: [_cells(link, result, "mean_iou", "worst_iou")],
    ),
)  # fmt: skip
SEGMENTATION = Target(
    name="segmentation",
    load=lambda task: [task.weights("segmentation")],
    score=score_boxes,
    record=Record(
        figures=_BOXES, kept=_BOXES,
        rows=lambda link, result: [_cells(link, result, "f1_50", "f1_75", "mean_iou")],
        head=["weights", "test pages", "boxes", "F1 at IoU 0.5", "at 0.75", "mean IoU"],
    ),
)  # fmt: skip

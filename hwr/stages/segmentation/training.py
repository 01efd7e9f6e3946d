"""A training of stage `segmentation`: handwritten areas to a detector of their lines or words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hwr import weights
from hwr.config.bind import bind
from hwr.config.compose import TrainConfig
from hwr.data.augment.pages import PageAugmentation
from hwr.data.batches.boxes import BoxSet, area_crops
from hwr.data.fingerprint import fingerprint
from hwr.data.records import SPLITS, Page
from hwr.losses import MultiBoxLoss
from hwr.networks import anchors
from hwr.stages import boxes as box_parts
from hwr.stages import build, parts
from hwr.stages.paragraph.stage import BoxTask
from hwr.stages.parts import Training
from hwr.stages.segmentation.stage import METRICS as METRICS
from hwr.stages.segmentation.stage import SegmentationStage
from hwr.tables import text_table
from hwr.tracking import Store

LOSSES = (MultiBoxLoss,)

limits = box_parts.limits


def check(config: TrainConfig) -> None:
    """Raise InputError for settings that no part takes; before a folder is made or a page is read."""
    build.area_fit(config)
    build.detecting(config)
    bind(build.maker_of(config), config.network, "network")
    parts.check_common(config)
    parts.phase_parts(config, PageAugmentation, LOSSES)


def training(config: TrainConfig, store: Store, *, progress: bool) -> Training:
    """Build the training."""
    folder = Path(config.folder)
    start = parts.find_weights(config.init, store, folder, kind="segmentation") if config.init else None
    pages, report = box_parts.inspected_pages(config)
    train, valid = (samples(pages, config, split, progress=progress) for split in ("train", "valid"))
    task = BoxTask(train, valid, *parts.phase_parts(config, PageAugmentation, LOSSES), lone=False)
    detector = build.detector(config, batch_size=config.batch_size, context=build.device(config.device))
    took = start and weights.transfer(detector.network, start, None, heads=())
    stage = SegmentationStage(detector, task, batch_size=config.batch_size, seed=config.seed)
    first, unit = next(iter(config.phases)), config.stage["unit"]
    counts = (sum(map(len, own.boxes)) for own in (train, valid))
    return Training(
        stage=stage,
        plan=parts.plan_of(config),
        alphabet=None,
        report=report,
        fingerprint=fingerprint(pages),
        took=str(took or ""),
        size=f"{len(train.ids)} training and {len(valid.ids)} validation areas, "
        + "{} and {} {}s".format(*counts, unit),
        augmented=lambda seed: box_parts.augmented(train, task.augmentations[first], seed),
        predicted=lambda count: box_parts.predicted(valid, detector.boxes, count),
    )


def anchor_table(config: TrainConfig) -> str:
    """Return how many boxes of each split the detector's anchors match, by IoU, as a text table."""
    context = build.device(config.device)
    grid = build.detector(config, batch_size=config.batch_size, context=context).grid
    pages, _ = box_parts.inspected_pages(config)
    rows = []
    for split in SPLITS:
        if any(page.split == split and page.lines for page in pages):
            boxes = np.concatenate(samples(pages, config, split, progress=True).boxes)
            best = anchors.best(boxes, grid)
            shares = [f"{100 * (best >= least).mean():.1f} %" for least in (0.4, 0.5, 0.6, 0.7)]
            rows.append([split, str(len(boxes)), *shares, f"{best.mean():.3f}"])
    table = text_table(("split", "boxes", "IoU 0.4", "0.5", "0.6", "0.7", "mean"), rows)
    return f"{table}\n{len(grid)} anchors; share of boxes whose best anchor has that IoU or more"


def samples(pages: Sequence[Page], config: TrainConfig, split: str, *, progress: bool) -> BoxSet:
    """Return the areas of a split with the boxes of their lines or words."""
    own = [page for page in pages if page.split == split]
    found = area_crops(
        own,
        build.area_fit(config),
        config.stage["growth"],
        config.stage["unit"],
        folder=Path(config.folder) / "cache",
        max_pixels=config.max_pixels,
        progress=progress,
    )
    return box_parts.ready(found, split)

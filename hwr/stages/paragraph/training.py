"""A training of stage `paragraph`: pages to a finder of the handwritten area."""

from collections.abc import Sequence
from pathlib import Path

from hwr import weights
from hwr.config.bind import bind
from hwr.config.compose import TrainConfig
from hwr.data.augment.pages import PageAugmentation
from hwr.data.batches.boxes import BoxSet, whole_pages
from hwr.data.fingerprint import fingerprint
from hwr.data.records import Page
from hwr.losses import IouLoss, MseLoss
from hwr.stages import boxes, build, parts
from hwr.stages.paragraph.stage import METRICS as METRICS
from hwr.stages.paragraph.stage import AreaFinder, BoxTask, ParagraphStage
from hwr.stages.parts import Training
from hwr.tracking import Store

LOSSES = (MseLoss, IouLoss)

limits = boxes.limits


def check(config: TrainConfig) -> None:
    """Raise InputError for settings that no part takes; before a folder is made or a page is read."""
    build.page_fit(config)
    bind(build.maker_of(config), config.network, "network")
    parts.check_common(config)
    parts.phase_parts(config, PageAugmentation, LOSSES)


def training(config: TrainConfig, store: Store, *, progress: bool) -> Training:
    """Build the training."""
    folder = Path(config.folder)
    start = parts.find_weights(config.init, store, folder, kind="paragraph") if config.init else None
    pages, report = boxes.inspected_pages(config)
    train, valid = (samples(pages, config, split, progress=progress) for split in ("train", "valid"))
    task = BoxTask(train, valid, *parts.phase_parts(config, PageAugmentation, LOSSES), lone=True)
    context = build.device(config.device)
    network = build.paragraph_network(config, context)
    took = start and weights.transfer(network, start, None, heads=())
    finder = AreaFinder(network, batch_size=config.batch_size, context=context)
    stage = ParagraphStage(finder, task, batch_size=config.batch_size, seed=config.seed)
    first = next(iter(config.phases))
    return Training(
        stage=stage,
        plan=parts.plan_of(config),
        alphabet=None,
        report=report,
        fingerprint=fingerprint(pages),
        took=str(took or ""),
        size=f"{len(train.ids)} training and {len(valid.ids)} validation pages",
        augmented=lambda seed: boxes.augmented(train, task.augmentations[first], seed),
        predicted=lambda count: boxes.predicted(
            valid, lambda images: [box[None] for box in finder.boxes(images)], count
        ),
    )


def samples(pages: Sequence[Page], config: TrainConfig, split: str, *, progress: bool) -> BoxSet:
    """Return the pages of a split with the box around their handwriting."""
    own = [page for page in pages if page.split == split]
    found = whole_pages(
        own,
        build.page_fit(config),
        0.0,
        folder=Path(config.folder) / "cache",
        max_pixels=config.max_pixels,
        progress=progress,
    )
    return boxes.ready(found, split)

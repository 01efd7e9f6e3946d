"""A training of stage `line`: line images and texts to a reader of lines."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwr import weights
from hwr.config.bind import bind
from hwr.config.compose import TrainConfig
from hwr.data import inspection
from hwr.data.augment.lines import Augmentation
from hwr.data.batches.lines import LineSet
from hwr.data.cache import LineImages, line_images
from hwr.data.fingerprint import fingerprint
from hwr.data.records import Line, Page
from hwr.decoding.build import build_decoder, check_decoder
from hwr.errors import InputError
from hwr.losses import CtcLoss
from hwr.pictures import cards
from hwr.scoring import edits
from hwr.stages import build, parts
from hwr.stages.line.stage import METRICS as METRICS
from hwr.stages.line.stage import LineReader, LineStage, LineTask
from hwr.stages.parts import Training
from hwr.text import Alphabet
from hwr.tracking import Store

LOSSES = (CtcLoss,)
SAMPLES = 24  # augmented line images in a run's picture


def check(config: TrainConfig) -> None:
    """Raise InputError for settings that no part takes; before a folder is made or a page is read."""
    build.crop_of(config)
    bind(build.maker_of(config), config.network, "network", ["classes"])
    check_decoder(config.decoder)
    parts.check_common(config)
    parts.phase_parts(config, Augmentation, LOSSES)


def training(config: TrainConfig, store: Store, *, progress: bool) -> Training:
    """Build the training."""
    folder = Path(config.folder)
    start = parts.find_weights(config.init, store, folder, kind="line") if config.init else None
    pages = parts.load_pages(config.data, folder / "cache")
    report = inspection.inspect(pages, limits(config))
    pages = inspection.apply(pages, report, config.inspect.policy)
    task = _task(pages, config, progress=progress)
    context = build.device(config.device)
    network = build.line_network(config, task.alphabet, context)
    took = start and weights.transfer(network, start, task.alphabet, heads=("output", "shortcut"))
    decoder = build_decoder(config.decoder, task.alphabet)
    reader = LineReader(network, batch_size=config.batch_size, context=context)
    stage = LineStage(reader, task, decoder, batch_size=config.batch_size, seed=config.seed)
    first = next(iter(config.phases))
    return Training(
        stage=stage,
        plan=parts.plan_of(config),
        alphabet=task.alphabet,
        report=report,
        fingerprint=fingerprint(pages),
        took=str(took or ""),
        size=f"{len(task.train.ids)} training and {len(task.valid.ids)} validation lines",
        augmented=lambda seed: _augmented(task, first, seed),
        predicted=lambda count: _readings(stage, count),
    )


def limits(config: TrainConfig) -> inspection.Limits:
    """Return what pages are held to before they are trained on."""
    return inspection.Limits(
        crop=build.crop_of(config), steps=build.steps_of(config), max_pixels=config.max_pixels
    )


def lines_of(pages: Sequence[Page], split: str) -> list[Line]:
    """Return the lines of a split; raise InputError where it has none."""
    lines = [line for page in pages if page.split == split for line in page.lines]
    if not lines:
        raise InputError(f"the split {split} has no lines; see data.splits, data.shares and data.exclude")
    return lines


def line_set(pages: Sequence[Page], images: LineImages, split: str) -> LineSet:
    """Return the lines of a split with their images."""
    places = {name: place for place, name in enumerate(images.ids)}
    lines = lines_of(pages, split)
    found = parts.in_memory([images.images[places[line.id]] for line in lines])
    return LineSet([line.id for line in lines], found, [line.text for line in lines])


def check_characters(lines: Sequence[Line], alphabet: Alphabet, unknown: str) -> None:
    """Raise InputError for a line with characters outside the alphabet where `unknown` is error."""
    for line in lines:
        missing = alphabet.unknown(line.text)
        if missing and unknown == "error":
            raise InputError(
                f"line {line.id}: {missing!r} is not in the alphabet; train with it or set unknown=keep"
            )


def reading_item(image: NDArray[np.uint8], name: str, reference: str, hypothesis: str) -> cards.Reading:
    """Return a line for `pictures.readings`."""
    errors = edits.character_edits(reference, hypothesis).errors
    return cards.Reading(image, name, reference, {"read": cards.Read(hypothesis, errors)})


def _task(pages: Sequence[Page], config: TrainConfig, *, progress: bool) -> LineTask:
    alphabet = Alphabet.of(line.text for line in lines_of(pages, "train"))
    check_characters(lines_of(pages, "valid"), alphabet, config.unknown)
    images = line_images(
        pages,
        build.crop_of(config),
        folder=Path(config.folder) / "cache",
        max_pixels=config.max_pixels,
        progress=progress,
    )
    parts.refuse_problems(images.problems, "line")
    train, valid = (line_set(pages, images, split) for split in ("train", "valid"))
    return LineTask(alphabet, train, valid, *parts.phase_parts(config, Augmentation, LOSSES))


def _augmented(task: LineTask, phase: str, seed: int) -> parts.Picture:
    """Draw augmented training lines with their texts."""
    lines, augment = task.train, task.augmentations[phase]
    count = len(lines.ids)
    chosen = np.random.default_rng(seed).choice(count, min(SAMPLES, count), replace=False)
    images = [augment(lines.images[i], seed=seed, epoch=0, index=int(i)) for i in chosen]
    return cards.sheet(images, [lines.texts[i] for i in chosen], columns=3)


def _readings(stage: LineStage, count: int) -> parts.Picture:
    """Draw validation lines with what was written and what was read."""
    lines = stage.task.valid
    chosen = np.linspace(0, len(lines.ids) - 1, min(count, len(lines.ids))).astype(int)
    images = [lines.images[i] for i in chosen]
    return cards.readings({"validation lines": [
        reading_item(image, lines.ids[i], lines.texts[i], read.text)
        for i, image, read in zip(chosen, images, stage.read(images), strict=True)
    ]})  # fmt: skip

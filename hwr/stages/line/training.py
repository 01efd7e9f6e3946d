"""The training of stage `line`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwr.data import inspection
from hwr.data.augment.lines import LineAugmentation
from hwr.data.batches.lines import LineSet
from hwr.data.cache import CutImages, line_images
from hwr.data.records import Line, Page
from hwr.decoding.reading import build_decoder
from hwr.errors import InputError
from hwr.losses import CtcLoss
from hwr.pictures import cards
from hwr.scoring import edits
from hwr.stages.build import in_memory, refuse_problems
from hwr.stages.kind import Built, Kind, Picture, Recipe
from hwr.stages.line.model import MODEL, LineReader, LineSettings, line_network, line_steps
from hwr.stages.line.stage import METRICS, LineStage, LineTask
from hwr.text import Alphabet

SAMPLES = 24  # augmented line images in a run's picture


def build_line(recipe: Recipe[LineSettings], pages: Sequence[Page], progress: bool) -> Built:
    """Cut the lines out of the pages, and build the stage that is trained on them."""
    task = _task(recipe, pages, progress=progress)
    network = line_network(recipe.model, task.alphabet, recipe.context)
    reader = LineReader(network, batch_size=recipe.batch_size, context=recipe.context)
    decoder = build_decoder(recipe.decoder, task.alphabet)
    stage = LineStage(reader, task, decoder, batch_size=recipe.batch_size, seed=recipe.seed)
    first = recipe.plan.phases[0].name
    return Built(
        stage=stage,
        alphabet=task.alphabet,
        size=f"{len(task.train.ids)} training and {len(task.valid.ids)} validation lines",
        augmented=lambda seed: _augmented(task, first, seed),
        predicted=lambda count: _readings(stage, count),
    )


def limits(recipe: Recipe[LineSettings]) -> inspection.Limits:
    """Return the limits that pages are inspected with."""
    return inspection.Limits(
        crop=recipe.settings.crop, steps=line_steps(recipe.model), loading=recipe.loading
    )


KIND = Kind(
    model=MODEL,
    losses=(CtcLoss,),
    augmentation=LineAugmentation,
    metrics=METRICS,
    heads=("output", "shortcut"),
    decodes=True,
    learns_text=True,
    limits=limits,
    build=build_line,
)


def lines_of(pages: Sequence[Page], split: str) -> list[Line]:
    """Return the lines of a split; raise InputError where it has none."""
    lines = [line for page in pages if page.split == split for line in page.lines]
    if not lines:
        raise InputError(f"the split {split} has no lines; see data.splits, data.shares and data.exclude")
    return lines


def line_set(pages: Sequence[Page], images: CutImages, split: str) -> LineSet:
    """Return the lines of a split with their images."""
    places = {name: place for place, name in enumerate(images.ids)}
    lines = lines_of(pages, split)
    kept = in_memory([images.images[places[line.id]] for line in lines])
    return LineSet([line.id for line in lines], kept, [line.text for line in lines])


def check_characters(lines: Sequence[Line], alphabet: Alphabet, unknown: str) -> None:
    """Raise InputError for a line with characters outside the alphabet where `unknown` is error."""
    for line in lines:
        missing = alphabet.unknown(line.text)
        if missing and unknown == "error":
            raise InputError(
                f"line {line.id}: {missing!r} is not in the alphabet; train with it or set unknown=keep"
            )


def reading_item(image: NDArray[np.uint8], name: str, reference: str, hypothesis: str) -> cards.LineCard:
    """Return a line for `cards.readings`."""
    errors = edits.character_edits(reference, hypothesis).errors
    return cards.LineCard(image, name, reference, {"read": cards.ReadText(hypothesis, errors)})


def _task(recipe: Recipe[LineSettings], pages: Sequence[Page], *, progress: bool) -> LineTask:
    alphabet = Alphabet.of(line.text for line in lines_of(pages, "train"))
    check_characters(lines_of(pages, "valid"), alphabet, recipe.unknown)
    images = line_images(
        pages,
        recipe.settings.crop,
        folder=recipe.data.cache,
        loading=recipe.loading,
        progress=progress,
    )
    refuse_problems(images.problems, "line")
    train, valid = (line_set(pages, images, split) for split in ("train", "valid"))
    return LineTask(alphabet, train, valid, recipe.losses, recipe.augmentations)


def _augmented(task: LineTask, phase: str, seed: int) -> Picture:
    """Draw augmented training lines with their texts."""
    lines, augment = task.train, task.augmentations[phase]
    count = len(lines.ids)
    chosen = np.random.default_rng(seed).choice(count, min(SAMPLES, count), replace=False)
    images = [augment(lines.images[i], seed=seed, epoch=0, index=int(i)) for i in chosen]
    return cards.sheet(images, [lines.texts[i] for i in chosen], columns=3)


def _readings(stage: LineStage, count: int) -> Picture:
    """Draw validation lines with what was written and what was read."""
    lines = stage.task.valid
    chosen = np.linspace(0, len(lines.ids) - 1, min(count, len(lines.ids))).astype(int)
    images = [lines.images[i] for i in chosen]
    return cards.readings({"validation lines": [
        reading_item(image, lines.ids[i], lines.texts[i], read.text)
        for i, image, read in zip(chosen, images, stage.read(images), strict=True)
    ]})  # fmt: skip
